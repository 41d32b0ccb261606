"""Three raft nodes, each with a private MySQL backend: two databases on one server, the third on its own.

The tests go on from what the one before left.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.node import Node, key_of
from tests.promises import Promise
from tests.raft_nodes import RaftNodes
from tests.servers import Stage, StandaloneServer, short_directory, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

HANDED_OVER_SECONDS = 8.0
"""A call of the store is bounded by 5 s."""


@dataclass(frozen=True)
class Setup:
    raft: RaftNodes
    alone: Node
    """The node whose backend is no other's."""
    its_backend: StandaloneServer


@pytest.fixture(scope="module")
def setup(mysqld: Mysqld) -> Iterator[Setup]:
    stage, folder = Stage(mysqld), short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(stage.clear)
        shared, private = stage.server(), stage.server()

        def own(number: int) -> Mapping[str, object]:
            server = private if number == 2 else shared
            return {
                "BackendDB": "mysql",
                "MySQLOrchestratorHost": server.host,
                "MySQLOrchestratorPort": server.port,
                "MySQLOrchestratorDatabase": f"orchestray{number}",
                "MySQLOrchestratorUser": server.user,
                "MySQLOrchestratorPassword": server.password,
                "NodeDirectory": str(folder / str(number) / "node"),
            }

        topology = stage.topology(TopologySpec(replicas=2))
        raft = RaftNodes(folder, topology, endings, own=own)
        raft.start()
        yield Setup(raft, raft.nodes[2], private)


def _preferred(node: Node, setup: Setup) -> str | None:
    known = node.instances().get(str(setup.raft.topology.replicas[1].key))
    return known and known["PromotionRule"]


def test_what_is_decided_is_in_every_backend(setup: Setup) -> None:
    raft, replica = setup.raft, setup.raft.topology.replicas[1]
    raft.leader().api(f"register-candidate/127.0.0.1/{replica.port}/prefer")
    for node in raft.nodes:
        wait_until(lambda node=node: _preferred(node, setup) == "prefer", 15, raft.story)
    server = setup.its_backend
    (row,) = server.query(
        "SELECT promotion_rule FROM orchestray2.promotion_rules WHERE port = %s", (replica.port,)
    )
    assert row["promotion_rule"] == "prefer"


def test_who_leads_and_loses_its_backend_hands_over_and_the_others_go_on(setup: Setup) -> None:
    raft, alone, topology = setup.raft, setup.alone, setup.raft.topology
    preferred = topology.replicas[1]
    leader = raft.leader()
    if leader is not alone:
        wait_until(lambda: len(leader.api("health")["AvailableNodes"]) == 3, 30, raft.story)
        leader.api(f"raft-yield/{raft.member(alone)}")
    wait_until(lambda: raft.acting is alone, 20, raft.story)
    for node in raft.nodes:
        node.wait_settled(topology.master, topology.replicas)
    promise = Promise(HANDED_OVER_SECONDS)
    setup.its_backend.kill()
    others = raft.others(alone)
    acting = promise.kept(lambda: next((node for node in others if node.leads), None), raft.story)
    assert not alone.leads
    status, reply = wait_until(lambda: (s := alone.get("health"))[0] == 500 and s, 10, raft.story)
    assert f"{setup.its_backend.port}/orchestray2 is not reached" in reply["Message"], (status, reply)
    topology.master.kill()
    wait_until(lambda: preferred.variable("read_only") == "0", 20, raft.story)
    acting.wait_settled(preferred, [topology.replicas[0]])
    wait_until(lambda: acting.api("audit-recovery"), 10, raft.story)
    assert not alone.leads
    assert len(alone.api("all-instances")) == 3, "it goes on watching, and serves reads from memory"


def test_the_backend_returns_and_nothing_was_left_out(setup: Setup) -> None:
    raft, alone = setup.raft, setup.alone
    setup.its_backend.start()
    wait_until(lambda: alone.get("health")[0] == 200, 30, lambda: alone.get("health"))
    preferred = setup.raft.topology.replicas[1]
    for node in raft.nodes:
        recoveries = wait_until(lambda node=node: node.answers("audit-recovery"), 20, raft.story)
        assert [key_of(one["SuccessorKey"]) for one in recoveries if one["IsSuccessful"]] == [
            str(preferred.key)
        ]
    (row,) = setup.its_backend.query("SELECT COUNT(*) AS n FROM orchestray2.recoveries")
    assert row["n"] == len(alone.api("audit-recovery"))
    wait_until(lambda: len(raft.leader().api("health")["AvailableNodes"]) == 3, 30, raft.story)
