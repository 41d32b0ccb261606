"""Three database servers that are one synchronous store: what Galera and Group Replication have in common.

Each server is on ports of its own on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Child, spawn
from services.sandbox.server import Options
from services.store.backend import MySQLBackend
from tests.backends import backend_on
from tests.servers import StandaloneServer, short_directory, wait_until

__all__ = ["LIBFAKETIME", "SIZE", "SynchronousCluster"]

SIZE = 3
JOIN_SECONDS = 60
_CLOCK_FILE = "clock"
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclass(frozen=True, slots=True)
class _WithEnvironment(Mysqld):
    environment: Mapping[str, str] = field(default_factory=dict)
    own_clock: bool = False

    def spawn(self, arguments: Sequence[str], *, log: Path, directory: Path, die_with_parent: bool) -> Child:
        return spawn(
            [str(self.path), *arguments],
            log=log,
            directory=directory,
            die_with_parent=die_with_parent,
            environment={
                **os.environ,
                **(_clock(directory) if self.own_clock else {}),
                **self.environment,
            },
        )


def _clock(directory: Path) -> dict[str, str]:
    """The server's time of day is the host's and what the file says; monotonic clocks are the host's."""
    file = directory / _CLOCK_FILE
    if not file.exists():
        file.write_text("+0\n")
    return {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def _with(mysqld: Mysqld, environment: Mapping[str, str], *, own_clock: bool) -> Mysqld:
    """The same program, started with these variables, and with a clock of each server's own."""
    values = {each.name: getattr(mysqld, each.name) for each in fields(Mysqld)}
    return _WithEnvironment(**values, environment=environment, own_clock=own_clock)


class SynchronousCluster(ABC):
    """``start`` it once; ``destroy`` it whatever happened."""

    clocks_can_jump = False
    """``set_clock`` works. MySQL 9.7 hangs at its start under libfaketime."""

    def __init__(self, mysqld: Mysqld, **environment: str) -> None:
        self.folder = short_directory()
        environment["ORCHESTRAY_TEST_MEET"] = str(self.folder)
        mysqld = _with(mysqld, environment, own_clock=self.clocks_can_jump)
        self.servers = [
            StandaloneServer(mysqld, self.folder / f"s{number}", self._options(number))
            for number in range(SIZE)
        ]
        for server in self.servers:
            server.password = self.servers[0].password  # an account of all, as behind a proxy

    @abstractmethod
    def _options(self, number: int) -> Options: ...

    @abstractmethod
    def start(self) -> None:
        """All three, until each is a member."""

    @abstractmethod
    def rejoin(self, server: StandaloneServer) -> None:
        """Start one that was killed, until it is a member again."""

    @abstractmethod
    def is_member(self, server: StandaloneServer) -> bool:
        """As it says itself: it belongs to the majority and is up to date."""

    @abstractmethod
    def members_seen_by(self, server: StandaloneServer) -> int: ...

    def wait_whole(self) -> None:
        wait_until(
            lambda: all(
                server.is_running and self.is_member(server) and self.members_seen_by(server) == SIZE
                for server in self.servers
            ),
            JOIN_SECONDS,
            lambda: [(server.port, server.log_tail(15)) for server in self.servers],
        )

    def backend(self, number: int, **more: object) -> MySQLBackend:
        """The store as the orchestray node has it that is beside this server."""
        return backend_on(self.servers[number], **more)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def paused(self, *numbers: int) -> Iterator[None]:
        """These neither answer nor speak to the others."""
        for number in numbers:
            self.servers[number].pause()
        try:
            yield
        finally:
            for number in numbers:
                self.servers[number].resume()

    def set_clock(self, number: int, offset: str) -> None:
        """As libfaketime has it: ``+2h``, ``-30d``. It takes a second."""
        (self.servers[number].folder / _CLOCK_FILE).write_text(f"{offset}\n")

    def destroy(self) -> None:
        with contextlib.ExitStack() as endings:
            endings.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for server in self.servers:
                endings.callback(server.destroy)

    def error_logs(self) -> str:
        return "\n".join(f"--- {server.key}\n{server.log_tail()}" for server in self.servers)
