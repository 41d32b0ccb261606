"""Routes about pools of servers (http-api.md 5.7). All ask for the permission to change, as there."""

from __future__ import annotations

from starlette.responses import Response

from api.described import Enveloped, Parameter, list_of, mapping_of
from api.routes.call import BadRequestError, Call, ToCall, changing_router, route
from api.wire import INSTANCE_TYPE, key_to_wire
from api.wire_types import Key
from services.registering import SubmitPool
from services.store.times import utc_now
from services.topology.hints import complete_key
from services.topology.instance import Instance
from services.topology.keys import InstanceKey, InvalidInstanceKeyError
from services.topology.registrations import PoolMember
from services.topology.tree import Cluster

__all__ = ["changes", "here"]

changes = changing_router()
here = changing_router(here=True)


@route(
    changes,
    "submit-pool-instances/:pool",
    reply=Enveloped(str),
    query={"instances": Parameter("host:port of all its members, with commas between them")},
)
async def submit(call: ToCall, pool: str) -> Response:
    """Register the whole content of a pool."""
    texts = [text for text in call.query("instances").split(",") if text.strip()]
    members = tuple(_member(call, text) for text in texts)
    await call.node.register(SubmitPool(pool=pool, members=members, by=call.caller.user))
    return call.ok(f"Applied {pool} pool instances", pool)


@route(
    here,
    "cluster-pool-instances/:cluster_name",
    "cluster-pool-instances/:cluster_name/:pool",
    reply=Enveloped(mapping_of(list[Key])),
)
async def of_cluster(call: ToCall, cluster_name: str) -> Response:
    """Members of pools that are in a cluster, by pool."""
    cluster = call.topology.cluster_by_name(cluster_name)
    pools: dict[str, list[object]] = {}
    for member in await _members(call, cluster) if cluster else ():
        pools.setdefault(member.pool, []).append(key_to_wire(member.key))
    return call.ok(f"Cluster pool instances for {cluster_name}", pools)


@route(
    here,
    "heuristic-cluster-pool-instances/:hint",
    "heuristic-cluster-pool-instances/:hint/:pool",
    reply=Enveloped(list_of(INSTANCE_TYPE)),
)
async def heuristic_instances(call: ToCall, hint: str) -> Response:
    """Instances of a cluster that are in a pool, or in any, and answer."""
    cluster = call.cluster(hint)
    found = await _qualified(call, cluster)
    return call.ok(f"Heuristic pool instances for cluster {cluster.name}", call.instances(found))


@route(
    here,
    "heuristic-cluster-pool-lag/:hint",
    "heuristic-cluster-pool-lag/:hint/:pool",
    reply=Enveloped(int),
)
async def heuristic_lag(call: ToCall, hint: str) -> Response:
    """The greatest lag of its instances, in seconds; one that is not known counts as none."""
    cluster = call.cluster(hint)
    found = await _qualified(call, cluster)
    if not found:
        raise BadRequestError(f"No instances found in the pools of cluster {cluster.name}")
    lag_seconds = max(one.replication_lag_seconds or 0 for one in found)
    return call.ok(f"Heuristic pool lag for cluster {cluster.name}: {lag_seconds}", lag_seconds)


def _member(call: Call, text: str) -> InstanceKey:
    try:
        key = InstanceKey.parse(text, call.settings.DefaultInstancePort)
    except InvalidInstanceKeyError as error:
        raise BadRequestError(str(error)) from None
    return complete_key(call.topology, key) if call.settings.SupportFuzzyPoolHostnames else key


async def _members(call: Call, cluster: Cluster) -> list[PoolMember]:
    """Of one pool, if the path names one; by pool, then server."""
    members = await call.node.store.pools.members(utc_now(), call.param("pool"))
    known = frozenset(cluster.instance_keys)
    return [member for member in members if member.key in known]


async def _qualified(call: Call, cluster: Cluster) -> list[Instance]:
    """Members that answer, and are no binlog servers; each once, by name."""
    pooled = {member.key for member in await _members(call, cluster)}
    return [
        instance
        for instance in call.topology.instances_of(cluster)
        if instance.key in pooled and instance.is_last_check_valid and not instance.is_binlog_server
    ]
