"""One session on a MySQL or MariaDB backend, and what holds in each of them.

- ``wait_timeout`` is a fence: a process that is paused, or cut off, in the middle of a write holds the
  locks of that write; the server ends the session after so long, and the others go on.
- REPEATABLE READ, since weaker levels cannot write with ``binlog_format=STATEMENT``. Strict ``sql_mode``:
  nothing is cut to fit. Time zone and clock of the server are used by no statement.
- A session that another thread aborts has its socket shut down: its own thread returns at once.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from services.mysql.connection import tls_context
from services.store.backend import MySQLBackend

__all__ = ["LOCK_WAIT_SECONDS", "READER_IDLE_SECONDS", "WRITER_IDLE_SECONDS", "Session"]

LOCK_WAIT_SECONDS = 2
"""How long a write waits for that of another process."""
WRITER_IDLE_SECONDS = 3
READER_IDLE_SECONDS = 60
_SPARE_SECONDS = 1.0
"""A session that idled for nearly as long as it may is not tried any more."""
_SETTINGS = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
    "default_storage_engine = InnoDB, innodb_lock_wait_timeout = {lock_wait}, "
    "lock_wait_timeout = {lock_wait}, wait_timeout = {idle}, foreign_key_checks = 1, unique_checks = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)


class _Driver(pymysql.connections.Connection):
    def close(self) -> None:
        """Say goodbye where that is possible; more than once is once."""
        if self.open:
            with contextlib.suppress(pymysql.err.Error, OSError):
                super().close()


class Session:
    """Raises what the driver raises: ``pymysql.err.MySQLError``, and OSError for unusable TLS files."""

    def __init__(self, backend: MySQLBackend, *, idle_seconds: int, database: str | None) -> None:
        self.used_at = self._began = time.monotonic()
        self._backend = backend
        self._idle_seconds = idle_seconds
        self._aborted = False
        tls: dict[str, Any] = {"ssl": tls_context(backend.tls)} if backend.tls else {"ssl_disabled": True}
        self.driver: Any = _Driver(
            host=backend.host,
            port=backend.port,
            user=backend.user,
            password=backend.password.reveal(),
            database=database,
            charset="utf8mb4",
            autocommit=False,
            client_flag=CLIENT.FOUND_ROWS,  # an UPDATE counts the rows that it found, as in SQLite
            connect_timeout=max(1, backend.connect_timeout_seconds),
            read_timeout=backend.connect_timeout_seconds,  # a hung server accepts, and does not greet
            write_timeout=backend.read_timeout_seconds,
            program_name="orchestray",
            defer_connect=True,
            **tls,
        )

    def connect(self) -> None:
        try:
            self.driver.connect()
            if self._aborted:  # before it had a socket to shut down
                self.driver._sock.shutdown(socket.SHUT_RDWR)
            self.driver._read_timeout = self._backend.read_timeout_seconds
            with self.driver.cursor() as cursor:
                for setting in _SETTINGS:
                    cursor.execute(setting.format(lock_wait=LOCK_WAIT_SECONDS, idle=self._idle_seconds))
        except BaseException:
            self.driver._force_close()
            raise

    @property
    def is_stale(self) -> bool:
        """The server has ended it, or is about to, or it has become too old."""
        now, lifetime = time.monotonic(), self._backend.lifetime_seconds
        idle_for = now - self.used_at
        return idle_for > self._idle_seconds - _SPARE_SECONDS or 0 < lifetime < now - self._began

    def abort(self) -> None:
        """Whatever runs on it in another thread returns with an error. It is of no use any more."""
        self._aborted = True
        raw = self.driver._sock
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
