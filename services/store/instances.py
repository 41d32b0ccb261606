"""Known instances: what a restart starts from, so that nothing has to be discovered anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, update

from services.store.engine import Database
from services.store.rows import key_columns, key_of, upsert
from services.store.schema import KNOWN_INSTANCES
from services.topology.keys import InstanceKey

__all__ = ["InstanceStore", "KnownInstance"]


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """One server as it was last seen; ``facts`` is JSON that only its writer understands."""

    key: InstanceKey
    facts: str
    cluster_id: str = ""
    last_seen: str = ""  # UTC; empty if never


class InstanceStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def upsert_many(self, instances: Sequence[KnownInstance]) -> None:
        """Write all of them, or none, over what was known of the same keys."""
        rows = [
            {
                **key_columns(known.key),
                "facts": known.facts,
                "cluster_id": known.cluster_id,
                "last_seen": known.last_seen,
            }
            for known in instances
        ]
        await self._database.write(lambda connection: upsert(connection, KNOWN_INSTANCES, rows))

    async def load_all(self) -> tuple[KnownInstance, ...]:
        """All that are known, sorted by key."""
        table = KNOWN_INSTANCES

        def work(connection: Connection) -> tuple[KnownInstance, ...]:
            rows = connection.execute(select(table).order_by(table.c.host, table.c.port))
            return tuple(KnownInstance(key_of(row), row.facts, row.cluster_id, row.last_seen) for row in rows)

        return await self._database.read(work)

    async def unobserved(self) -> tuple[InstanceKey, ...]:
        """Those that somebody named and nobody has seen, sorted."""
        table = KNOWN_INSTANCES
        statement = select(table.c.host, table.c.port).where(table.c.facts == "")

        def work(connection: Connection) -> tuple[InstanceKey, ...]:
            return tuple(sorted(key_of(row) for row in connection.execute(statement)))

        return await self._database.read(work)

    async def update_many(self, instances: Sequence[KnownInstance]) -> None:
        """The same for those that are known; others are left out. In raft, who is known is agreed on."""
        table = KNOWN_INSTANCES
        rows = [
            {
                "of_host": known.key.hostname,
                "of_port": known.key.port,
                "facts": known.facts,
                "cluster_id": known.cluster_id,
                "last_seen": known.last_seen,
            }
            for known in instances
        ]
        statement = update(table).where(
            table.c.host == bindparam("of_host"), table.c.port == bindparam("of_port")
        )
        if rows:
            await self._database.write(lambda connection: connection.execute(statement, rows))

    async def discover(self, keys: Iterable[InstanceKey]) -> None:
        """Know these servers, of which nothing has been observed. What is known of others of them stays."""
        table = KNOWN_INSTANCES
        wanted = sorted(set(keys))

        def work(connection: Connection) -> None:
            there = {key_of(row) for row in connection.execute(select(table.c.host, table.c.port))}
            unseen = {"facts": "", "cluster_id": "", "last_seen": ""}
            rows = [{**key_columns(key), **unseen} for key in wanted if key not in there]
            upsert(connection, table, rows)

        if wanted:
            await self._database.write(work)

    async def forget(self, keys: Iterable[InstanceKey]) -> None:
        """Know them no more; unknown ones are no error. Registrations of the servers stay."""
        table = KNOWN_INSTANCES
        rows = [{"of_host": key.hostname, "of_port": key.port} for key in keys]
        statement = delete(table).where(
            table.c.host == bindparam("of_host"), table.c.port == bindparam("of_port")
        )
        if rows:
            await self._database.write(lambda connection: connection.execute(statement, rows))
