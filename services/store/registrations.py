"""What people and recoveries registered of servers: promotion rules, downtime, maintenance, unresolved names;
and the switch for all recoveries. ``expiry`` removes what is over."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Delete, delete, select

from services.store.audit import note_in
from services.store.engine import Database
from services.store.expiry import expire_in, is_any_over
from services.store.rows import has_id, is_server, key_columns, key_of, upsert
from services.store.schema import DOWNTIMES, HOSTNAME_UNRESOLVES, MAINTENANCES, PROMOTION_RULES, SETTINGS
from services.topology.keys import InstanceKey
from services.topology.records import AuditEntry
from services.topology.registrations import CandidateRule, Downtime, HostnameUnresolve, Maintenance

__all__ = ["RegistrationStore"]

_RECOVERIES_DISABLED = "recoveries_disabled"


class RegistrationStore:
    """Registrations by server. What is over at ``now`` is not listed; ``expire`` removes it.

    ``audit`` is written in the same transaction, if there was something to do.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # promotion rules

    async def register_candidate(self, rule: CandidateRule, audit: AuditEntry | None = None) -> None:
        """Register a promotion rule, in place of the server's earlier one."""
        row = {
            **key_columns(rule.key),
            "promotion_rule": rule.promotion_rule,
            "last_suggested": rule.last_suggested,
            "expires_at": rule.expires_at,
        }

        def work(connection: Connection) -> None:
            upsert(connection, PROMOTION_RULES, [row])
            _note(connection, audit)

        await self._database.write(work)

    async def candidates(self, now: str) -> tuple[CandidateRule, ...]:
        table = PROMOTION_RULES

        def work(connection: Connection) -> tuple[CandidateRule, ...]:
            lasting = select(table).where(table.c.expires_at > now).order_by(table.c.host, table.c.port)
            return tuple(
                CandidateRule(
                    key=key_of(row),
                    promotion_rule=row.promotion_rule,
                    last_suggested=row.last_suggested,
                    expires_at=row.expires_at,
                )
                for row in connection.execute(lasting)
            )

        return await self._database.read(work)

    # downtime

    async def begin_downtime(self, downtime: Downtime, audit: AuditEntry | None = None) -> None:
        """Begin a downtime, in place of the server's earlier one."""
        row = {
            **key_columns(downtime.key),
            "owner": downtime.owner,
            "reason": downtime.reason,
            "begins_at": downtime.begins_at,
            "ends_at": downtime.ends_at,
        }

        def work(connection: Connection) -> None:
            upsert(connection, DOWNTIMES, [row])
            _note(connection, audit)

        await self._database.write(work)

    async def end_downtime(self, key: InstanceKey, audit: AuditEntry | None = None) -> bool:
        """True if there was one."""
        statement = delete(DOWNTIMES).where(is_server(DOWNTIMES, key))
        return await self._database.write(_removing(statement, audit))

    async def downtimes(self, now: str) -> tuple[Downtime, ...]:
        """Those that have begun and last, sorted by key."""
        table = DOWNTIMES

        def work(connection: Connection) -> tuple[Downtime, ...]:
            lasting = (
                select(table)
                .where(table.c.ends_at > now, table.c.begins_at <= now)
                .order_by(table.c.host, table.c.port)
            )
            return tuple(
                Downtime(
                    key=key_of(row),
                    owner=row.owner,
                    reason=row.reason,
                    begins_at=row.begins_at,
                    ends_at=row.ends_at,
                )
                for row in connection.execute(lasting)
            )

        return await self._database.read(work)

    # maintenance

    async def begin_maintenance(self, maintenance: Maintenance, audit: AuditEntry | None = None) -> int:
        """Its number; 0 if the server is in maintenance already, which goes on as it is."""
        table = MAINTENANCES
        of_server = is_server(table, maintenance.key)
        row = {
            **key_columns(maintenance.key),
            "owner": maintenance.owner,
            "reason": maintenance.reason,
            "begins_at": maintenance.begins_at,
            "ends_at": maintenance.ends_at,
        }

        def work(connection: Connection) -> int:
            lasting = select(table.c.id).where(of_server, table.c.ends_at > maintenance.begins_at)
            if connection.execute(lasting).scalar() is not None:
                return 0
            connection.execute(delete(table).where(of_server))
            connection.execute(table.insert(), [row])
            _note(connection, audit)
            return int(connection.execute(select(table.c.id).where(of_server)).scalar_one())

        return await self._database.write(work)

    async def end_maintenance(
        self, key: InstanceKey, audit: AuditEntry | None = None, *, number: int | None = None
    ) -> bool:
        """True if there was one; with ``number`` only that one is meant."""
        table = MAINTENANCES
        statement = delete(table).where(is_server(table, key))
        if number is not None:
            statement = statement.where(has_id(table, number))
        return await self._database.write(_removing(statement, audit))

    async def maintenances(self, now: str) -> tuple[Maintenance, ...]:
        """Those that last, the oldest first."""
        table = MAINTENANCES

        def work(connection: Connection) -> tuple[Maintenance, ...]:
            lasting = select(table).where(table.c.ends_at > now).order_by(table.c.id)
            return tuple(
                Maintenance(
                    id=row.id,
                    key=key_of(row),
                    owner=row.owner,
                    reason=row.reason,
                    begins_at=row.begins_at,
                    ends_at=row.ends_at,
                )
                for row in connection.execute(lasting)
            )

        return await self._database.read(work)

    # names of hosts

    async def register_unresolve(self, unresolve: HostnameUnresolve, audit: AuditEntry | None = None) -> None:
        """In place of the host's earlier one."""
        row = {
            "host": unresolve.hostname,
            "unresolved_host": unresolve.unresolved_hostname,
            "registered_at": unresolve.registered_at,
            "expires_at": unresolve.expires_at,
        }

        def work(connection: Connection) -> None:
            upsert(connection, HOSTNAME_UNRESOLVES, [row])
            _note(connection, audit)

        await self._database.write(work)

    async def deregister_unresolve(self, hostname: str, audit: AuditEntry | None = None) -> bool:
        """True if there was one."""
        table = HOSTNAME_UNRESOLVES
        return await self._database.write(_removing(delete(table).where(table.c.host == hostname), audit))

    async def unresolves(self, now: str) -> tuple[HostnameUnresolve, ...]:
        table = HOSTNAME_UNRESOLVES

        def work(connection: Connection) -> tuple[HostnameUnresolve, ...]:
            lasting = select(table).where(table.c.expires_at > now).order_by(table.c.host)
            return tuple(
                HostnameUnresolve(
                    hostname=row.host,
                    unresolved_hostname=row.unresolved_host,
                    registered_at=row.registered_at,
                    expires_at=row.expires_at,
                )
                for row in connection.execute(lasting)
            )

        return await self._database.read(work)

    # expiry of all of them, and of pools

    async def is_any_over(self, now: str) -> bool:
        """Whether ``expire`` would remove something."""
        return await self._database.read(lambda connection: is_any_over(connection, now))

    async def expire(self, now: str) -> int:
        """Remove what is over, with an entry in the audit for each. Returns how many entries."""
        return await self._database.write(lambda connection: expire_in(connection, now))

    # the switch

    async def enable_recoveries(self) -> None:
        """Allow automatic recoveries again; they are allowed unless somebody disabled them."""
        statement = delete(SETTINGS).where(SETTINGS.c.name == _RECOVERIES_DISABLED)
        await self._database.write(lambda connection: connection.execute(statement))

    async def disable_recoveries(self) -> None:
        """Forbid automatic recoveries of all clusters, until they are enabled."""
        row = {"name": _RECOVERIES_DISABLED, "value": "1"}
        await self._database.write(lambda connection: upsert(connection, SETTINGS, [row]))

    async def recoveries_enabled(self) -> bool:
        statement = select(SETTINGS.c.value).where(SETTINGS.c.name == _RECOVERIES_DISABLED)
        return await self._database.read(lambda connection: connection.execute(statement).scalar() is None)


def _removing(statement: Delete, audit: AuditEntry | None) -> Callable[[Connection], bool]:
    """A transaction that says whether something was removed, and audits it then."""

    def work(connection: Connection) -> bool:
        removed = connection.execute(statement).rowcount > 0
        if removed:
            _note(connection, audit)
        return removed

    return work


def _note(connection: Connection, audit: AuditEntry | None) -> None:
    note_in(connection, [audit] if audit else [])
