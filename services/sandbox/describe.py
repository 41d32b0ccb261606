"""A sandbox in words: a few lines for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.sandbox.binaries import cache_directory
from services.topology.keys import InstanceKey

__all__ = ["ServerView", "server_lines", "usage_lines"]


@dataclass(frozen=True, slots=True)
class ServerView:
    """How one server is now: ``pid`` is None if it does not run, ``answers`` False if it does not say.

    ``source`` is what it replicates from, ``replicating`` whether both threads of that run.
    """

    name: str
    key: InstanceKey
    pid: int | None
    answers: bool = False
    writable: bool = False
    source: InstanceKey | None = None
    replicating: bool = False

    @property
    def is_master(self) -> bool:
        """It takes writes and replicates from nobody."""
        return self.answers and self.writable and self.source is None


def server_lines(views: Sequence[ServerView]) -> list[str]:
    """One line for each server: address, process, what it does."""
    width = max((len(str(view.key)) for view in views), default=0)
    pids = max((len(_pid(view)) for view in views), default=0)
    return [f"  {view.key!s:<{width}}  {_pid(view):<{pids}}  {_role(view)}" for view in views]


def usage_lines(views: Sequence[ServerView], client_options: Path) -> list[str]:
    """How to write to the present master, and the line to type to kill it; nothing if there is none."""
    master = next((view for view in views if view.is_master), None)
    if master is None:
        return []
    return [
        f"write to it:      {_client()} --defaults-extra-file={client_options} -P {master.key.port}",
        f"kill the master:  kill -9 {master.pid}",
    ]


def _pid(view: ServerView) -> str:
    return "-" if view.pid is None else f"pid {view.pid}"


def _role(view: ServerView) -> str:
    if view.pid is None:
        return "does not run"
    if not view.answers:
        return "runs and does not answer"
    if view.source is None:
        return "master" if view.writable else "replicates from nobody, read-only"
    state = "" if view.replicating else ", not replicating"
    return f"replica of {view.source}{state}{', writable!' if view.writable else ''}"


def _client() -> str:
    """The client on PATH, or the one that was unpacked with the server."""
    unpacked = cache_directory() / "mysql" / "mysql"
    if shutil.which("mysql") is None and unpacked.exists():
        return str(unpacked)
    return "mysql"
