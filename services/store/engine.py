"""What the store's transactions run on, SQLite (``sqlite``) or MySQL and MariaDB (``mysql``), and promise.

- A transaction is a plain function of a connection; it commits when the function returns and rolls
  back when it raises. No statement runs outside one. On MySQL it may be run again from the start, after
  a conflict rolled it back: it has no effect but through its connection.
- Writes are serial, among all processes that share the store. A read sees what was committed when it
  began, and neither waits for writes nor makes them wait.
- Every call ends within its limit. A write that was cut off while it was committing may have done so:
  then its outcome is not known (StoreTimeoutError).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

__all__ = ["CALL_LIMIT_SECONDS", "Database", "Limit", "TooLateError"]

T = TypeVar("T")

CALL_LIMIT_SECONDS = 5.0


class Database(ABC):
    """The connections of one process to the store, whose schema is ready."""

    def __init__(self, path: str, *, read_only: bool) -> None:
        self.path = path
        """The file, or ``host:port/database``: what errors name."""
        self.read_only = read_only

    @property
    @abstractmethod
    def last_error(self) -> str:
        """The text of the last write's failure, or the last read's; empty if they went well."""

    @abstractmethod
    async def read(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        """Run ``work`` on one consistent view. Raises StoreError."""

    @abstractmethod
    async def write(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        """Run ``work`` in one transaction, all or nothing. Raises StoreError, or what ``work`` raises."""

    @abstractmethod
    async def close(self) -> None:
        """Let end what runs, close all connections. Bounded; a connection that hangs is left behind."""


class TooLateError(Exception):
    """The limit of a transaction has passed; it rolls back."""


class Limit:
    """Until when one transaction may take, on the monotonic clock."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def check(self) -> None:
        if time.monotonic() > self.deadline:
            raise TooLateError
