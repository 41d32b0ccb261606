"""The store on a MySQL or MariaDB server that several nodes may share.

The rules it keeps, beside those of ``engine``:

- Every write begins by counting up one row, the guard. On one server that is a lock: writes follow one
  another, each seeing all that came before. Where several servers take writes (Galera, Group
  Replication) any two writes that did not see each other collide in that row, and one of them is refused:
  whoever has written has seen all earlier writes, wherever they were made. Not so ``write_own``, which has a
  session of its own.
- A refused attempt (a deadlock, a failed certification, a lock awaited in vain) did not happen: it is run
  again, a bounded number of times and within the limit of the call (``mysql_retries``). So is what a session
  that had ended by itself could not do, or one that leads to a server that takes no part in its cluster.
- A call that reaches its limit has its session's socket shut down, so that no thread hangs with the
  server. There are as many threads as sessions, a few.
- Every statement is one that ``binlog_format=STATEMENT`` replicates safely.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pymysql
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from services.store.backend import MySQLBackend
from services.store.engine import CALL_LIMIT_SECONDS, LaneDatabase, Limit, TooLateError
from services.store.errors import (
    StoreAccessError,
    StoreError,
    StoreRefusedError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from services.store.mysql_errors import from_mysql, number_of
from services.store.mysql_retries import Failed
from services.store.mysql_session import READER_IDLE_SECONDS, WRITER_IDLE_SECONDS, Session

__all__ = ["GUARD_TABLE", "MySQLDatabase"]

T = TypeVar("T")

GUARD_TABLE = "orchestray_writes"
"""Made with the schema. It is the engine's own, as the table with the schema's version is."""
_GRACE_SECONDS = 0.25
_READERS = 4
_BEGIN_READ = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
_BEGIN_OWN = "START TRANSACTION"
_BEGIN_WRITE = (
    f"INSERT INTO {GUARD_TABLE} (id, writes) VALUES (1, 1) "  # noqa: S608
    "ON DUPLICATE KEY UPDATE writes = writes + 1"
)


class MySQLDatabase(LaneDatabase["_Lane"]):
    def __init__(self, backend: MySQLBackend, *, read_only: bool = False) -> None:
        readers = max(1, min(_READERS, backend.connections - 1))
        super().__init__(
            backend.name,
            read_only=read_only,
            reader=_Lane(backend, _BEGIN_READ, readers, READER_IDLE_SECONDS),
            writer=_Lane(backend, _BEGIN_WRITE, 1, WRITER_IDLE_SECONDS),
        )
        self._own_writer = _Lane(backend, _BEGIN_OWN, 1, WRITER_IDLE_SECONDS)

    async def write_own(
        self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS
    ) -> T:
        """Without the guard: a process that is paused in the middle of it holds nobody up."""
        self._refuse_if_read_only()
        return await self._within(self._own_writer, work, limit_seconds)

    async def writes(self) -> int | None:
        count = f"SELECT writes FROM {GUARD_TABLE} WHERE id = 1"  # noqa: S608
        return await self.read(lambda connection: connection.exec_driver_sql(count).scalar() or 0)

    async def close(self) -> None:
        await self._await_under_way()
        for lane in (self._reader, self._writer, self._own_writer):
            lane.close()

    async def _within(self, lane: _Lane, work: Callable[[Connection], T], limit_seconds: float) -> T:
        call = _Call(limit_seconds)
        task = self._begin(lane.run(work, call))
        try:
            await asyncio.wait({task}, timeout=limit_seconds)
            if not task.done():
                call.give_up()
                await asyncio.wait({task}, timeout=_GRACE_SECONDS)
        except asyncio.CancelledError:
            call.give_up()
            raise
        try:
            result = task.result()
        except StoreRefusedError:
            lane.last_error = ""
            raise
        except (TooLateError, StoreError, asyncio.InvalidStateError) as error:
            if isinstance(error, StoreError) and not call.given_up:
                lane.last_error = str(error)
                raise
            late = StoreTimeoutError(f"the store {self.path} did not answer within {limit_seconds:g} s")
            lane.last_error = str(late)
            raise late from None
        lane.last_error = ""
        return result


class _Call:
    """One transaction under way: its limit, and the session that it is on."""

    def __init__(self, limit_seconds: float) -> None:
        self.limit = Limit(time.monotonic() + limit_seconds)
        self.given_up = False
        self._session: Session | None = None
        self._lock = threading.Lock()

    def use(self, session: Session | None) -> None:
        """From its thread: this is the one from now on. Raises TooLateError."""
        with self._lock:
            self._session = session
        if session is not None:
            self.limit.check()

    def give_up(self) -> None:
        """From the event loop: nobody waits any more."""
        with self._lock:
            self.given_up, self.limit.deadline = True, 0.0
            if self._session is not None:
                self._session.abort()


class _Lane:
    """Sessions of a kind, one for each of its threads, and how it went last. First asked, first served."""

    def __init__(self, backend: MySQLBackend, begin: str, width: int, idle_seconds: int) -> None:
        self.last_error = ""
        self._backend, self._begin, self._idle_seconds = backend, begin, idle_seconds
        self._turns = asyncio.Semaphore(width)
        self._threads = ThreadPoolExecutor(width, thread_name_prefix="store")
        self._mine = threading.local()
        self._links: set[_Link] = set()  # changed by the threads, one operation at a time
        self._engine = create_engine(
            "mysql+pymysql://",
            creator=lambda: self._mine.driver,
            poolclass=NullPool,
            pool_reset_on_return=None,  # a transaction leaves nothing open
            hide_parameters=True,
        )

    async def run(self, work: Callable[[Connection], T], call: _Call) -> T:
        async with self._turns:
            call.limit.check()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._transact, work, call)

    def close(self) -> None:
        """Of what is idle; the session of a thread that hangs is cut off."""
        for link in tuple(self._links):
            link.session.abort() if link.busy else link.close()
        self._threads.shutdown(wait=False)

    def _transact(self, work: Callable[[Connection], T], call: _Call) -> T:
        for attempt in itertools.count(1):
            link, is_new = self._link(call)
            try:
                return link.transact(self._begin, work, call.limit)
            except DBAPIError as error:
                failed = Failed(number_of(error.orig), is_new=is_new, committing=link.committing)
                if failed.ends_session(self._backend) or error.connection_invalidated:
                    self._drop(link)
                pause_seconds = failed.pause_seconds(self._backend, attempt, call.limit.left_seconds)
                if pause_seconds is None:
                    raise from_mysql(error.orig, self._backend.name, committing=link.committing) from error
            except SQLAlchemyError as error:
                self._drop(link)
                raise StoreUnavailableError(f"the store {self._backend.name} failed: {error}") from error
            except BaseException:
                if not link.usable:
                    self._drop(link)
                raise
            finally:
                call.use(None)
            time.sleep(pause_seconds)
            call.limit.check()
        raise AssertionError("unreachable")

    def _link(self, call: _Call) -> tuple[_Link, bool]:
        """This thread's, and whether it was made just now."""
        link: _Link | None = getattr(self._mine, "link", None)
        if link is not None and not link.session.is_stale and link.usable:
            call.use(link.session)
            return link, False
        if link is not None:
            self._drop(link)
        try:
            session = Session(self._backend, idle_seconds=self._idle_seconds, database=self._backend.database)
            call.use(session)
            session.connect()
            self._mine.driver = session.driver
            link = _Link(session, self._engine.connect())
        except DBAPIError as error:
            raise from_mysql(error.orig, self._backend.name) from error
        except pymysql.err.MySQLError as error:
            raise from_mysql(error, self._backend.name) from error
        except OSError as error:
            raise StoreAccessError(tls_text(self._backend, error)) from error
        self._mine.link = link
        self._links.add(link)
        return link, True

    def _drop(self, link: _Link) -> None:
        self._links.discard(link)
        self._mine.link = None
        link.close()


class _Link:
    """A session with SQLAlchemy's connection over it."""

    def __init__(self, session: Session, connection: Connection) -> None:
        self.session = session
        self.busy = self.committing = False
        self._connection = connection

    @property
    def usable(self) -> bool:
        return bool(self.session.driver.open) and not self._connection.invalidated

    def transact(self, begin: str, work: Callable[[Connection], T], limit: Limit) -> T:
        self.busy, self.committing = True, False
        try:
            with self._connection.begin():
                self._connection.exec_driver_sql(begin)
                result = work(self._connection)
                limit.check()
                self.committing = True
            return result
        finally:
            self.busy = False
            self.session.used_at = time.monotonic()

    def close(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            self._connection.invalidate()
            self._connection.close()
        self.session.driver.close()


def tls_text(backend: MySQLBackend, error: OSError) -> str:
    return (
        f"the files for TLS to the store {backend.name} cannot be used ({error.strerror or error}): see "
        "MySQLOrchestratorSSLCAFile, MySQLOrchestratorSSLCertFile and MySQLOrchestratorSSLPrivateKeyFile"
    )
