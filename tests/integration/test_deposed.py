"""Rule 12: a master that was replaced comes back, with a client that goes on writing to it.

It is read-only and its sessions are ended at first contact, and none of those writes is acknowledged: not
even those that wait for a semi-sync acknowledgement when it is fenced.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pymysql
import pytest

from services.execution.fencing import fence
from services.mysql.session import ActingSession
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from services.topology.keys import InstanceKey
from tests.conftest import MakeTopology
from tests.live_node import LiveNode, live_node
from tests.proxies import Proxy
from tests.recovery_world import FakeMandate, Shared, World, follows, login_of
from tests.servers import connect, wait_until


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2))
    yield shared
    shared.stop()


@pytest.fixture
def world(shared: Shared) -> World:
    """With a row that everybody has."""
    world = World(shared.topology())
    world.create_table()
    world.write(1)
    return world


class Client:
    """Writes to one server all the time, reconnects at once, and remembers what was acknowledged when."""

    def __init__(self, topology: MySQLTopology, server: MySQLServer) -> None:
        self.acknowledged: dict[int, float] = {}
        self.refused = 0
        self._server, self._account = server, topology.accounts.application
        self._rows = count(1000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)

    def since(self, moment: float) -> list[int]:
        return [row for row, at in dict(self.acknowledged).items() if at > moment]

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(pymysql.MySQLError, OSError), connect(self._server, self._account) as session:
                while not self._stop.is_set():
                    self._write(session)
            time.sleep(0.005)

    def _write(self, session: pymysql.connections.Connection) -> None:  # type: ignore[type-arg]
        row = next(self._rows)
        try:
            with session.cursor() as cursor:
                cursor.execute(f"INSERT INTO app.t VALUES ({row})")
        except pymysql.OperationalError as error:
            if error.args[0] != 1290:
                raise
            self.refused += 1
            time.sleep(0.01)
        else:
            self.acknowledged[row] = time.monotonic()
            time.sleep(0.002)


@asynccontextmanager
async def client_of(world: World) -> AsyncIterator[Client]:
    client = Client(world.topology, world.master)
    try:
        await asyncio.to_thread(wait_until, lambda: client.acknowledged)
        yield client
    finally:
        await asyncio.to_thread(client.stop)


async def promotion(node: LiveNode, world: World) -> tuple[MySQLServer, float]:
    await node.until(lambda: node.promoted_to)
    moment = time.monotonic()
    await node.until(lambda: not node.coordinator.busy_clusters)
    return world.server(node.promoted_to[0]), moment


async def assert_fenced(node: LiveNode, world: World, client: Client, moment: float) -> None:
    """It is read-only for good, its client is told so, and was promised nothing since the promotion.

    One write may be acknowledged late: the one that was under way, if a replica's acknowledgement of it
    waited in a socket. Then the new master has it.
    """
    await node.until(lambda: world.master.variable("super_read_only") == "1")
    await node.until(lambda: node.heard("answers again: it is read-only now"))
    before = client.refused
    await node.until(lambda: client.refused > before)
    promoted = world.server(node.promoted_to[0])
    late = client.since(moment)
    assert len(late) <= 1
    assert client.acknowledged.keys() <= world.rows(promoted), "nothing that was acknowledged is missing"
    assert world.writable() == [promoted]


async def test_rule_12_after_sigcont(world: World, tmp_path: Path) -> None:
    async with live_node(world.topology, tmp_path) as node, client_of(world) as client:
        idle = connect(world.master, world.topology.accounts.application)
        world.master.pause()
        _, moment = await promotion(node, world)
        world.master.resume()
        await assert_fenced(node, world, client, moment)
        with pytest.raises(Exception, match=r"Lost connection|gone away|closed"), idle.cursor() as cursor:
            cursor.execute("SELECT 1")
        idle.close()


async def test_rule_12_after_a_restart_by_its_supervisor(world: World, tmp_path: Path) -> None:
    """It comes up writable, as it was configured."""
    async with live_node(world.topology, tmp_path) as node, client_of(world) as client:
        world.master.kill()
        _, moment = await promotion(node, world)
        await asyncio.to_thread(world.master.start)
        await assert_fenced(node, world, client, moment)


async def test_rule_12_one_that_is_opened_again_is_closed_again(world: World, tmp_path: Path) -> None:
    """For as long as it is deposed: by a supervisor's script, say."""
    async with live_node(world.topology, tmp_path, InstancePollSeconds=1) as node:
        world.master.kill()
        promoted, _ = await promotion(node, world)
        await asyncio.to_thread(world.master.start)
        await node.until(lambda: node.heard("answers again: it is read-only now"))
        for number in (1, 2):
            world.master.execute("SET GLOBAL read_only = 0")
            told = "was writable: made read-only again"
            await node.until(lambda told=told, number=number: len(node.heard(told)) == number)
            assert world.writable() == [promoted]


async def test_rule_12_across_a_restart_of_the_node(world: World, tmp_path: Path) -> None:
    async with client_of(world) as client:
        async with live_node(world.topology, tmp_path) as node:
            world.master.kill()
            promoted, moment = await promotion(node, world)
        async with live_node(world.topology, tmp_path) as node:
            node.promoted_to.append(promoted.key)
            await asyncio.to_thread(world.master.start)
            await assert_fenced(node, world, client, moment)


async def test_rule_12_behind_a_restored_network(make_topology: MakeTopology, tmp_path: Path) -> None:
    """Cut off from its replicas and from us, not from its clients: whose writes nobody acknowledges."""
    world = World(make_topology(replicas=2))
    world.create_table()
    world.write(1)
    async with Proxy(world.master.key) as proxy:
        await asyncio.to_thread(_replicate_through, world, proxy.key)
        async with (
            live_node(world.topology, tmp_path, master=proxy.key) as node,
            client_of(world) as client,
        ):
            proxy.cut()
            await node.until(lambda: node.promoted_to)
            moment = time.monotonic()
            await node.until(lambda: not node.coordinator.busy_clusters)
            assert world.master.variable("read_only") == "0", "nobody could reach it"
            proxy.mend()
            await assert_fenced(node, world, client, moment)


def _replicate_through(world: World, key: InstanceKey) -> None:
    for server in world.replicas:
        server.execute(
            "STOP REPLICA",
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{key.hostname}', SOURCE_PORT = {key.port}",
            "START REPLICA",
        )
    for server in world.replicas:
        wait_until(
            lambda server=server: server.query("SHOW REPLICA STATUS")[0]["Replica_IO_Running"] == "Yes"
        )
    wait_until(lambda: world.master.status("Rpl_semi_sync_source_clients") == "2")


async def test_what_a_failover_left_behind_is_never_recovered(
    make_topology: MakeTopology, tmp_path: Path
) -> None:
    """A replica that could not be reached stays with the old master, also when that dies again."""
    world = World(make_topology(replicas=2, semi_sync=None))
    world.create_table()
    world.write(1)
    lost = world.replicas[0]
    async with live_node(world.topology, tmp_path, InstancePollSeconds=1) as node:
        lost.pause()
        world.master.kill()
        promoted, _ = await promotion(node, world)
        lost.resume()
        await asyncio.to_thread(world.master.start)
        await node.until(lambda: node.heard("answers again: it is read-only now"))
        await node.until(lambda: follows(lost, world.master))
        await node.until(lambda: node.seen(lost.key).is_last_check_valid)
        world.master.kill()
        fragment = str(world.master.key)
        await node.until(
            lambda: any(
                view.cluster.is_fragment and view.cluster.name == fragment and view.findings
                for view in node.views()
            )
        )
        await asyncio.sleep(3)
        (recovery,) = await node.recoveries()
        assert recovery.lost_replicas == (lost.key,)
        assert lost.query("SHOW REPLICA STATUS")[0]["Source_Port"] == world.master.port
        assert lost.variable("read_only") == "1"
        assert world.writable() == [promoted]


async def test_a_deposed_master_that_was_made_a_replica_is_left_alone(world: World, tmp_path: Path) -> None:
    """By a person: it has nothing of its own, and replicates from the new master from now on."""
    async with live_node(world.topology, tmp_path, InstancePollSeconds=1) as node:
        world.master.kill()
        promoted, _ = await promotion(node, world)
        await asyncio.to_thread(world.master.start)
        await node.until(lambda: node.heard("answers again: it is read-only now"))
        account = world.topology.accounts.replication
        world.master.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{promoted.host}', SOURCE_PORT = {promoted.port},"
            f" SOURCE_USER = '{account.user}', SOURCE_PASSWORD = '{account.password}',"
            " SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            "START REPLICA",
        )
        await node.until(lambda: node.heard("it is not deposed any more"))
        assert await node.store.clusters.deposed_masters() == ()
        assert "deposed" in [entry.type for entry in await node.store.audit.page(instance=world.master.key)]
        world.master.execute("SET GLOBAL read_only = 0")
        await node.until(lambda: not node.seen(world.master.key).read_only)
        await asyncio.sleep(2)
        assert world.master.variable("read_only") == "0", "that is a person's business now"


# The order of fencing, on its own


async def _fence(world: World) -> float:
    began = time.monotonic()
    session = await ActingSession.open(world.master.key, login_of(world.topology), FakeMandate())
    try:
        await fence(session, step="t")
    finally:
        await session.close()
    return time.monotonic() - began


@pytest.mark.parametrize("in_transaction", [False, True], ids=["autocommit", "transaction"])
async def test_rule_8_a_commit_that_waits_for_an_acknowledgement_is_told_nothing(
    world: World, in_transaction: bool
) -> None:
    for server in world.replicas:
        server.execute("STOP REPLICA IO_THREAD")
    told: list[str] = []

    def write() -> None:
        with (
            connect(world.master, world.topology.accounts.application) as session,
            session.cursor() as cursor,
        ):
            try:
                cursor.execute("BEGIN" if in_transaction else "SELECT 1")
                cursor.execute("INSERT INTO app.t VALUES (2)")
                cursor.execute("COMMIT")
                told.append("acknowledged")
            except pymysql.MySQLError as error:
                told.append(str(error.args[0]))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    waits = "SELECT 1 FROM information_schema.processlist WHERE STATE LIKE '%semi-sync ACK%'"
    await asyncio.to_thread(wait_until, lambda: world.master.query(waits))
    took = await _fence(world)
    await asyncio.to_thread(thread.join, 10)
    assert told == ["2013"], "the connection is lost: whether it was committed is not known"
    assert world.master.variable("super_read_only") == "1"
    assert took < 5


async def test_rule_8_a_session_that_holds_a_lock_is_in_the_way_and_is_ended(world: World) -> None:
    """And semi-sync stays on: nothing waited for it."""
    account = world.topology.accounts.application
    with suppress(pymysql.MySQLError), connect(world.master, account) as session, session.cursor() as cursor:
        cursor.execute("LOCK TABLES app.t WRITE")
        await _fence(world)
        with pytest.raises(pymysql.MySQLError):
            cursor.execute("INSERT INTO app.t VALUES (5)")
    assert world.master.variable("super_read_only") == "1"
    assert world.master.variable("rpl_semi_sync_source_enabled") == "1"
