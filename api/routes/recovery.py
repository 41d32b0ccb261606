"""Routes that ask what is wrong, and that have it repaired or left alone (http-api.md 5.10)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from api.described import Enveloped, Parameter, list_of
from api.routes.call import BadRequestError, Call, ToCall, changing_router, reading_router, route
from api.wire import ANALYSIS_TYPE, analysis_to_wire, key_to_wire
from api.wire_types import Filters, Key
from services.analysis import ReplicationAnalysis
from services.node_view import RefusedError, UnknownInstanceError
from services.store.recoveries import RecoveryFilter
from services.store.times import shifted, utc_now
from services.topology.keys import InstanceKey
from services.topology.records import Recovery
from services.topology.tree import Cluster

__all__ = ["changes", "reads"]

reads = reading_router()
changes = changing_router()

_SKIP = {"skipProcesses": Parameter("true: run no hooks")}
_COMMENT = {"comment": Parameter("why; may not be blank")}

_ASKED_TWICE_SECONDS = 60.0
"""Who asks for the same recovery again within this time is told how the first ended."""


@route(reads, "replication-analysis", reply=Enveloped(list_of(ANALYSIS_TYPE)))
async def replication_analysis(call: ToCall) -> Response:
    """What is wrong, and how each server stands in it."""
    return call.cached_ok(
        "replication-analysis", "Analysis", lambda: [analysis_to_wire(entry) for entry in call.node.analysis]
    )


@route(reads, "replication-analysis/:cluster_name", reply=Enveloped(list_of(ANALYSIS_TYPE)))
async def replication_analysis_of_cluster(call: ToCall, cluster_name: str) -> Response:
    """The same of one cluster."""
    names = {cluster_name}
    names.update(cluster.name for cluster in call.topology.clusters if cluster.alias == cluster_name)
    return _analysis(call, f" for {cluster_name}", lambda entry: entry.cluster_details.cluster_name in names)


@route(reads, "replication-analysis/instance/:host/:port", reply=Enveloped(list_of(ANALYSIS_TYPE)))
async def replication_analysis_of_instance(call: ToCall, host: str, port: str) -> Response:
    """The same of one instance."""
    key = call.key(host, port)
    return _analysis(call, f" for {key}", lambda entry: entry.analyzed_instance_key == key)


def _analysis(call: Call, of_what: str, fits: Callable[[ReplicationAnalysis], bool]) -> Response:
    entries = [analysis_to_wire(entry) for entry in call.node.analysis if fits(entry)]
    return call.ok(f"Analysis{of_what}", entries)


@route(changes, "recover/:host/:port", reply=Enveloped(Key), query=_SKIP)
async def recover(call: ToCall, host: str, port: str) -> Response:
    """Recover from the failure of an instance; gives the promoted one."""
    return await _recover(call, call.key(host, port), None, skip_hooks=call.query("skipProcesses") == "true")


@route(changes, "recover/:host/:port/:candidate_host/:candidate_port", reply=Enveloped(Key), query=_SKIP)
async def recover_to(
    call: ToCall, host: str, port: str, candidate_host: str, candidate_port: str
) -> Response:
    """The same, promoting a certain replica."""
    candidate = call.key(candidate_host, candidate_port)
    skip_hooks = call.query("skipProcesses") == "true"
    return await _recover(call, call.key(host, port), candidate, skip_hooks=skip_hooks)


@route(changes, "recover-lite/:host/:port", reply=Enveloped(Key))
async def recover_lite(call: ToCall, host: str, port: str) -> Response:
    """The same without hooks."""
    return await _recover(call, call.key(host, port), None, skip_hooks=True)


@route(changes, "recover-lite/:host/:port/:candidate_host/:candidate_port", reply=Enveloped(Key))
async def recover_lite_to(
    call: ToCall, host: str, port: str, candidate_host: str, candidate_port: str
) -> Response:
    """The same without hooks, promoting a certain replica."""
    candidate = call.key(candidate_host, candidate_port)
    return await _recover(call, call.key(host, port), candidate, skip_hooks=True)


async def _recover(
    call: Call, key: InstanceKey, candidate: InstanceKey | None, *, skip_hooks: bool
) -> Response:
    try:
        promoted = await call.node.recover(
            key, candidate=candidate, skip_hooks=skip_hooks, caller=_owner(call)
        )
    except UnknownInstanceError as error:
        return call.error(f"Recovery not attempted: {error}", key_to_wire(key))
    except RefusedError:
        # orchestrator-client asks every recovery twice, and so does who lost the first reply.
        # The second time there is nothing left to repair: that is not an error, it is done.
        done = await _just_recovered(call, key)
        if done is None or candidate not in (None, done.successor_key):
            raise
        message = f"Recovery executed on {key} already, at {done.recovery_end_timestamp}"
        return call.ok(message, key_to_wire(done.successor_key))
    return call.ok(f"Recovery executed on {key}", key_to_wire(promoted))


async def _just_recovered(call: Call, key: InstanceKey) -> Recovery | None:
    now = utc_now()
    recoveries = await call.node.store.recoveries.page(RecoveryFilter(instance=key), now=now)
    newest = recoveries[0] if recoveries else None
    if newest is None or not newest.is_successful:
        return None
    return newest if newest.recovery_end_timestamp >= shifted(now, -_ASKED_TWICE_SECONDS) else None


# acknowledging


@route(changes, "ack-recovery/cluster/:hint", reply=Enveloped(str), query=_COMMENT)
async def acknowledge_cluster(call: ToCall, hint: str) -> Response:
    """Acknowledge the recoveries of a cluster; that unblocks further ones."""
    return await _acknowledge_cluster(call, call.cluster(hint))


@route(changes, "ack-recovery/cluster/alias/:alias", reply=Enveloped(str), query=_COMMENT)
async def acknowledge_cluster_by_alias(call: ToCall, alias: str) -> Response:
    """Acknowledge the recoveries of a cluster."""
    return await _acknowledge_cluster(call, call.cluster_by_alias(alias))


@route(changes, "ack-recovery/instance/:host/:port", reply=Enveloped(Key), query=_COMMENT)
async def acknowledge_instance(call: ToCall, host: str, port: str) -> Response:
    """Acknowledge the recoveries of an instance."""
    key = call.key(host, port)
    count = await _acknowledge(call, RecoveryFilter(instance=key))
    return call.ok(f"Acknowledged {count} recoveries on {key}", key_to_wire(key))


@route(changes, "ack-recovery/:recovery_id", reply=Enveloped(str), query=_COMMENT)
async def acknowledge_id(call: ToCall, recovery_id: str) -> Response:
    """Acknowledge a recovery; an unknown one is no error."""
    count = await _acknowledge(call, RecoveryFilter(id=call.number(recovery_id, "a recovery id")))
    return call.ok(f"Acknowledged {count} recoveries", recovery_id)


@route(changes, "ack-recovery/uid/:uid", reply=Enveloped(str), query=_COMMENT)
async def acknowledge_uid(call: ToCall, uid: str) -> Response:
    """Acknowledge a recovery; an unknown one is no error."""
    count = await _acknowledge(call, RecoveryFilter(uid=uid))
    return call.ok(f"Acknowledged {count} recoveries", uid)


@route(changes, "ack-all-recoveries", reply=Enveloped(str), query=_COMMENT)
async def acknowledge_all(call: ToCall) -> Response:
    """Acknowledge all recoveries."""
    count = await _acknowledge(call, RecoveryFilter())
    return call.ok(f"Acknowledged {count} recoveries", _comment(call))


async def _acknowledge_cluster(call: Call, cluster: Cluster) -> Response:
    """By its id if it has one: each failover renames a cluster."""
    which = RecoveryFilter(cluster_id=cluster.id) if cluster.id else RecoveryFilter(cluster_name=cluster.name)
    count = await _acknowledge(call, which)
    return call.ok(f"Acknowledged {count} recoveries of cluster {cluster.name}", cluster.name)


async def _acknowledge(call: Call, which: RecoveryFilter) -> int:
    return await call.node.acknowledge(which, comment=_comment(call), owner=_owner(call))


def _comment(call: Call) -> str:
    comment = call.query("comment").strip()
    if not comment:
        raise BadRequestError("No acknowledge comment given")
    return comment


def _owner(call: Call) -> str:
    return call.caller.user or call.caller.front_host or call.node.status().hostname


# what a failover left behind


@route(changes, "end-deposal/:host/:port", reply=Enveloped(Key))
async def end_deposal(call: ToCall, host: str, port: str) -> Response:
    """Ours: a former master is not made read-only at contact any more."""
    key = call.key(host, port)
    await call.node.end_deposal(key, owner=_owner(call))
    return call.ok(f"{key} is not deposed any more", key_to_wire(key))


# switching automatic recoveries off and on


@route(reads, "automated-recovery-filters", reply=Enveloped(Filters))
async def automated_recovery_filters(call: ToCall) -> Response:
    """Which clusters are recovered automatically."""
    names = (
        "RecoverMasterClusterFilters",
        "RecoverIntermediateMasterClusterFilters",
        "RecoveryIgnoreHostnameFilters",
    )
    details = {name: list(getattr(call.settings, name)) for name in names}
    return call.ok("Automated recovery configuration details", details)


@route(reads, "check-global-recoveries", reply=Enveloped(str))
async def check_global_recoveries(call: ToCall) -> Response:
    """Whether automatic recoveries are enabled at all."""
    state = "enabled" if call.node.global_recoveries_enabled else "disabled"
    return call.ok(f"Global recoveries are {state}", state)


@route(changes, "enable-global-recoveries", reply=Enveloped(str))
async def enable_global_recoveries(call: ToCall) -> Response:
    """Allow automatic recoveries."""
    await call.node.set_global_recoveries(enabled=True)
    return call.ok("Enabled global recoveries", "enabled")


@route(changes, "disable-global-recoveries", reply=Enveloped(str))
async def disable_global_recoveries(call: ToCall) -> Response:
    """Forbid automatic recoveries."""
    await call.node.set_global_recoveries(enabled=False)
    return call.ok("Disabled global recoveries", "disabled")
