"""The sandbox of ``orchestray sandbox``: a topology that outlives the command that started it."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from services.mysql.dialect import modern_columns
from services.sandbox.accounts import Account
from services.sandbox.containers import DEFAULT_IMAGE, end_containers
from services.sandbox.describe import ServerView
from services.sandbox.errors import SandboxError, SandboxStateError
from services.sandbox.kinds import DEFAULT_KIND, program_for
from services.sandbox.state import Sandbox, forget, load, save, state_directory
from services.sandbox.topology import MySQLTopology, TopologySpec, new_folder
from services.topology.keys import InstanceKey

__all__ = ["bring_up", "look", "take_down"]

_KILL_SECONDS = 30.0
_ASK_SECONDS = 3


def bring_up(spec: TopologySpec, kind: str = DEFAULT_KIND, image: str = DEFAULT_IMAGE) -> Sandbox:
    """Start a sandbox that stays when this process ends.

    Raises SandboxStateError if one is up, or any SandboxError of a start that failed and left nothing.
    """
    with _locked() as directory:
        known = load(directory)
        if known is not None:
            if known.processes():
                raise SandboxStateError("a sandbox is up already; stop it with: orchestray sandbox down")
            forget(known, directory)
        program = program_for(kind, image)
        topology = MySQLTopology(program, new_folder("orchestray-"), spec, die_with_parent=False)
        state = Sandbox(topology.folder, spec.semi_sync is not None, topology.accounts, kind=kind)
        save(state, directory)  # first, so that `down` finds the servers of a start that was cut off
        try:
            topology.start()
            state = replace(state, servers=tuple((server.name, server.key) for server in topology.servers))
            save(state, directory)
        except BaseException:
            topology.stop()
            forget(state, directory)
            raise
        topology.abandon()
        return state


def take_down() -> int:
    """Kill the sandbox's servers, remove their data and forget it; the number that still ran.

    Only processes that the sandbox started are signalled. Raises SandboxStateError if there is none.
    """
    with _locked() as directory:
        state = _existing(directory)
        running = state.processes()
        for process in running:
            process.signal(signal.SIGKILL)  # their data go too: there is nothing to write back
        for process in running:
            if not process.wait_gone(_KILL_SECONDS):
                raise SandboxError(f"process {process.pid} outlives SIGKILL by {_KILL_SECONDS} s; try again")
        if state.kind == "docker":
            end_containers(
                state.folder
            )  # also those of a start that was cut off before it knew their processes
        forget(state, directory)
        return len(running)


def look() -> tuple[Sandbox, list[ServerView]]:
    """The sandbox, and how each of its servers is now. Raises SandboxStateError if there is none."""
    state = _existing(state_directory())
    return state, [_view(state, name, key) for name, key in state.servers]


def _view(state: Sandbox, name: str, key: InstanceKey) -> ServerView:
    process = state.process(name)
    if process is None:
        return ServerView(name, key, None)
    try:
        writable, channel = _ask(key, state.accounts.orchestray)
    except (pymysql.MySQLError, OSError):
        return ServerView(name, key, process.pid)
    view = ServerView(name, key, process.pid, answers=True, writable=writable)
    if not channel:
        return view
    return replace(
        view,
        source=InstanceKey(str(channel["Source_Host"]), int(channel["Source_Port"])),
        replicating=channel["Replica_IO_Running"] == channel["Replica_SQL_Running"] == "Yes",
    )


def _ask(key: InstanceKey, account: Account) -> tuple[bool, Mapping[str, Any]]:
    """Whether a server takes writes, and its replication status, empty if it replicates from nobody."""
    connection = pymysql.connect(
        host=key.hostname,
        port=key.port,
        user=account.user,
        password=account.password,
        ssl_disabled=True,
        cursorclass=DictCursor,
        connect_timeout=_ASK_SECONDS,
        read_timeout=_ASK_SECONDS,
        write_timeout=_ASK_SECONDS,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@global.read_only AS read_only")
        row = cursor.fetchone()
        cursor.execute("SHOW REPLICA STATUS")
        return row is not None and row["read_only"] == 0, modern_columns(cursor.fetchone() or {})


@contextmanager
def _locked() -> Iterator[Path]:
    """The state folder, held against another ``up`` or ``down``."""
    directory = state_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SandboxStateError("another `orchestray sandbox` command is at work; wait for it") from None
        yield directory


def _existing(directory: Path) -> Sandbox:
    state = load(directory)
    if state is None:
        raise SandboxStateError("no sandbox is up; start one with: orchestray sandbox up")
    return state
