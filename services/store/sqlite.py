"""One SQLite file, used by several processes: every access is one short transaction of bounded time.

The rules it keeps:

- A transaction (see ``engine``) runs as a whole in the thread that the driver keeps for the connection:
  to change threads for each statement took five times the processor time.
- Writes of a process go one at a time over one connection and begin with BEGIN IMMEDIATE, so that
  a transaction that began cannot fail halfway because another process wrote in between. Reads have
  their own connections, which can do nothing else; with a write-ahead log they neither wait nor
  make wait, and see what was committed when they began.
- Every call ends within its limit: SQLite waits at most BUSY_LIMIT_SECONDS for another process; a
  statement that computes for too long stops itself; a disk that hangs is left to itself, and calls
  that come meanwhile wait in vain for their turn. A transaction that finds its limit passed rolls
  back, but one that was committing may have done so: the outcome is not known (StoreTimeoutError).
- ``synchronous=FULL``: what was committed survives the loss of power.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from services.store.engine import CALL_LIMIT_SECONDS, LaneDatabase, Limit, TooLateError
from services.store.errors import (
    StoreError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
    from_sqlite,
)

__all__ = ["BUSY_LIMIT_SECONDS", "SQLiteDatabase", "sqlite_url"]

T = TypeVar("T")

BUSY_LIMIT_SECONDS = 2.0
_GRACE_SECONDS = 0.25
"""What a statement that stops itself has for the way back, before its call gives up."""
_READERS = 4
_STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's virtual machine; some tenths of a millisecond
_WATCH, _CORE = "watch", "core"  # what is remembered of a connection


def sqlite_url(driver: str, path: str, mode: str) -> URL:
    """The address of a file; ``mode`` is SQLite's: rw opens only what is there, rwc creates too."""
    return URL.create(driver, database=f"file:{quote(path)}", query={"mode": mode, "uri": "true"})


class SQLiteDatabase(LaneDatabase["_Lane"]):
    """The connections of one process to the store's file, whose schema is ready."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(
            path,
            read_only=read_only,
            reader=_Lane(_engine(path, size=_READERS, query_only=True), "BEGIN", _READERS),
            writer=_Lane(_engine(path, size=1, query_only=False), "BEGIN IMMEDIATE", 1),
        )

    async def close(self) -> None:
        await self._await_under_way()
        closing = [asyncio.create_task(lane.engine.dispose()) for lane in (self._reader, self._writer)]
        await asyncio.wait(closing, timeout=CALL_LIMIT_SECONDS)

    async def _within(self, lane: _Lane, work: Callable[[Connection], T], limit_seconds: float) -> T:
        limit = Limit(time.monotonic() + limit_seconds)
        task = self._begin(lane.run(work, limit))
        # The task is never cancelled: its connection would be lost, and the wait for it not shorter.
        try:
            await asyncio.wait({task}, timeout=limit_seconds + _GRACE_SECONDS)
        except asyncio.CancelledError:
            limit.deadline = 0.0  # nobody waits for it any more
            raise
        try:
            result = task.result()
        except (TooLateError, asyncio.InvalidStateError):  # the latter: it has no result yet
            text = f"the store {self.path} did not answer within {limit_seconds:g} s"
            raise lane.failed(StoreTimeoutError(text)) from None
        except StoreRefusedError:
            lane.last_error = ""
            raise
        except DBAPIError as error:
            raise lane.failed(from_sqlite(error.orig or error, self.path)) from error
        except SQLAlchemyError as error:
            raise lane.failed(StoreUnavailableError(f"the store {self.path} failed: {error}")) from error
        lane.last_error = ""
        return result


class _Lane:
    """Connections, whose turn it is, and how it went last. Turns are given in the order of asking."""

    def __init__(self, engine: AsyncEngine, begin: str, width: int) -> None:
        self.engine = engine
        self.turns = asyncio.Semaphore(width)
        self.last_error = ""
        self._core = _Core(begin)

    async def run(self, work: Callable[[Connection], T], limit: Limit) -> T:
        async with self.turns:
            limit.check()
            async with self.engine.connect() as connection:
                pooled = await connection.get_raw_connection()
                driver: Any = pooled.driver_connection
                transaction = partial(self._core.transact, pooled.info, driver._conn, work, limit)
                # The only way into the driver's thread, which SQLAlchemy's own dialect takes as well.
                result: T = await driver._execute(transaction)
                return result

    def failed(self, error: StoreError) -> StoreError:
        self.last_error = str(error)
        return error


class _Watch:
    """Looks at the limit of the transaction that has the connection, in the connection's thread.

    An interruption from outside would be lost if it came between two statements.
    """

    def __init__(self) -> None:
        self.limit = Limit(math.inf)

    def is_over(self) -> bool:
        return time.monotonic() > self.limit.deadline


class _Core:
    """Runs transactions in the thread of their connection. Statements are compiled once for all of a lane."""

    def __init__(self, begin: str) -> None:
        self._local = threading.local()
        self._engine = create_engine(
            "sqlite://",
            creator=lambda: self._local.raw,
            poolclass=NullPool,
            pool_reset_on_return=None,
            hide_parameters=True,
        )

        @event.listens_for(self._engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

    def transact(
        self, info: dict[str, Any], raw: sqlite3.Connection, work: Callable[[Connection], T], limit: Limit
    ) -> T:
        """``info`` is what is remembered of the connection ``raw``."""
        info[_WATCH].limit = limit
        if _CORE not in info:
            self._local.raw = raw
            info[_CORE] = self._engine.connect()
        with info[_CORE].begin() as transaction:
            result = work(transaction.connection)
            limit.check()
        return result


def _engine(path: str, *, size: int, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        sqlite_url("sqlite+aiosqlite", path, "rw"),
        # None: the driver begins nothing by itself, or DDL would end a transaction and reads have none
        connect_args={"isolation_level": None, "timeout": BUSY_LIMIT_SECONDS},
        pool_size=size,
        max_overflow=0,
        pool_timeout=CALL_LIMIT_SECONDS,
        pool_reset_on_return=None,  # nothing runs on it outside ``_Core.transact``, which leaves nothing open
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
        watch = record.info[_WATCH] = _Watch()
        dbapi_connection.run_async(
            lambda driver: driver.set_progress_handler(watch.is_over, _STEPS_BETWEEN_LOOKS)
        )
        cursor = dbapi_connection.cursor()
        for pragma in ("foreign_keys=ON", "synchronous=FULL", f"query_only={'ON' if query_only else 'OFF'}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
