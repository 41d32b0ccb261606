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

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection

from services.store.errors import StorePathError

__all__ = ["CALL_LIMIT_SECONDS", "Database", "LaneDatabase", "Limit", "TooLateError"]

T = TypeVar("T")

CALL_LIMIT_SECONDS = 5.0


class Database(ABC):
    """The connections of one process to the store, whose schema is ready."""

    def __init__(self, path: str, *, read_only: bool) -> None:
        self.path = path
        """The file, or ``host:port/database``: what errors name."""
        self.read_only = read_only
        self.note: Callable[[float, float, str], None] | None = None
        """Told of each transaction: seconds until it began, seconds it took, its error."""

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

    async def write_own(
        self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS
    ) -> T:
        """As ``write``, for rows that no other process writes: need not stand in line with other writes."""
        return await self.write(work, limit_seconds=limit_seconds)

    async def writes(self) -> int | None:
        """How many there have been, where that is counted: it only grows in one store. Raises StoreError."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Let end what runs, close all connections. Bounded; a connection that hangs is left behind."""


class _Lane(Protocol):
    last_error: str


L = TypeVar("L", bound=_Lane)


class LaneDatabase(Database, Generic[L]):
    """Reads and writes have a lane of connections each, and do not wait for each other."""

    def __init__(self, path: str, *, read_only: bool, reader: L, writer: L) -> None:
        super().__init__(path, read_only=read_only)
        self._reader, self._writer = reader, writer
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def last_error(self) -> str:
        return self._writer.last_error or self._reader.last_error

    async def read(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        return await self._noted(self._reader, work, limit_seconds)

    async def write(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        self._refuse_if_read_only()
        return await self._noted(self._writer, work, limit_seconds)

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise StorePathError(f"the store {self.path} was opened for reading only")

    async def _noted(self, lane: L, work: Callable[[Connection], T], limit_seconds: float) -> T:
        note = self.note
        if note is None:
            return await self._within(lane, work, limit_seconds)
        asked = begun = time.monotonic()
        error = ""

        def timed(connection: Connection) -> T:
            nonlocal begun
            begun = time.monotonic()
            return work(connection)

        try:
            return await self._within(lane, timed, limit_seconds)
        except BaseException as failure:
            error = str(failure) or type(failure).__name__
            raise
        finally:
            note(begun - asked, time.monotonic() - begun, error)

    @abstractmethod
    async def _within(self, lane: L, work: Callable[[Connection], T], limit_seconds: float) -> T: ...

    def _begin(self, transaction: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """It runs to its end, whether or not its caller waits so long."""
        task = asyncio.create_task(transaction)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more

    async def _await_under_way(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CALL_LIMIT_SECONDS)


class TooLateError(Exception):
    """The limit of a transaction has passed; it rolls back."""


class Limit:
    """Until when one transaction may take, on the monotonic clock."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    @property
    def left_seconds(self) -> float:
        return self.deadline - time.monotonic()

    def check(self) -> None:
        if self.left_seconds < 0:
            raise TooLateError
