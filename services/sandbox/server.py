"""One MySQL or MariaDB server on loopback: start, stop, kill, pause, restart, ask.

Its folder holds ``my.cnf`` (written anew at each start from ``options``, so that changing an option
and restarting is what an administrator would do), ``data/``, ``mysql.sock`` and ``error.log``. The
``root`` account has no password and can be used through the socket only, which only our user can reach.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from services.sandbox.binaries import Mysqld
from services.sandbox.errors import ServerFailedError
from services.sandbox.ports import LOOPBACK, free_port, is_free
from services.sandbox.processes import Child, Process
from services.sandbox.template import copy_template
from services.topology.keys import InstanceKey

__all__ = ["LONGEST_FOLDER", "PROCESS_FILE", "MySQLServer", "Options", "Rows"]

LONGEST_FOLDER = 95
"""Bytes: a socket path has a limit of 107, and ``/mysql.sock`` comes after the folder."""

PROCESS_FILE = "process"
"""In the server's folder: which process runs on it, so that another program can end it."""

START_SECONDS = 60.0
STOP_SECONDS = 30.0
QUERY_SECONDS = 20.0
_CONNECT_SECONDS = 5
_PORT_TRIES = 5
_LOG_LINES = 40

Rows = list[dict[str, Any]]
Options = Mapping[str, str | None]
"""Settings of ``my.cnf``; a value of None is a setting without a value."""


class MySQLServer:
    """One server; its data directory is made at construction, its process by ``start``.

    Every call blocks and is bounded; what fails raises ServerFailedError with the end of the error log.
    Only processes that this object started are ever signalled.
    """

    host = LOOPBACK

    def __init__(
        self, mysqld: Mysqld, folder: Path, options: Options | None = None, *, die_with_parent: bool
    ) -> None:
        if len(os.fsencode(folder)) > LONGEST_FOLDER:
            raise ServerFailedError(
                f"{folder} is too long for a socket in it: at most {LONGEST_FOLDER} bytes; shorten TMPDIR"
            )
        self.folder = folder
        self.data_directory = folder / "data"
        self.socket_path = folder / "mysql.sock"
        self.configuration_file = folder / "my.cnf"
        self.error_log = folder / "error.log"
        self.general_log_file = folder / "general.log"
        self.port = free_port()
        self.options: dict[str, str | None] = dict(options or {})
        self.process: Process | None = None
        self._mysqld = mysqld
        self._child: Child | None = None
        self._die_with_parent = die_with_parent
        self._started_once = False
        folder.mkdir(mode=0o700, parents=True)
        copy_template(mysqld, self.data_directory)

    def __repr__(self) -> str:
        return f"MySQLServer({self.key})"

    @property
    def key(self) -> InstanceKey:
        """The name under which the other servers and orchestray know it."""
        return InstanceKey(self.host, self.port)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def pid(self) -> int:
        """The pid of the running server. Raises ServerFailedError if it does not run."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """The process lives, paused or not."""
        return self.process is not None and self.process.is_alive

    # ---- the process

    def start(self, timeout_seconds: float = START_SECONDS) -> None:
        """Start it and wait until it answers. At its first start it moves on if its port was taken."""
        if self.is_running:
            raise ServerFailedError(f"{self.key} runs already")
        self._gone(timeout_seconds)  # reap one that somebody else killed
        tries = 1 if self._started_once else _PORT_TRIES
        for remaining in reversed(range(tries)):
            try:
                self._start(timeout_seconds)
            except ServerFailedError:
                if remaining == 0 or is_free(self.port):
                    raise
                self.port = free_port()
            else:
                self._started_once = True
                return

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Shut it down; kill it if that takes too long. Does nothing if it does not run."""
        if self._signal(signal.SIGCONT) and self._signal(signal.SIGTERM) and self._gone(timeout_seconds):
            return
        self.kill()

    def signal_kill(self) -> None:
        """``kill -9`` without waiting: what ``kill`` does first."""
        self._signal(signal.SIGKILL)

    def kill(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """``kill -9``, and wait until it is gone. Does nothing if it does not run."""
        self.signal_kill()
        if not self._gone(timeout_seconds):
            raise ServerFailedError(f"{self.key} ({self.process}) outlives SIGKILL by {timeout_seconds} s")

    def pause(self) -> None:
        """SIGSTOP, and wait until it has stopped: it keeps its connections and answers nothing."""
        process = self._running()
        self._signal(signal.SIGSTOP)
        if not process.wait_paused(STOP_SECONDS):
            raise ServerFailedError(f"{self.key} (pid {process.pid}) did not stop at SIGSTOP")

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        self._running()
        self._signal(signal.SIGCONT)

    def restart(self, timeout_seconds: float = START_SECONDS) -> None:
        """Stop it if it runs, and start it on the same data and port with ``options`` as they are now."""
        self.stop()
        self.start(timeout_seconds)

    def write_configuration(self) -> None:
        """Write ``my.cnf`` from ``options``; a running server reads it at its next start."""
        self.configuration_file.write_text(self._configuration())
        self.configuration_file.chmod(0o600)

    def abandon(self) -> None:
        """Let it run on when this process ends, and say nothing about it."""
        if isinstance(self._child, subprocess.Popen):
            self._child.returncode = 0  # it warns of a child whose end nobody saw

    # ---- asking

    @contextmanager
    def root(self, timeout_seconds: float = QUERY_SECONDS) -> Iterator[Connection[DictCursor]]:
        """A connection with all privileges through the socket; each answer is awaited that long."""
        connection = pymysql.connect(
            user="root",
            autocommit=True,
            charset="utf8mb4",
            cursorclass=DictCursor,
            read_timeout=timeout_seconds,
            write_timeout=timeout_seconds,
            ssl_disabled=True,  # it takes 40 ms
            defer_connect=True,
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:  # PyMySQL leaks its own if refused
            stream.settimeout(_CONNECT_SECONDS)
            stream.connect(str(self.socket_path))
            connection.connect(stream)
            try:
                yield connection
            finally:
                connection.close()

    def query(self, sql: str, arguments: Any = None, *, timeout_seconds: float = QUERY_SECONDS) -> Rows:
        """The rows of one statement, as root. Errors are those of PyMySQL."""
        with self.root(timeout_seconds) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    def execute(self, *statements: str, timeout_seconds: float = QUERY_SECONDS) -> None:
        """Run statements one after another in one session, as root."""
        with self.root(timeout_seconds) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def variable(self, name: str) -> str:
        """A global variable as text: ``variable("read_only") == "0"``."""
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT @@GLOBAL.{name} AS value")
            row = cursor.fetchone()
        return str(row["value"] if row else "")

    def status(self, name: str) -> str:
        """A global status counter as text; empty if there is none of that name."""
        rows = self.query("SHOW GLOBAL STATUS WHERE Variable_name = %s", (name,))
        return str(rows[0]["Value"]) if rows else ""

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """The end of the error log."""
        try:
            text = self.error_log.read_text(errors="replace")
        except FileNotFoundError:
            return "(no error log)"
        return "\n".join(text.splitlines()[-lines:])

    # ---- inside

    def _start(self, timeout_seconds: float) -> None:
        self.write_configuration()
        for leftover in (self.socket_path, self.socket_path.with_name("mysql.sock.lock")):
            leftover.unlink(missing_ok=True)  # a killed server's: its pid may be another process's by now
        self._child = self._mysqld.spawn(
            [f"--defaults-file={self.configuration_file}"],
            log=self.error_log,
            directory=self.folder,
            die_with_parent=self._die_with_parent,
        )
        self.process = Process.of(self._child.pid)  # not reaped yet: it is there even if it has ended
        self.process.write(self.folder / PROCESS_FILE)
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            code = self._child.poll()
            if code is not None:
                raise ServerFailedError(f"{self.key} ended with {code} at its start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailedError(f"{self.key} is silent after {timeout_seconds} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self.query("SELECT 1", timeout_seconds=_CONNECT_SECONDS)
        except (pymysql.MySQLError, OSError):
            return False
        return True

    def _configuration(self) -> str:
        settings: dict[str, str | None] = {
            **self._mysqld.settings,
            **({"user": "root"} if os.geteuid() == 0 else {}),
            "datadir": str(self.data_directory),
            "socket": str(self.socket_path),
            "pid-file": str(self.folder / "mysqld.pid"),
            "general-log-file": str(self.general_log_file),
            "bind-address": self.host,
            "port": str(self.port),
            "report-host": self.host,
            "report-port": str(self.port),
            "server-id": str(self.port),
            **self._mysqld.flavour.settings,
            **self.options,
        }
        lines = (name if value is None else f'{name} = "{value}"' for name, value in settings.items())
        return "\n".join(["[mysqld]", *lines, ""])

    def _running(self) -> Process:
        if self.process is None or not self.process.is_alive:
            raise ServerFailedError(f"{self.key} does not run:\n{self.log_tail()}")
        return self.process

    def _signal(self, number: signal.Signals) -> bool:
        return self.process is not None and self.process.signal(number)

    def _gone(self, timeout_seconds: float) -> bool:
        if self._child is None:
            return True
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
