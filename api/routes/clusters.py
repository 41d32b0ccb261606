"""Routes about clusters, their masters and their text forms (http-api.md 5.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from starlette.responses import Response

from api.replies import bare
from api.routes.call import BadRequestError, Call, ToCall, changing_router, reading_router, route
from api.wire import instance_to_wire
from api.wire_records import cluster_to_wire
from services.topology.instance import Instance
from services.topology.render import RenderPolicy, topology_tabulated, topology_text
from services.topology.tree import Cluster

__all__ = ["changes", "reads"]

reads = reading_router()
changes = changing_router()


class Render(Protocol):
    __name__: str

    def __call__(self, instances: Iterable[Instance], policy: RenderPolicy) -> str: ...


@route(reads, "clusters")
async def clusters(call: ToCall) -> Response:
    return call.cached("clusters", lambda: [cluster.name for cluster in call.topology.clusters])


@route(reads, "clusters-info")
async def clusters_info(call: ToCall) -> Response:
    return call.cached(
        "clusters-info",
        lambda: [cluster_to_wire(cluster, call.settings) for cluster in call.topology.clusters],
    )


@route(reads, "cluster-info/:hint")
async def cluster_info(call: ToCall, hint: str) -> Response:
    return bare(cluster_to_wire(call.cluster(hint), call.settings))


@route(reads, "cluster-info/alias/:alias")
async def cluster_info_by_alias(call: ToCall, alias: str) -> Response:
    return bare(cluster_to_wire(call.cluster_by_alias(alias), call.settings))


@route(reads, "cluster/:hint")
async def cluster_by_hint(call: ToCall, hint: str) -> Response:
    return _members(call, call.cluster(hint))


@route(reads, "cluster/alias/:alias")
async def cluster_by_alias(call: ToCall, alias: str) -> Response:
    return _members(call, call.cluster_by_alias(alias))


@route(reads, "cluster/instance/:host/:port")
async def cluster_by_instance(call: ToCall, host: str, port: str) -> Response:
    return _members(call, call.cluster_of(host, port))


@route(reads, "masters")
async def masters(call: ToCall) -> Response:
    """One writeable master for each cluster that has one, by cluster name."""

    def build() -> list[object]:
        by_name = sorted(call.topology.clusters, key=lambda cluster: cluster.name)
        found = (_writeable_master(call, cluster) for cluster in by_name)
        return [instance_to_wire(master) for master in found if master is not None]

    return call.cached("masters", build)


@route(reads, "master/:hint")
async def master(call: ToCall, hint: str) -> Response:
    cluster = call.cluster(hint)
    found = call.topology.instances.get(cluster.master_key)
    if found is None:
        raise BadRequestError(f"No masters found for cluster {cluster.name}")
    return bare(instance_to_wire(found))


@route(reads, "topology/:hint")
async def topology(call: ToCall, hint: str) -> Response:
    return _text(call, call.cluster(hint), topology_text)


@route(reads, "topology/:host/:port")
async def topology_of_instance(call: ToCall, host: str, port: str) -> Response:
    return _text(call, call.cluster_of(host, port), topology_text)


@route(reads, "topology-tabulated/:hint")
async def tabulated(call: ToCall, hint: str) -> Response:
    return _text(call, call.cluster(hint), topology_tabulated)


@route(reads, "topology-tabulated/:host/:port")
async def tabulated_of_instance(call: ToCall, host: str, port: str) -> Response:
    return _text(call, call.cluster_of(host, port), topology_tabulated)


@route(changes, "forget-cluster/:hint")
async def forget_cluster(call: ToCall, hint: str) -> Response:
    cluster = call.cluster(hint)
    await call.node.forget_cluster(cluster)
    return call.ok(f"Cluster forgotten: {cluster.name}")


def _members(call: Call, cluster: Cluster) -> Response:
    return call.cached(
        ("cluster", cluster.name),
        lambda: [instance_to_wire(member) for member in call.topology.instances_of(cluster)],
    )


def _text(call: Call, cluster: Cluster, render: Render) -> Response:
    lag_seconds = call.settings.ReasonableMaintenanceReplicationLagSeconds
    policy = RenderPolicy(reasonable_maintenance_replication_lag_seconds=lag_seconds)
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
