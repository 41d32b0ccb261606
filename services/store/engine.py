"""One SQLite file, used by several processes: every access is one short transaction of bounded time.

The rules it keeps:

- A transaction is a plain function of a connection; it commits when the function returns and rolls
  back when it raises. No statement runs outside one.
- Writes of a process go one at a time over one connection and begin with BEGIN IMMEDIATE, so that
  a transaction that began cannot fail halfway because another process wrote in between. Reads have
  their own connections, which can do nothing else; with a write-ahead log they neither wait nor
  make wait, and see what was committed when they began.
- Every call ends within its limit: SQLite waits at most BUSY_LIMIT_SECONDS for another process; a
  statement that runs longer is interrupted; a disk that hangs is left to itself. Then whether a
  write happened is not known (StoreTimeoutError).
- ``synchronous=FULL``: what was committed survives the loss of power.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.store.errors import (
    StoreError,
    StorePathError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
    from_sqlite,
)

__all__ = ["BUSY_LIMIT_SECONDS", "CALL_LIMIT_SECONDS", "Database", "sqlite_url"]

T = TypeVar("T")

BUSY_LIMIT_SECONDS = 2.0
CALL_LIMIT_SECONDS = 5.0
_INTERRUPT_GRACE_SECONDS = 0.5
_READERS = 4


def sqlite_url(driver: str, path: str, mode: str) -> URL:
    """The address of a file; ``mode`` is SQLite's: rw opens only what is there, rwc creates too."""
    return URL.create(driver, database=f"file:{quote(path)}", query={"mode": mode, "uri": "true"})


class Database:
    """The connections of one process to the store's file, whose schema is ready."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._reader = _Lane(_engine(path, size=_READERS, begin="BEGIN", query_only=True), _READERS)
        self._writer = _Lane(_engine(path, size=1, begin="BEGIN IMMEDIATE", query_only=False), 1)
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def last_error(self) -> str:
        """The text of the last write's failure, or the last read's; empty if they went well."""
        return self._writer.last_error or self._reader.last_error

    async def read(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        """Run ``work`` on one consistent view. Raises StoreError."""
        return await self._within(self._reader, work, limit_seconds)

    async def write(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        """Run ``work`` in one transaction, all or nothing. Raises StoreError, or what ``work`` raises."""
        if self.read_only:
            raise StorePathError(f"the store {self.path} was opened for reading only")
        return await self._within(self._writer, work, limit_seconds)

    async def close(self) -> None:
        """Let end what runs, close all connections. Bounded; a connection that hangs is left behind."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CALL_LIMIT_SECONDS)
        closing = [asyncio.create_task(lane.engine.dispose()) for lane in (self._reader, self._writer)]
        await asyncio.wait(closing, timeout=CALL_LIMIT_SECONDS)

    async def _within(self, lane: _Lane, work: Callable[[Connection], T], limit_seconds: float) -> T:
        transaction = _Transaction(lane)
        task = asyncio.create_task(transaction.run(work))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({task}, timeout=limit_seconds)
            if not done:
                await transaction.interrupt()
                done, _ = await asyncio.wait({task}, timeout=_INTERRUPT_GRACE_SECONDS)
        except asyncio.CancelledError:
            await transaction.interrupt()  # nobody waits for it any more: it ends by itself
            raise
        try:
            if not done:
                task.cancel()
                raise StoreTimeoutError(f"the store {self.path} did not answer within {limit_seconds:g} s")
            result = task.result()
        except StoreRefusedError:
            lane.last_error = ""
            raise
        except DBAPIError as error:
            raise lane.failed(from_sqlite(error.orig or error, self.path)) from error
        except SQLAlchemyError as error:
            raise lane.failed(StoreUnavailableError(f"the store {self.path} failed: {error}")) from error
        except StoreError as error:
            lane.failed(error)
            raise
        lane.last_error = ""
        return result

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more


class _Lane:
    """An engine, whose turn it is to use it, and how it went last. Turns are given in the order of asking."""

    def __init__(self, engine: AsyncEngine, width: int) -> None:
        self.engine = engine
        self.turns = asyncio.Semaphore(width)
        self.last_error = ""

    def failed(self, error: StoreError) -> StoreError:
        self.last_error = str(error)
        return error


class _Transaction:
    """One transaction under way, that another task can interrupt."""

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self._driver: Any = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        async with self._lane.turns, self._lane.engine.connect() as connection:
            self._driver = (await connection.get_raw_connection()).driver_connection
            try:
                async with connection.begin():
                    return await connection.run_sync(work)
            finally:
                self._driver = None

    async def interrupt(self) -> None:
        """Make the statement that runs fail. At once, and of no effect if none does."""
        if self._driver is not None:
            with contextlib.suppress(ValueError):  # its connection was closed meanwhile
                await self._driver.interrupt()


def _engine(path: str, *, size: int, begin: str, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        sqlite_url("sqlite+aiosqlite", path, "rw"),
        # None: the driver begins nothing by itself, or DDL would end a transaction and reads have none
        connect_args={"isolation_level": None, "timeout": BUSY_LIMIT_SECONDS},
        pool_size=size,
        max_overflow=0,
        pool_timeout=CALL_LIMIT_SECONDS,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(dbapi_connection: Any, _record: object) -> None:
        cursor = dbapi_connection.cursor()
        for pragma in ("foreign_keys=ON", "synchronous=FULL", f"query_only={'ON' if query_only else 'OFF'}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
