"""How a whole node finds servers, and forgets them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pymysql
import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from services.store.times import shifted, utc_now
from tests.node import Node, key_of, settings_of, watching
from tests.servers import Stage, StandaloneServer, short_directory, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

_BINLOG_DUMP = 0x12
READER, REPLICA = "127.0.0.3", "127.0.0.2"


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = short_directory()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _reading_the_binary_log(server: StandaloneServer) -> pymysql.connections.Connection:  # type: ignore[type-arg]
    """A client that reads the binary log and registers nowhere: a backup, or change data capture."""
    reader = pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        bind_address=READER,
        ssl_disabled=True,
        connect_timeout=5,
        read_timeout=60,
    )
    (log,) = server.query("SHOW BINARY LOG STATUS")
    with reader.cursor() as cursor:
        cursor.execute("SET @source_binlog_checksum = 'NONE'")
    arguments = struct.pack("<IHI", 4, 0, 4_000_000_000) + str(log["File"]).encode()
    reader._execute_command(_BINLOG_DUMP, arguments)
    return reader


def test_replicas_by_process_list_and_by_registration(mysqld: Mysqld, folder: Path) -> None:
    with ExitStack() as endings:
        stage = Stage(mysqld)
        endings.callback(stage.clear)
        master = stage.server()
        replica = StandaloneServer(mysqld, folder / "replica")
        replica.port = master.port  # the process list shows no port: the source's own is assumed
        replica.options = {"bind-address": REPLICA, "report-host": "", "server-id": "7", "read-only": "ON"}
        endings.callback(replica.destroy)
        replica.set_up()
        replica.execute("RESET BINARY LOGS AND GTIDS")
        master.execute("RESET BINARY LOGS AND GTIDS")
        replica.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{master.host}', SOURCE_PORT = {master.port}, "
            f"SOURCE_BIND = '{REPLICA}', SOURCE_USER = '{master.user}', "
            f"SOURCE_PASSWORD = '{master.password}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            f"ALTER USER {replica.user}@'%' IDENTIFIED BY '{master.password}'",
            "START REPLICA",
        )
        reader = _reading_the_binary_log(master)
        endings.callback(reader.close)
        node = Node(folder, settings_of(master.account, master))
        endings.callback(node.destroy)
        node.start()
        found, read_by = f"{REPLICA}:{master.port}", f"{READER}:{master.port}"
        wait_until(lambda: set(node.instances()) == {str(master.key), found, read_by}, 40, lambda: node.said)
        seen = wait_until(lambda: (one := node.instances()[found])["IsLastCheckValid"] and one, 20)
        assert key_of(seen["MasterKey"]) == str(master.key)
        assert seen["ClusterName"] == str(master.key)
        assert not node.instances()[read_by]["IsLastCheckValid"], "nobody listens there"

        node.configure(DiscoverByShowSlaveHosts=True)
        replica.execute("STOP REPLICA")
        replica.options |= {"report-host": REPLICA}
        replica.restart()
        node.api("reload-configuration")

        def listed() -> list[str]:
            return sorted(key_of(key) for key in node.instances()[str(master.key)]["Replicas"])

        wait_until(lambda: listed() == [found], 20, lambda: str(listed()))
        node.api(f"forget/{READER}/{master.port}")
        checked = node.instances()[str(master.key)]["LastSeenTimestamp"]
        later = shifted(checked, 20.0)  # it is not found again for three polls anyway
        wait_until(lambda: node.instances()[str(master.key)]["LastSeenTimestamp"] > later, 40)
        assert set(node.instances()) == {str(master.key), found}
        threads = "SELECT HOST FROM information_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'"
        assert any(row["HOST"].startswith(READER) for row in master.query(threads)), "it reads on"

        node.configure(DiscoveryIgnoreReplicationUsernameFilters=[f"^{master.user}$"])
        node.api("reload-configuration")
        wait_until(lambda: set(node.instances()) == {str(master.key)}, 20, lambda: node.said)
        status, reply = node.get(f"discover/{REPLICA}/{master.port}")
        assert (status, reply["Code"], reply["Details"]) == (200, "OK", None), reply
        assert set(node.instances()) == {str(master.key)}


def test_who_is_unseen_for_long_is_forgotten(mysqld: Mysqld) -> None:
    """By the store it was last seen 11 days ago. A node looks for ten minutes first, here for 5 s."""
    patched = short_directory()
    (patched / "sitecustomize.py").write_text(
        "import services.registry.registry\nservices.registry.registry._WATCHED_SECONDS = 5.0\n"
    )
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, patched, ignore_errors=True)
        both = endings.enter_context(watching(mysqld, TopologySpec(replicas=2)))
        node, (lost, other) = both.node, both.topology.replicas
        assert node.stop() == 0
        lost.kill()
        long_ago = shifted(utc_now(), -11 * 24 * 3600.0)
        with closing(sqlite3.connect(node.database)) as store, store:
            rows = store.execute("SELECT host, port, facts FROM known_instances").fetchall()
            assert len(rows) == 3
            for host, port, text in rows:
                facts = json.dumps({**json.loads(text), "last_seen_timestamp": long_ago})
                store.execute(
                    "UPDATE known_instances SET facts = ?, last_seen = ? WHERE host = ? AND port = ?",
                    (facts, long_ago, host, port),
                )
        again = Node(
            node.folder, {**node.settings, "ListenAddress": None}, environment={"PYTHONPATH": str(patched)}
        )
        again.configure(
            ListenAddress=f"127.0.0.1:{again.port}",
            DiscoverySeeds=[],
            NodeDirectory=str(node.node_file(".")),
            UnseenInstanceForgetHours=240,
        )
        endings.callback(again.destroy)
        again.start()
        assert str(lost.key) in wait_until(again.instances, 20), "it is known from the store, and looked for"
        kept = [both.topology.master, other]
        again.wait_instances(kept, 100)
        with closing(sqlite3.connect(again.database)) as store:
            assert {port for (port,) in store.execute("SELECT port FROM known_instances")} == {
                server.port for server in kept
            }
        again.wait_said(f"forgot {lost.key}")
