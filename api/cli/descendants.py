"""What a process has started, and what that has started: found, adopted when orphaned, ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

__all__ = ["adopt_orphans", "dying_with_us", "end_descendants"]

_PR_SET_CHILD_SUBREAPER = 36

_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]), 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execv(sys.argv[3], sys.argv[3:])
"""


def adopt_orphans() -> None:
    """From now on, what a descendant leaves behind when it dies becomes our child."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def dying_with_us(number: signal.Signals, *command: str) -> list[str]:
    """The command for a child that gets this signal when the thread that started it ends, however it ends."""
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), str(int(number)), *command]


def end_descendants(limit_seconds: float) -> bool:
    """Kill all, and reap what is ours, until none is left. False if some outlive the limit."""
    deadline = time.monotonic() + limit_seconds
    while living := _descendants(os.getpid()):
        if time.monotonic() > deadline:
            return False
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        time.sleep(0.01)
    return True


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    children = _children(pid)
    while children:
        found += children
        children = [grandchild for child in children for grandchild in _children(child)]
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
    return found
