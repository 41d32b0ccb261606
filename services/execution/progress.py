"""Whether an applier moves: between two transactions by its positions, within a long one by the rows.

While one long transaction is applied neither the executed set nor a position moves, as if the applier hung
behind a lock. InnoDB's counters of changed rows tell the two apart: nobody else writes on a replica that
is read-only, but for the appliers of other sources, if it has any: with those, rows count for some time only.
"""

from __future__ import annotations

import time

from services.mysql.session import ActingSession

__all__ = ["Progress"]

_ROWS = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN "
    "('Innodb_rows_inserted', 'Innodb_rows_updated', 'Innodb_rows_deleted')"
)
_OTHERS_WRITE = 6.0  # so many times the patience rows count where other appliers write too
_LOOK_CLOSER = 0.25  # share of the patience after which rows are counted


class Progress:
    """Of one applier, from now on. ``patience`` in seconds."""

    def __init__(self, session: ActingSession, patience: float) -> None:
        self._session = session
        self._patience = patience
        self._positions = ""
        self._rows = ""
        self._moved_at = self._positions_moved_at = time.monotonic()

    async def has_ended(self, positions: str) -> bool:
        """Neither ``positions`` nor rows have moved for the patience. Raises as reading does."""
        now = time.monotonic()
        if positions != self._positions:
            self._positions, self._rows = positions, ""
            self._moved_at = self._positions_moved_at = now
            return False
        if now - self._moved_at < self._patience * _LOOK_CLOSER:
            return False
        if self._session.several_sources and now - self._positions_moved_at > self._patience * _OTHERS_WRITE:
            return True
        rows = " ".join(str(row["Value"]) for row in await self._session.read(_ROWS))
        if self._rows not in ("", rows):
            self._moved_at = now
        self._rows = rows
        return now - self._moved_at > self._patience
