"""What people and recoveries registered: promotion rules, downtime, the switch for all recoveries."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from services.store.engine import Database
from services.store.rows import is_server, key_columns, key_of, upsert
from services.store.schema import DOWNTIMES, PROMOTION_RULES, SETTINGS
from services.topology.keys import InstanceKey
from services.topology.records import CandidateRule, Downtime

__all__ = ["RegistrationStore"]

_RECOVERIES_DISABLED = "recoveries_disabled"


class RegistrationStore:
    """Registrations by server. What is over at ``now`` is not listed; ``purge`` removes it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register_candidate(self, rule: CandidateRule) -> None:
        """Register a promotion rule, in place of the server's earlier one."""
        row = {
            **key_columns(rule.key),
            "promotion_rule": rule.promotion_rule,
            "last_suggested": rule.last_suggested,
            "expires_at": rule.expires_at,
        }
        await self._database.write(lambda connection: upsert(connection, PROMOTION_RULES, [row]))

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

    async def begin_downtime(self, downtime: Downtime) -> None:
        """Begin a downtime, in place of the server's earlier one."""
        row = {
            **key_columns(downtime.key),
            "owner": downtime.owner,
            "reason": downtime.reason,
            "begins_at": downtime.begins_at,
            "ends_at": downtime.ends_at,
        }
        await self._database.write(lambda connection: upsert(connection, DOWNTIMES, [row]))

    async def end_downtime(self, key: InstanceKey) -> bool:
        """True if there was one."""
        statement = delete(DOWNTIMES).where(is_server(DOWNTIMES, key))
        return await self._database.write(lambda connection: connection.execute(statement).rowcount > 0)

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
