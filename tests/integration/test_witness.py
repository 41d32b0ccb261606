"""A master that does not answer (design, "When a master is dead"): found dead by a witness, or found alive.

The whole of a node but Ray: it polls each 5 s and pings each 500 ms, as by default.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest
from pymysql.cursors import DictCursor

from services.planning.witness import Witness, choose_witness
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from services.topology.instance import CheckOutcome
from tests.live_node import CLUSTER, LiveNode, live_node
from tests.proxies import Proxy
from tests.recovery_world import Shared, World, follows
from tests.servers import wait_until


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless"))
    yield shared
    shared.stop()


@pytest.fixture
def topology(shared: Shared) -> MySQLTopology:
    return shared.topology()


def prepared(topology: MySQLTopology) -> World:
    """With a row that everybody has."""
    world = World(topology)
    world.create_table()
    world.write(1)
    return world


async def nothing_happens(node: LiveNode, seconds: float = 4.0) -> None:
    """For so long, several times what a failover takes: the master stays, and is writable."""
    await asyncio.sleep(seconds)
    assert node.promoted_to == []
    assert await node.recoveries() == (), node.said
    assert World(node.topology).writable() == [node.topology.master]


def receiver(server: MySQLServer) -> str:
    return str(server.query("SHOW REPLICA STATUS")[0]["Replica_IO_Running"])


def dump_threads(server: MySQLServer) -> set[int]:
    rows = server.query("SHOW PROCESSLIST")
    return {int(row["Id"]) for row in rows if str(row["Command"]).startswith("Binlog Dump")}


@pytest.mark.parametrize("net_timeout", [60, pytest.param(2, marks=pytest.mark.long)])
async def test_a_hung_master_is_found_by_its_witness_and_replaced(
    topology: MySQLTopology, tmp_path: Path, net_timeout: int
) -> None:
    world = prepared(topology)
    before = dump_threads(topology.master)
    for server in topology.replicas:
        server.execute(
            f"SET GLOBAL replica_net_timeout = {net_timeout}",
            "STOP REPLICA IO_THREAD",
            "START REPLICA IO_THREAD",
        )
    # former connections count until the master has noticed their end: more than we know may then acknowledge
    wait_until(
        lambda: (
            not dump_threads(topology.master) & before
            and topology.master.status("Rpl_semi_sync_source_clients") == str(len(topology.replicas))
        )
    )
    async with live_node(topology, tmp_path) as node:
        topology.master.pause()
        began = time.monotonic()
        await node.until(lambda: node.promoted_to)
        took = time.monotonic() - began
        (promoted,) = node.promoted_to
        await node.until(lambda: not node.coordinator.busy_clusters)
        assert node.heard("is asked whether it hangs")
        assert node.heard(f"{topology.master.key} is dead")
        (recovery,) = await node.recoveries()
        assert recovery.is_successful
        assert recovery.lost_replicas == ()
        assert recovery.analysis_entry.analysis == "DeadMaster"
        audit = await node.store.audit.page()
        assert [entry.type for entry in audit] == ["begin-downtime", "witness"]  # newest first; it is lost
        topology.master.resume()
        await node.until(lambda: world.writable() == [world.server(promoted)])
        for server in topology.replicas:
            if server.key != promoted:
                await node.until(lambda server=server: follows(server, world.server(promoted)))
            assert server.variable("replica_net_timeout") == str(net_timeout)
        assert took < 10, "it takes about 2.5 s on a machine that has nothing else to do"
        print(f"promoted after {took:.3f} s")
    for server in topology.servers:
        server.execute("SET GLOBAL replica_net_timeout = 60")


async def test_a_master_that_only_we_cannot_reach_lives_and_is_not_tried_again(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    prepared(topology)
    master = topology.master.key
    async with Proxy(master) as proxy, live_node(topology, tmp_path, {master: proxy.key}) as node:
        proxy.cut()
        await node.until(lambda: node.heard(f"{master} lives, and is not tried again for 30 s"))
        await nothing_happens(node)
        assert len(node.heard("is asked whether it hangs")) == 1
        assert node.seen(master).last_check_outcome.is_silence
        assert all(receiver(server) == "Yes" for server in topology.replicas)
        assert {server.variable("replica_net_timeout") for server in topology.replicas} == {"60"}
        assert await node.store.witnesses.open() == {}
        proxy.mend()
        await node.until(lambda: node.seen(master).is_last_check_valid)


async def test_a_hang_shorter_than_the_time_outs_changes_nothing(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    prepared(topology)
    async with live_node(topology, tmp_path) as node:
        topology.master.pause()
        await asyncio.sleep(0.4)  # less than a heartbeat
        topology.master.resume()
        await nothing_happens(node)
        assert not node.heard("is dead")
        assert all(receiver(server) == "Yes" for server in topology.replicas)


# Any answer means alive (rule 4). It has PATIENT to come: the product's half a second is much for one that
# has to log in anew beside two other processes of tests.
PATIENT = {"InstanceHeartbeatMilliseconds": 3000}


async def test_a_master_that_has_all_connections_in_use_is_not_dead(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    """Error 1040 for the node and for the receivers alike."""
    prepared(topology)
    master = topology.master
    async with live_node(topology, tmp_path, **PATIENT) as node:
        # Two are in use, of which one is the one that is kept for administrators: the node is one.
        with master.root(), master.root() as admin, admin.cursor() as cursor:
            cursor.execute("SET GLOBAL max_connections = 1")
            _end_sessions(cursor)
            await node.until(lambda: node.seen(master.key).last_check_outcome is CheckOutcome.REJECTED)
            await node.until(lambda: any(node.seen(one.key).last_io_errno for one in topology.replicas))
            assert node.seen(master.key).last_check_error.startswith("Too many connections")
            await asyncio.sleep(3)
            assert node.promoted_to == []
            assert not node.heard("is asked whether")
            cursor.execute("SET GLOBAL max_connections = 151")
        await node.until(lambda: node.seen(master.key).is_last_check_valid)
        await nothing_happens(node, 0.5)


def _end_sessions(cursor: DictCursor) -> None:
    """All but those of ``root``, dump threads too."""
    cursor.execute(
        "SELECT ID AS id FROM information_schema.processlist "
        "WHERE USER NOT IN ('root', 'system user', 'event_scheduler')"
    )
    for row in cursor.fetchall():
        with suppress(pymysql.MySQLError):  # it may have ended by itself
            cursor.execute(f"KILL {row['id']}")


async def test_a_master_whose_credentials_were_rotated_is_not_dead(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    """Error 1045 for the node and for the receivers alike."""
    prepared(topology)
    master, accounts = topology.master, topology.accounts
    async with live_node(topology, tmp_path, **PATIENT) as node:
        _set_passwords(topology, "another", "another")
        with master.root() as admin, admin.cursor() as cursor:
            _end_sessions(cursor)
        try:
            await node.until(lambda: node.seen(master.key).last_check_outcome is CheckOutcome.DENIED)
            await node.until(
                lambda: all(node.seen(one.key).last_io_errno == 1045 for one in topology.replicas)
            )
            await nothing_happens(node)
            assert not node.heard("is asked whether")
        finally:
            _set_passwords(topology, accounts.orchestray.password, accounts.replication.password)


def _set_passwords(topology: MySQLTopology, orchestray: str, replication: str) -> None:
    accounts = topology.accounts
    topology.master.execute(
        "SET SESSION sql_log_bin = 0",
        f"ALTER USER '{accounts.orchestray.user}'@'%' IDENTIFIED BY '{orchestray}'",
        f"ALTER USER '{accounts.replication.user}'@'%' IDENTIFIED BY '{replication}'",
    )


async def test_replicas_that_somebody_stopped_are_evidence_of_nothing(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    """Not even when the master hangs: nobody can be asked, and no receiver is started."""
    prepared(topology)
    async with live_node(topology, tmp_path) as node:
        for server in topology.replicas:
            server.execute("STOP REPLICA IO_THREAD")
        node.look(*(server.key for server in topology.replicas))
        await nothing_happens(node, 2)
        topology.master.pause()
        await node.until(lambda: node.heard("the receivers were stopped by somebody"))
        await asyncio.sleep(3)
        topology.master.resume()
        await nothing_happens(node, 0.5)
        assert all(receiver(server) == "No" for server in topology.replicas)


async def test_what_a_dead_leader_left_of_a_witness_is_put_back_by_the_next(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    prepared(topology)
    witness = topology.replicas[0]
    async with live_node(topology, tmp_path) as node:
        await node.store.witnesses.begin(CLUSTER, witness.key, 60, term=1)
        witness.execute("SET GLOBAL replica_net_timeout = 1", "STOP REPLICA IO_THREAD")
        await node.until(lambda: node.heard("was a witness, and its receiver runs as before"))
        assert receiver(witness) in ("Yes", "Connecting")
        assert witness.variable("replica_net_timeout") == "60"
        assert await node.store.witnesses.open() == {}


async def test_a_witness_that_replicates_from_another_by_now_cannot_tell(
    topology: MySQLTopology, tmp_path: Path
) -> None:
    """It was moved after it was last seen; its receiver runs, and that says nothing of the master."""
    prepared(topology)
    master = topology.master
    async with live_node(topology, tmp_path) as node:
        (view,) = node.views()
        hangs = replace(node.seen(master.key), last_check_outcome=CheckOutcome.SILENT)
        view = replace(
            view, instances=tuple(hangs if one.key == master.key else one for one in view.instances)
        )
        chosen = choose_witness(hangs, view.replicas_of(master.key))
        assert isinstance(chosen, Witness)
        witness = topology.server(chosen.key)
        source = next(server for server in topology.replicas if server is not witness)
        witness.execute(
            "STOP REPLICA", f"CHANGE REPLICATION SOURCE TO SOURCE_PORT = {source.port}", "START REPLICA"
        )
        wait_until(lambda: follows(witness, source))
        connected = dump_threads(source)
        node.coordinator.consider(view)
        said = f"{witness.key} cannot tell: it replicates from {source.key} now"
        await node.until(lambda: node.heard(said))
        assert not node.heard("lives")
        assert not node.heard("is dead")
        assert witness.variable("replica_net_timeout") == "60"
        assert dump_threads(source) == connected, "its receiver was not restarted"
        assert await node.store.witnesses.open() == {}
