"""What people registered beside that: tags of servers, pools of servers, attributes of hosts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection, delete, select

from services.store.audit import note_in
from services.store.engine import Database
from services.store.rows import is_server, key_columns, key_of, upsert
from services.store.schema import ATTRIBUTES, INSTANCE_TAGS, POOL_MEMBERS
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry
from services.topology.registrations import HostAttribute, InstanceTag, PoolMember
from services.topology.tags import TagTerm

__all__ = ["AttributeStore", "PoolStore", "TagStore"]


class TagStore:
    """Tags last until they are removed, also of servers that are forgotten."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, tag: InstanceTag, audit: AuditEntry | None = None) -> None:
        """In place of the server's tag of that name."""
        row = {**key_columns(tag.key), "name": tag.name, "value": tag.value}

        def work(connection: Connection) -> None:
            upsert(connection, INSTANCE_TAGS, [row])
            note_in(connection, [audit] if audit else [])

        await self._database.write(work)

    async def remove(
        self, term: TagTerm, *, key: InstanceKey = NO_KEY, audit: AuditEntry | None = None
    ) -> tuple[InstanceKey, ...]:
        """From one server, or with NO_KEY from all, where it fits. Those that had it, sorted.

        ``audit`` is written for each of them.
        """
        table = INSTANCE_TAGS

        def work(connection: Connection) -> tuple[InstanceKey, ...]:
            # compared here: MySQL holds texts for equal that differ in blanks at the end
            named = [tag for tag in _tags(connection, key) if term.fits(tag)]
            for tag in named:
                connection.execute(delete(table).where(is_server(table, tag.key), table.c.name == tag.name))
            note_in(connection, [replace(audit, instance=tag.key) for tag in named] if audit else [])
            return tuple(tag.key for tag in named)

        return await self._database.write(work)

    async def tags(self, key: InstanceKey = NO_KEY) -> tuple[InstanceTag, ...]:
        """Of one server, or with NO_KEY of all; sorted by server, then name."""
        return await self._database.read(lambda connection: _tags(connection, key))


def _tags(connection: Connection, key: InstanceKey) -> tuple[InstanceTag, ...]:
    table = INSTANCE_TAGS
    statement = select(table).order_by(table.c.host, table.c.port, table.c.name)
    if key != NO_KEY:
        statement = statement.where(is_server(table, key))
    return tuple(
        InstanceTag(key=key_of(row), name=row.name, value=row.value) for row in connection.execute(statement)
    )


class PoolStore:
    """Pools are submitted as a whole, again and again: a member that is not expires."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(
        self,
        pool: str,
        keys: Iterable[InstanceKey],
        *,
        at: str,
        expires_at: str,
        audit: AuditEntry | None = None,
    ) -> None:
        """The whole content of ``pool``; none empties it."""
        table = POOL_MEMBERS
        until = {"registered_at": at, "expires_at": expires_at}
        rows = [{"pool": pool, **key_columns(key), **until} for key in sorted(set(keys))]

        def work(connection: Connection) -> None:
            connection.execute(delete(table).where(table.c.pool == pool))
            upsert(connection, table, rows)
            note_in(connection, [audit] if audit else [])

        await self._database.write(work)

    async def members(self, now: str, pool: str = "") -> tuple[PoolMember, ...]:
        """Of one pool or of all; sorted by pool, then server."""
        table = POOL_MEMBERS
        statement = select(table).where(table.c.expires_at > now)
        statement = statement.order_by(table.c.pool, table.c.host, table.c.port)
        if pool:
            statement = statement.where(table.c.pool == pool)
        return await self._database.read(
            lambda connection: tuple(
                PoolMember(
                    pool=row.pool,
                    key=key_of(row),
                    registered_at=row.registered_at,
                    expires_at=row.expires_at,
                )
                for row in connection.execute(statement)
            )
        )


class AttributeStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, attribute: HostAttribute, audit: AuditEntry | None = None) -> None:
        """In place of the host's attribute of that name."""
        row = {
            "host": attribute.hostname,
            "name": attribute.name,
            "value": attribute.value,
            "submitted_at": attribute.submitted_at,
        }

        def work(connection: Connection) -> None:
            upsert(connection, ATTRIBUTES, [row])
            note_in(connection, [audit] if audit else [])

        await self._database.write(work)

    async def named(self, name: str) -> tuple[HostAttribute, ...]:
        """Of all hosts, sorted by host."""
        table = ATTRIBUTES
        statement = select(table).where(table.c.name == name).order_by(table.c.host)
        return await self._database.read(
            lambda connection: tuple(
                HostAttribute(
                    hostname=row.host, name=row.name, value=row.value, submitted_at=row.submitted_at
                )
                for row in connection.execute(statement)
            )
        )
