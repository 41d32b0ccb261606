"""Helpers around real servers, and around waiting for them."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pymysql
from pymysql.cursors import DictCursor

from services.sandbox.accounts import Account
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer, Options
from services.sandbox.template import copy_template
from services.sandbox.topology import MySQLTopology, TopologySpec, new_folder

__all__ = [
    "LoggedStatement",
    "Stage",
    "StandaloneServer",
    "connect",
    "general_log",
    "remove_folders_of_killed_runs",
    "short_directory",
    "start_general_log",
    "wait_until",
    "wait_until_async",
]

T = TypeVar("T")
_PAUSE_SECONDS = 0.02
_FOLDER_PREFIX = "orc-"


def wait_until(
    condition: Callable[[], T | None], timeout_seconds: float = 10, describe: str | Callable[[], object] = ""
) -> T:
    """Call ``condition`` until it gives something true, and return that; fail after the time-out.

    ``describe`` says what was awaited, or is called at the failure to say how things stand.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_failure(condition, timeout_seconds, describe, value))
        time.sleep(_PAUSE_SECONDS)


async def wait_until_async(
    condition: Callable[[], T | Awaitable[T | None] | None],
    timeout_seconds: float = 10,
    describe: str | Callable[[], object] = "",
) -> T:
    """``wait_until`` that lets the event loop run; ``condition`` may be a coroutine function."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        given = condition()
        value = await asyncio.wait_for(given, timeout_seconds) if inspect.isawaitable(given) else given
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_failure(condition, timeout_seconds, describe, value))
        await asyncio.sleep(_PAUSE_SECONDS)


def _failure(condition: object, timeout_seconds: float, describe: object, value: object) -> str:
    said = describe() if callable(describe) else describe
    name = getattr(condition, "__qualname__", condition)
    return f"not within {timeout_seconds} s: {said or name}; last value: {value!r}"


def short_directory() -> Path:
    """A new private folder whose path leaves room for sockets; pytest's own are too deep.

    Its name carries our pid, so that a later run can tell whose folders nobody will remove any more.
    """
    return new_folder(f"{_FOLDER_PREFIX}{os.getpid()}-")


def remove_folders_of_killed_runs() -> None:
    """Their servers died with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*-*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class Stage:
    """What a test has running: ended with the test, its error logs shown if the test failed."""

    def __init__(self, mysqld: Mysqld) -> None:
        self._mysqld = mysqld
        self._logs: list[Callable[[], str]] = []
        self._endings = ExitStack()

    def topology(self, spec: TopologySpec) -> MySQLTopology:
        topology = MySQLTopology(self._mysqld, short_directory(), spec, die_with_parent=True)
        self._logs.append(topology.error_logs)
        self._endings.callback(topology.stop)
        return topology.start()

    def server(self, options: Options | None = None) -> StandaloneServer:
        folder = short_directory()
        self._endings.callback(shutil.rmtree, folder, ignore_errors=True)
        server = StandaloneServer(self._mysqld, folder / "server", options)
        self._logs.append(lambda: f"--- {server.key}\n{server.log_tail()}")
        self._endings.callback(server.destroy)
        return server.set_up()

    def error_logs(self) -> str:
        return "\n".join(log() for log in self._logs)

    def clear(self) -> None:
        """End everything, also if ending one of it fails."""
        self._endings.close()


def connect(
    server: MySQLServer, account: Account, *, timeout_seconds: float = 10
) -> pymysql.connections.Connection[DictCursor]:
    """A session over TCP, autocommit on; the caller closes it (``with connect(…) as connection``)."""
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=account.user,
        password=account.password,
        autocommit=True,
        ssl_disabled=True,  # takes 40 ms otherwise
        cursorclass=DictCursor,
        connect_timeout=math.ceil(timeout_seconds),
        read_timeout=timeout_seconds,
        write_timeout=timeout_seconds,
    )


class StandaloneServer(MySQLServer):
    """One server with a ``tester`` account that may do everything over TCP, from any address."""

    user = "tester"

    def __init__(self, mysqld: Mysqld, folder: Path, options: Options | None = None) -> None:
        super().__init__(mysqld, folder, options, die_with_parent=True)
        self.password = secrets.token_urlsafe(12)

    @property
    def account(self) -> Account:
        return Account(self.user, self.password)

    def set_up(self) -> StandaloneServer:
        """Start it for the first time."""
        self.start()
        self.execute(
            "SET SESSION sql_log_bin = 0",
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY '{self.password}'",
            f"GRANT ALL PRIVILEGES ON *.* TO '{self.user}'@'%' WITH GRANT OPTION",
        )
        return self

    def empty(self) -> None:
        """Kill it, and have it as it was made; ``set_up`` is next."""
        self.kill()
        shutil.rmtree(self.data_directory)
        copy_template(self._mysqld, self.data_directory)

    def destroy(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """One entry of a server's general log: when (text: MySQL in UTC, MariaDB in whole seconds), who, what."""

    time: str
    connection_id: int
    command: str  # Connect, Query, Quit, ...
    text: str


_ENTRY = re.compile(
    r"^(\d{4}-\d\d-\d\dT[\d:.]+Z|\d{6} [ \d]\d:\d\d:\d\d|\t)\t\s*(\d+) (\w[\w ]*?)(?:\t(.*))?$"
)
"""MariaDB writes the time only where it differs from that of the entry before."""


def start_general_log(server: MySQLServer) -> None:
    """Have the server write every statement to a file from now on; what was there is dropped."""
    server.execute("SET GLOBAL log_output = 'FILE'", "SET GLOBAL general_log = OFF")
    with suppress(FileNotFoundError):
        server.general_log_file.unlink()
    server.execute("SET GLOBAL general_log = ON")


def general_log(server: MySQLServer, containing: str = "") -> list[LoggedStatement]:
    """What a server was sent since ``start_general_log``, in its order; readable while it is down too.

    An entry is written before its statement is executed. ``containing`` keeps those whose text has it,
    whatever the case.
    """
    entries: list[LoggedStatement] = []
    for line in server.general_log_file.read_text(errors="replace").splitlines():
        match = _ENTRY.match(line)
        if match:
            time = match[1] if match[1] != "\t" or not entries else entries[-1].time
            entries.append(LoggedStatement(time, int(match[2]), match[3], match[4] or ""))
        elif entries:  # a statement of several lines
            last = entries[-1]
            entries[-1] = LoggedStatement(last.time, last.connection_id, last.command, f"{last.text}\n{line}")
    return [entry for entry in entries if containing.lower() in entry.text.lower()]
