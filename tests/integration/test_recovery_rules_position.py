"""Recovery of MySQL without GTID, by file and position, on real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.execution.executor import Executor, steps_from_json
from services.planning.plan import Step, StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.flavours import MYSQL
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from services.topology.records import JournalPhase
from tests.recovery_world import FakeMandate, World, follows, state_of
from tests.servers import Stage, wait_until

_NO_GTID = replace(
    MYSQL,
    settings={**MYSQL.settings, "gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"},
    change_source=MYSQL.change_source.replace(" SOURCE_AUTO_POSITION = 1,", ""),
)


@pytest.fixture
def stage(mysqld: Mysqld) -> Iterator[Stage]:
    stage = Stage(replace(mysqld, flavour=_NO_GTID))
    yield stage
    stage.clear()


@pytest.fixture
def world(stage: Stage) -> World:
    """One master and three replicas, lossless, with a table ``app.t`` that everybody has."""
    world = World(stage.topology(TopologySpec(semi_sync="lossless")))
    world.create_table()
    return world


def _ends_at(server: MySQLServer) -> tuple[str, int]:
    (row,) = server.query("SHOW BINARY LOG STATUS")
    return str(row["File"]), int(row["Position"])


def _await_received(world: World, *servers: MySQLServer) -> None:
    end = _ends_at(world.master)
    for server in servers or world.replicas:
        wait_until(lambda server=server: _read(server) == end, describe=lambda server=server: _read(server))


def _read(server: MySQLServer) -> tuple[str, int]:
    (row,) = server.query("SHOW REPLICA STATUS")
    return str(row["Source_Log_File"]), int(row["Read_Source_Log_Pos"])


def _executed(server: MySQLServer) -> tuple[str, int]:
    (row,) = server.query("SHOW REPLICA STATUS")
    return str(row["Relay_Source_Log_File"]), int(row["Exec_Source_Log_Pos"])


async def test_rule_1_what_is_in_relay_logs_is_executed_by_all_and_then_all_can_follow(world: World) -> None:
    world.stop_appliers()
    world.write(*range(1, 21))
    _await_received(world)
    await world.look()
    world.master.kill()
    assert all(world.rows(server) == set() for server in world.replicas), "they are in relay logs only"
    outcome = await world.recover()
    world.assert_sound(outcome, rows=range(1, 21))
    assert any("transactions of its own" in line for line in world.journal.said)


async def test_rule_2_the_most_advanced_is_promoted_its_equals_follow_and_the_others_are_said_to_be_lost(
    world: World,
) -> None:
    ahead, equal, behind = world.replicas
    world.write(1)
    _await_received(world)
    behind.execute("STOP REPLICA IO_THREAD")
    world.write(2, 3)
    _await_received(world, ahead, equal)
    await world.look()
    world.register(behind, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    promoted = world.assert_sound(outcome, rows=(1, 2, 3), lost=[behind])
    assert promoted in (ahead, equal)
    assert "without GTID its place there cannot be told exactly" in outcome.lost[behind.key]
    assert any(f"{behind.key} is lost" in line for line in world.journal.said)
    assert world.rows(behind) == {1}
    assert state_of(behind)["receives"] is False, "it does not go on with the deposed master"

    # Whoever takes the recovery up again repeats its steps: nothing is executed twice.
    entries = [entry for entry in world.journal.entries if entry.kind == "plan"]
    steps = steps_from_json(json.dumps(json.loads(entries[-1].detail)["steps"]))
    env = world.environment()
    failures = await Executor(env).run([step for step in steps if step.kind is StepKind.REPOINT])
    await env.sessions.close()
    assert failures == {}
    (follower,) = {ahead, equal} - {promoted}
    assert follows(follower, promoted)
    assert world.rows(follower) == {1, 2, 3, 4711}


async def test_rule_2_nobody_is_promoted_where_the_most_advanced_may_not_be(world: World) -> None:
    ahead = world.replicas[0]
    world.only_receives(ahead)
    world.write(1, 2)
    await world.look()
    world.register(ahead, promotion_rule="must_not")
    world.master.kill()
    before = world.state()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert outcome.refusal.rule == "rule 2"
    assert world.state() == before
    assert world.writable() == []


async def test_rule_1_nobody_is_promoted_while_the_most_advanced_cannot_execute_what_it_has(
    world: World,
) -> None:
    stuck = world.replicas[0]
    stuck.execute(
        "SET GLOBAL super_read_only = 0",
        "SET SESSION sql_log_bin = 0",
        "INSERT INTO app.t VALUES (5)",
        "SET GLOBAL super_read_only = 1",
    )
    world.only_receives(stuck)
    world.write(5)
    _await_received(world, stuck)
    await world.look()
    world.master.kill()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert world.writable() == []


async def test_rule_12_an_old_master_that_is_back_is_left_the_master(world: World) -> None:
    """Without GTID nobody can tell whether it has more."""
    world.write(1)
    _await_received(world)
    await world.look()
    world.master.kill()
    before = world.state()

    async def come_back() -> None:
        await asyncio.to_thread(world.master.start)

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back)
    outcome = await world.recover()
    assert not outcome.succeeded
    assert "the master is not dead" in " ".join(outcome.errors)
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]


async def test_a_candidate_on_which_somebody_writes_meanwhile_is_not_opened(world: World) -> None:
    """The others would begin at the wrong place of its binary log."""
    world.write(1)
    _await_received(world)
    await world.look()
    chosen = world.replicas[0]
    world.register(chosen, promotion_rule="must")
    world.master.kill()

    async def write() -> None:
        open_it, close_it = (f"SET GLOBAL super_read_only = {value}" for value in (0, 1))
        await asyncio.to_thread(chosen.execute, open_it, "CREATE DATABASE its_own", close_it)

    world.journal.at(StepKind.SEMI_SYNC_SOURCE, JournalPhase.INTENT, write)
    outcome = await world.recover()
    assert outcome.succeeded, outcome
    assert outcome.successor != chosen.key
    assert any("somebody writes there" in line for line in world.journal.said)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_rule_1_a_transaction_that_the_master_could_not_send_to_its_end_is_not_waited_for(
    stage: Stage,
) -> None:
    """A big one, of which each relay log has the beginning when the master dies."""
    slow = {"sync-relay-log": "1", "max-allowed-packet": "64M"}
    world = World(stage.topology(TopologySpec(replicas=2, options=slow)))
    world.create_table()
    world.master.execute("CREATE TABLE app.big (id INT PRIMARY KEY, content LONGBLOB)")
    world.stop_appliers()
    world.write(1)
    _await_received(world)
    await world.look()
    begins = _ends_at(world.master)
    rows = ", ".join(f"({number}, REPEAT('x', 10000))" for number in range(3000))
    world.master.execute(f"INSERT INTO app.big VALUES {rows}")
    ends = _ends_at(world.master)
    wait_until(lambda: all(begins < _read(server) for server in world.replicas))
    world.master.kill()
    assert all(begins < _read(server) < ends for server in world.replicas), "it came too late: a faster disk?"
    for server in world.replicas:
        world.seen[server.key] = await world.poll(server)
    outcome = await world.recover(patience_seconds=200)  # each applier takes a minute to stop
    world.assert_sound(outcome, rows=(1,))
    for server in world.replicas:
        assert server.query("SELECT COUNT(*) AS n FROM app.big") == [{"n": 0}]


async def test_a_replica_is_detached_at_its_place(world: World) -> None:
    """Removing the two characters, and naming the place that it kept, attaches it again."""
    replica = world.replicas[0]
    world.write(2)
    end = _ends_at(world.master)
    wait_until(lambda: _executed(replica) == end)
    env = world.environment(FakeMandate(term=7))
    source = world.master.key
    step = Step(
        number=1,
        stage=1,
        kind=StepKind.DETACH,
        instance=replica.key,
        source=source,
        required=False,
        what="detach it",
    )
    try:
        assert await Executor(env).run([step]) == {}
    finally:
        await env.sessions.close()
    (detached,) = replica.query("SHOW REPLICA STATUS")
    assert detached["Source_Host"] == f"//{world.master.host}"
    assert _executed(replica) == end
