"""A Ray head of our own: started as a child, ended with everything that it started.

The process that uses this becomes a subreaper: what Ray's processes leave behind when they die comes to it,
and is ended too. A dead supervisor takes the head with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["HeadFailedError", "RayHead"]

_PR_SET_CHILD_SUBREAPER = 36
_START_SECONDS = 60.0
_STOP_SECONDS = 3.0
_NODE_ADDRESS = "127.0.0.11"
"""Ray replaces 127.0.0.1 by an address that others can reach; it keeps this one."""

_RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_worker_maximum_startup_concurrency": "4",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}

_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class HeadFailedError(Exception):
    """Ray, or the actors in it, could not be started; the text says why."""


class RayHead:
    """One head, without workers. ``directory`` must be short: Ray puts sockets below it."""

    def __init__(self, directory: Path, *, dashboard: bool, token_file: Path) -> None:
        self.token_file = token_file
        self.is_up = False
        self._directory = directory
        self._dashboard_port = _free_port() if dashboard else 0
        self._port = _free_port()
        self._child: subprocess.Popen[bytes] | None = None
        self._token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
        self._environment = {**os.environ, **_RAY_SETTINGS, "RAY_AUTH_TOKEN": self._token}

    @property
    def address(self) -> str:
        return f"{_NODE_ADDRESS}:{self._port}"

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self._dashboard_port}" if self._dashboard_port else ""

    def start(self, stop: threading.Event) -> None:
        """Start it and wait until it answers. Raises HeadFailedError."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._directory.mkdir(mode=0o700)
        fd = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(self._token)
        log = self._directory / "head.log"
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), sys.executable, *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(_NODE_ADDRESS, self._port):
            if stop.is_set():
                return
            if self._child.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise HeadFailedError(f"Ray did not start:\n{tail}")
            time.sleep(0.05)
        self.is_up = True

    def _command(self) -> list[str]:
        options = {
            "port": self._port,
            "node-ip-address": _NODE_ADDRESS,
            "temp-dir": self._directory,
            "num-cpus": 2,
            "object-store-memory": 80_000_000,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "ray-client-server-port": _free_port(),
            "include-dashboard": "true" if self._dashboard_port else "false",
        }
        if self._dashboard_port:
            options |= {"dashboard-host": "127.0.0.1", "dashboard-port": self._dashboard_port}
        words = [f"--{name}={value}" for name, value in options.items()]
        return ["-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats", *words]

    def orchestray(
        self, command: str, *words: str, stop: threading.Event | None, timeout: float, quiet: bool = False
    ) -> None:
        """Run ``orchestray up|down`` against this head. Raises HeadFailedError unless ``quiet``."""
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", command, "--ray-address", self.address, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        deadline = time.monotonic() + timeout
        while process.poll() is None:
            ended = self.exit_code() is not None or time.monotonic() > deadline
            if ended or (stop is not None and stop.is_set()):
                process.kill()
                break
            time.sleep(0.02)
        said = process.communicate()[1].strip()
        if quiet or (stop is not None and stop.is_set()):
            return
        if process.returncode != 0:
            raise HeadFailedError(said.removeprefix("orchestray: ") or f"orchestray {command} took too long")

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll() if self._child is not None else None

    def stop(self) -> None:
        """End it and all that it started; bounded."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self.is_up = False
        _end_descendants(deadline=time.monotonic() + _STOP_SECONDS)


def _end_descendants(*, deadline: float) -> None:
    """Kill what was left to us, and what that leaves to us, until nothing of Ray's is left."""
    while time.monotonic() < deadline:
        children = [pid for pid in _children(os.getpid()) if _is_of_ray(pid)]
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for _ in children:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _is_of_ray(pid: int) -> bool:
    """Ray's processes and its workers; a sandbox's servers are ended by the sandbox."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"mysqld" not in words


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0
