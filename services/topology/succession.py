"""Who has become what in a cluster without our doing, as seen in its topology. Pure.

A deposed master has *rejoined* when it replicates, directly or not, from the cluster's master, and is
read-only. A cluster *follows* another master when somebody put that above the one that it had.
"""

from __future__ import annotations

from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster, Topology

__all__ = ["follows_another", "has_rejoined"]


def has_rejoined(topology: Topology, key: InstanceKey, master: InstanceKey) -> bool:
    """Whether ``key`` is an ordinary replica below ``master``, every receiver in between running."""
    instance = topology.instances.get(key)
    return instance is not None and instance.read_only and _receives_from(topology, instance, master)


def follows_another(topology: Topology, cluster: Cluster, master: InstanceKey) -> bool:
    """Whether ``cluster``, which had ``master``, has a living, writable one above that now."""
    top, had = topology.instances.get(cluster.master_key), topology.instances.get(master)
    if top is None or had is None or top.key == master or cluster.is_fragment:
        return False
    if not top.is_last_check_valid or top.read_only or top.master_key.names_a_server:
        return False
    return _receives_from(topology, had, top.key)


def _receives_from(topology: Topology, replica: Instance, master: InstanceKey) -> bool:
    seen: set[InstanceKey] = set()
    here: Instance | None = replica
    while here is not None and here.key != master:
        receives = here.is_last_check_valid and here.receiver_state is ThreadState.RUNNING
        if not receives or here.key in seen:
            return False
        seen.add(here.key)
        if here.master_key == master:
            return True
        here = topology.instances.get(here.master_key)
    return False
