"""A temporary folder for one run: Ray's sockets and logs, the sandbox. Those of killed runs are removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["work_directory"]

_PREFIX = "orchestray-"
_LOCK = "run.lock"
_LONGEST = 38
"""Bytes: sockets stand 66 deeper (r/2/session_<date>_<pid>/sockets/plasma_store), and have a limit of 107."""


@contextmanager
def work_directory() -> Iterator[Path]:
    """Short, private, and removed at the end."""
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base / f"{_PREFIX}12345678")) > _LONGEST:
        base = Path("/tmp")  # noqa: S108
    _remove_abandoned(base)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    unlocked = folder / f"{_LOCK}.new"
    lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(folder / _LOCK)  # seen by others only when it is held
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(base: Path) -> None:
    """A run holds its lock for life, so that one that can be had is of a run that was killed."""
    for lock in base.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # another user's
            fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(fd)
