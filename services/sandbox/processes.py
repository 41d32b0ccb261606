"""Processes that a sandbox started: told apart from others, signalled, awaited.

A pid alone may by now belong to somebody else, so a process is named by its pid and the moment at
which it started (field 22 of ``/proc/<pid>/stat``, clock ticks since boot), and is signalled through
a pidfd that was opened before that was compared: what is signalled is what was compared.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Child", "Process", "spawn"]

_DEAD = "X"
_DEAD_STATES = frozenset({"Z", _DEAD})
_STOPPED_STATE = "T"

# Runs in place of the program: asks the kernel for SIGKILL at the parent's death, then becomes the program.
# A program instead of preexec_fn, which may deadlock in a process that has threads.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG): " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Child(Protocol):
    """What was started, as its starter sees it: the part of ``subprocess.Popen`` that is used."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        ...


@dataclass(frozen=True, slots=True)
class Process:
    """One process for ever: its pid and its start, in clock ticks since boot."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now. Raises ProcessLookupError if there is none."""
        return cls(pid, _stat(pid)[2])

    @classmethod
    def read(cls, file: Path) -> Process | None:
        """What ``write`` wrote; None if there is no such file, or not all of it."""
        try:
            pid, start_ticks = file.read_text().split()
            return cls(int(pid), int(start_ticks))
        except (FileNotFoundError, ValueError):
            return None

    def write(self, file: Path) -> None:
        """Note it for another program."""
        file.write_text(f"{self.pid} {self.start_ticks}\n")

    @property
    def is_alive(self) -> bool:
        """It exists and is not a mere zombie, which keeps its pid but runs no more.

        While a killed process is torn down its first thread is a zombie already, and the others still
        hold its files and sockets: that is alive.
        """
        state, threads = self._state()
        return threads > 1 or state not in _DEAD_STATES

    @property
    def is_paused(self) -> bool:
        """It was stopped by SIGSTOP."""
        return self._state()[0] == _STOPPED_STATE

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process is gone, whoever has its pid now."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive:
                return False
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    def wait_gone(self, timeout_seconds: float) -> bool:
        """True once it has ended. A child of this process is to be reaped besides."""
        return _wait(lambda: not self.is_alive, timeout_seconds)

    def wait_paused(self, timeout_seconds: float) -> bool:
        """True once a SIGSTOP that was sent has taken effect."""
        return _wait(lambda: self.is_paused, timeout_seconds)

    def _state(self) -> tuple[str, int]:
        """State letter and number of threads; dead if the pid is free or another's by now."""
        try:
            state, threads, start_ticks = _stat(self.pid)
        except ProcessLookupError:
            return _DEAD, 0
        return (state, threads) if start_ticks == self.start_ticks else (_DEAD, 0)


def spawn(
    arguments: Sequence[str],
    *,
    log: Path,
    directory: Path,
    die_with_parent: bool,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C in a terminal is not sent to it.

    Output goes to the end of ``log``. With ``die_with_parent`` the kernel kills it when this process ends,
    however it ends. Without ``environment`` it has ours.
    """
    if die_with_parent:
        # The kernel counts the death of the *thread* that started it: hence one that lives as long as we do.
        launcher = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        return _SPAWNER.run(lambda: _popen([*launcher, *arguments], log, directory, environment))
    return _popen(arguments, log, directory, environment)


def _popen(
    arguments: Sequence[str], log: Path, directory: Path, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )


class _Spawner:
    """One thread, started at first use, that never ends and starts what must die with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        started: Future[subprocess.Popen[bytes]] = Future()

        def work() -> None:
            try:
                started.set_result(start())
            except BaseException as error:
                started.set_exception(error)

        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # not alive: we are a fork
                self._work = queue.SimpleQueue()
                self._thread = threading.Thread(target=self._loop, name="sandbox-spawner", daemon=True)
                self._thread.start()
            self._work.put(work)
        return started.result(timeout=30)

    def _loop(self) -> None:
        while True:
            self._work.get()()


_SPAWNER = _Spawner()


def _wait(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _stat(pid: int) -> tuple[str, int, int]:
    """State letter, number of threads, and start of a process. Raises ProcessLookupError if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything, ")" included
    return fields[0], int(fields[17]), int(fields[19])
