"""Routes about clusters, their masters and their text forms (http-api.md 5.6)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from starlette.responses import Response

from api.described import Bare, Enveloped, list_of
from api.replies import JsonText, bare
from api.routes.call import BadRequestError, Call, ToCall, changing_router, reading_router, route
from api.wire import INSTANCE_TYPE
from api.wire_records import cluster_to_wire
from api.wire_types import ClusterInfo
from services.config import endpoint_matches
from services.deciding_policies import render_policy
from services.registering import snapshots_of
from services.topology.control_replicas import control_replicas
from services.topology.instance import Instance
from services.topology.render import RenderPolicy, topology_tabulated, topology_text
from services.topology.tree import Cluster

__all__ = ["changes", "reads"]

reads = reading_router()
changes = changing_router()


class Render(Protocol):
    __name__: str

    def __call__(self, instances: Iterable[Instance], policy: RenderPolicy) -> str: ...


@route(reads, "clusters", reply=Bare(list[str]))
async def clusters(call: ToCall) -> Response:
    """Names of all clusters."""
    return call.cached("clusters", lambda: [cluster.name for cluster in call.topology.clusters])


@route(reads, "clusters-info", reply=Bare(list[ClusterInfo]))
async def clusters_info(call: ToCall) -> Response:
    """All clusters."""
    return call.cached(
        "clusters-info",
        lambda: [cluster_to_wire(cluster, call.settings) for cluster in call.topology.clusters],
    )


@route(reads, "cluster-info/:hint", reply=Bare(ClusterInfo))
async def cluster_info(call: ToCall, hint: str) -> Response:
    """A cluster."""
    return bare(cluster_to_wire(call.cluster(hint), call.settings))


@route(reads, "cluster-info/alias/:alias", reply=Bare(ClusterInfo))
async def cluster_info_by_alias(call: ToCall, alias: str) -> Response:
    """A cluster."""
    return bare(cluster_to_wire(call.cluster_by_alias(alias), call.settings))


@route(reads, "cluster/:hint", reply=Bare(list_of(INSTANCE_TYPE)))
async def cluster_by_hint(call: ToCall, hint: str) -> Response:
    """The instances of a cluster."""
    return _members(call, call.cluster(hint))


@route(reads, "cluster/alias/:alias", reply=Bare(list_of(INSTANCE_TYPE)))
async def cluster_by_alias(call: ToCall, alias: str) -> Response:
    """The instances of a cluster."""
    return _members(call, call.cluster_by_alias(alias))


@route(reads, "cluster/instance/:host/:port", reply=Bare(list_of(INSTANCE_TYPE)))
async def cluster_by_instance(call: ToCall, host: str, port: str) -> Response:
    """The instances of the cluster that an instance is in."""
    return _members(call, call.cluster_of(host, port))


@route(reads, "masters", reply=Bare(list_of(INSTANCE_TYPE)))
async def masters(call: ToCall) -> Response:
    """One writeable master for each cluster that has one, by cluster name."""

    def build() -> JsonText:
        by_name = sorted(call.topology.clusters, key=lambda cluster: cluster.name)
        found = (_writeable_master(call, cluster) for cluster in by_name)
        return call.instances(master for master in found if master is not None)

    return call.cached("masters", build)


@route(reads, "master/:hint", reply=Bare(INSTANCE_TYPE))
async def master(call: ToCall, hint: str) -> Response:
    """A cluster's master."""
    cluster = call.cluster(hint)
    found = call.topology.instances.get(cluster.master_key)
    if found is None:
        raise BadRequestError(f"No masters found for cluster {cluster.name}")
    return bare(call.instance(found))


@route(
    reads,
    "cluster-osc-replicas/:hint",
    "cluster-osc-slaves/:hint",
    reply=Bare(list_of(INSTANCE_TYPE)),
)
async def osc_replicas(call: ToCall, hint: str) -> Response:
    """Replicas by whose lag an online schema change is throttled."""
    ignored = call.settings.OSCIgnoreHostnameFilters
    members = call.topology.instances_of(call.cluster(hint))
    found = control_replicas(members, lambda key: endpoint_matches(ignored, key.hostname, key.port))
    return bare(call.instances(found))


@route(reads, "topology/:hint", reply=Enveloped(str))
async def topology(call: ToCall, hint: str) -> Response:
    """A cluster as a tree in text."""
    return _text(call, call.cluster(hint), topology_text)


@route(reads, "topology/:host/:port", reply=Enveloped(str))
async def topology_of_instance(call: ToCall, host: str, port: str) -> Response:
    """The cluster of an instance as a tree in text."""
    return _text(call, call.cluster_of(host, port), topology_text)


@route(reads, "topology-tabulated/:hint", reply=Enveloped(str))
async def tabulated(call: ToCall, hint: str) -> Response:
    """The same in columns."""
    return _text(call, call.cluster(hint), topology_tabulated)


@route(reads, "topology-tabulated/:host/:port", reply=Enveloped(str))
async def tabulated_of_instance(call: ToCall, host: str, port: str) -> Response:
    """The same in columns."""
    return _text(call, call.cluster_of(host, port), topology_tabulated)


@route(changes, "snapshot-topologies", reply=Enveloped(str))
async def snapshot(call: ToCall) -> Response:
    """Keep every cluster's tree in the audit, as it is now; gives the time that it took."""
    began = time.monotonic()
    for request in snapshots_of(call.topology, call.settings, by=call.caller.user):
        await call.node.register(request)
    took = f"{(time.monotonic() - began) * 1000:.3f}ms"
    return call.ok(f"Topology snapshot of {len(call.topology.clusters)} clusters taken", took)


@route(changes, "forget-cluster/:hint", reply=Enveloped(None))
async def forget_cluster(call: ToCall, hint: str) -> Response:
    """Forget all instances of a cluster."""
    cluster = call.cluster(hint)
    await call.node.forget_cluster(cluster)
    return call.ok(f"Cluster forgotten: {cluster.name}")


def _members(call: Call, cluster: Cluster) -> Response:
    return call.cached(
        ("cluster", cluster.name),
        lambda: call.instances(call.topology.instances_of(cluster)),
    )


def _text(call: Call, cluster: Cluster, render: Render) -> Response:
    policy = render_policy(call.settings)
    return call.cached_ok(
        (render.__name__, cluster.name),
        f"Topology for cluster {cluster.name}",
        lambda: render(call.topology.instances_of(cluster), policy),
    )


def _writeable_master(call: Call, cluster: Cluster) -> Instance | None:
    """Its top if that is writeable, else a writeable co-master."""
    members = call.topology.instances_of(cluster)
    tops = [member for member in members if member.replication_depth == 0 or member.is_co_master]
    tops.sort(key=lambda member: (member.key != cluster.master_key, member.replication_depth, member.key))
    return next((member for member in tops if not member.read_only), None)
