"""Names and options of the actors. All live in the Ray namespace ``orchestray``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.topology.keys import InstanceKey

__all__ = [
    "GATEWAY",
    "GATEWAY_LOCK",
    "LEADER",
    "LEADER_LOCK",
    "LOCKS",
    "NAMESPACE",
    "TOPOLOGY",
    "TOPOLOGY_LOCK",
    "gateway_name",
    "gateway_options",
    "head_options",
    "is_gateway",
    "is_probe",
    "probe_assignments",
    "probe_options",
]

NAMESPACE = "orchestray"
TOPOLOGY = "topology"
LEADER = "leader"
GATEWAY = "gateway:head"
LOCKS = LEADER_LOCK, TOPOLOGY_LOCK, GATEWAY_LOCK = "leader.lock", "topology.lock", "gateway.lock"
"""Files in the node's directory that say, and see to it, which process is the actor."""


def head_options(name: str) -> dict[str, Any]:
    """A singleton of the head: restarted by Ray for ever, on whichever host is the head."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_task_retries": 0,
        "num_cpus": 0,
        "resources": {"node:__internal_head__": 0.001},
    }


def _elsewhere(name: str, node_id: str, *, soft: bool) -> dict[str, Any]:
    options = head_options(name)
    del options["resources"]
    if node_id:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id, soft=soft)
    return options


def probe_options(name: str, node_id: str = "") -> dict[str, Any]:
    """A probe runs on that Ray node, and anywhere else when that is gone: Ray moves it."""
    return _elsewhere(name, node_id, soft=True)


def gateway_name(address: str) -> str:
    """Of the gateway of a worker node; that of the head is GATEWAY."""
    return f"gateway:{address}"


def gateway_options(name: str, node_id: str = "") -> dict[str, Any]:
    """A gateway runs on its own Ray node and ends with it; without ``node_id``, on the head."""
    options = _elsewhere(name, node_id, soft=False) if node_id else head_options(name)
    return {**options, "max_concurrency": 1000}


def is_gateway(name: str) -> bool:
    return name.startswith("gateway:")


def is_probe(name: str) -> bool:
    return name.startswith(("probe:", "probe-pack:"))


def probe_assignments(keys: Iterable[InstanceKey], most_actors: int) -> dict[str, tuple[InstanceKey, ...]]:
    """Which probe watches which instances: one each, or, beyond ``most_actors``, evenly shared."""
    ordered = sorted(keys)
    if len(ordered) <= most_actors:
        return {f"probe:{key}": (key,) for key in ordered}
    packs: dict[str, list[InstanceKey]] = {f"probe-pack:{number}": [] for number in range(most_actors)}
    for position, key in enumerate(ordered):
        packs[f"probe-pack:{position % most_actors}"].append(key)
    return {name: tuple(pack) for name, pack in packs.items()}
