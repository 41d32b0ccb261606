"""Witnesses whose receiver is being restarted: kept while that lasts, so that a later term puts it back."""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, select

from services.store.engine import Database
from services.store.rows import fence, upsert
from services.store.schema import SETTINGS
from services.topology.keys import InstanceKey

__all__ = ["WitnessStore"]

_PREFIX = "witness:"


class WitnessStore:
    """One witness per cluster at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, cluster_id: str, witness: InstanceKey, net_timeout: int, *, term: int) -> None:
        """Its receiver is about to be stopped, and its ``replica_net_timeout`` lowered from this. Raises
        StaleTermError."""
        value = json.dumps({"host": witness.hostname, "port": witness.port, "net_timeout": net_timeout})
        row = {"name": _PREFIX + cluster_id, "value": value}

        def work(connection: Connection) -> None:
            fence(connection, term)
            upsert(connection, SETTINGS, [row])

        await self._database.write(work)

    async def end(self, cluster_id: str) -> None:
        """It is as it was."""
        statement = delete(SETTINGS).where(SETTINGS.c.name == _PREFIX + cluster_id)
        await self._database.write(lambda connection: connection.execute(statement))

    async def open(self) -> dict[str, tuple[InstanceKey, int]]:
        """Cluster id to witness and its time-out, of those that were begun and not ended."""
        statement = select(SETTINGS).where(SETTINGS.c.name.like(_PREFIX + "%"))

        def work(connection: Connection) -> dict[str, tuple[InstanceKey, int]]:
            found = {}
            for row in connection.execute(statement):
                value = json.loads(row.value)
                key = InstanceKey(value["host"], value["port"])
                found[row.name.removeprefix(_PREFIX)] = key, int(value["net_timeout"])
            return found

        return await self._database.read(work)
