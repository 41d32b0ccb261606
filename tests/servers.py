"""Helpers around real servers, and around waiting for them."""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer, Options

__all__ = [
    "LoggedStatement",
    "StandaloneServer",
    "general_log",
    "short_directory",
    "start_general_log",
    "wait_until",
    "wait_until_async",
]

T = TypeVar("T")
_PAUSE_SECONDS = 0.02


def wait_until(
    condition: Callable[[], T], timeout_seconds: float = 10, describe: str | Callable[[], object] = ""
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
    condition: Callable[[], T | Awaitable[T]],
    timeout_seconds: float = 10,
    describe: str | Callable[[], object] = "",
) -> T:
    """``wait_until`` that lets the event loop run; ``condition`` may be a coroutine function."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        given = condition()
        value = cast(
            T, await asyncio.wait_for(given, timeout_seconds) if inspect.isawaitable(given) else given
        )
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
    """A new private folder whose path leaves room for a socket's name; pytest's own are too deep."""
    return Path(tempfile.mkdtemp(prefix="orc-"))


class StandaloneServer(MySQLServer):
    """One server with a ``tester`` account that may do everything over TCP, from any address."""

    user = "tester"

    def __init__(self, mysqld: Mysqld, folder: Path, options: Options | None = None) -> None:
        super().__init__(mysqld, folder, options, die_with_parent=True)
        self.password = secrets.token_urlsafe(12)

    def set_up(self) -> StandaloneServer:
        """Start it for the first time."""
        self.start()
        self.execute(
            "SET SESSION sql_log_bin = 0",
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY '{self.password}'",
            f"GRANT ALL PRIVILEGES ON *.* TO '{self.user}'@'%' WITH GRANT OPTION",
        )
        return self

    def destroy(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """One entry of a server's general log: when (UTC text), by which connection, what."""

    time: str
    connection_id: int
    command: str  # Connect, Query, Quit, ...
    text: str


_ENTRY = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+Z)\t\s*(\d+) (\w[\w ]*?)(?:\t(.*))?$")


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
            entries.append(LoggedStatement(match[1], int(match[2]), match[3], match[4] or ""))
        elif entries:  # a statement of several lines
            last = entries[-1]
            entries[-1] = LoggedStatement(last.time, last.connection_id, last.command, f"{last.text}\n{line}")
    return [entry for entry in entries if containing.lower() in entry.text.lower()]
