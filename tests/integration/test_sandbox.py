"""The sandbox itself: what the other tests stand on."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pymysql
import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.errors import SandboxError, ServerFailedError
from services.sandbox.server import LONGEST_FOLDER, MySQLServer
from services.sandbox.topology import TopologySpec
from tests.conftest import MakeTopology
from tests.servers import (
    Stage,
    StandaloneServer,
    connect,
    general_log,
    short_directory,
    start_general_log,
    wait_until,
)

_LOST_CONNECTION = 2013


# ---- topologies


def test_a_topology_replicates_with_gtid(make_topology: MakeTopology) -> None:
    topology = make_topology(replicas=2, below_last=1, semi_sync=None)
    with connect(topology.master, topology.accounts.application) as client, client.cursor() as cursor:
        cursor.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")
        cursor.execute("INSERT INTO app.t VALUES (7)")
    executed = topology.master.variable("gtid_executed")
    assert executed == f"{topology.master.variable('server_uuid')}:1-3"  # the schema, the table, the row
    for replica in (*topology.replicas, *topology.below):
        _await_executed(replica, executed)
        assert replica.query("SELECT a FROM app.t") == [{"a": 7}]
        assert replica.variable("super_read_only") == "1"
    assert topology.master.variable("read_only") == "0"
    sources = {server.key: _source(server) for server in topology.servers}
    master, last = topology.master, topology.replicas[-1]
    assert sources == {
        master.key: None,
        topology.replicas[0].key: master.port,
        last.key: master.port,
        topology.below[0].key: last.port,
    }
    assert len({server.variable("server_uuid") for server in topology.servers}) == 4


def test_a_killed_server_comes_back_as_it_was_configured(make_topology: MakeTopology) -> None:
    topology = make_topology(replicas=1)
    replica, account = topology.replicas[0], topology.accounts.application
    pid, port = replica.pid, replica.port
    replica.kill()
    assert not replica.is_running
    with pytest.raises(ServerFailedError, match="does not run"):
        _ = replica.pid
    replica.start()
    assert (replica.pid != pid, replica.port) == (True, port)
    assert replica.variable("super_read_only") == "1"
    with connect(topology.master, account) as client, client.cursor() as cursor:
        cursor.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")  # waits until the replica acknowledges it
    wait_until(lambda: replica.query("SHOW TABLES FROM app"), describe=replica.log_tail)


def test_a_paused_server_keeps_its_connections_and_says_nothing(stage: Stage) -> None:
    server = stage.server()
    with server.root(timeout_seconds=0.3) as connection, connection.cursor() as cursor:
        server.pause()
        with pytest.raises(pymysql.OperationalError) as caught:
            cursor.execute("SELECT 1")
    assert caught.value.args[0] == _LOST_CONNECTION
    server.resume()
    assert server.query("SELECT 1 AS one") == [{"one": 1}]
    server.pause()
    server.stop()  # must not wait for a process that cannot hear
    assert not server.is_running


def test_replica_net_timeout_is_what_was_asked_for(make_topology: MakeTopology) -> None:
    topology = make_topology(replicas=1, replica_net_timeout=2)
    assert [server.variable("replica_net_timeout") for server in topology.servers] == ["2", "2"]


@pytest.mark.parametrize(("replicas", "below_last"), [(-1, 0), (16, 0), (12, 4), (0, 1)])
def test_impossible_topologies_are_refused(replicas: int, below_last: int) -> None:
    with pytest.raises(SandboxError):
        TopologySpec(replicas=replicas, below_last=below_last)


# ---- lossless semi-sync


def test_lossless_semi_sync_is_really_on(make_topology: MakeTopology) -> None:
    """A commit waits as long as no replica receives, and ends when one does."""
    topology = make_topology(replicas=2)
    master = topology.master
    assert master.variable("rpl_semi_sync_source_wait_point") == "AFTER_SYNC"
    assert master.variable("rpl_semi_sync_source_wait_for_replica_count") == "1"
    assert [server.variable("rpl_semi_sync_source_enabled") for server in topology.servers] == ["1", "0", "0"]
    assert [server.variable("rpl_semi_sync_replica_enabled") for server in topology.servers] == ["1"] * 3
    master.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")
    for replica in topology.replicas:
        replica.execute("STOP REPLICA IO_THREAD")

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
        topology.replicas[0].execute("START REPLICA IO_THREAD")
        assert done.wait(10)
    finally:
        topology.replicas[1].execute("START REPLICA IO_THREAD")
        writer.join(timeout=20)
    assert master.query("SELECT COUNT(*) AS n FROM app.t") == [{"n": 1}]
    assert master.status("Rpl_semi_sync_source_status") == "ON"


def test_the_semi_sync_timeout_is_at_its_maximum(stage: Stage) -> None:
    """The server takes the longest that fits its variable, cuts what is longer, and waits all the same."""
    topology = stage.topology(TopologySpec(replicas=1, semi_sync="lossless"))
    longest = topology.master.variable("rpl_semi_sync_source_timeout")
    with pytest.raises(pymysql.MySQLError):
        topology.master.execute(f"SET GLOBAL rpl_semi_sync_source_timeout = {int(longest) + 1}")
    topology.replicas[0].kill()
    with pytest.raises(pymysql.OperationalError) as caught:  # not falling back at once, as an overflow would
        topology.master.execute("CREATE TABLE app.t (a INT)", timeout_seconds=1)
    assert caught.value.args[0] == _LOST_CONNECTION
    assert topology.master.status("Rpl_semi_sync_source_status") == "ON"


# ---- one server


def test_a_port_that_is_taken_meanwhile_is_given_up(mysqld: Mysqld) -> None:
    server = StandaloneServer(mysqld, short_directory() / "s")
    with socket.socket() as other:
        other.bind((server.host, 0))
        other.listen()
        server.port = taken = other.getsockname()[1]
        try:
            server.set_up()
            assert server.port != taken
            assert server.variable("port") == server.variable("report_port") == str(server.port)
        finally:
            server.destroy()
            server.folder.parent.rmdir()


def test_a_server_that_cannot_start_says_why(stage: Stage) -> None:
    with pytest.raises(ServerFailedError, match="unknown variable 'no-such-option"):
        stage.server({"no-such-option": "1"})


def test_a_folder_too_long_for_a_socket_is_refused(mysqld: Mysqld, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * LONGEST_FOLDER)
    with pytest.raises(ServerFailedError, match="too long for a socket"):
        MySQLServer(mysqld, folder, die_with_parent=True)
    assert not folder.exists()


def test_the_general_log_tells_who_said_what(stage: Stage) -> None:
    server = stage.server()
    start_general_log(server)
    with connect(server, server.account) as session, session.cursor() as cursor:
        cursor.execute("SELECT /* marked */ 1,\n 2")
        connection_id = session.thread_id()
    (entry,) = general_log(server, "MARKED")
    assert (entry.connection_id, entry.command, entry.text) == (
        connection_id,
        "Query",
        "SELECT /* marked */ 1,\n 2",
    )


def _await_executed(server: MySQLServer, gtids: str) -> None:
    wait_until(
        lambda: server.variable("gtid_executed") == gtids, describe=f"{server.key} has executed {gtids}"
    )


def _source(server: MySQLServer) -> int | None:
    """The port from which it replicates."""
    rows = server.query("SHOW REPLICA STATUS")
    return rows[0]["Source_Port"] if rows else None


def _waits_for_acknowledgement(server: MySQLServer) -> bool:
    sessions = server.query("SELECT STATE FROM information_schema.processlist")
    return any("semi-sync ACK" in (session["STATE"] or "") for session in sessions)
