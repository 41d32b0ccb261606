"""What the store can answer instead of doing what was asked.

StoreError
├── StoreUnusableError         somebody has to mend it first; the text says what and how
│   ├── StorePathError         no such file, a directory, no permission, no WAL there
│   ├── StoreAccessError       a MySQL backend refuses the account, or lacks the database
│   ├── StoreCorruptError      not a database, or a damaged one
│   └── StoreSchemaError       of a newer or an unknown program, or not made ready yet
├── StoreUnavailableError      not now; a later try may succeed
│   ├── StoreFullError         the disk is full
│   ├── StoreBusyError         another process holds it for too long
│   │   └── StoreConflictError another process wrote first, again and again
│   ├── StoreReadOnlyError     a MySQL backend that takes no writes now
│   └── StoreTimeoutError      no answer in time: whether it happened is not known
└── StoreRefusedError          the store works; this change is not allowed
    ├── ClusterBusyError       a recovery of the cluster runs
    ├── ClusterBlockedError    an earlier recovery of the cluster blocks automatic ones
    ├── StaleTermError         a newer term was elected
    ├── MasterChangedError     the cluster has another master than the caller expects
    └── UnknownRecoveryError   no recovery with this uid
"""

from __future__ import annotations

from typing import Any

from services.topology.keys import InstanceKey
from services.topology.records import Recovery

__all__ = [
    "ClusterBlockedError",
    "ClusterBusyError",
    "MasterChangedError",
    "StaleTermError",
    "StoreAccessError",
    "StoreBusyError",
    "StoreConflictError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StorePathError",
    "StoreReadOnlyError",
    "StoreRefusedError",
    "StoreSchemaError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "StoreUnusableError",
    "UnknownRecoveryError",
    "from_sqlite",
]


class StoreError(Exception):
    """Base of all; the text names the file or backend and, where there is one, the mend."""

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, to another process: most are made of more than their text."""
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[StoreError], arguments: tuple[Any, ...], state: dict[str, Any]) -> StoreError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


class StoreUnusableError(StoreError):
    """Trying again is of no use before somebody mended it."""


class StorePathError(StoreUnusableError):
    """The file cannot be opened where it is."""


class StoreAccessError(StoreUnusableError):
    """The backend does not let the account in, or not into the database."""


class StoreCorruptError(StoreUnusableError):
    """The file is not a database, or a damaged one."""


class StoreSchemaError(StoreUnusableError):
    """The tables are not those of this program."""


class StoreUnavailableError(StoreError):
    """The store does not work at the moment: nothing may be acted upon; a later try may succeed."""


class StoreFullError(StoreUnavailableError):
    """The disk is full. Nothing was written."""


class StoreBusyError(StoreUnavailableError):
    """Another process held the store for too long. Nothing was written."""


class StoreConflictError(StoreBusyError):
    """Others wrote at the same time, elsewhere perhaps, and were first each time. Nothing was written."""


class StoreReadOnlyError(StoreUnavailableError):
    """The backend is read-only at the moment. Nothing was written."""


class StoreTimeoutError(StoreUnavailableError):
    """No answer within the limit. Whether a write happened is not known."""


class StoreRefusedError(StoreError):
    """The store works and says no."""


class ClusterBusyError(StoreRefusedError):
    """``running`` is the recovery that has the cluster."""

    def __init__(self, running: Recovery) -> None:
        entry = running.analysis_entry
        super().__init__(
            f"cluster {entry.cluster_name} has a running recovery: id {running.id}, uid {running.uid}, "
            f"{entry.analysis} of {entry.analyzed_instance_key}, since {running.recovery_start_timestamp}"
        )
        self.running = running


class ClusterBlockedError(StoreRefusedError):
    """``blocking`` is the ended recovery whose block lasts."""

    def __init__(self, blocking: Recovery) -> None:
        entry = blocking.analysis_entry
        super().__init__(
            f"cluster {entry.cluster_name} was recovered at {blocking.recovery_end_timestamp} and is "
            f"blocked for automatic recovery until {blocking.blocked_until}: acknowledge recovery "
            f"{blocking.id} to allow it before"
        )
        self.blocking = blocking


class StaleTermError(StoreRefusedError):
    """Somebody else leads: whoever asked must stop acting."""

    def __init__(self, term: int, newest: int) -> None:
        super().__init__(f"term {term} is over: term {newest} was elected")
        self.term = term
        self.newest = newest


class MasterChangedError(StoreRefusedError):
    """The cluster's master is not the one that the change was planned for."""

    def __init__(self, cluster_id: str, expected: InstanceKey, found: InstanceKey) -> None:
        super().__init__(f"cluster {cluster_id} has master {found}, not {expected} as expected")
        self.cluster_id = cluster_id
        self.expected = expected
        self.found = found


class UnknownRecoveryError(StoreRefusedError):
    def __init__(self, uid: str) -> None:
        super().__init__(f"no recovery with uid {uid}")
        self.uid = uid


# SQLite's primary result codes (https://www.sqlite.org/rescode.html)
_BUSY, _LOCKED, _READONLY, _INTERRUPT = 5, 6, 8, 9
_CORRUPT, _FULL, _CANTOPEN, _NOTADB = 11, 13, 14, 26

# Python 3.10 does not hand the code on; SQLite's own texts do not change with the locale
_CODE_OF_TEXT = {
    "database is locked": _BUSY,
    "database table is locked": _LOCKED,
    "attempt to write a readonly database": _READONLY,
    "interrupted": _INTERRUPT,
    "database disk image is malformed": _CORRUPT,
    "database or disk is full": _FULL,
    "unable to open database file": _CANTOPEN,
    "file is not a database": _NOTADB,
}


_DAMAGED = (
    StoreCorruptError,
    "the store {path} is damaged or not a database ({error}): move it away and put a backup in its place, "
    "or start without it; servers are then discovered anew from the seeds, registrations and audit are lost",
)
_HELD = (StoreBusyError, "the store {path} is held by another process ({error})")
_ERROR_OF_CODE: dict[int, tuple[type[StoreError], str]] = {
    _CORRUPT: _DAMAGED,
    _NOTADB: _DAMAGED,
    _BUSY: _HELD,
    _LOCKED: _HELD,
    _FULL: (StoreFullError, "no room for the store {path}: free space on its disk"),
    _CANTOPEN: (
        StorePathError,
        "the store {path} cannot be opened: see that this user may write it and its directory",
    ),
    _READONLY: (
        StorePathError,
        "the store {path} may not be written: let this user write it and its directory",
    ),
    _INTERRUPT: (StoreTimeoutError, "the store {path} took too long, the statement was stopped"),
}
_ANY_OTHER = (StoreUnavailableError, "the store {path} failed: {error}")


def from_sqlite(error: BaseException, path: str) -> StoreError:
    """The error for what SQLite (``sqlite3.Error``) raised while it worked on the file ``path``."""
    code = getattr(error, "sqlite_errorcode", None)
    code = _CODE_OF_TEXT.get(str(error), 0) if code is None else code & 0xFF  # extended codes lie above
    kind, text = _ERROR_OF_CODE.get(code, _ANY_OTHER)
    return kind(text.format(path=path, error=error))
