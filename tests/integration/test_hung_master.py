"""A hung master (SIGSTOP): receivers that hang in their connect, and a master that wakes up in the middle.

Design, "When a master is dead": having issued the STOP is enough for a promotion; its return is awaited
before that replica is re-pointed. Who finds out that a master hangs is in ``test_witness.py``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from services.planning.plan import StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from services.topology.instance import CheckOutcome
from services.topology.records import JournalPhase
from tests.recovery_world import FakeMandate, Shared, World, follows
from tests.servers import connect, wait_until

_KILLING = "SELECT 1 FROM information_schema.processlist WHERE STATE LIKE 'Killing %'"


@pytest.fixture(scope="module", params=[60, 2], ids=lambda seconds: f"replica_net_timeout={seconds}")
def shared(mysqld: Mysqld, request: pytest.FixtureRequest) -> Iterator[Shared]:
    spec = TopologySpec(semi_sync="lossless", replica_net_timeout=request.param)
    shared = Shared(mysqld, spec)
    yield shared
    shared.stop()


@pytest.fixture
async def world(shared: Shared) -> World:
    """One master and three replicas, lossless, with a row that everybody has."""
    world = World(shared.topology())
    world.create_table()
    world.write(1)
    wait_until(lambda: all(world.rows(server) == {1} for server in world.replicas))
    await world.look()
    return world


def hang(world: World) -> None:
    """SIGSTOP; from now on it is seen to be silent."""
    world.master.pause()
    world.register(world.master, last_check_outcome=CheckOutcome.SILENT)


def hang_in_connect(*servers: MySQLServer) -> None:
    """Restart their receivers, while the master hangs."""
    for server in servers:
        server.execute("STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD")
        wait_until(lambda server=server: _receiver(server) == "Connecting")


def _receiver(server: MySQLServer) -> str:
    return str(server.query("SHOW REPLICA STATUS")[0]["Replica_IO_Running"])


class Client:
    """A session that writes one row and remembers what it was told."""

    def __init__(self, world: World, row: int) -> None:
        self.said = ""
        self._thread = threading.Thread(target=self._write, args=(world, row), daemon=True)
        self._thread.start()

    def _write(self, world: World, row: int) -> None:
        account = world.topology.accounts.application
        try:
            with connect(world.master, account, timeout_seconds=30) as session, session.cursor() as cursor:
                cursor.execute(f"INSERT INTO app.t VALUES ({row})")
        except Exception as error:
            self.said = repr(error)
        else:
            self.said = "acknowledged"

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> str:
        self._thread.join(10)
        assert not self.waits
        return self.said


def waiting_for_acknowledgement(server: MySQLServer) -> int:
    rows = server.query(
        "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE STATE LIKE '%semi-sync ACK%'"
    )
    return int(rows[0]["n"])


async def test_all_receivers_believe_in_it_and_another_is_promoted(world: World) -> None:
    hang(world)
    outcome = await world.recover()
    world.master.kill()
    world.assert_sound(outcome, rows=(1,))


async def test_rule_3_receivers_that_hang_in_their_connects_are_stopped_and_re_pointed(world: World) -> None:
    """All of them: none can acknowledge once its STOP is issued, and none is lost."""
    hang(world)
    hang_in_connect(*world.replicas)
    outcome = await world.recover()
    world.master.kill()
    world.assert_sound(outcome, rows=(1,))
    opening = world.journal.order(StepKind.OPEN, JournalPhase.INTENT)
    assert all(
        world.journal.order(StepKind.STOP_RECEIVER, phase) < opening
        for phase in (JournalPhase.INTENT, JournalPhase.DONE)
    )


async def test_an_aborted_recovery_has_all_receivers_running_again(world: World) -> None:
    """Also those whose STOP has not returned yet."""
    hang(world)
    hang_in_connect(*world.replicas[:2])
    before = world.state(*world.replicas)

    async def wake_up_with_more() -> None:
        world.master.resume()
        await asyncio.to_thread(
            world.master.execute,
            "SET GLOBAL rpl_semi_sync_source_enabled = 0",
            "INSERT INTO app.t VALUES (2)",
            "SET GLOBAL rpl_semi_sync_source_enabled = 1",
        )

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, wake_up_with_more)
    outcome = await world.recover()
    assert not outcome.succeeded
    assert "it answers again and has 1 transactions more" in outcome.errors[0]
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]
    for server in world.replicas:
        wait_until(lambda server=server: world.rows(server) == {1, 2})


async def test_a_receiver_that_was_told_to_stop_acknowledges_nothing_when_its_master_wakes(
    world: World,
) -> None:
    """What makes it safe to promote before the STOP has returned."""
    first, *others = world.replicas
    for server in world.replicas:
        server.execute("STOP REPLICA IO_THREAD")
    client = Client(world, 2)
    wait_until(lambda: waiting_for_acknowledgement(world.master) == 1)
    hang(world)
    first.execute("START REPLICA IO_THREAD")
    wait_until(lambda: _receiver(first) == "Connecting")
    had = first.query("SHOW REPLICA STATUS")[0]["Retrieved_Gtid_Set"]
    stop = threading.Thread(target=first.execute, args=("STOP REPLICA IO_THREAD",), daemon=True)
    stop.start()
    wait_until(lambda: first.query(_KILLING))
    world.master.resume()
    stop.join(10)
    assert not stop.is_alive()
    channel = first.query("SHOW REPLICA STATUS")[0]
    assert (channel["Replica_IO_Running"], channel["Retrieved_Gtid_Set"]) == ("No", had)
    wait_until(lambda: world.master.status("Rpl_semi_sync_source_clients") == "0")
    assert client.waits, "nobody acknowledged it"
    others[0].execute("START REPLICA IO_THREAD")
    assert client.end() == "acknowledged"


# It wakes up in the middle


async def test_rule_12_one_that_wakes_before_the_opening_is_fenced_before_it(world: World) -> None:
    hang(world)

    async def wake_up() -> None:
        world.master.resume()

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, wake_up)
    outcome = await world.recover()
    promoted = world.assert_sound(outcome, rows=(1,))
    assert any("it is read-only now and has nothing of its own" in line for line in world.journal.said)
    assert world.writable() == [promoted]


async def test_rule_12_a_commit_that_waits_on_one_that_wakes_is_told_nothing_and_the_recovery_is_undone(
    world: World,
) -> None:
    """The write reached no replica: nobody may be told that it is done, and the master keeps it."""
    for server in world.replicas:
        server.execute("STOP REPLICA IO_THREAD")
    client = Client(world, 2)
    wait_until(lambda: waiting_for_acknowledgement(world.master) == 1)
    hang(world)
    for server in world.replicas:
        server.execute("START REPLICA IO_THREAD")

    async def wake_up() -> None:
        world.master.resume()

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, wake_up)
    outcome = await world.recover()
    assert not outcome.succeeded
    assert "Lost connection" in client.end()
    assert world.writable() == [world.master]
    assert world.master.variable("rpl_semi_sync_source_enabled") == "1"
    for server in world.replicas:
        wait_until(lambda server=server: follows(server, world.master))
        wait_until(lambda server=server: world.rows(server) == {1, 2})


async def test_one_that_wakes_after_the_opening_acknowledges_nothing(world: World) -> None:
    """Its receivers are stopped: what clients still send it waits, until it is fenced."""
    hang(world)
    clients: list[Client] = []

    async def wake_up() -> None:
        world.master.resume()
        clients.append(Client(world, 99))
        await asyncio.to_thread(wait_until, lambda: waiting_for_acknowledgement(world.master) == 1)

    world.journal.at(StepKind.DEPOSE, JournalPhase.INTENT, wake_up)
    outcome = await world.recover()
    assert outcome.succeeded
    promoted = world.server(outcome.successor)
    assert clients[0].waits
    for server in world.replicas:
        if server is not promoted:
            wait_until(lambda server=server: follows(server, promoted))
    assert 99 not in world.rows(promoted)
    world.master.kill()
    assert clients[0].end() != "acknowledged"


async def test_what_a_dead_leader_left_while_stops_were_under_way_is_put_back(world: World) -> None:
    """A later term ends the sessions of the earlier one and waits for what they had asked for."""
    hang(world)
    hang_in_connect(*world.replicas)
    before = world.state(*world.replicas)

    class DiedError(Exception):
        pass

    async def die() -> None:
        raise DiedError

    world.journal.at(StepKind.STOP_RECEIVER, JournalPhase.DONE, die)
    with pytest.raises(DiedError):
        await world.recover()
    outcome = await world.resume(FakeMandate(term=8))
    assert not outcome.succeeded
    assert world.state(*world.replicas) == before
    assert outcome.errors == ("its node stopped in the middle; nobody had been promoted",)
