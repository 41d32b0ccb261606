"""The steps of recoveries in words, and the journal of their execution: both only grow.

A journal entry is durable when ``write`` returns: an intent is written before the act, the outcome
after it. After a crash ``open_recoveries`` gives what was begun and how far it came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from services.store.engine import Database
from services.store.errors import UnknownRecoveryError
from services.store.recovery_rows import recovery_of
from services.store.rows import fence, key_columns, key_of
from services.store.schema import RECOVERIES, RECOVERY_JOURNAL, RECOVERY_STEPS
from services.topology.records import JournalEntry, JournalPhase, Recovery, RecoveryStep

__all__ = ["JournalStore", "OpenRecovery", "append_in"]


@dataclass(frozen=True, slots=True)
class OpenRecovery:
    """A recovery that has not ended, with its journal, oldest entry first."""

    recovery: Recovery
    journal: tuple[JournalEntry, ...]


class JournalStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_step(self, uid: str, message: str, *, at: str) -> None:
        """Note a step of a recovery for people. Raises UnknownRecoveryError."""
        await self.add_steps(uid, [(at, message)])

    async def add_steps(self, uid: str, lines: Sequence[tuple[str, str]]) -> None:
        """The same for several, each with its time, in one transaction."""
        rows = [{"recovery_uid": uid, "at": at, "message": message} for at, message in lines]
        if rows:
            await self._database.write(lambda connection: append_in(connection, RECOVERY_STEPS, rows))

    async def steps(self, uid: str) -> tuple[RecoveryStep, ...]:
        """The steps of a recovery, oldest first."""
        table = RECOVERY_STEPS
        statement = select(table).where(table.c.recovery_uid == uid).order_by(table.c.id)
        return await self._database.read(
            lambda connection: tuple(
                RecoveryStep(id=row.id, recovery_uid=row.recovery_uid, audit_at=row.at, message=row.message)
                for row in connection.execute(statement)
            )
        )

    async def write(self, *entries: JournalEntry) -> None:
        """Append entries in the name of their terms, all or none.

        Raises StaleTermError, UnknownRecoveryError.
        """
        rows = [
            {
                "recovery_uid": entry.recovery_uid,
                "term": entry.term,
                "step_no": entry.step_no,
                "kind": entry.kind,
                **key_columns(entry.instance),
                "phase": entry.phase.value,
                "detail": entry.detail,
                "at": entry.at,
            }
            for entry in entries
        ]

        def work(connection: Connection) -> None:
            for term in {entry.term for entry in entries}:
                fence(connection, term)
            append_in(connection, RECOVERY_JOURNAL, rows)

        if rows:
            await self._database.write(work)

    async def entries(self, uid: str) -> tuple[JournalEntry, ...]:
        """The journal of a recovery, oldest first."""
        table = RECOVERY_JOURNAL
        statement = select(table).where(table.c.recovery_uid == uid).order_by(table.c.id)
        return await self._database.read(
            lambda connection: tuple(_entry(row) for row in connection.execute(statement))
        )

    async def open_recoveries(self) -> tuple[OpenRecovery, ...]:
        """Every recovery that has not ended, oldest first, on one consistent view."""
        journal, slot = RECOVERY_JOURNAL, RECOVERIES.c.active_slot

        def work(connection: Connection) -> tuple[OpenRecovery, ...]:
            entries: defaultdict[str, list[JournalEntry]] = defaultdict(list)
            of_open = (
                select(journal)
                .join(RECOVERIES, RECOVERIES.c.uid == journal.c.recovery_uid)
                .where(slot.is_not(None))
                .order_by(journal.c.id)
            )
            for row in connection.execute(of_open):
                entries[row.recovery_uid].append(_entry(row))
            recoveries = connection.execute(
                select(RECOVERIES).where(slot.is_not(None)).order_by(RECOVERIES.c.id)
            )
            return tuple(
                OpenRecovery(recovery_of(row, row.started_at), tuple(entries[row.uid])) for row in recoveries
            )

        return await self._database.read(work)

    async def unfinished(self, kind: str) -> tuple[OpenRecovery, ...]:
        """Recoveries that have ended and whose journal has an intent of this kind without an outcome.

        Oldest first, each with its entries of this kind only.
        """
        journal = RECOVERY_JOURNAL
        ended = RECOVERIES.c.active_slot.is_(None)

        def work(connection: Connection) -> tuple[OpenRecovery, ...]:
            of_kind = select(journal).where(journal.c.kind == kind).order_by(journal.c.id)
            entries: defaultdict[str, list[JournalEntry]] = defaultdict(list)
            for row in connection.execute(of_kind):
                entries[row.recovery_uid].append(_entry(row))
            uids = [uid for uid, of_one in entries.items() if of_one[-1].phase is JournalPhase.INTENT]
            recoveries = select(RECOVERIES).where(ended, RECOVERIES.c.uid.in_(uids)).order_by(RECOVERIES.c.id)
            return tuple(
                OpenRecovery(recovery_of(row, row.started_at), tuple(entries[row.uid]))
                for row in connection.execute(recoveries)
            )

        return await self._database.read(work)


def append_in(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises UnknownRecoveryError; who deletes a recovery comes before or after this whole transaction."""
    uids = {row["recovery_uid"] for row in rows}
    known = set(connection.execute(select(RECOVERIES.c.uid).where(RECOVERIES.c.uid.in_(uids))).scalars())
    if uids - known:
        raise UnknownRecoveryError(min(uids - known))
    connection.execute(insert(table), rows)


def _entry(row: Any) -> JournalEntry:
    return JournalEntry(
        id=row.id,
        recovery_uid=row.recovery_uid,
        term=row.term,
        step_no=row.step_no,
        kind=row.kind,
        instance=key_of(row),
        phase=JournalPhase(row.phase),
        detail=row.detail,
        at=row.at,
    )
