"""Routes that read what happened: failures, recoveries, the general audit (http-api.md 5.10, 5.11)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from api.described import Bare, Parameter
from api.replies import bare
from api.routes.call import Call, ToCall, reading_router, route
from api.wire_records import (
    audit_to_wire,
    blocked_to_wire,
    changelog_to_wire,
    detection_to_wire,
    recovery_to_wire,
    step_to_wire,
)
from api.wire_types import Audit, BlockedTopologyRecovery, Changelog, TopologyRecovery, TopologyRecoveryStep
from services.store.recoveries import RecoveryFilter
from services.store.times import shifted, utc_now
from services.topology.keys import InstanceKey
from services.topology.records import Recovery

__all__ = ["reads"]

reads = reading_router()

_RECOVERIES = Bare(list[TopologyRecovery])
_UNACKNOWLEDGED = {"unacknowledged": Parameter("true: only those that nobody has acknowledged")}

_RECENT_SECONDS = 300.0
_RECENT_PAGES = 10
"""More recoveries than these pages hold do not end in that time, save when whole sites fail."""


@route(reads, "audit-recovery", "audit-recovery/:page", reply=_RECOVERIES, query=_UNACKNOWLEDGED)
async def recoveries(call: ToCall) -> Response:
    """Recoveries, newest first."""
    return await _recoveries(call, RecoveryFilter(unacknowledged=call.query("unacknowledged") == "true"))


@route(reads, "audit-recovery/id/:number", reply=_RECOVERIES)
async def recovery_by_id(call: ToCall, number: str) -> Response:
    """One recovery, or an empty list."""
    return await _recoveries(call, RecoveryFilter(id=call.number(number, "an id")))


@route(reads, "audit-recovery/uid/:uid", reply=_RECOVERIES)
async def recovery_by_uid(call: ToCall, uid: str) -> Response:
    """One recovery, or an empty list."""
    return await _recoveries(call, RecoveryFilter(uid=uid))


@route(
    reads,
    "audit-recovery/cluster/:cluster_name",
    "audit-recovery/cluster/:cluster_name/:page",
    reply=_RECOVERIES,
    query=_UNACKNOWLEDGED,
)
async def recoveries_of_cluster(call: ToCall, cluster_name: str) -> Response:
    """Recoveries of a cluster, newest first."""
    unacknowledged = call.query("unacknowledged") == "true"
    return await _recoveries(call, RecoveryFilter(cluster_name=cluster_name, unacknowledged=unacknowledged))


@route(
    reads,
    "audit-recovery/alias/:alias",
    "audit-recovery/alias/:alias/:page",
    reply=_RECOVERIES,
    query=_UNACKNOWLEDGED,
)
async def recoveries_of_alias(call: ToCall, alias: str) -> Response:
    """Recoveries of a cluster, newest first."""
    unacknowledged = call.query("unacknowledged") == "true"
    return await _recoveries(call, RecoveryFilter(cluster_alias=alias, unacknowledged=unacknowledged))


@route(reads, "audit-recovery-steps/:uid", reply=Bare(list[TopologyRecoveryStep]))
async def recovery_steps(call: ToCall, uid: str) -> Response:
    """What was done in a recovery, oldest first."""
    return bare([step_to_wire(step) for step in await call.node.store.journal.steps(uid)])


@route(reads, "audit-failure-detection", "audit-failure-detection/:page", reply=_RECOVERIES)
async def detections(call: ToCall) -> Response:
    """Failures that were detected, newest first."""
    return await _detections(call)


@route(reads, "audit-failure-detection/id/:number", reply=_RECOVERIES)
async def detection_by_id(call: ToCall, number: str) -> Response:
    """One of them, or an empty list."""
    return await _detections(call, detection_id=call.number(number, "an id"))


@route(
    reads,
    "audit-failure-detection/alias/:alias",
    "audit-failure-detection/alias/:alias/:page",
    reply=_RECOVERIES,
)
async def detections_of_alias(call: ToCall, alias: str) -> Response:
    """Those of a cluster, newest first."""
    return await _detections(call, cluster_alias=alias)


@route(reads, "active-cluster-recovery/:cluster_name", reply=_RECOVERIES)
async def active_recoveries(call: ToCall, cluster_name: str) -> Response:
    """In their active period and not ended: those that run."""
    which = RecoveryFilter(cluster_name=cluster_name)
    found = await call.node.store.recoveries.page(which, now=utc_now())
    return bare([recovery_to_wire(recovery) for recovery in found if recovery.is_running])


@route(reads, "recently-active-cluster-recovery/:cluster_name", reply=_RECOVERIES)
async def recent_recoveries_of_cluster(call: ToCall, cluster_name: str) -> Response:
    """Recoveries of a cluster that ended in the last five minutes."""
    return await _recent(call, RecoveryFilter(cluster_name=cluster_name), lambda recovery: True)


@route(reads, "recently-active-instance-recovery/:host/:port", reply=_RECOVERIES)
async def recent_recoveries_of_successor(call: ToCall, host: str, port: str) -> Response:
    """Such by which this instance was promoted."""
    key = call.key(host, port)
    return await _recent(call, RecoveryFilter(), lambda recovery: recovery.successor_key == key)


@route(reads, "blocked-recoveries", reply=Bare(list[BlockedTopologyRecovery]))
async def blocked(call: ToCall) -> Response:
    """Recoveries that another one was in the way of, newest first."""
    found = await call.node.store.recoveries.blocked(utc_now())
    return bare([blocked_to_wire(attempt) for attempt in found])


@route(reads, "blocked-recoveries/cluster/:cluster_name", reply=Bare(list[BlockedTopologyRecovery]))
async def blocked_of_cluster(call: ToCall, cluster_name: str) -> Response:
    """Those of a cluster."""
    found = await call.node.store.recoveries.blocked(utc_now(), cluster_name)
    return bare([blocked_to_wire(attempt) for attempt in found])


@route(reads, "audit", "audit/:page", reply=Bare(list[Audit]))
async def audit(call: ToCall) -> Response:
    """The general audit, newest first. Empty unless ``AuditToBackendDB``."""
    return await _audit(call, None)


@route(reads, "audit/instance/:host/:port", "audit/instance/:host/:port/:page", reply=Bare(list[Audit]))
async def audit_of_instance(call: ToCall, host: str, port: str) -> Response:
    """That about one instance."""
    return await _audit(call, call.key(host, port))


async def _audit(call: Call, key: InstanceKey | None) -> Response:
    if not call.settings.AuditToBackendDB:
        return bare([])
    found = await call.node.store.audit.page(page=call.page(call.param("page")), instance=key)
    return bare([audit_to_wire(entry) for entry in found])


@route(reads, "replication-analysis-changelog", reply=Bare(list[Changelog]))
async def changelog(call: ToCall) -> Response:
    """When this node saw the analysis of each server change, since it started."""
    return bare([changelog_to_wire(key, lines) for key, lines in call.node.changelog.lines()])


async def _recoveries(call: Call, which: RecoveryFilter) -> Response:
    page = call.page(call.param("page"))
    found = await call.node.store.recoveries.page(which, page=page, now=utc_now())
    return bare([recovery_to_wire(recovery) for recovery in found])


async def _detections(
    call: Call, *, detection_id: int | None = None, cluster_alias: str | None = None
) -> Response:
    found = await call.node.store.detections.page(
        page=call.page(call.param("page")),
        now=utc_now(),
        detection_id=detection_id,
        cluster_alias=cluster_alias,
    )
    return bare([detection_to_wire(detection) for detection in found])


async def _recent(call: Call, which: RecoveryFilter, fits: Callable[[Recovery], bool]) -> Response:
    """Those that ended within the last 5 minutes. One may have begun long before."""
    now = utc_now()
    since, found = shifted(now, -_RECENT_SECONDS), []
    for page in range(_RECENT_PAGES):
        recoveries = await call.node.store.recoveries.page(which, page=page, now=now)
        found += [
            recovery_to_wire(recovery)
            for recovery in recoveries
            if fits(recovery) and recovery.recovery_end_timestamp >= since
        ]
        if not recoveries:
            break
    return bare(found)
