"""A live node: hold-down, places that a query tells, and a configuration that is read again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.node import Watched, key_of, watching
from tests.recovery_world import follows
from tests.servers import wait_until

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(300)]  # the node's start counts
HOLD_SECONDS = 5


@pytest.fixture(scope="module")
def watched(mysqld: Mysqld) -> Iterator[Watched]:
    """The master and the last replica are in data centre ``b1``, the first replica in ``b0``."""
    with watching(
        mysqld,
        TopologySpec(replicas=2),
        RecoverMasterClusterFilters=["no-such-cluster"],
        FailureHoldDownMilliseconds=HOLD_SECONDS * 1000,
        PreventCrossDataCenterMasterFailover=True,
        DetectRegionQuery="SELECT no_such_column",
        RegionPattern=r"^(\d+)",
        ReplicationLagQuery="SELECT 7.9",
        RestartLeaderAfterSeconds=60,
    ) as watched:
        watched.node.configure(DetectDataCenterQuery=f"SELECT IF(@@port = {_far(watched).port}, 'b0', 'b1')")
        watched.node.api("reload-configuration")
        watched.node.wait_settled(watched.topology.master, watched.topology.replicas)
        yield watched


def _far(watched: Watched) -> MySQLServer:
    return watched.topology.replicas[0]


def _place(watched: Watched, server: Any) -> dict[str, Any]:
    one = watched.node.instances().get(str(server.key), {})
    return {name: one.get(name) for name in ("DataCenter", "Region", "PhysicalEnvironment")}


def test_queries_and_patterns_tell_where_servers_are_and_how_far_they_lag(watched: Watched) -> None:
    for server in watched.topology.servers:
        wanted = {
            "DataCenter": "b0" if server is _far(watched) else "b1",
            "Region": "127",  # the query fails, and the pattern's value stays
            "PhysicalEnvironment": "",
        }
        wait_until(lambda server=server, wanted=wanted: _place(watched, server) == wanted, 20, str(wanted))
    replica = watched.topology.replicas[0]

    def lag() -> object:
        return watched.node.instances()[str(replica.key)]["ReplicationLagSeconds"]

    wait_until(lambda: lag() == {"Int64": 7, "Valid": True}, 20, lag)


def test_a_master_that_restarts_within_the_hold_down_stays_the_master(watched: Watched) -> None:
    node, topology = watched.node, watched.topology
    node.configure(RecoverMasterClusterFilters=["*"])
    node.api("reload-configuration")
    topology.master.kill()
    killed = time.monotonic()
    found = "DeadMaster: " + str(topology.master.key)
    wait_until(lambda: found in node.said, 10, lambda: node.said)
    topology.master.start()
    assert time.monotonic() - killed < HOLD_SECONDS, "the test is about one that is back in time"
    for server in topology.replicas:  # they try again each minute
        server.execute("STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD")
    node.wait_settled(topology.master, topology.replicas, 60)
    wait_until(lambda: time.monotonic() - killed > HOLD_SECONDS + 2, 20)
    assert ": recovering" not in node.said
    assert node.api("audit-recovery") == []
    assert topology.master.variable("read_only") == "0"


def test_a_master_that_stays_dead_is_failed_over_when_the_hold_down_is_over(watched: Watched) -> None:
    """And to the replica in its data centre."""
    node, topology = watched.node, watched.topology
    node.configure(RecoverMasterClusterFilters=["*"])
    node.api("reload-configuration")
    far = _far(watched)
    (near,) = (one for one in topology.replicas if one is not far)
    node.api(f"register-candidate/{far.host}/{far.port}/prefer")
    topology.master.kill()
    killed = time.monotonic()
    wait_until(lambda: near.variable("read_only") == "0", 60, lambda: node.said)
    took = time.monotonic() - killed
    assert HOLD_SECONDS <= took < 2 * HOLD_SECONDS, node.said
    (recovery,) = wait_until(lambda: [one for one in node.api("audit-recovery") if one["IsSuccessful"]], 20)
    assert key_of(recovery["SuccessorKey"]) == str(near.key)
    said = " ".join(step["Message"] for step in node.api(f"audit-recovery-steps/{recovery['UID']}"))
    assert f"candidate {far.key} may not be promoted: PreventCrossDataCenterMasterFailover" in said
    wait_until(lambda: follows(far, near), 20)
    assert far.variable("read_only") == "1"
    wait_until(lambda: str(topology.master.key) in str(node.answers("downtimed")), 20)
