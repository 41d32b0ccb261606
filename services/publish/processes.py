"""Runs one text in a shell, bounded in time and in what is kept of its output.

The shell leads a session of its own: at the end of its time everything in its process group is ended, first
with SIGTERM, a moment later with SIGKILL. What it leaves running when it ends by itself is left alone, and
so is a shell whose parent, this process, is killed: it runs to its own end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bounds", "Ended", "run_shell_text"]

_GRACE_SECONDS = 1.0
_KILLED_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_READ_BYTES = 65_536
_LAST_READS = 64  # of what a process left in the pipe: one that lives on may fill it for ever


@dataclass(frozen=True, slots=True)
class Bounds:
    seconds: float
    output_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How it ended. ``failure`` is "" if with exit code 0."""

    failure: str
    output: str
    seconds: float


class _Kept:
    """The first and the last of an output, half of the bound each."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head, self._tail, self._size = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        self._size += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        del self._tail[: max(0, len(self._tail) - self._half)]

    def text(self) -> str:
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        text = bytes(self._head + gap + self._tail).decode(errors="replace")
        return text.replace("\0", "").strip()


class _Output:
    """A pipe that is read while the process runs, and no longer, whoever else has inherited it."""

    def __init__(self, kept: _Kept) -> None:
        self._kept = kept
        self._loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._loop.add_reader(self._read_end, self._read)

    def started(self) -> None:
        """The process has its own of it: ours is closed."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        self.started()
        for _ in range(_LAST_READS):
            if not self._read():
                break
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)

    def _read(self) -> bool:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._read_end)
        self._kept.add(data)
        return bool(data)


async def run_shell_text(
    interpreter: str, text: str, environment: Mapping[str, str], bounds: Bounds
) -> Ended:
    """Run ``<interpreter> <file with the text>`` to its end, or to the end of its time. Never raises OSError.

    Cancelled, it ends the process group before it lets go.
    """
    began, kept = time.monotonic(), _Kept(bounds.output_bytes)
    script: Path | None = None
    try:
        script = await asyncio.to_thread(_script, text)
        output = _Output(kept)
        try:
            failure = await _run(interpreter, script, environment, bounds.seconds, output)
        finally:
            output.close()
    except OSError as error:
        failure = f"cannot be started: {error.filename or interpreter}: {error.strerror}"
    finally:
        if script is not None:
            script.unlink(missing_ok=True)
    return Ended(failure=failure, output=kept.text(), seconds=time.monotonic() - began)


async def _run(
    interpreter: str, script: Path, environment: Mapping[str, str], seconds: float, output: _Output
) -> str:
    # A child inherits what is blocked here, and Ray blocks SIGINT in the thread of an actor's event loop. To
    # unblock it changes nothing for us: Python handles signals in the main thread, whichever receives them.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    process = await asyncio.create_subprocess_exec(
        interpreter,
        str(script),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output.write_end,
        stderr=output.write_end,
        env=dict(environment),
        start_new_session=True,
    )
    output.started()
    try:
        code = await asyncio.wait_for(process.wait(), seconds)
    except asyncio.TimeoutError:
        await _end_group(process)
        return f"was ended, because it took longer than {seconds:g} s"
    except asyncio.CancelledError:
        await _kill_group(process)
        raise
    if code < 0:
        return f"was ended by signal {-code}"
    return f"exit code {code}" if code else ""


def _script(text: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="orchestray-hook-")  # 0600: nobody else reads or changes it
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode(errors="surrogateescape") + b"\n")
    return Path(name)


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Every process of the group, those that outlive the shell too."""
    deadline = time.monotonic() + _GRACE_SECONDS
    there = _signal_group(process.pid, signal.SIGTERM)
    try:
        while there and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
            there = _signal_group(process.pid, None)
    finally:
        await _kill_group(process)


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Until its end is seen: what watches over it must not be left to a loop that closes."""
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(process.wait(), _KILLED_SECONDS)


def _signal_group(group: int, number: signal.Signals | None) -> bool:
    """False if nobody is left in it. None only asks."""
    try:
        os.killpg(group, number or 0)
    except (ProcessLookupError, PermissionError):  # of another user: sudo has taken it over
        return False
    return True
