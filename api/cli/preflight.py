"""What can be found wrong before Ray is started, and is said at once."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from actors.names import LOCKS
from api.auth import check_authentication
from services.config import Settings
from services.election.process_lock import holder_of
from services.unsupported import refuse_unsupported

__all__ = ["NodeLock", "PreflightError", "check_place", "check_settings"]

_PREDECESSOR_SECONDS = 10.0


class PreflightError(Exception):
    """The node cannot be started as it is configured; the text says why."""


def check_settings(settings: Settings) -> None:
    """Raises ConfigurationError for settings that cannot be kept, though each is a right one."""
    refuse_unsupported(settings)
    check_authentication(settings)


def check_place(settings: Settings, stop: threading.Event) -> None:
    """That nobody else is where the node shall be. Raises PreflightError.

    Actors of a service that was killed a moment ago are given the time to end.
    """
    deadline = time.monotonic() + _PREDECESSOR_SECONDS
    locks = [settings.node_directory() / name for name in LOCKS]
    while any(holder_of(lock) for lock in locks) and time.monotonic() < deadline and not stop.is_set():
        stop.wait(0.05)
    host, port = settings.listen_endpoint
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            said = f"ListenAddress: cannot listen on {settings.ListenAddress}: {error.strerror or error}"
            raise PreflightError(said) from None


class NodeLock:
    """The node's directory, made if missing, for this process alone. Given back at the end, however it comes.

    Raises PreflightError on entering.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1

    def __enter__(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._directory / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PreflightError(
                f"the node's directory {self._directory} cannot be made: {error.strerror} "
                "(it stands beside SQLite3DataFile, or where NodeDirectory says)"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise PreflightError(
                f"orchestray serve runs already on {self._directory} (process {holder}): stop it, or give "
                "this one its own SQLite3DataFile or NodeDirectory"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            os.close(self._fd)
