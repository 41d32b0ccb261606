"""What becomes of an attempt on a MySQL or MariaDB backend that failed: it is run again, or told.

Several servers that all take writes refuse what did not see another's write, at its commit. One of any two
wins, so that all get through with a few attempts each; pauses of random length keep two from going on side
by side.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from services.store.backend import MySQLBackend
from services.store.mysql_errors import CONFLICTS, LOCK_WAIT, LOST, NOT_READY, READ_ONLY
from services.store.mysql_session import LOCK_WAIT_SECONDS

__all__ = ["ATTEMPTS", "CONFLICT_ATTEMPTS", "Failed"]

ATTEMPTS = 3
CONFLICT_ATTEMPTS = 10
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.2
_NOT_READY_SECONDS = 0.1
_SPARE_SECONDS = 0.5
"""A lock is not awaited again unless that could come to an end in time."""
_ROLLED_BACK = CONFLICTS | READ_ONLY
"""Also said of a COMMIT, of which nothing happened then."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt, by its error number. ``is_new``: its session was made for it."""

    number: int
    is_new: bool
    committing: bool

    def ends_session(self, backend: MySQLBackend) -> bool:
        """The next attempt is to have another one: through a proxy it may lead to another server."""
        turned = self.number in READ_ONLY and backend.rejects_read_only
        return turned or self.number in LOST | NOT_READY

    def pause_seconds(self, backend: MySQLBackend, attempt: int, left_seconds: float) -> float | None:
        """How long to wait before the next attempt; None if there is to be none. ``attempt``: from 1."""
        if self.committing and self.number not in _ROLLED_BACK:
            return None  # whether it happened is not known
        if attempt >= (CONFLICT_ATTEMPTS if self.number in CONFLICTS else ATTEMPTS):
            return None
        if self.number in CONFLICTS:
            longest = min(_PAUSE_SECONDS * 2 ** (attempt - 1), _LONGEST_PAUSE_SECONDS)
            return random.uniform(0.0, longest)  # noqa: S311
        if self.number in NOT_READY:
            return _NOT_READY_SECONDS * attempt
        worth_it = (
            (self.number == LOCK_WAIT and left_seconds > LOCK_WAIT_SECONDS + _SPARE_SECONDS)
            or (self.number in READ_ONLY and backend.rejects_read_only)
            or (self.number in LOST and not self.is_new)
        )
        return _PAUSE_SECONDS if worth_it else None
