"""What one raft member is told of, all know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld
from tests.raft_nodes import RaftNodes
from tests.servers import StandaloneServer, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def setup(mysqld: Mysqld) -> Iterator[RaftNodes]:
    with RaftNodes.started(mysqld, replicas=1) as setup:
        yield setup


def test_a_seed_of_a_follower_is_known_to_all_until_it_is_forgotten(
    setup: RaftNodes, mysql_server: StandaloneServer
) -> None:
    leader = setup.leader()
    follower, other = setup.others(leader)
    account = setup.topology.accounts.orchestray
    mysql_server.execute(
        f"CREATE USER IF NOT EXISTS {account.user}@'%' IDENTIFIED BY '{account.password}'",
        f"GRANT ALL ON *.* TO {account.user}@'%'",
    )
    try:
        follower.configure(DiscoverySeeds=[str(mysql_server.key)])
        follower.api("reload-configuration")
        seen = str(mysql_server.key)
        for node in (follower, leader, other):
            wait_until(
                lambda node=node: node.instances().get(seen, {}).get("IsLastCheckValid"), 30, setup.story
            )
        assert {str(node.instances()[seen]["ClusterName"]) for node in setup.nodes} == {seen}
        leader.api(f"forget/{mysql_server.host}/{mysql_server.port}")
        wait_until(lambda: all(seen not in node.instances() for node in setup.nodes), 30, setup.story)
    finally:
        mysql_server.execute(f"DROP USER {account.user}@'%'")
