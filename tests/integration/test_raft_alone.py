"""A whole node that is the only member of its raft: it acts at once, and remembers through a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld
from tests.raft_nodes import RaftNodes
from tests.servers import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture
def setup(mysqld: Mysqld) -> Iterator[RaftNodes]:
    with RaftNodes.started(mysqld, size=1) as setup:
        yield setup


def test_the_only_member_acts_alone_and_goes_on_from_its_log(setup: RaftNodes) -> None:
    (node,), topology = setup.nodes, setup.topology
    preferred, other = topology.replicas
    assert node.answers("raft-health") == "healthy"
    assert node.answers("raft-leader") == setup.member(node)
    assert [node.answers("raft-state"), node.answers("raft-peers")] == ["Leader", [setup.member(node)]]
    assert node.get("leader-check")[0] == 200
    node.api(f"register-candidate/127.0.0.1/{preferred.port}/prefer")

    node.destroy()  # killed, with all of its processes
    node.start()
    setup.leader()
    node.wait_settled(topology.master, topology.replicas)
    assert node.instances()[str(preferred.key)]["PromotionRule"] == "prefer"
    topology.master.kill()
    node.wait_settled(preferred, [other])
    done = wait_until(lambda: [one for one in node.api("audit-recovery") if one["IsSuccessful"]], 20)
    assert len(done) == 1
