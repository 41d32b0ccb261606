"""Each kind of actor is killed, with -9, while a topology is watched: nothing is forgotten or doubled."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.parts import kill
from tests.node import Watched
from tests.servers import wait_until

pytestmark = pytest.mark.alone


def test_gateway(watched: Watched, remembered: object) -> None:
    node = watched.node
    promise = kill(node.actor("gateway"))
    # It never answers before it has a topology: the first reply is whole.
    instances = promise.kept(lambda: node.answers("all-instances"))
    assert len(instances) == len(watched.topology.servers)
    wait_until(lambda: node.leads, 5)  # told each second by the Leader


def test_topology(watched: Watched, remembered: object) -> None:
    """Replies go on without it; within 3 s they are fresh again."""
    node = watched.node
    promise = kill(node.actor("topology"))
    assert len(node.api("all-instances")) == len(watched.topology.servers)

    def fresh() -> bool:
        """Seen after the kill, by a topology that was not there at that time."""
        known = node.instances()
        return (
            node.answers("health") is not None
            and len(known) == len(watched.topology.servers)
            and all(
                one["IsLastCheckValid"] and one["SecondsSinceLastSeen"]["Int64"] < promise.elapsed
                for one in known.values()
            )
            and len(node.actors("topology")) == 1
        )

    promise.kept(fresh, lambda: [(n, one["SecondsSinceLastSeen"]) for n, one in node.instances().items()])


def test_topology_and_gateway_at_once(watched: Watched, remembered: object) -> None:
    """No reply ever shows an empty topology."""
    node = watched.node
    gateway = node.actor("gateway")
    kill(node.actor("topology"))
    kill(gateway)
    instances = wait_until(lambda: node.answers("all-instances"), 30)
    assert len(instances) == len(watched.topology.servers)


def test_probe(watched: Watched, remembered: object) -> None:
    """Polls again, and tells what has changed meanwhile."""
    node, replica = watched.node, watched.topology.replicas[1]
    promise = kill(node.probe_of(replica))
    replica.execute("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
    try:
        name = str(replica.key)
        promise.kept(lambda: node.instances()[name]["ReadOnly"] is False)
    finally:
        replica.execute("SET GLOBAL super_read_only = ON")
    wait_until(lambda: node.instances()[name]["ReadOnly"] is True, 10)


def test_all_at_once(watched: Watched, remembered: object) -> None:
    node = watched.node
    victims = [
        process for kind in ("leader", "topology", "gateway", "probe") for process in node.actors(kind)
    ]
    assert len(victims) == 3 + len(watched.topology.servers)
    for victim in victims:
        victim.signal(signal.SIGKILL)
    wait_until(lambda: not any(victim.is_alive for victim in victims), 5)
    # Seven processes start at once: this takes processor time, not patience.
    wait_until(lambda: node.leads, 60, lambda: node.said)
    node.wait_settled(watched.topology.master, watched.topology.replicas, 60)
