"""Promised times, measured on a machine that may be busy with other things."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.servers import wait_until

__all__ = ["Promise", "contention"]

T = TypeVar("T")
_WORK_SECONDS = 0.05
_PATIENCE = 8


def contention() -> float:
    """How many times longer work takes than it would alone: 1 on a quiet machine."""
    wall, own = time.perf_counter(), time.process_time()
    while time.process_time() - own < _WORK_SECONDS:
        pass
    return max(1.0, (time.perf_counter() - wall) / _WORK_SECONDS)


class Promise:
    """``promise = Promise(3)`` when it begins to count, ``promise.kept(condition)`` until it is seen.

    Where others use the processors, what takes processor time takes longer: the promise is longer by as much.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._contention = contention()
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def kept(self, condition: Callable[[], T | None], describe: Callable[[], Any] = lambda: "") -> T:
        """What the condition gave, in time. Fails if it came too late, or not at all."""
        found = wait_until(condition, self._seconds * _PATIENCE - self.elapsed, describe)
        took = self.elapsed
        busy = max(self._contention, contention())
        assert took <= self._seconds * busy, (
            f"came after {took:.1f} s, promised in {self._seconds:g} s (contention {busy:.1f}): {describe()}"
        )
        return found
