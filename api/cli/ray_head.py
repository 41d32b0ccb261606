"""A Ray head of our own: a child in a session of its own, so that a terminal's Ctrl-C is sent to us alone.

A dead supervisor takes the head with it (PR_SET_PDEATHSIG), and the head all that it started.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from api.cli.descendants import dying_with_us
from services.sandbox.ports import free_port

__all__ = ["HeadFailedError", "RayHead"]

_START_SECONDS = 60.0
_TRIES = 3  # a port that was free may be taken by the time that Ray listens on it
_LOG_LINES = 15
_NODE_ADDRESS = "127.0.0.11"
"""Ray replaces 127.0.0.1 by an address that others can reach; it keeps this one."""

_RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # when we are gone, so is the head, at once
    "RAY_worker_niceness": "0",  # with Ray's 15 the actors starve where failures happen: on busy hosts
    "RAY_worker_maximum_startup_concurrency": "4",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}


_RAY_START = (
    "import ray.scripts.scripts as scripts; "
    "scripts.get_ray_client_dependency_error = lambda: 'not wanted'; {more}scripts.main()"
)
"""``ray start`` without the server for Ray clients: it has no option for that, nobody speaks to that server,
and its start takes 1.5 s of a processor."""
_NO_DASHBOARD = (
    "import ray._private.utils, ray._private.services as services; "
    "ray._private.utils.get_dashboard_dependency_error = lambda: 'not wanted'; "
    "services.start_api_server = lambda *_, **__: ('', None); "
)
"""Without the dashboard Ray still starts a server that only counts usage, and an agent that serves the
dashboard: as in a Ray that was installed without it. They cost 1 to 2 s of a processor, 130 to 330 MB."""
_ORCHESTRAY = "import sys; del sys.path[0]; from api.cli.main import main; sys.exit(main(sys.argv[1:]))"
"""The command, without modules of the folder in which it is started."""
_PACKAGES = Path(__file__).resolve().parents[2]


class HeadFailedError(Exception):
    """Ray, or the actors in it, could not be started; the text says why."""


class RayHead:
    """One head, without workers. ``directory`` must be short: Ray puts sockets below it."""

    def __init__(self, directory: Path, *, dashboard: bool, token_file: Path) -> None:
        self.token_file = token_file
        self._directory = directory
        self._dashboard = dashboard
        self._port = self._dashboard_port = 0
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
        """Start it and wait until it answers, or until ``stop``. Raises HeadFailedError or OSError."""
        fd = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(self._token)
        for remaining in reversed(range(_TRIES)):
            try:
                self._start(self._directory / str(remaining), stop)
            except HeadFailedError as error:
                if remaining == 0 or "in use" not in str(error):
                    raise
            else:
                return

    def _start(self, directory: Path, stop: threading.Event) -> None:
        directory.mkdir(mode=0o700, parents=True)
        log = directory / "head.log"
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                dying_with_us(signal.SIGTERM, sys.executable, *self._command(directory)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=_PACKAGES,  # its workers import from there, not from where we were started
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(_NODE_ADDRESS, self._port) and not stop.is_set():
            if self._child.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
                raise HeadFailedError(f"Ray did not start:\n{tail}")
            stop.wait(0.05)

    def _command(self, directory: Path) -> list[str]:
        self._port, agent_port, dashboard_port = _free_ports(3)
        options = {
            "port": self._port,
            "node-ip-address": _NODE_ADDRESS,
            "temp-dir": directory,
            "num-cpus": 2,
            "object-store-memory": 80_000_000,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "dashboard-agent-listen-port": agent_port,
            "include-log-monitor": "false",  # it sends logs to drivers, of which there are none
            "include-dashboard": "true" if self._dashboard else "false",
        }
        if self._dashboard:
            self._dashboard_port = dashboard_port
            options |= {"dashboard-host": "127.0.0.1", "dashboard-port": dashboard_port}
        flags = ["--head", "--block", "--no-monitor", "--disable-usage-stats"]  # the monitor scales clusters
        words = [f"--{name}={value}" for name, value in options.items()]
        start = _RAY_START.format(more="" if self._dashboard else _NO_DASHBOARD)
        return ["-c", start, "start", *flags, *words]

    def orchestray(
        self, command: str, *words: str, given_up: Callable[[], bool], limit_seconds: float
    ) -> tuple[int, str]:
        """Run ``orchestray up|down|reload`` against this head: its exit status, and what it said.

        It is killed when ``given_up`` says so, when the head ends, and at the limit.
        """
        process = subprocess.Popen(
            dying_with_us(
                signal.SIGKILL, sys.executable, "-c", _ORCHESTRAY,
                command, "--ray-address", self.address, *words,
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + limit_seconds
        late = f"orchestray {command} took longer than {limit_seconds:g} s"
        while process.poll() is None:
            if self.exit_code() is not None or given_up() or time.monotonic() > deadline:
                process.kill()
                process.communicate()
                return process.returncode, late if time.monotonic() > deadline else "interrupted"
            time.sleep(0.02)
        said = process.communicate()[0].strip()
        return process.returncode, said.removeprefix("orchestray: ")

    def exit_code(self) -> int | None:
        """None while it runs, and before it was started."""
        return self._child.poll() if self._child is not None else None


def _free_ports(number: int) -> list[int]:
    """All different; none that the kernel gives to whoever asks for any, as agents of another head do that is
    started at the same moment."""
    ports: set[int] = set()
    while len(ports) < number:
        ports.add(free_port())
    return sorted(ports)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0
