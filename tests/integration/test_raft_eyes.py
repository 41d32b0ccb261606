"""A quorum of eyes: three whole raft nodes, a master and its replicas on hosts (network namespaces) of their
own, so that one node and the replicas can be cut off from a master that lives.

The tests go on from what the one before left.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.hosted_servers import HostedTopology
from tests.namespaces import Namespace, cut, mend, switched, why_none
from tests.node import Node, key_of
from tests.promises import Promise
from tests.raft_nodes import HostNode, RaftNodes
from tests.servers import short_directory, wait_until

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(400)]

FAILED_OVER_SECONDS = 1.0


@dataclass(frozen=True)
class Setup:
    raft: RaftNodes
    master: Namespace
    replicas: Namespace

    def findings(self, node: Node) -> dict[str, dict[str, Any]]:
        """By server, as ``/api/replication-analysis`` has them."""
        found = node.answers("replication-analysis", 5) or []
        return {key_of(one["AnalyzedInstanceKey"]): one for one in found}

    def finding(self, node: Node) -> dict[str, Any]:
        return self.findings(node).get(str(self.raft.topology.master.key), {"Analysis": "none"})

    def cut_off(self, node: HostNode) -> None:
        """The node and the replicas from the master: the others reach it, and so do its clients."""
        cut(node.host, self.master)
        cut(self.replicas, self.master)

    def mend(self, node: HostNode) -> None:
        mend(node.host, self.master)
        mend(self.replicas, self.master)


@pytest.fixture(scope="module")
def setup(mysqld: Mysqld) -> Iterator[Setup]:
    reason = why_none()
    if reason:
        pytest.skip(reason)
    with ExitStack() as endings:
        *nodes, master, replicas = endings.enter_context(switched(5))
        folder = short_directory()
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        spec = TopologySpec(replicas=2, replica_net_timeout=2)
        topology = HostedTopology(mysqld, spec, endings, master=master, replicas=replicas).start()
        raft = RaftNodes(folder, topology, endings, hosts=nodes)
        raft.start()
        yield Setup(raft, master, replicas)


def _node(node: Node) -> HostNode:
    assert isinstance(node, HostNode)
    return node


def test_a_master_that_only_the_acting_node_misses_is_disputed_and_nothing_is_done(setup: Setup) -> None:
    raft, topology = setup.raft, setup.raft.topology
    leader = _node(raft.leader())
    for node in raft.nodes:
        node.wait_settled(topology.master, topology.replicas)
    setup.cut_off(leader)
    try:
        wait_until(lambda: setup.finding(leader)["Analysis"] == "DisputedMaster", 30, raft.story)
        found = setup.finding(leader)
        for member in map(raft.member, raft.nodes):
            assert member in found["Description"], found
        assert found["Description"].count("says alive") == 2, found
        assert f"{raft.member(leader)} says dead" in found["Description"], found
        looks, until = set(), time.monotonic() + 9  # asked again after 1, 2 and 4 s
        while time.monotonic() < until:
            found = setup.finding(leader)
            assert found["Analysis"] == "DisputedMaster", found
            looks.add(found["Description"])
            assert topology.master.variable("read_only") == "0"
            assert all(replica.variable("read_only") == "1" for replica in topology.replicas)
            time.sleep(0.2)
        assert raft.acting is leader
        assert leader.api("audit-recovery") == []
        assert len(looks) >= 3, "it is looked at again and again, and each says when"
        for node in raft.others(leader):
            assert setup.finding(node)["Analysis"] not in ("DeadMaster", "DisputedMaster")
    finally:
        setup.mend(leader)
    wait_until(lambda: setup.finding(leader)["Analysis"] == "none", 30, lambda: setup.finding(leader))
    leader.wait_settled(topology.master, topology.replicas)
    assert leader.api("audit-recovery") == []


def test_what_the_leader_alone_sees_is_enough_if_that_is_wanted(setup: Setup) -> None:
    """The key is reloaded in the middle of the dispute."""
    raft, topology = setup.raft, setup.raft.topology
    leader = _node(raft.leader())
    setup.cut_off(leader)
    try:
        wait_until(lambda: setup.finding(leader)["Analysis"] == "DisputedMaster", 30, raft.story)
        leader.configure(RaftQuorumOfEyes=False)
        leader.api("reload-configuration")
        wait_until(lambda: leader.api("audit-recovery"), 20, raft.story)
        wait_until(
            lambda: [replica for replica in topology.replicas if replica.variable("read_only") == "0"],
            20,
            raft.story,
        )
    finally:
        leader.configure(RaftQuorumOfEyes=None)
        leader.api("reload-configuration")
        setup.mend(leader)
    wait_until(lambda: topology.master.variable("read_only") == "1", 30, "it is fenced when it is reached")


def test_a_master_that_is_dead_is_recovered_within_a_second(setup: Setup) -> None:
    """With the quorum asked, on the network of the test. What is left is a master and one replica."""
    raft, topology = setup.raft, setup.raft.topology
    leader = raft.leader()
    (master,) = [one for one in topology.replicas if one.variable("read_only") == "0"]
    (replica,) = [one for one in topology.replicas if one is not master]
    for node in raft.nodes:
        node.wait_settled(master, [replica])
    time.sleep(1.1)  # RecoveryPeriodBlockSeconds
    promise = Promise(FAILED_OVER_SECONDS)
    master.kill()
    promise.kept(lambda: replica.variable("read_only") == "0", raft.story)
    print(f"failed over after {promise.elapsed:.3f} s with a quorum of eyes")
    leader.wait_said(rf"promoted {replica.key} in place of {master.key} ", 10)
    recovery = leader.api("audit-recovery")[0]
    steps = [step["Message"] for step in leader.api(f"audit-recovery-steps/{recovery['UID']}")]
    assert any("a majority of the raft members sees it" in step for step in steps), steps
    assert sum(" says dead at " in step for step in steps) >= 2, steps
    print(next(step for step in steps if "waited for" in step))
