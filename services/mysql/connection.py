"""One connection to one server, every operation of which has a total bound.

PyMySQL blocks, and its time-outs are per ``recv``: a server that dribbles a byte now and then would hold
it for ever. So names are resolved and sockets connected on the event loop; the protocol runs in a
thread of a pool of our own; and when the bound is reached, the socket is shut down, which makes the
thread return at once. An operation that was cut off leaves the connection closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeVar

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import DictCursor

from services.mysql.errors import ConnectError, LostError, StatementError, connect_outcome
from services.topology.instance import CheckOutcome
from services.topology.keys import InstanceKey

__all__ = ["Connection", "Login", "Row", "TlsFiles", "speaks_http", "tls_context"]

Row = dict[str, Any]
T = TypeVar("T")

_THREADS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="mysql")
_RESOLVERS = ThreadPoolExecutor(max_workers=16, thread_name_prefix="resolve")
_DOUBTFUL_RESOLVERS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolve-again")
_doubtful: set[str] = set()
"""Names that did not resolve: they wait for each other, and keep no thread from the others."""
_SECURE_TRANSPORT_REQUIRED = 3159
_ACCESS_DENIED = 1045
"""Also said of an account that is made with REQUIRE SSL, whatever the password."""
_GREETING_PEEK_BYTES = 64
_GREETING_VERSIONS = (0x09, 0x0A, 0xFF)  # protocol 9, 10, or an error packet
_NETWORK_ERRORS = frozenset({0, 1053, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 3169, 4031})
"""The driver's own errors, and those with which a server ends a session (shutdown, kill, time-out)."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What TLS to servers is made of: paths, empty where there is none."""

    ca: str = ""
    certificate: str = ""
    private_key: str = ""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in to topology servers. Travels between processes, so it holds no context of its own."""

    user: str
    password: str = field(repr=False)
    tls: TlsFiles | None = None
    tls_always: bool = False
    """False: only for a server that refuses to be talked to without, or this account (3159, 1045)."""


@lru_cache(maxsize=8)
def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """A context for connections to servers. Raises OSError or ssl.SSLError for unusable files."""
    context = ssl.create_default_context(cafile=files.ca or None)
    # A server's automatically generated certificate names no host and fails the strict check.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if files.verify and files.ca else ssl.CERT_NONE
    if files.certificate:
        context.load_cert_chain(files.certificate, files.private_key or None)
    return context


class Connection:
    """A logged-in connection. Not for concurrent use: one operation at a time."""

    def __init__(self, key: InstanceKey, raw: socket.socket, driver: Any) -> None:
        self.key = key
        self._raw = raw
        self._driver = driver
        self._watched: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._closed = False
        self._busy = False
        self._opened_at = time.monotonic()
        self._released = threading.Lock()  # taken once, by whoever gives the descriptor back

    @classmethod
    async def open(cls, key: InstanceKey, login: Login, *, timeout: float) -> Connection:
        """Resolve, connect, shake hands and log in within ``timeout`` seconds in all.

        Raises ConnectError.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        first = login.tls if login.tls_always else None
        try:
            return await cls._open(key, login, first, deadline, timeout)
        except ConnectError as error:
            if login.tls is None or login.tls_always:
                raise
            if error.errno == _SECURE_TRANSPORT_REQUIRED:
                return await cls._open(key, login, login.tls, deadline, timeout)
            if error.errno != _ACCESS_DENIED:
                raise
            try:
                return await cls._open(key, login, login.tls, deadline, timeout)
            except (ConnectError, OSError):  # it answered, and that stands
                raise error from None

    @classmethod
    async def _open(
        cls, key: InstanceKey, login: Login, tls: TlsFiles | None, deadline: float, timeout: float
    ) -> Connection:
        loop = asyncio.get_running_loop()
        raw = await _connected_socket(key, deadline, timeout)
        try:
            await _await_greeting(key, raw, deadline, timeout)
            options: dict[str, Any] = {"ssl": tls_context(tls)} if tls else {"ssl_disabled": True}
            driver = pymysql.connections.Connection(
                host=key.hostname,
                port=key.port,
                user=login.user,
                password=login.password,
                charset="utf8mb4",
                cursorclass=DictCursor,
                autocommit=True,
                client_flag=CLIENT.MULTI_STATEMENTS,
                program_name="orchestray",
                defer_connect=True,
                **options,
            )
            connection = cls(key, raw, driver)
            remaining = max(0.001, deadline - loop.time())
            # PyMySQL sets the socket's mode; connect() takes a socket that is connected already.
            await connection._run(partial(driver.connect, raw), remaining)
        except StatementError as error:
            raw.close()
            raise ConnectError(key, connect_outcome(error.errno), error.text, error.errno) from None
        except LostError as error:
            raw.close()
            text = f"no handshake within {timeout:g} s" if error.timed_out else error.text
            raise ConnectError(key, error.outcome, text) from None
        except BaseException:
            raw.close()
            raise
        return connection

    async def query(self, sql: str, *, timeout: float) -> list[list[Row]]:
        """Run one text of one or more statements; a list of rows per statement.

        Raises StatementError (the remaining statements of the text were not run) or LostError.
        """
        return await self._run(partial(_fetch_all, self._driver, sql), timeout)

    async def ping(self, *, timeout: float) -> None:
        """COM_PING. Raises LostError."""
        await self._run(self._driver.ping, timeout)

    async def _run(self, work: Callable[[], T], timeout: float) -> T:
        self.unwatch()
        self._busy = True
        future = asyncio.get_running_loop().run_in_executor(_THREADS, self._in_thread, work)
        future.add_done_callback(_forget_outcome)
        try:
            done, _ = await asyncio.wait({future}, timeout=timeout)
        except asyncio.CancelledError:
            self.abort()
            raise
        if not done:
            self.abort()
            raise LostError(self.key, f"no answer within {timeout:g} s", timed_out=True)
        try:
            return future.result()
        except pymysql.err.MySQLError as error:
            raise self._translated(error) from None
        except (OSError, ssl.SSLError) as error:
            self.abort()
            raise LostError(self.key, _os_text(error), timed_out=False) from None
        except Exception as error:
            # The driver asserts and unpacks what a server sends: nonsense surfaces as whatever that raises.
            self.abort()
            text = f"the server's packets do not make sense ({type(error).__name__})"
            raise ConnectError(self.key, CheckOutcome.NOT_MYSQL, text) from None

    def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self._busy = False
            if self._closed:
                self._release()

    def _translated(self, error: pymysql.err.MySQLError) -> LostError | StatementError:
        errno = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = str(error.args[1]) if len(error.args) > 1 else str(error)
        if errno in _NETWORK_ERRORS:
            self.abort()
            return LostError(self.key, text or "the connection is closed", timed_out=False)
        return StatementError(self.key, f"{text} [error {errno}]", errno)

    def watch(self, on_event: Callable[[], None]) -> None:
        """Call ``on_event`` once when the idle connection turns readable: it was reset or closed.

        The watch ends with the event, and with the next operation.
        """
        self.unwatch()
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        fd = self._socket().fileno()
        if fd < 0:
            return

        def readable() -> None:
            self.unwatch()
            on_event()

        loop.add_reader(fd, readable)
        self._watched = (loop, fd)

    def unwatch(self) -> None:
        if self._watched is not None:
            loop, fd = self._watched
            self._watched = None
            loop.remove_reader(fd)

    def is_older(self, seconds: float) -> bool:
        """Than a lifetime; 0: none is set."""
        return 0 < seconds < time.monotonic() - self._opened_at

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def thread_id(self) -> int:
        """The server's number of this session, as KILL takes it."""
        return int(self._driver.thread_id())

    def abort(self) -> None:
        """Close at once, also under an operation that is running in a thread."""
        if self._closed:
            return
        self.unwatch()
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket().shutdown(socket.SHUT_RDWR)
        if not self._busy:
            self._release()

    def _release(self) -> None:
        """Give the descriptor back; not while a thread reads from it, for the number would be used again."""
        if self._released.acquire(blocking=False):
            self._driver._force_close()
            self._raw.close()

    def _socket(self) -> socket.socket:
        # Under TLS the driver wraps our socket, which detaches it; ``_sock`` is the one in use then.
        wrapped = self._driver._sock
        return wrapped if isinstance(wrapped, socket.socket) else self._raw

    async def close(self) -> None:
        """Say goodbye if that takes no time, and close."""
        if not self._closed:
            with contextlib.suppress(LostError, StatementError, ConnectError):
                await self._run(self._driver.close, 0.2)
            self.abort()


def _fetch_all(driver: Any, sql: str) -> list[list[Row]]:
    with driver.cursor() as cursor:
        cursor.execute(sql)
        results = [list(cursor.fetchall())]
        while cursor.nextset():
            results.append(list(cursor.fetchall()))
    return results


def _forget_outcome(future: asyncio.Future[Any]) -> None:
    """An operation that was cut off fails later in its thread; that is no news."""
    if not future.cancelled():
        future.exception()


def _os_text(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


async def _addresses(key: InstanceKey, deadline: float) -> list[tuple[int, Any]]:
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(key.hostname)
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        return [(family, (key.hostname, key.port))]
    loop = asyncio.get_running_loop()
    lookup = partial(socket.getaddrinfo, key.hostname, key.port, type=socket.SOCK_STREAM)
    resolvers = _DOUBTFUL_RESOLVERS if key.hostname in _doubtful else _RESOLVERS
    future = loop.run_in_executor(resolvers, lookup)
    future.add_done_callback(_forget_outcome)
    done, _ = await asyncio.wait({future}, timeout=max(0.001, deadline - loop.time()))
    _doubtful.add(key.hostname)
    if not done:
        raise ConnectError(
            key, CheckOutcome.UNRESOLVED, f"the name {key.hostname!r} was not resolved in time: check the DNS"
        )
    try:
        found = future.result()
    except (OSError, UnicodeError) as error:
        reason = _os_text(error) if isinstance(error, OSError) else "not a valid host name"
        raise ConnectError(
            key, CheckOutcome.UNRESOLVED, f"the name {key.hostname!r} does not resolve: {reason}"
        ) from None
    _doubtful.discard(key.hostname)
    return [(family, address) for family, _, _, _, address in found]


async def _connected_socket(key: InstanceKey, deadline: float, timeout: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: ConnectError | None = None
    for family, address in await _addresses(key, deadline):
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connecting = asyncio.ensure_future(loop.sock_connect(raw, address))
        try:
            done, _ = await asyncio.wait({connecting}, timeout=max(0.001, deadline - loop.time()))
            if done:
                connecting.result()
                return raw
            connecting.cancel()
            text = f"the connect was not answered within {timeout:g} s"
            failure = ConnectError(key, CheckOutcome.UNREACHABLE, text)
        except ConnectionRefusedError:
            failure = ConnectError(key, CheckOutcome.REFUSED, "connection refused: nothing listens there")
        except ConnectionResetError:  # it is just going down
            failure = ConnectError(key, CheckOutcome.LOST, "the connection was reset while it was made")
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else _os_text(error)  # asyncio's names no reason
            failure = ConnectError(key, CheckOutcome.UNREACHABLE, text)
        except BaseException:
            connecting.cancel()
            raw.close()
            raise
        raw.close()
    raise failure or ConnectError(key, CheckOutcome.UNRESOLVED, "the name has no address")


async def _await_greeting(key: InstanceKey, raw: socket.socket, deadline: float, timeout: float) -> None:
    """Wait for the server's first bytes without consuming them, and see that they are MySQL's."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    fd = raw.fileno()

    def arrived() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(fd, arrived)
    try:
        done, _ = await asyncio.wait({readable}, timeout=max(0.001, deadline - loop.time()))
    finally:
        loop.remove_reader(fd)
    if not done:
        text = f"accepted the connection and said nothing for {timeout:g} s"
        raise ConnectError(key, CheckOutcome.SILENT, text)
    try:
        first = raw.recv(_GREETING_PEEK_BYTES, socket.MSG_PEEK)
    except OSError as error:
        raise ConnectError(key, CheckOutcome.LOST, _os_text(error)) from None
    if not first:
        raise ConnectError(key, CheckOutcome.LOST, "closed the connection without a greeting")
    if len(first) >= 5 and (first[3] != 0 or first[4] not in _GREETING_VERSIONS):
        kind = "it speaks HTTP" if first.startswith(b"HTTP/") else f"it greets with {first[:16]!r}"
        raise ConnectError(key, CheckOutcome.NOT_MYSQL, f"this is not a MySQL server: {kind}")


async def speaks_http(key: InstanceKey, *, timeout: float) -> bool:
    """Whether a port that stays silent answers an HTTP request. Not for servers known to be MySQL."""
    loop = asyncio.get_running_loop()
    try:
        raw = await _connected_socket(key, loop.time() + timeout, timeout)
    except ConnectError:
        return False
    with raw:
        try:
            raw.send(b"HEAD / HTTP/1.0\r\n\r\n")
            reply = await asyncio.wait_for(loop.sock_recv(raw, 5), timeout)
        except (OSError, asyncio.TimeoutError):
            return False
    return reply == b"HTTP/"
