"""The clock of the election."""

from __future__ import annotations

import functools
import time
from pathlib import Path

__all__ = ["boot_id", "boottime"]


def boottime() -> float:
    """Seconds since the host started. Never set back or forward, the same in all its processes.

    It goes on while the host sleeps: a lease that ran out in a suspended machine has run out.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # not Linux


@functools.cache
def boot_id() -> str:
    """Which boot of which host this is; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
