"""The sandbox with MariaDB: as real as the one with MySQL."""

from __future__ import annotations

import threading

import pymysql
import pytest

from services.sandbox.server import MySQLServer
from tests.conftest import MakeTopology
from tests.servers import Stage, connect, general_log, start_general_log, wait_until


def _channel(server: MySQLServer) -> dict[str, object]:
    rows = server.query("SHOW SLAVE STATUS")
    return rows[0] if rows else {}


def _waits_for_acknowledgement(server: MySQLServer) -> bool:
    rows = server.query("SHOW PROCESSLIST")
    return any("semi-sync" in str(row["State"]).lower() and row["Command"] == "Query" for row in rows)


def test_a_topology_replicates_with_gtid(make_mariadb_topology: MakeTopology) -> None:
    topology = make_mariadb_topology(replicas=2, below_last=1, semi_sync=None)
    with connect(topology.master, topology.accounts.application) as client, client.cursor() as cursor:
        cursor.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")
        cursor.execute("INSERT INTO app.t VALUES (7)")
    position = f"0-{topology.master.port}-3"  # the schema, the table, the row
    assert topology.master.variable("gtid_binlog_pos") == position
    for replica in (*topology.replicas, *topology.below):
        wait_until(lambda r=replica: r.variable("gtid_slave_pos") == position, describe=replica.log_tail)
        assert replica.query("SELECT a FROM app.t") == [{"a": 7}]
        assert replica.variable("gtid_binlog_pos") == position  # written on for those below it
        assert replica.variable("read_only") == "1"
        assert _channel(replica)["Using_Gtid"] == "Slave_Pos"
    assert topology.master.variable("read_only") == "0"
    master, last = topology.master, topology.replicas[-1]
    assert [_channel(server).get("Master_Port") for server in topology.servers] == [
        None,
        master.port,
        master.port,
        last.port,
    ]
    assert {server.variable("gtid_strict_mode") for server in topology.servers} == {"1"}


def test_a_killed_server_comes_back_as_it_was_configured(make_mariadb_topology: MakeTopology) -> None:
    topology = make_mariadb_topology(replicas=1)
    replica = topology.replicas[0]
    pid, port = replica.pid, replica.port
    replica.kill()
    replica.start()
    assert (replica.pid != pid, replica.port) == (True, port)
    assert replica.variable("read_only") == "1"
    with connect(topology.master, topology.accounts.application) as client, client.cursor() as cursor:
        cursor.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")  # waits until the replica acknowledges it
    wait_until(lambda: replica.query("SHOW TABLES FROM app"), describe=replica.log_tail)


def test_nobody_logs_in_over_tcp_without_a_password(mariadb_stage: Stage) -> None:
    server = mariadb_stage.server()
    for user in ("root", ""):
        with pytest.raises(pymysql.OperationalError) as caught:
            pymysql.connect(host=server.host, port=server.port, user=user, connect_timeout=5)
        assert caught.value.args[0] == 1045
    assert server.query("SELECT COUNT(*) AS n FROM mysql.global_priv WHERE User = ''") == [{"n": 0}]


def test_lossless_semi_sync_is_really_on(make_mariadb_topology: MakeTopology) -> None:
    """A commit waits as long as no replica receives, at the longest time-out too, and ends when one does."""
    topology = make_mariadb_topology(replicas=2)
    master = topology.master
    assert master.variable("rpl_semi_sync_master_wait_point") == "AFTER_SYNC"
    assert [server.variable("rpl_semi_sync_master_enabled") for server in topology.servers] == ["1", "0", "0"]
    assert [server.variable("rpl_semi_sync_slave_enabled") for server in topology.servers] == ["1"] * 3
    longest = master.variable("rpl_semi_sync_master_timeout")
    assert longest == str(2**64 - 1)
    master.execute(f"SET GLOBAL rpl_semi_sync_master_timeout = {longest}")  # as a recovery sets it
    assert master.variable("rpl_semi_sync_master_timeout") == longest
    master.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")
    for replica in topology.replicas:
        replica.execute("STOP SLAVE IO_THREAD")

    done = threading.Event()

    def write() -> None:
        master.execute("INSERT INTO app.t VALUES (1)")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(
            lambda: _waits_for_acknowledgement(master), describe=lambda: master.query("SHOW PROCESSLIST")
        )
        assert not done.wait(1.0)
        # AFTER_SYNC: nobody else sees what is not acknowledged yet
        assert master.query("SELECT COUNT(*) AS n FROM app.t") == [{"n": 0}]
        topology.replicas[0].execute("START SLAVE IO_THREAD")
        assert done.wait(10)
    finally:
        topology.replicas[1].execute("START SLAVE IO_THREAD")
        writer.join(timeout=20)
    assert master.query("SELECT COUNT(*) AS n FROM app.t") == [{"n": 1}]
    assert master.status("Rpl_semi_sync_master_status") == "ON"


def test_the_general_log_tells_who_said_what(mariadb_stage: Stage) -> None:
    server = mariadb_stage.server()
    start_general_log(server)
    with connect(server, server.account) as session, session.cursor() as cursor:
        cursor.execute("SELECT /* marked */ 1,\n 2")
        cursor.execute("SELECT 3")
        connection_id = session.thread_id()
    (entry,) = general_log(server, "MARKED")
    assert (entry.connection_id, entry.command, entry.text) == (
        connection_id,
        "Query",
        "SELECT /* marked */ 1,\n 2",
    )
