"""What the tests share: killing a part of a node, and what must be the same afterwards."""

from __future__ import annotations

import signal
from typing import Any

from services.sandbox.processes import Process
from services.sandbox.server import MySQLServer
from tests.node import Node, Watched
from tests.promises import Promise

__all__ = ["AGAIN_SECONDS", "assert_one_of_each", "kill", "living", "memory"]

AGAIN_SECONDS = 3
"""What is promised after the death of a gateway, a topology, a probe, a Leader."""


def memory(node: Node) -> dict[str, Any]:
    """What must survive: servers, registrations, recoveries."""
    return {
        "rules": {name: one["PromotionRule"] for name, one in node.instances().items()},
        "recoveries": [one["UID"] for one in node.api("audit-recovery")],
        "detections": [one["Id"] for one in node.api("audit-failure-detection")],
        "clusters": node.api("clusters"),
    }


def kill(victim: Process) -> Promise:
    """Kill it and see that it is dead: what is promised counts from then on."""
    assert victim.signal(signal.SIGKILL)
    assert victim.wait_gone(5)
    return Promise(AGAIN_SECONDS)


def living(watched: Watched) -> list[MySQLServer]:
    return [server for server in watched.topology.servers if server.is_running]


def assert_one_of_each(watched: Watched) -> None:
    """One process per actor, and per server one probe; those that were killed are replaced by one."""
    node = watched.node
    for kind in ("leader", "topology", "gateway"):
        node.actor(kind)
    assert len({node.probe_of(server) for server in living(watched)}) == len(living(watched))
    assert len(node.actors("probe")) == len(watched.topology.servers), node.marked.processes()
