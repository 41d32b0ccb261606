"""What people type for a server or a cluster, and what they mean by it (http-api.md 1).

Completion is generous on purpose, as scripts rely on it: part of a host name is enough where only one
known server can be meant. Zero or several matches complete nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from services.topology.keys import InstanceKey, InvalidInstanceKeyError
from services.topology.tree import Cluster, Topology

__all__ = ["cluster_by_alias", "complete_key", "resolve_cluster"]


def complete_key(topology: Topology, key: InstanceKey) -> InstanceKey:
    """The one known instance of that port whose host name contains the given one; else the key itself.

    One that is known under the given name as well comes first. An IPv4 address is complete as it is:
    ``10.0.0.1`` is no part of ``10.0.0.11``.
    """
    if key not in topology.instances and topology.named(key) != key:
        return topology.named(key)
    if not key.hostname or _is_ipv4(key.hostname):
        return key
    part = key.hostname.casefold()
    matches = [
        known for known in topology.instances if known.port == key.port and part in known.hostname.casefold()
    ]
    return matches[0] if len(matches) == 1 else key


def resolve_cluster(topology: Topology, hint: str, default_port: int = 3306) -> Cluster | None:
    """Find a cluster by exact name, exact alias, id, or a member's ``host[:port]``, exact, then fuzzy.

    The id is ours: it stays when the master, and with it the name, changes.
    """
    cluster = (
        topology.cluster_by_name(hint) or cluster_by_alias(topology, hint) or _cluster_by_id(topology, hint)
    )
    if cluster is not None:
        return cluster
    try:
        key = InstanceKey.parse(hint, default_port)
    except InvalidInstanceKeyError:
        return None
    return topology.cluster_of(key) or topology.cluster_of(complete_key(topology, key))


def cluster_by_alias(topology: Topology, alias: str) -> Cluster | None:
    return _whole_one_first([cluster for cluster in topology.clusters if alias and cluster.alias == alias])


def _cluster_by_id(topology: Topology, cluster_id: str) -> Cluster | None:
    return _whole_one_first(
        [cluster for cluster in topology.clusters if cluster_id and cluster.id == cluster_id]
    )


def _whole_one_first(clusters: list[Cluster]) -> Cluster | None:
    """What stays behind under a former master shares the id, and is not what is meant by it."""
    return min(clusters, key=lambda cluster: cluster.is_fragment, default=None)


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
