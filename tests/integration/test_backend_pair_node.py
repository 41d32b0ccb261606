"""Two nodes on an active-active pair of MariaDB servers behind HAProxy, all as the documentation has it: the
loss of the database in use is survived. The tests go on from what the one before left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.documented_haproxy import HAProxy
from tests.node import Node, key_of, keys_of, settings_of
from tests.pairs import Pair
from tests.servers import Stage, StandaloneServer, short_directory, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

TOLD_SECONDS = 20
FAILED_OVER_SECONDS = 40
"""HAProxy's checks, the lease, and looks at it; more, for a machine that is busy."""


_LACKED = ("known_instances", "clusters", "deposed_masters", "nodes", "shared_secrets")


@dataclass
class SemiHA:
    pair: Pair
    proxy: HAProxy
    topology: MySQLTopology
    nodes: list[Node]

    @property
    def acting(self) -> Node | None:
        found = [node for node in self.nodes if node.leads]
        return found[0] if len(found) == 1 else None

    def leader(self) -> Node:
        return wait_until(lambda: self.acting, FAILED_OVER_SECONDS, self.story)

    def other(self) -> Node:
        leader = self.leader()
        return next(node for node in self.nodes if node is not leader)

    def in_use(self) -> StandaloneServer:
        """The database to which the nodes' sessions are."""
        (found,) = [
            server
            for server in self.pair.servers
            if server.is_running
            and server.query(
                "SELECT 1 FROM information_schema.processlist WHERE user = %s", (self.pair.account,)
            )
        ]
        return found

    def story(self) -> str:
        return self.proxy.said + "".join(f"\n--- {node.url}\n{node.said}" for node in self.nodes)


@pytest.fixture(scope="module")
def setup(mysqld: Mysqld, mariadbd: Mysqld) -> Iterator[SemiHA]:
    databases, servers, folder = Stage(mariadbd), Stage(mysqld), short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(servers.clear)
        endings.callback(databases.clear)
        pair = Pair(databases)
        proxy = HAProxy(folder, "orchestray-db", "bind :3306", pair.documented)
        endings.callback(proxy.stop)
        topology = servers.topology(TopologySpec(replicas=2, semi_sync="lossless"))
        nodes = []
        for number in (1, 2):
            own = folder / str(number)
            own.mkdir()
            began = own / "began"
            settings = settings_of(
                topology.accounts.orchestray,
                topology.master,
                BackendDB="mysql",
                MySQLOrchestratorHost="127.0.0.1",
                MySQLOrchestratorPort=proxy.port,
                MySQLOrchestratorDatabase="orchestray",
                MySQLOrchestratorUser=pair.account,
                MySQLOrchestratorPassword=pair.password,
                NodeDirectory=str(own / "node"),
                PreFailoverProcesses=[f"touch {began}; sleep 3"],
            )
            node = Node(own, settings)
            endings.callback(node.destroy)
            node.start()
            node.wait_instances(topology.servers)
            nodes.append(node)
        yield SemiHA(pair, proxy, topology, nodes)


def test_a_change_by_either_node_is_in_both_databases(setup: SemiHA) -> None:
    preferred = setup.topology.replicas[1]
    assert setup.in_use() is setup.pair.first
    other, rules = setup.other(), "SELECT host, port FROM orchestray.promotion_rules"
    status, reply = other.get(f"register-candidate/127.0.0.1/{preferred.port}/prefer")
    assert (status, reply["Code"]) == (200, "OK"), reply
    wait_until(lambda: len(other.api("health")["AvailableNodes"]) == 2, TOLD_SECONDS, setup.story)
    for server in setup.pair.servers:
        wait_until(lambda server=server: [r["port"] for r in server.query(rules)] == [preferred.port], 10)
    assert setup.pair.complaints() == []


def test_the_database_in_use_dies_in_the_middle_of_a_recovery(setup: SemiHA) -> None:
    """And the recovery is gone on with, or begun again, by the other database: once."""
    topology, pair = setup.topology, setup.pair
    leader, preferred = setup.leader(), topology.replicas[1]
    began = leader.folder / "began"
    pair.await_caught_up()
    topology.master.kill()
    wait_until(began.exists, 30, setup.story)
    pair.first.kill()
    wait_until(lambda: preferred.variable("read_only") == "0", 2 * FAILED_OVER_SECONDS, setup.story)
    acting = setup.leader()
    acting.wait_settled(preferred, [topology.replicas[0]])
    wait_until(lambda: acting.get("health")[0] == 200, TOLD_SECONDS, lambda: acting.get("health"))
    recoveries = acting.api("audit-recovery")
    assert [one["IsSuccessful"] for one in recoveries].count(True) == 1, recoveries
    assert key_of(next(one for one in recoveries if one["IsSuccessful"])["SuccessorKey"]) == str(
        preferred.key
    )
    assert topology.replicas[0].variable("read_only") == "1"
    assert sum(node.said.count("promoted ") for node in setup.nodes) == 1, setup.story()
    assert setup.in_use() is pair.second


def test_the_first_database_comes_back_and_stays_unused(setup: SemiHA) -> None:
    pair = setup.pair
    pair.first.start()
    wait_until(pair.replicates, TOLD_SECONDS, pair.complaints)
    leader = setup.leader()
    leader.api("disable-global-recoveries")
    pair.await_caught_up()
    assert setup.in_use() is pair.second
    assert leader.leads
    assert pair.complaints() == []
    assert pair.differences() == []
    leader.api("enable-global-recoveries")


def test_what_the_other_database_missed_is_learnt_again(setup: SemiHA) -> None:
    """Which lacks all servers: nobody takes them for forgotten, and they are written there."""
    topology, pair = setup.topology, setup.pair
    living = {str(server.key) for server in topology.servers if server.is_running}
    cluster, known = str(topology.replicas[1].key), {str(server.key) for server in topology.servers}
    pair.await_caught_up()
    pair.first.execute("STOP SLAVE")
    pair.first.execute(
        "SET SESSION sql_log_bin = 0",
        "SET SESSION foreign_key_checks = 0",
        *(f"DELETE FROM orchestray.{name}" for name in _LACKED),
        "UPDATE orchestray.orchestray_writes SET writes = 1",
    )
    pair.second.kill()
    lacking = "what it does not have is written again"
    wait_until(lambda: all(lacking in node.said for node in setup.nodes), FAILED_OVER_SECONDS, setup.story)
    leader = setup.leader()
    rows = "SELECT CONCAT(host, ':', port) AS name FROM orchestray.known_instances"
    wait_until(lambda: living <= {row["name"] for row in pair.first.query(rows)}, 90, setup.story)
    for node in setup.nodes:
        assert set(keys_of(node.api("all-instances"))) == known
        assert "forgot" not in node.said
    wait_until(lambda: cluster in leader.api("clusters"), TOLD_SECONDS, lambda: leader.api("clusters"))
    masters = "SELECT CONCAT(master_host, ':', master_port) AS name FROM orchestray.clusters"
    wait_until(lambda: cluster in {row["name"] for row in pair.first.query(masters)}, TOLD_SECONDS)
    path = f"register-candidate/127.0.0.1/{topology.replicas[1].port}/neutral"
    other = setup.other()
    wait_until(lambda: other.get(path)[0] == 200, TOLD_SECONDS, lambda: other.get(path))
