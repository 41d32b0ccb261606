"""The nodes that share this store: each writes its own row, and counts it up while it lives.

The rows hold no times: whether a node lives is told by its counter moving, on the reader's own clock (see
``services.election.neighbours``). The secret under which they pass changes on to each other is kept here too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import Insert

from services.store.engine import Database
from services.store.rows import upsert
from services.store.schema import NODES, SHARED_SECRETS

__all__ = ["NodeRow", "NodeStore"]

_FORWARDING = SHARED_SECRETS.c.name == "forwarding"
_LIMIT_SECONDS = 2.0
"""News of who lives is of no use when it is older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node. ``counter`` is as it was read; what is written counts it up."""

    node_id: str
    host: str
    token: str
    uri: str
    """Where other nodes reach its HTTP interface."""
    version: str
    backend: str
    counter: int = 0


class NodeStore:
    """Every method is bounded in time and raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, me: NodeRow) -> tuple[NodeRow, ...]:
        """Write that this node lives; returns all rows, by node id."""

        def work(connection: Connection) -> tuple[NodeRow, ...]:
            connection.execute(_counting_up(me, connection.dialect.name))
            return tuple(
                NodeRow(
                    node_id=row.node_id,
                    host=row.host,
                    token=row.token,
                    uri=row.uri,
                    version=row.version,
                    backend=row.backend,
                    counter=row.counter,
                )
                for row in connection.execute(select(NODES).order_by(NODES.c.node_id))
            )

        return await self._database.write_own(work, limit_seconds=_LIMIT_SECONDS)

    async def forget(self, node_ids: Iterable[str]) -> None:
        """Those that do not live any more. One that does comes back with its next report."""
        statement = delete(NODES).where(NODES.c.node_id.in_(sorted(node_ids)))
        await self._database.write_own(lambda connection: connection.execute(statement))

    async def secret(self) -> str:
        """Under which the nodes of this setup know each other's requests; empty if there is none yet."""
        statement = select(SHARED_SECRETS.c.secret).where(_FORWARDING)
        return await self._database.read(
            lambda connection: connection.execute(statement).scalar() or "", limit_seconds=_LIMIT_SECONDS
        )

    async def make_secret(self) -> None:
        """Make one, unless there is one: the first node of a setup does."""
        new = secrets.token_hex(32)

        def work(connection: Connection) -> None:
            if not connection.execute(select(SHARED_SECRETS.c.secret).where(_FORWARDING)).scalar():
                upsert(connection, SHARED_SECRETS, [{"name": "forwarding", "secret": new}])

        if not await self.secret():
            await self._database.write(work)


def _counting_up(me: NodeRow, dialect: str) -> Insert:
    said = {
        "host": me.host,
        "token": me.token,
        "uri": me.uri,
        "version": me.version,
        "backend": me.backend,
    }
    values = {"node_id": me.node_id, "counter": 1, **said}
    changed = {"counter": NODES.c.counter + 1, **said}
    if dialect == "sqlite":
        return (
            sqlite_insert(NODES)
            .values(values)
            .on_conflict_do_update(index_elements=[NODES.c.node_id], set_=changed)
        )
    return mysql_insert(NODES).values(values).on_duplicate_key_update(changed)
