"""The Ray nodes of the cluster, and where on them the probes go.

Deciding is apart from asking: ``choose`` and ``surplus`` know nothing of Ray.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

from actors.handles import ask_ray

__all__ = ["RayNode", "addresses", "choose", "end_forsaken_raylet", "own_node_id", "ray_nodes", "surplus"]

_HEAD = "node:__internal_head__"


@dataclass(frozen=True, slots=True, order=True)
class RayNode:
    """``id`` is new each time that Ray is started there, ``address`` stays."""

    address: str
    id: str
    is_head: bool = False


async def ray_nodes() -> tuple[RayNode, ...]:
    """Those that live, the head first; of two at one address (one is not known to be dead yet) the last.

    Raises UnavailableError.
    """
    listed = await ask_ray(ray.nodes, "list its nodes")
    by_address = {
        one["NodeManagerAddress"]: RayNode(
            address=one["NodeManagerAddress"], id=one["NodeID"], is_head=_HEAD in one["Resources"]
        )
        for one in listed
        if one["Alive"]
    }
    return tuple(sorted(by_address.values(), key=lambda node: (not node.is_head, node)))


def own_node_id() -> str:
    """Of the Ray node on which this actor runs."""
    return str(ray.get_runtime_context().get_node_id())


async def end_forsaken_raylet() -> bool:
    """Whether Ray has given up the Ray node on which this actor runs; its raylet is then ended.

    A raylet that hangs is taken for dead, and what it has started runs on: deaf, as Ray fails all calls to
    it, and without end, as only the raylet itself would learn of it. Once that is gone the rest follows, and
    who supervises Ray starts it anew. Raises UnavailableError.
    """
    own = own_node_id()
    listed = await ask_ray(ray.nodes, "list its nodes")
    if not any(one["NodeID"] == own and not one["Alive"] for one in listed):
        return False
    _end_parent("raylet")
    return True


def _end_parent(name: str) -> None:
    """SIGKILL to the parent of this process, if that is its name."""
    pid = os.getppid()
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            # Still our parent, so the pid has not been given to another since.
            if os.getppid() == pid and Path(f"/proc/{pid}/comm").read_text().strip() == name:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def choose(nodes: Sequence[RayNode], placed: Mapping[str, str]) -> RayNode | None:
    """Where the next probe goes: to the emptiest node, of equals to a worker. None without nodes.

    ``placed`` says on which node (its id) each probe runs.
    """
    load = Counter(placed.values())
    return min(nodes, key=lambda node: (load[node.id], node.is_head, node), default=None)


def surplus(nodes: Sequence[RayNode], placed: Mapping[str, str], most: int) -> tuple[str, ...]:
    """Which probes, at most so many, should go elsewhere: until no node has two more than another.

    Those whose place is not known, or no more, are Ray's to move.
    """
    ids = {node.id for node in nodes}
    here = {name: place for name, place in placed.items() if place in ids}
    moved: list[str] = []
    while len(moved) < most:
        load = Counter({node.id: 0 for node in nodes})
        load.update(here.values())
        if not load:
            break
        fullest, emptiest = max(load, key=load.__getitem__), min(load, key=load.__getitem__)
        if load[fullest] - load[emptiest] < 2:
            break
        name = min(one for one, place in here.items() if place == fullest and one not in moved)
        here[name] = emptiest
        moved.append(name)
    return tuple(moved)


def addresses(nodes: Iterable[RayNode]) -> frozenset[str]:
    return frozenset(node.address for node in nodes)
