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
    "head_options",
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


def probe_options(name: str) -> dict[str, Any]:
    """A probe runs wherever there is room."""
    options = head_options(name)
    del options["resources"]
    return options


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
