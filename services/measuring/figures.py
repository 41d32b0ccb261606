"""Figures made of samples: mean, median, 95th percentile, maximum; how much went on at once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from services.measuring.samples import CheckSample

__all__ = ["NO_SPREAD", "Spread", "at_once", "spread_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    least: float
    mean: float
    median: float
    p95: float
    most: float


NO_SPREAD = Spread(least=0.0, mean=0.0, median=0.0, p95=0.0, most=0.0)


def spread_of(values: Sequence[float]) -> Spread:
    """Of no values, zeros."""
    if not values:
        return NO_SPREAD
    ordered = sorted(values)
    return Spread(
        least=ordered[0],
        mean=statistics.fmean(ordered),
        median=statistics.median(ordered),
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1],
        most=ordered[-1],
    )


def at_once(checks: Sequence[CheckSample], now: float, seconds: int) -> list[int]:
    """For each of the last whole seconds, oldest first: how many of the checks ran in it."""
    first = math.floor(now) - seconds
    counts = [0] * seconds
    for check in checks:
        begun = max(math.floor(check.at - check.seconds) - first, 0)
        for second in range(begun, min(math.floor(check.at) - first, seconds - 1) + 1):
            counts[second] += 1
    return counts
