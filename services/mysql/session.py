"""Acting on one server: a session in which every changing statement is fenced.

A process can be paused between a check and a statement, and a statement can wait in a hung server. So:

- A term's acts on a server run in one session that holds two user locks there: ``orchestray:<setup>``, and
  one that carries the term. A new term ends the holder's session first; a term that finds a newer one's lock
  does nothing more.
- Every changing statement travels behind a guard in the same packet, which fails unless this session still
  holds the lock and the server's clock has not passed the deadline: then the server skips the rest.
- What opens a server carries the deadline in the statement itself as well, because it may wait behind a lock
  after the guard.
- A statement that may wait for long goes through a session ``beside`` the one that holds the locks, so that
  those can be taken over and the server be read meanwhile. Its guard is the lock of that session, and it
  holds a third lock, by which whoever takes the locks finds and ends it.
- ``wait_timeout=1`` ends the session of a Leader that is paused; a living one pings. ``lock_wait_timeout``
  keeps a statement from waiting behind a metadata lock; it is shorter than the statement's own time-out, so
  that the answer tells what held it up. The session's clock is UTC: it has no summer time.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from services.mysql.connection import Connection, Login, Row
from services.mysql.dialect import Dialect
from services.mysql.errors import ConnectError, LostError, MySQLError, StatementError
from services.mysql.poll import HELLO, PolledServer
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["ActingSession", "Mandate", "MandateOverError", "NewerTermError", "quoted_file", "quoted_host"]

_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_NEWER_TERMS_LOOKED_FOR = 64
_KEEP_ALIVE_SECONDS = 0.3
_CLOCK_SECONDS = 1.0
"""A server's clock that was read so long ago still bounds a statement; for an opening it is read anew."""
_GUARD_FAILED = 1242  # "Subquery returns more than 1 row": how the guard stops a statement
_DENIED_LOCK_SECONDS = 3.0
"""A session that was killed in a STOP of a receiver that hangs in its connect ends after two seconds."""
_FENCES = "SET SESSION wait_timeout=1, lock_wait_timeout=1, time_zone='+00:00'"
_STATEMENT_SECONDS = 1.5
_SERVER_TIME = "CAST(SYSDATE(6) AS CHAR) AS server_time"


class MandateOverError(Exception):
    """The right to act has ended, or would end before the statement could: nothing was sent."""


class NewerTermError(MandateOverError):
    """A newer term holds its lock on the server."""


class Mandate(Protocol):
    """The right to act: a term, and how long it still lasts on this host's clock."""

    @property
    def setup(self) -> str: ...

    @property
    def term(self) -> int: ...

    def remaining_seconds(self) -> float:
        """Seconds left; zero or less when it has ended. Computed when asked."""
        ...

    def superseded(self, where: InstanceKey) -> None:
        """A newer term acts on that server: this one is over, whatever its election says."""
        ...


def _lock_of(mandate: Mandate) -> str:
    return f"orchestray:{mandate.setup}"


def _asking_for_locks(mandate: Mandate) -> str:
    """One row: whether a newer term acts there, whether the locks are ours now, who has them otherwise."""
    lock, term = _lock_of(mandate), mandate.term
    newer = ", ".join(
        f"IS_USED_LOCK('{lock}:{term + ahead}')" for ahead in range(1, _NEWER_TERMS_LOOKED_FOR + 1)
    )
    return (
        f"SELECT COALESCE({newer}) AS newer, GET_LOCK('{lock}:{term}', 0) AS mine, "
        f"GET_LOCK('{lock}', 0) AS taken, IS_USED_LOCK('{lock}') AS holder, "
        f"IS_USED_LOCK('{lock}:beside') AS beside, {_SERVER_TIME}"
    )


def quoted_host(host: str) -> str:
    """A host name as a string literal for CHANGE … TO, which takes no expressions.

    Raises ValueError for a name with characters that no host name has.
    """
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name")
    return f"'{host}'"


def quoted_file(name: str) -> str:
    """The name of a log file as a string literal. Raises ValueError for one that could end the literal."""
    if not name or any(character in name for character in "'\\\0\n"):
        raise ValueError(f"{name!r} is not the name of a log file")
    return f"'{name}'"


class ActingSession:
    """One term's session on one server. ``close`` gives the locks up."""

    def __init__(
        self,
        connection: Connection,
        server: PolledServer,
        mandate: Mandate,
        login: Login,
        *,
        lock_holder: int | None = None,
    ) -> None:
        self.key = connection.key
        self.dialect: Dialect = server.dialect
        self.several_sources = False
        self._server = server
        self._connection = connection
        self._mandate = mandate
        self._login = login
        self._lock = _lock_of(mandate)
        self._holder = "CONNECTION_ID()" if lock_holder is None else str(lock_holder)
        self._turn = asyncio.Lock()
        self._clock: tuple[float, datetime] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, key: InstanceKey, login: Login, mandate: Mandate, *, timeout: float = 1.0
    ) -> ActingSession:
        """Log in, end an older term's session if there is one, and take the locks.

        Raises NewerTermError, MandateOverError, or the errors of ``services.mysql.errors``.
        """
        if mandate.remaining_seconds() <= 0:
            raise MandateOverError(f"{key}: the right to act has ended (term {mandate.term})")
        connection = await Connection.open(key, login, timeout=timeout)
        try:
            asking = f"{_FENCES}; {HELLO}; {_asking_for_locks(mandate)}"
            rows = await connection.query(asking, timeout=timeout)
            session = cls(connection, PolledServer.on(connection, rows[1][0]), mandate, login)
            await session._take_locks(rows[2][0], timeout)
        except BaseException:
            connection.abort()
            raise
        session._keeper = asyncio.ensure_future(session._keep_alive())
        return session

    async def beside(self, *, timeout: float = 1.0) -> ActingSession:
        """A second session, for a statement that may wait; it acts as long as this one holds the locks.

        There is one at a time. Raises as ``open``, and StatementError while another one waits there.
        """
        connection = await Connection.open(self.key, self._login, timeout=timeout)
        try:
            lock = f"SELECT GET_LOCK('{self._lock}:beside', 0) AS taken"
            rows = await connection.query(f"{_FENCES}; {HELLO}; {lock}", timeout=timeout)
            server = PolledServer.on(connection, rows[1][0])
        except BaseException:
            connection.abort()
            raise
        if rows[2][0]["taken"] != 1:
            connection.abort()
            raise StatementError(self.key, "an earlier statement of this setup still waits there")
        holder = self._connection.thread_id
        session = ActingSession(connection, server, self._mandate, self._login, lock_holder=holder)
        session._keeper = asyncio.ensure_future(session._keep_alive())
        return session

    def speak_of_channel(self, known: Instance) -> None:
        """Have ``dialect`` name the channel that is known of the server, if it must.

        Raises StatementError for a name that cannot be quoted.
        """
        if not known.must_name_channel:
            return
        self.several_sources = known.has_several_sources
        try:
            self.dialect = self._server.dialect.of_channel(known.channel_name)
        except ValueError as error:
            raise StatementError(self.key, str(error)) from None

    async def _take_locks(self, row: Row, timeout: float) -> None:
        """``row`` is what ``_asking_for_locks`` gave; it is asked again while another session holds them."""
        deadline = time.monotonic() + _DENIED_LOCK_SECONDS
        while time.monotonic() < deadline:
            if row["newer"] is not None:
                self._mandate.superseded(self.key)
                raise NewerTermError(f"{self.key}: a newer term than {self._mandate.term} acts there")
            if row["taken"] == 1:
                self._set_clock(row)
                await self._end(row["beside"], timeout)
                return
            await self._end(row["holder"], timeout)
            await asyncio.sleep(0.02)
            row = (await self._connection.query(_asking_for_locks(self._mandate), timeout=timeout))[0][0]
        raise StatementError(self.key, f"the session that holds {self._lock!r} does not end")

    async def _end(self, thread_id: int | None, timeout: float) -> None:
        """Kill a session that held a lock of ours, and do not wait for its end."""
        if thread_id is None:
            return
        if self._mandate.remaining_seconds() <= 0:
            raise MandateOverError(f"{self.key}: the right to act has ended (term {self._mandate.term})")
        with contextlib.suppress(StatementError):  # it may have ended by itself
            kill = f"{self._comment('lock')} KILL {int(thread_id)}"
            await self._connection.query(kill, timeout=timeout)

    async def read(self, sql: str, *, timeout: float = 1.0) -> list[Row]:
        """Rows of one statement that changes nothing."""
        return (await self.read_all(sql, timeout=timeout))[0]

    async def read_all(self, *statements: str, timeout: float = 1.0) -> list[list[Row]]:
        """Rows of each statement, in one exchange."""
        async with self._turn:
            return await self._connection.query("; ".join(statements), timeout=timeout)

    async def read_replica(self, known: Instance, *, timeout: float = 1.0) -> Instance:
        """``known`` as it is now, in what replication moves. Raises as ``PolledServer.poll_replica``."""
        async with self._turn:
            return await self._server.poll_replica(known, timeout=timeout)

    async def act(
        self, *statements: str, step: str, then: str = "", timeout: float = _STATEMENT_SECONDS
    ) -> list[Row]:
        """Run changing statements, each behind the guard, in one exchange; ``timeout`` bounds it, in seconds.

        Returns the rows of ``then``, a statement that only reads. Raises MandateOverError (the first did not
        run, or a later one), StatementError (the server refused it, or a later one) or LostError (it may
        have run): where one did not run, those behind it did not either.
        """
        async with self._turn:
            deadline = await self._server_deadline(timeout)
            return await self._guarded(statements, deadline, step, timeout, then=then)

    async def set_writable(self, *, step: str, timeout: float = _STATEMENT_SECONDS) -> None:
        """Open the server for writes by a statement that carries the deadline in the server's clock.

        One statement: where there is ``super_read_only``, switching ``read_only`` off switches both off.
        """
        async with self._turn:
            deadline = await self._server_deadline(timeout, fresh=True)
            opening = f"SET GLOBAL read_only = IF(SYSDATE(6) < '{deadline}', 0, @@global.read_only)"
            look = "SELECT @@global.read_only AS read_only"
            rows = await self._guarded([opening], deadline, step, timeout, then=look)
        if str(rows[0]["read_only"]) not in ("0", "OFF"):
            raise MandateOverError(f"{self.key}: the deadline passed before the server could be opened")

    async def set_read_only(self, *, step: str, timeout: float = _STATEMENT_SECONDS) -> None:
        """Close the server for writes, also for privileged accounts where the flavour can."""
        name = "super_read_only" if self.dialect.super_read_only else "read_only"
        await self.act(f"SET GLOBAL {name} = 1", step=step, timeout=timeout)

    def _set_clock(self, row: Row) -> None:
        # As if it had been read only now: the server's deadline is never the later one.
        self._clock = time.monotonic(), datetime.fromisoformat(str(row["server_time"]))

    async def _server_deadline(self, timeout: float, *, fresh: bool = False) -> str:
        """The end of the mandate in this server's clock, which is read now if ``fresh``, else of late."""
        if fresh or self._clock is None or time.monotonic() - self._clock[0] > _CLOCK_SECONDS:
            sql = f"SELECT {_SERVER_TIME}"
            self._set_clock((await self._connection.query(sql, timeout=timeout))[0][0])
        assert self._clock is not None
        read_at, server_time = self._clock
        now = time.monotonic()  # before the mandate is asked: we may be paused in between
        remaining = self._mandate.remaining_seconds()
        if remaining <= 0:
            raise MandateOverError(f"{self.key}: the right to act has ended (term {self._mandate.term})")
        deadline = server_time + timedelta(seconds=now - read_at + remaining)
        return deadline.isoformat(sep=" ", timespec="microseconds")

    async def _guarded(
        self, statements: Sequence[str], deadline: str, step: str, timeout: float, *, then: str = ""
    ) -> list[Row]:
        remaining = self._mandate.remaining_seconds()
        if remaining <= 0:
            raise MandateOverError(f"{self.key}: the right to act has ended (term {self._mandate.term})")
        guard = (
            f"{self.dialect.guard} IF(SYSDATE(6) < '{deadline}' AND "
            f"IS_USED_LOCK('{self._lock}') = {self._holder}, 1, (SELECT 1 UNION ALL SELECT 2))"
        )
        texts = [text for sql in statements for text in (guard, f"{self._comment(step)} {sql}")]
        try:
            return (
                await self._connection.query("; ".join([*texts, then] if then else texts), timeout=timeout)
            )[-1]
        except StatementError as error:
            if error.errno == _GUARD_FAILED:
                raise MandateOverError(f"{self.key}: the server's guard stopped step {step}") from None
            raise

    def _comment(self, step: str) -> str:
        return f"/* orchestray term={self._mandate.term} step={step} */"

    async def _keep_alive(self) -> None:
        while not self._connection.closed:
            await asyncio.sleep(_KEEP_ALIVE_SECONDS)
            async with self._turn:
                try:
                    await self._connection.ping(timeout=1.0)
                except (LostError, ConnectError, MySQLError):
                    self._connection.abort()

    @property
    def thread_id(self) -> int:
        """The server's number of this session."""
        return self._connection.thread_id

    @property
    def closed(self) -> bool:
        return self._connection.closed

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await self._connection.close()
