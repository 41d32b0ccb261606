"""Measurements in the JSON of the API (http-api.md 6.10)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, cast

from api import wire_types
from services.config import Settings
from services.measuring.figures import Spread, spread_of
from services.measuring.samples import CheckSample, FlushSample, QuerySample

__all__ = [
    "check_to_wire",
    "checks_to_wire",
    "flush_to_wire",
    "flushes_to_wire",
    "queries_to_wire",
    "query_to_wire",
    "queue_to_wire",
]

_NEVER = "0001-01-01T00:00:00Z"
_NANOSECONDS = 1_000_000_000
_LEAST_OF_NONE = 9e9
"""What the reference calls the minimum where there is no sample."""


def _time(at: float) -> str:
    """RFC 3339 with nanoseconds."""
    whole = datetime.fromtimestamp(int(at), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int((at - int(at)) * _NANOSECONDS):09d}Z"


def check_to_wire(check: CheckSample) -> wire_types.DiscoveryMetric:
    return {
        "Timestamp": _time(check.at),
        "Hostname": check.key.hostname,
        "Port": check.key.port,
        "BackendLatencySeconds": 0.0,  # a check does not wait for the store
        "InstanceLatencySeconds": check.seconds,
        "TotalLatencySeconds": check.seconds,
        "Err": check.error,
    }


def checks_to_wire(checks: Sequence[CheckSample]) -> wire_types.AggregatedDiscoveryMetrics:
    well = [check for check in checks if not check.error]
    failed = [check for check in checks if check.error]
    found: dict[str, Any] = {
        "FirstSeen": _time(min(check.at for check in checks)) if checks else _NEVER,
        "LastSeen": _time(max(check.at for check in checks)) if checks else _NEVER,
        "CountDistinctInstanceKeys": len({check.key for check in checks}),
        "CountDistinctOkInstanceKeys": len({check.key for check in well}),
        "CountDistinctFailedInstanceKeys": len({check.key for check in failed}),
        "FailedDiscoveries": len(failed),
        "SuccessfulDiscoveries": len(well),
    }
    spreads = [("", spread_of([check.seconds for check in well]))]
    spreads.append(("Failed", spread_of([check.seconds for check in failed])))
    for name, attribute in (("Mean", "mean"), ("Max", "most"), ("Median", "median"), ("P95", "p95")):
        for prefix, spread in spreads:
            value = getattr(spread, attribute)
            found[f"{prefix}{name}TotalSeconds"] = value
            found[f"{prefix}{name}BackendSeconds"] = 0.0
            found[f"{prefix}{name}InstanceSeconds"] = value
    return cast(wire_types.AggregatedDiscoveryMetrics, found)


def queue_to_wire(counts: Sequence[int]) -> wire_types.AggregatedQueueMetrics:
    active = spread_of([float(count) for count in counts])
    least = active.least if counts else _LEAST_OF_NONE
    return {
        "ActiveMinEntries": least,
        "ActiveMeanEntries": active.mean,
        "ActiveMedianEntries": active.median,
        "ActiveP95Entries": active.p95,
        "ActiveMaxEntries": active.most,
        "QueuedMinEntries": 0.0 if counts else _LEAST_OF_NONE,
        "QueuedMeanEntries": 0.0,
        "QueuedMedianEntries": 0.0,
        "QueuedP95Entries": 0.0,
        "QueuedMaxEntries": 0.0,
    }


def query_to_wire(query: QuerySample) -> wire_types.BackendMetric:
    return {
        "Timestamp": _time(query.at),
        "WaitLatency": int(query.wait_seconds * _NANOSECONDS),
        "ExecuteLatency": int(query.execute_seconds * _NANOSECONDS),
        "Err": query.error,
    }


def queries_to_wire(queries: Sequence[QuerySample]) -> wire_types.AggregatedBackendMetrics:
    found = {
        "Count": len(queries),
        **_spread("LatencySeconds", spread_of([query.execute_seconds for query in queries])),
        **_spread("WaitSeconds", spread_of([query.wait_seconds for query in queries])),
    }
    return cast(wire_types.AggregatedBackendMetrics, found)


def flush_to_wire(flush: FlushSample) -> wire_types.WriteMetric:
    return {
        "Timestamp": _time(flush.at),
        "Instances": flush.instances,
        "WaitLatency": int(flush.wait_seconds * _NANOSECONDS),
        "WriteLatency": int(flush.write_seconds * _NANOSECONDS),
    }


def flushes_to_wire(flushes: Sequence[FlushSample], settings: Settings) -> wire_types.AggregatedWriteMetrics:
    found = {
        "InstanceWriteBufferSize": settings.InstanceWriteBufferSize,
        "InstanceFlushIntervalMilliseconds": settings.InstanceFlushIntervalMilliseconds,
        "CountInstances": sum(flush.instances for flush in flushes),
        **_spread("Instances", spread_of([float(flush.instances) for flush in flushes])),
        **_spread("WaitSeconds", spread_of([flush.wait_seconds for flush in flushes])),
        **_spread("WriteSeconds", spread_of([flush.write_seconds for flush in flushes])),
    }
    return cast(wire_types.AggregatedWriteMetrics, found)


def _spread(suffix: str, spread: Spread) -> dict[str, float]:
    return {
        f"Max{suffix}": spread.most,
        f"Mean{suffix}": spread.mean,
        f"Median{suffix}": spread.median,
        f"P95{suffix}": spread.p95,
    }
