"""Five whole raft nodes: without two of them a master is still recovered, without three nobody acts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld
from tests.raft_nodes import RaftNodes
from tests.servers import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def setup(mysqld: Mysqld) -> Iterator[RaftNodes]:
    with RaftNodes.started(mysqld, size=5) as setup:
        yield setup


def test_without_two_it_goes_on_and_without_three_nobody_acts(setup: RaftNodes) -> None:
    topology = setup.topology
    leader = setup.leader()
    for node in setup.nodes:
        wait_until(lambda node=node: node.answers("raft-health") == "healthy", 60, setup.story)
        node.wait_settled(topology.master, topology.replicas)
    setup.kill(leader)
    setup.kill(setup.others(leader)[0])
    acting = setup.leader(30)
    for node in setup.living:
        wait_until(lambda node=node: node.answers("raft-health") == "healthy", 30, setup.story)
    topology.master.kill()
    promoted = wait_until(
        lambda: next((one for one in topology.replicas if one.variable("read_only") == "0"), None),
        20,
        setup.story,
    )
    (replica,) = [one for one in topology.replicas if one is not promoted]
    acting.wait_settled(promoted, [replica])

    setup.kill(acting)
    left = setup.living
    assert len(left) == 2
    for node in left:
        wait_until(lambda node=node: node.get("raft-health")[0] == 500, 20, setup.story)
    promoted.kill()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        assert not any(node.leads for node in left)
        assert replica.variable("read_only") == "1", "two of five decide nothing"
        time.sleep(0.1)
    for node in left:
        assert node.api("raft-state") == "Candidate"
        assert len(node.api("all-instances")) == 3, "reads are served"
        status, reply = node.get("disable-global-recoveries")
        assert (status, reply["Code"]) == (500, "ERROR")

    acting.launch()  # three of five are a majority again
    wait_until(lambda: replica.variable("read_only") == "0", 90, setup.story)
    acting.wait_said("serving http", 90)
