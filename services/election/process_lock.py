"""One process of a kind on this host: an exclusive ``flock`` for life, and the way to end a hung holder.

Ray's singleton is not exclusive, and Ray never notices a stopped process. The kernel's lock is gone when its
holder is, and the file says who that is: pid and start time, so that a reused pid is not hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

__all__ = ["ProcessLock", "end_holder", "holder_of"]

_RETRY_SECONDS = 0.05


class ProcessLock:
    """Held until the process ends; there is no way to give it up before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    async def acquire(self, *, patience: float | None = None) -> None:
        """Wait until nobody else holds it. Raises OSError if the file cannot be made.

        Who holds it for longer than ``patience`` seconds from now on is ended: for the successor of a process
        that may be out of everybody's reach, stopped, its parent dead.

        May be called again: a second descriptor of this same process would wait for the first for ever.
        """
        if self._fd >= 0:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline is not None and time.monotonic() > deadline:
                    end_holder(self._path)
                await asyncio.sleep(_RETRY_SECONDS)
        self._fd = fd
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {_start_time(os.getpid())}\n".encode(), 0)


def holder_of(path: Path) -> tuple[int, int] | None:
    """Pid and start time (clock ticks since boot) of the living holder, or None."""
    try:
        pid, started = (int(part) for part in path.read_text().split())
    except (OSError, ValueError):
        return None
    return (pid, started) if _start_time(pid) == started else None


def end_holder(path: Path) -> int | None:
    """SIGKILL to the process that holds the lock. Returns its pid, or None if there is none."""
    holder = holder_of(path)
    if holder is None:
        return None
    pid, started = holder
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if _start_time(pid) != started:  # between the two looks it ended and its pid was given away
                return None
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
        return pid
    return None


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat; 0 if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
