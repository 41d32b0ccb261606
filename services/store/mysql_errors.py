"""What an error of a MySQL or MariaDB backend means for the store: decided by numbers, never by prose."""

from __future__ import annotations

import re
from typing import Any

from services.store.errors import (
    StoreAccessError,
    StoreBusyError,
    StoreConflictError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreRefusedError,
    StoreSchemaError,
    StoreTimeoutError,
    StoreUnavailableError,
)

__all__ = [
    "CONFLICTS",
    "LOCK_WAIT",
    "LOST",
    "NOT_READY",
    "NO_SUCH_DATABASE",
    "READ_ONLY",
    "from_mysql",
    "number_of",
]

_DEADLOCK = 1213
CONFLICTS = frozenset({_DEADLOCK, 3101})
"""The whole transaction was rolled back in favour of another: a deadlock, a write set that failed its
certification (Galera says 1213, Group Replication 3101). Nothing of it happened; it may be tried again."""

LOST = frozenset({0, 1053, 1317, 1927, 2006, 2013, 2014, 2055, 3169, 4031})
"""The session ended, by the network, the server's end, a time-out or a KILL; what was open is rolled back."""

READ_ONLY = frozenset({1290, 1792, 1836, 3100})
"""The server takes no writes. 3100: a member of Group Replication that does not take part."""

NOT_READY = frozenset({1047, 3032, 3797})
"""A member of a cluster that takes no part in it at the moment: cut off from the majority (Galera says 1047),
expelled and in offline mode (Group Replication, 3032), before a new primary is up to date (3797)."""

LOCK_WAIT = 1205

NO_SUCH_DATABASE = frozenset({1044, 1049})
"""1044 is also what an account without rights on a database is told that does not exist."""

_ACCESS = frozenset({1045, 1142, 1143, 1227, 1251, 1698, 1820, 3118, 3955})
_FULL = frozenset({1021, 1114})
_SCHEMA = frozenset({1054, 1146})
_TOO_LONG = frozenset({1153, 1406})
_UNREACHABLE = frozenset({2002, 2003, 2005})
_ERROR_DURING_COMMIT, _DEADLOCK_OF_ENGINE = 1180, 149  # "Got error 149 … during COMMIT"
_COMMIT_UNKNOWN = frozenset({_ERROR_DURING_COMMIT})
_TLS_REQUIRED = 3159

_TEXTS: dict[int, tuple[type[StoreError], str]] = {
    LOCK_WAIT: (StoreBusyError, "another process writes to the store {path} for too long ({error})"),
    **dict.fromkeys(
        NOT_READY,
        (
            StoreUnavailableError,
            "the store {path} belongs to no majority of its cluster at the moment ({error})",
        ),
    ),
    _TLS_REQUIRED: (
        StoreAccessError,
        "the store {path} asks for TLS: set MySQLOrchestratorUseMutualTLS, and the files of its keys",
    ),
    **dict.fromkeys(
        CONFLICTS, (StoreConflictError, "another process wrote to the store {path} first ({error})")
    ),
    **dict.fromkeys(
        READ_ONLY,
        (StoreReadOnlyError, "the store {path} is read-only ({error}): open it, or name its writer"),
    ),
    **dict.fromkeys(
        _ACCESS,
        (
            StoreAccessError,
            (
                "the store {path} refuses the account ({error}): see MySQLOrchestratorUser, its "
                "password and its grants"
            ),
        ),
    ),
    **dict.fromkeys(
        NO_SUCH_DATABASE,
        (
            StoreAccessError,
            (
                "the store {path} is not there for the account ({error}): create the database, and grant ALL "
                "PRIVILEGES on it (MySQLOrchestratorDatabase, MySQLOrchestratorUser)"
            ),
        ),
    ),
    **dict.fromkeys(
        _FULL, (StoreFullError, "no room for the store {path} ({error}): free space on its disk")
    ),
    **dict.fromkeys(
        _SCHEMA,
        (StoreSchemaError, "the store {path} lacks a table or column ({error}): restart the node to make it"),
    ),
    **dict.fromkeys(
        _TOO_LONG, (StoreRefusedError, "the store {path} takes no value as long as this ({error})")
    ),
    **dict.fromkeys(
        _UNREACHABLE,
        (
            StoreUnavailableError,
            (
                "the store {path} is not reached ({error}): start it, or see MySQLOrchestratorHost and "
                "MySQLOrchestratorPort"
            ),
        ),
    ),
    **dict.fromkeys(LOST, (StoreUnavailableError, "the connection to the store {path} was lost ({error})")),
}
_ANY_OTHER = (StoreUnavailableError, "the store {path} failed: {error}")


def number_of(error: BaseException | None) -> int:
    """The error number of what the driver raised; 0 if it is none of the server's.

    A transaction that InnoDB gave up in favour of another member's, and that came to its COMMIT before it was
    told, fails there with the engine's own number: that is the deadlock that it is.
    """
    number = _given(error)
    if number == _ERROR_DURING_COMMIT:
        of_engine = re.search(r"\d+", _words(error))
        return _DEADLOCK if of_engine and int(of_engine[0]) == _DEADLOCK_OF_ENGINE else number
    return number


def _given(error: BaseException | None) -> int:
    number: Any = error.args[0] if error is not None and error.args else 0
    return number if isinstance(number, int) else 0


def _words(error: BaseException | None) -> str:
    arguments = error.args if error is not None else ()
    return str(arguments[1]) if len(arguments) > 1 else str(error or "")


def from_mysql(error: BaseException | None, path: str, *, committing: bool = False) -> StoreError:
    """The error for what the driver raised while it worked on ``path``.

    ``committing``: the COMMIT was sent, so that a lost connection says nothing about its outcome.
    """
    number = number_of(error)
    if committing and number in LOST | _COMMIT_UNKNOWN:
        return StoreTimeoutError(
            f"the connection to the store {path} was lost while it committed ({_said(error)}): whether that "
            "happened is not known"
        )
    kind, text = _TEXTS.get(number, _ANY_OTHER)
    return kind(text.format(path=path, error=_said(error)))


def _said(error: BaseException | None) -> str:
    """The server's words and number; they hold the account's name, never its password."""
    words, number = _words(error), _given(error)
    return f"{words} [error {number}]" if number else words or "the connection is closed"
