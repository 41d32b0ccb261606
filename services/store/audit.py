"""The general audit, and the end of everything that is kept for a time only."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Table, delete, insert

from services.store.engine import Database
from services.store.rows import is_server, key_columns, key_of, paged
from services.store.schema import AUDIT_LOG, DOWNTIMES, FAILURE_DETECTIONS, PROMOTION_RULES, RECOVERIES
from services.store.times import shifted
from services.topology.keys import InstanceKey
from services.topology.records import AuditEntry

__all__ = ["AuditStore"]

_DAY_SECONDS = 86_400


class AuditStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entry: AuditEntry) -> None:
        row = {**key_columns(entry.instance), "at": entry.at, "type": entry.type, "message": entry.message}
        await self._database.write(lambda connection: connection.execute(insert(AUDIT_LOG).values(row)))

    async def page(self, *, page: int = 0, instance: InstanceKey | None = None) -> tuple[AuditEntry, ...]:
        """Entries, newest first, PAGE_SIZE to a page from 0."""
        table = AUDIT_LOG
        statement = paged(table, page)
        if instance is not None:
            statement = statement.where(is_server(table, instance))
        return await self._database.read(
            lambda connection: tuple(
                AuditEntry(id=row.id, at=row.at, type=row.type, instance=key_of(row), message=row.message)
                for row in connection.execute(statement)
            )
        )

    async def purge(self, now: str, *, days: float) -> int:
        """Remove audit, detections and recoveries (with steps and journal) older than ``days``.

        Never a recovery that runs or still blocks its cluster. Registrations that are over go too.
        Returns how many rows were removed, steps and journal not counted.
        """
        before = shifted(now, -days * _DAY_SECONDS)
        over: tuple[tuple[Table, tuple[ColumnElement[bool], ...]], ...] = (
            (AUDIT_LOG, (AUDIT_LOG.c.at < before,)),
            (
                FAILURE_DETECTIONS,
                (FAILURE_DETECTIONS.c.detected_at < before, FAILURE_DETECTIONS.c.active_until <= now),
            ),
            (
                RECOVERIES,
                (
                    RECOVERIES.c.active_slot.is_(None),
                    RECOVERIES.c.ended_at < before,
                    RECOVERIES.c.blocked_until <= now,
                ),
            ),
            (PROMOTION_RULES, (PROMOTION_RULES.c.expires_at <= now,)),
            (DOWNTIMES, (DOWNTIMES.c.ends_at <= now,)),
        )

        def work(connection: Connection) -> int:
            return sum(connection.execute(delete(table).where(*past)).rowcount for table, past in over)

        return await self._database.write(work)
