"""The general audit, and the end of what is kept of the past."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Table, delete, insert

from services.store.engine import Database
from services.store.recovery_rows import delete_recoveries
from services.store.rows import is_server, key_columns, key_of, paged
from services.store.schema import AUDIT_LOG, FAILURE_DETECTIONS, RECOVERIES
from services.store.times import shifted
from services.topology.keys import InstanceKey
from services.topology.records import AuditEntry

__all__ = ["AuditStore", "note_in"]

_DAY_SECONDS = 86_400


class AuditStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entry: AuditEntry) -> None:
        await self._database.write(lambda connection: note_in(connection, [entry]))

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

        Never a recovery that runs or still blocks its cluster.
        Returns how many rows were removed, steps and journal not counted.
        """
        before = shifted(now, -days * _DAY_SECONDS)
        over: tuple[tuple[Table, tuple[ColumnElement[bool], ...]], ...] = (
            (AUDIT_LOG, (AUDIT_LOG.c.at < before,)),
            (
                FAILURE_DETECTIONS,
                (FAILURE_DETECTIONS.c.detected_at < before, FAILURE_DETECTIONS.c.active_until <= now),
            ),
        )

        recoveries = (
            RECOVERIES.c.active_slot.is_(None),
            RECOVERIES.c.ended_at < before,
            RECOVERIES.c.blocked_until <= now,
        )

        def work(connection: Connection) -> int:
            removed = sum(connection.execute(delete(table).where(*past)).rowcount for table, past in over)
            return removed + delete_recoveries(connection, *recoveries)

        return await self._database.write(work)


def note_in(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Audit something in the transaction that does it."""
    rows = [
        {**key_columns(entry.instance), "at": entry.at, "type": entry.type, "message": entry.message}
        for entry in entries
    ]
    if rows:
        connection.execute(insert(AUDIT_LOG), rows)
