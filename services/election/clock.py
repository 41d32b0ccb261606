"""The clock of the election."""

from __future__ import annotations

import time

__all__ = ["boottime"]


def boottime() -> float:
    """Seconds since the host started. Never set back or forward, the same in all its processes.

    It goes on while the host sleeps: a lease that ran out in a suspended machine has run out.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # not Linux
