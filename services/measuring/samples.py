"""Single measurements, and how they are kept: the newest only, bounded in number and age."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from services.topology.keys import InstanceKey

__all__ = ["SAMPLES_KEPT", "CheckSample", "FlushSample", "Measured", "QuerySample"]

SAMPLES_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class CheckSample:
    """One check of a server. ``at`` is when it ended, in seconds since 1970."""

    at: float
    key: InstanceKey
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class QuerySample:
    """One transaction of the store: until it began, and from there to its end."""

    at: float
    wait_seconds: float
    execute_seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class FlushSample:
    """What is known of this many instances was written to the store."""

    at: float
    instances: int
    wait_seconds: float
    write_seconds: float


@dataclass(slots=True)
class Measured:
    """Samples of one process, oldest first. Belongs to one event loop."""

    checks: deque[CheckSample] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))
    queries: deque[QuerySample] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))
    flushes: deque[FlushSample] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))

    def check(self, key: InstanceKey, seconds: float, error: str, *, age_seconds: float = 0.0) -> None:
        """A check that began ``age_seconds`` ago and took ``seconds``."""
        ended = time.time() - max(0.0, age_seconds - seconds)
        self.checks.append(CheckSample(ended, key, seconds, error))

    def query(self, wait_seconds: float, execute_seconds: float, error: str) -> None:
        self.queries.append(QuerySample(time.time(), wait_seconds, execute_seconds, error))

    def flush(self, instances: int, wait_seconds: float, write_seconds: float) -> None:
        self.flushes.append(FlushSample(time.time(), instances, wait_seconds, write_seconds))

    def take(self) -> Measured:
        """All of it; this is empty then."""
        taken = Measured(self.checks, self.queries, self.flushes)
        fresh = Measured()
        self.checks, self.queries, self.flushes = fresh.checks, fresh.queries, fresh.flushes
        return taken

    def extend(self, more: Measured) -> None:
        self.checks.extend(more.checks)
        self.queries.extend(more.queries)
        self.flushes.extend(more.flushes)

    def forget_before(self, at: float) -> None:
        for samples in (self.checks, self.queries, self.flushes):
            _drop_before(samples, at)


def _drop_before(samples: deque[CheckSample] | deque[QuerySample] | deque[FlushSample], at: float) -> None:
    while samples and samples[0].at < at:
        samples.popleft()
