"""Actors die, and masters with them: who comes back acts upon what happened meanwhile."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from services.sandbox.server import MySQLServer
from tests.chaos.parts import assert_one_of_each, kill
from tests.node import Node, Watched, key_of
from tests.servers import wait_until

pytestmark = pytest.mark.alone


def promoted(node: Node, master: MySQLServer, timeout_seconds: float) -> str:
    """Who came in its place; awaited."""
    pattern = rf"promoted (127\.0\.0\.1:\d+) in place of {re.escape(str(master.key))} "
    return str(node.wait_said(pattern, timeout_seconds)[1])


def writable(servers: Sequence[MySQLServer]) -> list[MySQLServer]:
    return [server for server in servers if server.variable("read_only") == "0"]


def test_leader_and_then_the_master_and_then_topology_and_the_next(watched: Watched) -> None:
    """A Leader that was killed acts again within 3 s: on a master that died right after it.

    Then Topology dies at the same time as the new master, which nobody may have read since its promotion:
    one that knows it from the store alone has it replaced.
    """
    node, topology = watched.node, watched.topology
    node.wait_settled(topology.master, topology.replicas)
    preferred = topology.replicas[0]
    node.api(f"register-candidate/127.0.0.1/{preferred.port}/prefer")
    wait_until(lambda: node.instances()[str(preferred.key)]["PromotionRule"] == "prefer", 10)
    term = int(re.findall(r"leads with term (\d+)", node.said)[-1])
    promise = kill(node.actor("leader"))
    topology.master.kill()
    assert promise.kept(lambda: writable(topology.replicas), lambda: node.said) == [preferred]
    assert promoted(node, topology.master, 10) == str(preferred.key)

    others = list(topology.replicas[1:])
    victim = node.actor("topology")
    preferred.kill()
    kill(victim)
    (successor,) = wait_until(lambda: writable(others), 30, lambda: node.said)
    node.wait_settled(successor, [other for other in others if other is not successor])
    assert promoted(node, preferred, 5) == str(successor.key)
    node.wait_said(rf"leads with term {term + 1}\n")
    newest, first = node.api("audit-recovery")[:2]
    assert [recovery["IsSuccessful"] for recovery in (newest, first)] == [True, True]
    assert key_of(first["SuccessorKey"]) == key_of(newest["AnalysisEntry"]["AnalyzedInstanceKey"])
    assert key_of(newest["SuccessorKey"]) == str(successor.key)
    assert_one_of_each(watched)
