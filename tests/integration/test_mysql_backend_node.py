"""A live node whose store is on a MySQL server: it works as on a file, and bears the loss of that server."""

from __future__ import annotations

import pytest

from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.integration.conftest import MakeNode
from tests.node import Node, settings_of
from tests.promises import Promise
from tests.servers import Stage, StandaloneServer, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

LEASE_SECONDS = 3.0
SLACK = 3.0


def test_it_finds_remembers_and_acts_only_while_its_backend_works(stage: Stage, make_node: MakeNode) -> None:
    backend = stage.server()
    topology = stage.topology(TopologySpec(replicas=2, semi_sync="lossless"))
    node = _on(backend, topology, make_node)
    node.start()
    node.wait_instances(topology.servers)
    node.wait_settled(topology.master, topology.replicas)
    wait_until(lambda: node.leads, 10)
    health = node.api("health")
    assert (health["Healthy"], health["AvailableNodes"][0]["DBBackend"]) == (
        True,
        f"{backend.host}:{backend.port}",
    )

    # It remembers: nothing is discovered anew.
    assert node.stop() == 0
    node.configure(DiscoverySeeds=None)
    node.start()
    node.wait_instances(topology.servers)
    wait_until(lambda: node.leads, 10)

    # Without its backend it watches and does not act.
    backend.kill()
    wait_until(lambda: not node.leads, LEASE_SECONDS + SLACK)

    def complaint() -> str | None:
        status, reply = node.get("health")
        return str(reply) if status == 500 else None

    said = wait_until(complaint, 10)
    assert f"{backend.port}/orchestray is not reached" in said
    topology.replicas[1].execute("STOP REPLICA")
    stopped = str(topology.replicas[1].key)
    wait_until(lambda: not node.instances()[stopped]["ReplicationSQLThreadRuning"], 10)
    topology.replicas[1].execute("START REPLICA")
    wait_until(lambda: node.instances()[stopped]["ReplicationSQLThreadRuning"], 10)
    topology.master.kill()
    wait_until(lambda: "DeadMaster" in _analysis_of(node), 15, lambda: node.api("replication-analysis"))
    assert [server.variable("read_only") for server in topology.replicas] == ["1", "1"]

    # With it, it acts again.
    backend.start()
    wait_until(
        lambda: "0" in [server.variable("read_only") for server in topology.replicas], 20, lambda: node.said
    )
    assert node.leads
    wait_until(lambda: node.answers("health"), 10)
    assert node.api("audit-recovery")[0]["IsSuccessful"]
    assert backend.password not in node.said


def test_several_nodes_on_one_backend(stage: Stage, make_node: MakeNode) -> None:
    """One acts, a change may be asked of either, and the other takes over within the lease and a second."""
    backend = stage.server()
    topology = stage.topology(TopologySpec(replicas=1, semi_sync="lossless"))
    nodes = [_on(backend, topology, make_node) for _ in range(2)]
    for node in nodes:
        node.start()
        node.wait_instances(topology.servers)
    acting, other = sorted(nodes, key=lambda node: not node.leads)
    assert [node.leads for node in (acting, other)] == [True, False]
    (replica,) = topology.replicas
    status, reply = other.get(f"register-candidate/127.0.0.1/{replica.port}/prefer")
    assert (status, reply["Code"]) == (200, "OK"), reply
    assert other.instances()[str(replica.key)]["PromotionRule"] == "prefer"
    for node in nodes:
        wait_until(lambda node=node: len(node.api("health")["AvailableNodes"]) == 2, 10)
        assert node.get("routed-leader-check") == (200, "OK")
    secret = backend.query("SELECT secret FROM orchestray.shared_secrets")[0]["secret"]
    assert len(secret) == 64

    acting.marked.kill_all()
    promise = Promise(LEASE_SECONDS * 1.1 + 1)
    promise.kept(lambda: other.leads, lambda: other.said)
    assert other.get("disable-global-recoveries")[0] == 200
    wait_until(lambda: len(other.api("health")["AvailableNodes"]) == 1, 10)
    assert all(secret not in node.said + str(node.get("health")) for node in (other,))


def _on(backend: StandaloneServer, topology: MySQLTopology, make_node: MakeNode) -> Node:
    settings = settings_of(topology.accounts.orchestray, topology.master)
    settings |= {
        "BackendDB": "mysql",
        "MySQLOrchestratorHost": backend.host,
        "MySQLOrchestratorPort": backend.port,
        "MySQLOrchestratorDatabase": "orchestray",
        "MySQLOrchestratorUser": backend.user,
        "MySQLOrchestratorPassword": backend.password,
    }
    node = make_node(settings)
    node.configure(NodeDirectory=str(node.folder / "node"))
    return node


def _analysis_of(node: Node) -> set[str]:
    return {one["Analysis"] for one in node.api("replication-analysis")}
