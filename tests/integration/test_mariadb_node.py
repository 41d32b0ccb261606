"""A live node over MariaDB servers: what it finds and shows, and a failover under load."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.integration.registered_live import what_is_registered
from tests.live_client import wrong_of_readers, wrong_of_refused
from tests.live_routes import misfits_of
from tests.node import Watched, key_of, orchestray, watching
from tests.reference_routes import ROUTES
from tests.servers import connect, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def watched(mariadbd: Mysqld) -> Iterator[Watched]:
    spec = TopologySpec(semi_sync="lossless")
    with watching(mariadbd, spec, seed=lambda topology: topology.replicas[0]) as both:
        yield both


class Writer(threading.Thread):
    """Inserts one row after another; ``acknowledged`` are those whose commit came back."""

    def __init__(self, topology: MySQLTopology) -> None:
        super().__init__(daemon=True)
        self._topology = topology
        self.acknowledged: list[int] = []

    def run(self) -> None:
        try:
            account = self._topology.accounts.application
            with connect(self._topology.master, account) as session, session.cursor() as cursor:
                for row in range(1, 1_000_000):
                    cursor.execute(f"INSERT INTO app.t VALUES ({row})")
                    self.acknowledged.append(row)
        except (pymysql.MySQLError, OSError):
            return  # the master is dead


def _writable(servers: tuple[MySQLServer, ...]) -> list[MySQLServer]:
    return [server for server in servers if server.variable("read_only") == "0"]


def test_from_a_replica_all_servers_are_found_and_shown_as_the_reference_shows_mariadb(
    watched: Watched, tmp_path: Path
) -> None:
    topology = watched.topology
    watched.node.wait_settled(topology.master, topology.replicas)
    instances = watched.node.instances()
    assert set(instances) == {str(server.key) for server in topology.servers}
    for server in topology.replicas:
        one = instances[str(server.key)]
        assert (one["FlavorName"], one["UsingMariaDBGTID"], one["UsingOracleGTID"]) == (
            "MariaDB",
            True,
            False,
        )
        assert (one["GTIDMode"], one["ExecutedGtidSet"], one["ServerUUID"]) == ("", "", "")
        assert (one["MasterUUID"], one["SupportsOracleGTID"], one["SlaveLagSeconds"]["Int64"]) == (
            "No",
            False,
            0,
        )
        assert (one["SemiSyncReplicaEnabled"], one["SemiSyncReplicaStatus"]) == (True, True)
    master = instances[str(topology.master.key)]
    assert (master["SemiSyncMasterEnabled"], master["SemiSyncMasterWaitForReplicaCount"]) == (True, 0)

    file = tmp_path / "instances.json"
    status, body = watched.node.get("all-instances")
    assert status == 200
    dead = [
        {**one, "IsLastCheckValid": False, "LastCheckOutcome": "refused"}
        if key_of(one["Key"]) == str(topology.master.key)
        else {
            **one,
            "ReplicationIOThreadState": 2, "ReplicationIOThreadRuning": False, "Slave_IO_Running": False,
            "LastIOError": '"error reconnecting to master \'repl@127.0.0.1\' - retry-time: 1"',
        }
        for one in body
    ]  # fmt: skip
    file.write_text(json.dumps(dead))
    analysed = orchestray("analyze", str(file))
    assert "DeadMaster" in analysed.stdout, analysed.stdout + analysed.stderr


@pytest.mark.parametrize("group", dict.fromkeys(route.group for route in ROUTES))
def test_every_route_of_the_reference(watched: Watched, group: str) -> None:
    wait_until(lambda: watched.node.leads, 60)
    wrong = [each for route in ROUTES if route.group == group for each in misfits_of(watched, route)]
    assert wrong == []


def test_every_reading_command_of_the_client(watched: Watched) -> None:
    watched.node.wait_settled(watched.topology.master, watched.topology.replicas)
    assert wrong_of_readers(watched) == []
    assert wrong_of_refused(watched) == []


def test_registrations(watched: Watched) -> None:
    what_is_registered(watched)


def test_a_killed_master_is_replaced_and_nothing_acknowledged_is_missing(watched: Watched) -> None:
    node, topology = watched.node, watched.topology
    topology.master.execute("CREATE TABLE app.t (id INT PRIMARY KEY)")
    node.wait_settled(topology.master, topology.replicas)
    writer = Writer(topology)
    writer.start()
    wait_until(lambda: len(writer.acknowledged) > 200, 30)
    topology.master.kill()
    writer.join(20)
    acknowledged = set(writer.acknowledged)
    (promoted,) = wait_until(lambda: _writable(topology.replicas), 60, lambda: node.said)
    others = [server for server in topology.replicas if server is not promoted]
    node.wait_settled(promoted, others)
    promoted.execute("INSERT INTO app.t VALUES (0)")  # waits for an acknowledgement
    for server in (promoted, *others):
        wait_until(lambda server=server: server.query("SELECT 1 AS one FROM app.t WHERE id = 0"))
        rows = {row["id"] for row in server.query("SELECT id FROM app.t")}
        assert acknowledged <= rows, f"{len(acknowledged - rows)} are missing on {server}"
    assert promoted.variable("rpl_semi_sync_master_enabled") == "1"
    assert promoted.variable("rpl_semi_sync_master_wait_point") == "AFTER_SYNC"
    recovery = node.api("audit-recovery")[0]
    assert (recovery["IsSuccessful"], recovery["LostReplicas"]) == (True, [])
    assert key_of(recovery["SuccessorKey"]) == str(promoted.key)

    topology.master.start()  # as it is configured: open for writes
    wait_until(lambda: topology.master.variable("read_only") == "1", 30, lambda: node.said)
    node.wait_said(rf"{topology.master.key} is deposed and answers again: it is read-only now")
    assert _writable(topology.servers) == [promoted]
