"""Routes about what this node has just done and how long it took (http-api.md 5.13).

There is no queue of checks: each server has a watcher of its own. What the reference calls active is how
many checks ran in a second, and nothing waits. Nor does a check wait for the store, which is written behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from starlette.responses import Response

from api import wire_types
from api.described import Bare
from api.replies import bare
from api.routes.call import BadRequestError, Call, ToCall, reading_router, route
from api.wire_metrics import (
    check_to_wire,
    checks_to_wire,
    flush_to_wire,
    flushes_to_wire,
    queries_to_wire,
    query_to_wire,
    queue_to_wire,
)
from services.measuring.figures import at_once
from services.measuring.samples import CheckSample

__all__ = ["reads"]

reads = reading_router()

_QUEUES: dict[str, Callable[[CheckSample], bool]] = {
    "DEFAULT": lambda check: not check.error,
    "DEADINSTANCES": lambda check: bool(check.error),
}
_SECONDS_MAX = 24 * 3600


def _since(call: Call) -> tuple[float, int]:
    """From when on, and how many seconds that is."""
    seconds = min(call.number(call.param("seconds"), "a number of seconds"), _SECONDS_MAX)
    return time.time() - seconds, seconds


def _checks(call: Call) -> list[CheckSample]:
    since, _ = _since(call)
    return [check for check in call.node.measured.checks if check.at >= since]


@route(reads, "discovery-metrics-raw/:seconds", reply=Bare(list[wire_types.DiscoveryMetric]))
async def checks(call: ToCall) -> Response:
    """Every check of the last seconds."""
    return bare([check_to_wire(check) for check in _checks(call)])


@route(reads, "discovery-metrics-aggregated/:seconds", reply=Bare(wire_types.AggregatedDiscoveryMetrics))
async def checks_aggregated(call: ToCall) -> Response:
    """Figures of these checks."""
    return bare(checks_to_wire(_checks(call)))


@route(
    reads,
    "discovery-queue-metrics-raw/:seconds",
    "discovery-queue-metrics-raw/:queue/:seconds",
    reply=Bare(list[wire_types.QueueMetric]),
)
async def queue(call: ToCall) -> Response:
    """How many checks ran in each of the last seconds; DEADINSTANCES: that failed."""
    return bare([{"Active": count, "Queued": 0} for count in _counts(call)])


@route(
    reads,
    "discovery-queue-metrics-aggregated/:seconds",
    "discovery-queue-metrics-aggregated/:queue/:seconds",
    reply=Bare(wire_types.AggregatedQueueMetrics),
)
async def queue_aggregated(call: ToCall) -> Response:
    """Figures of that."""
    return bare(queue_to_wire(_counts(call)))


def _counts(call: Call) -> Sequence[int]:
    name = call.param("queue") or "DEFAULT"
    if name not in _QUEUES:
        raise BadRequestError(f"No queue has the name {name}: there are {' and '.join(_QUEUES)}")
    _, seconds = _since(call)
    kept = min(seconds, call.settings.DiscoveryCollectionRetentionSeconds)
    fits = _QUEUES[name] if call.param("queue") else lambda _check: True
    return at_once([check for check in call.node.measured.checks if fits(check)], time.time(), kept)


@route(reads, "backend-query-metrics-raw/:seconds", reply=Bare(list[wire_types.BackendMetric]))
async def queries(call: ToCall) -> Response:
    """Every transaction of Topology and gateway in the store in the last seconds."""
    since, _ = _since(call)
    return bare([query_to_wire(one) for one in call.node.measured.queries if one.at >= since])


@route(reads, "backend-query-metrics-aggregated/:seconds", reply=Bare(wire_types.AggregatedBackendMetrics))
async def queries_aggregated(call: ToCall) -> Response:
    """Figures of these transactions."""
    since, _ = _since(call)
    return bare(queries_to_wire([one for one in call.node.measured.queries if one.at >= since]))


@route(reads, "write-buffer-metrics-raw/:seconds", reply=Bare(list[wire_types.WriteMetric]))
async def flushes(call: ToCall) -> Response:
    """Every time that what is known of instances was written to the store."""
    since, _ = _since(call)
    return bare([flush_to_wire(one) for one in call.node.measured.flushes if one.at >= since])


@route(reads, "write-buffer-metrics-aggregated/:seconds", reply=Bare(wire_types.AggregatedWriteMetrics))
async def flushes_aggregated(call: ToCall) -> Response:
    """Figures of that."""
    since, _ = _since(call)
    found = [one for one in call.node.measured.flushes if one.at >= since]
    return bare(flushes_to_wire(found, call.settings))
