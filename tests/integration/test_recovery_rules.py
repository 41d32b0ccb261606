"""The rules of recovery (design, "The rules of recovery") on real servers, each test named after its rule.

Rule 4 is the analysis', rule 5 is about repairs that do not exist yet; what of rules 3, 6, 7 and 12 needs
a store is in ``test_coordinator.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from services.execution.errors import RecoveryInterruptedError
from services.execution.executor import Executor
from services.mysql.session import ActingSession, MandateOverError
from services.planning.candidates import PromotionPolicy
from services.planning.plan import Step, StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from services.topology.gtid import GtidSet
from services.topology.records import JournalPhase
from tests.recovery_world import FakeMandate, Shared, World, follows, has_all, login_of, state_of
from tests.servers import connect, general_log, start_general_log, wait_until

_UNINSTALL = (
    "SET GLOBAL super_read_only = 0",
    "UNINSTALL PLUGIN rpl_semi_sync_source",
    "SET GLOBAL super_read_only = 1",
)
"""After this a server cannot be a semi-sync source."""


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless"))
    yield shared
    shared.stop()


@pytest.fixture
def world(shared: Shared) -> World:
    """One master and three replicas, lossless, with a table ``app.t`` that everybody has."""
    world = World(shared.topology())
    world.create_table()
    return world


def _conflict(server: MySQLServer, row: int) -> None:
    """A row of its own that the applier will stumble over."""
    server.execute(
        "SET GLOBAL super_read_only = 0",
        "SET SESSION sql_log_bin = 0",
        f"INSERT INTO app.t VALUES ({row})",
        "SET GLOBAL super_read_only = 1",
    )


def _retrieved(server: MySQLServer) -> str:
    return str(server.query("SHOW REPLICA STATUS")[0]["Retrieved_Gtid_Set"])


def _await_received(world: World, *servers: MySQLServer) -> None:
    executed = world.master.variable("gtid_executed")
    own = str(GtidSet.parse(executed).only([world.master.variable("server_uuid")]))
    for server in servers:
        wait_until(lambda server=server: GtidSet.parse(_retrieved(server)) >= GtidSet.parse(own))


def _comes_back(world: World) -> None:
    """The old master is started again, between the freeze and the moment when it is dialled."""

    async def come_back() -> None:
        await asyncio.to_thread(world.master.start)

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back)


def _comes_back_with(world: World, row: int) -> None:
    """It is started again and takes a transaction that no replica has."""

    async def come_back_with_more() -> None:
        await asyncio.to_thread(world.master.start)
        alone = "SET GLOBAL rpl_semi_sync_source_enabled = 0"
        await asyncio.to_thread(world.master.execute, alone, f"INSERT INTO app.t VALUES ({row})")

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back_with_more)


# Rule 1


async def test_rule_1_what_exists_only_in_relay_logs_is_executed_before_the_promotion(world: World) -> None:
    world.stop_appliers()
    world.write(*range(1, 21))
    await world.look()
    world.master.kill()
    assert all(world.rows(server) == set() for server in world.replicas), "they are in relay logs only"
    outcome = await world.recover()
    world.assert_sound(outcome, rows=range(1, 21))


async def test_rule_1_an_applier_that_cannot_proceed_makes_way_for_another_that_holds_as_much(
    world: World,
) -> None:
    stuck = world.replicas[0]
    _conflict(stuck, 5)
    world.write(5, 6)
    await world.look()
    world.register(stuck, promotion_rule="must")
    _await_received(world, *world.replicas)
    await world.look()
    world.master.kill()
    outcome = await world.recover()
    assert outcome.succeeded
    promoted = world.server(outcome.successor)
    assert promoted is not stuck
    assert world.rows(promoted) == {5, 6}
    assert any("next candidate, because drain" in line for line in world.journal.said)
    assert world.writable() == [promoted]


async def test_rule_1_nobody_is_promoted_while_the_only_holder_cannot_execute_it(world: World) -> None:
    stuck, *others = world.replicas
    _conflict(stuck, 5)
    world.only_receives(stuck)
    world.write(5)
    await world.look()
    world.master.kill()
    before = world.state()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert outcome.refusal.rule == "rule 2"
    assert "others hold transactions that it cannot get from them" in outcome.refusal.reason
    assert world.state() == before
    assert all(5 not in world.rows(server) for server in others)


async def test_rule_1_a_relay_log_that_holds_more_than_the_new_source_is_not_thrown_away(
    world: World,
) -> None:
    """No plan does this; should one, or should somebody interfere, the step itself refuses."""
    source, holder, _ = world.replicas
    world.only_receives(holder)
    world.stop_appliers(holder)
    world.write(1)
    world.master.kill()
    step = Step(
        number=1, stage=1, kind=StepKind.REPOINT, instance=holder.key, source=source.key, required=False
    )
    env = world.environment()
    failures = await Executor(env).run([step])
    await env.sessions.close()
    assert "its relay log holds what" in failures[holder.key]
    assert state_of(holder)["source"] == (world.master.host, world.master.port, 1)
    holder.execute("START REPLICA SQL_THREAD")
    wait_until(lambda: world.rows(holder) == {1})


# Rule 2


async def test_rule_2_what_only_one_has_that_may_not_be_promoted_goes_to_the_candidate_first(
    world: World,
) -> None:
    ahead = world.replicas[0]
    world.only_receives(ahead)
    world.stop_appliers(ahead)
    world.write(1, 2, 3)
    await world.look()
    world.register(ahead, promotion_rule="must_not")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor != ahead.key
    assert StepKind.COVER.value in world.journal.kinds()
    world.assert_sound(outcome, rows=(1, 2, 3))


async def test_rule_2_the_one_that_holds_most_is_promoted(world: World) -> None:
    ahead = world.replicas[2]
    world.only_receives(ahead)
    world.write(1, 2, 3)
    await world.look()
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor == ahead.key
    assert StepKind.COVER.value not in world.journal.kinds()
    world.assert_sound(outcome, rows=(1, 2, 3))


async def test_rule_2_one_with_errant_transactions_is_not_preferred_and_follows(world: World) -> None:
    errant = min(world.replicas, key=lambda server: server.key)  # which would be the first of equals
    open_it, close_it = (f"SET GLOBAL super_read_only = {value}" for value in (0, 1))
    errant.execute(open_it, "CREATE DATABASE its_own", close_it)
    world.write(1)
    _await_received(world, *world.replicas)
    await world.look()
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor != errant.key
    assert any(f"candidate {errant.key}" in line and "errant" in line for line in world.journal.said)
    world.assert_sound(outcome, rows=(1,))


# Rule 3


@pytest.mark.parametrize("how", ["hangs", "is down"])
async def test_rule_3_an_acknowledging_replica_that_is_not_stopped_keeps_everybody_from_being_promoted(
    world: World, how: str
) -> None:
    gone = world.replicas[1]
    world.write(1)
    await world.look()
    world.master.kill()
    others = [server for server in world.replicas if server is not gone]
    before = world.state(*others)
    if how == "hangs":
        gone.pause()
    else:
        gone.kill()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert outcome.refusal.rule == "rule 3"
    assert str(gone.key) in outcome.refusal.reason
    assert outcome.refusal.loss
    assert world.state(*others) == before, "an abort undoes everything"
    assert all(state_of(server)["receives"] for server in others)
    assert world.deposed == []


@pytest.mark.parametrize("how", ["hangs", "is down"])
async def test_rule_3_without_lossless_semi_sync_it_is_lost_and_said_to_be(world: World, how: str) -> None:
    world.master.execute("SET GLOBAL rpl_semi_sync_source_timeout = 1000")
    gone = world.replicas[1]
    world.write(1)
    _await_received(world, *world.replicas)
    await world.look()
    world.master.kill()
    if how == "hangs":
        gone.pause()
    else:
        gone.kill()
    outcome = await world.recover()
    if how == "hangs":
        gone.resume()
    others = [server for server in world.replicas if server is not gone]
    promoted = world.server(outcome.successor)
    assert promoted in others
    assert set(outcome.lost) == {gone.key}
    assert any(str(gone.key) in line and "is lost" in line for line in world.journal.said)
    (follower,) = (server for server in others if server is not promoted)
    wait_until(lambda: follows(follower, promoted))
    assert gone not in world.writable()


async def test_rule_3_one_that_dies_after_it_was_stopped_is_lost_and_said_to_be(world: World) -> None:
    """It can acknowledge nothing any more, and what it retrieved was read: the promotion goes on."""
    world.write(1)
    _await_received(world, *world.replicas)
    await world.look()
    world.master.kill()
    dies = max(world.replicas, key=lambda server: server.key)

    async def die() -> None:
        await asyncio.to_thread(dies.kill)

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, die)
    outcome = await world.recover()
    world.assert_sound(outcome, rows=(1,), lost=(dies,))


# Rule 6


async def test_rule_6_a_newer_term_cancels_before_the_opening(world: World) -> None:
    await world.look()
    world.master.kill()
    newer = FakeMandate(term=8)
    taken: list[ActingSession] = []

    async def take_over() -> None:
        for server in world.replicas:
            taken.append(await ActingSession.open(server.key, login_of(world.topology), newer))

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, take_over)
    with pytest.raises((MandateOverError, RecoveryInterruptedError)):
        await world.recover()
    assert world.writable() == []
    assert world.deposed == []
    for session in taken:
        await session.close()
    outcome = await world.resume(FakeMandate(term=8))
    assert not outcome.succeeded
    assert world.writable() == []


async def test_rule_6_the_end_of_the_mandate_stops_everything_where_it_is(world: World) -> None:
    await world.look()
    world.master.kill()
    before = world.state()

    async def end() -> None:
        world.mandate.seconds = 0.0

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, end)
    with pytest.raises(MandateOverError):
        await world.recover()
    assert world.writable() == []
    assert StepKind.OPEN.value not in world.journal.kinds()
    outcome = await world.resume(FakeMandate(term=8))
    assert not outcome.succeeded
    assert world.state() == before, "the next term puts back what this one left"


async def test_rule_6_a_replica_that_somebody_promoted_by_hand_is_not_given_a_rival(world: World) -> None:
    await world.look()
    world.master.kill()
    by_hand, other, third = world.replicas
    account = world.topology.accounts.replication
    by_hand.execute("STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0")
    other.execute(
        "STOP REPLICA",
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{by_hand.host}', SOURCE_PORT = {by_hand.port}, "
        f"SOURCE_USER = '{account.user}', SOURCE_PASSWORD = '{account.password}'",
        "START REPLICA",
    )
    wait_until(lambda: follows(other, by_hand))
    before = world.state()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert outcome.refusal.rule == "rule 6"
    assert world.writable() == [by_hand]
    assert world.state() == before
    wait_until(lambda: follows(other, by_hand))
    assert state_of(third)["receives"]


async def test_rule_6_nor_is_one_that_nobody_follows_yet(world: World) -> None:
    """It has no channel any more, is writable, and without semi-sync no replica need be reachable."""
    world.master.execute("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
    await world.look()
    world.master.kill()
    by_hand = world.replicas[0]
    by_hand.execute("STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0")
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert f"{by_hand.key} is no replica any more" in outcome.refusal.reason
    assert world.writable() == [by_hand]


# Rule 8


async def test_rule_8_the_old_master_is_made_read_only_before_anything_is_asked_of_it(world: World) -> None:
    await world.look()
    world.master.kill()

    async def come_back() -> None:
        await asyncio.to_thread(world.master.start)
        await asyncio.to_thread(start_general_log, world.master)

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back)
    outcome = await world.recover()
    assert outcome.succeeded, outcome
    texts = [entry.text for entry in general_log(world.master)]
    closing = next(place for place, text in enumerate(texts) if "SET GLOBAL super_read_only = 1" in text)
    asking = next(place for place, text in enumerate(texts) if "gtid_executed" in text)
    assert closing < asking
    assert world.master.variable("super_read_only") == "1"


# Rule 9


async def test_rule_9_nobody_is_repointed_before_the_candidate_is_open(world: World) -> None:
    await world.look()
    world.master.kill()
    sources: list[object] = []

    async def look_at_sources() -> None:
        sources.extend(state["source"] for state in world.state().values())

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, look_at_sources)
    outcome = await world.recover()
    assert sources == [(world.master.host, world.master.port, 1)] * 3
    opened = world.journal.order(StepKind.OPEN, JournalPhase.DONE)
    assert opened < world.journal.order(StepKind.REPOINT, JournalPhase.INTENT)
    world.assert_sound(outcome)


async def test_rule_9_an_abort_undoes_what_was_done(world: World) -> None:
    """A cover and a started applier, semi-sync settings and a stopped one: all is as it was before."""
    ahead, chosen, other = world.replicas
    chosen.execute(
        "SET GLOBAL rpl_semi_sync_source_timeout = 77777",
        "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 3",
    )
    world.only_receives(ahead)
    world.stop_appliers(ahead, other)
    world.write(1, 2)
    await world.look()
    world.register(ahead, promotion_rule="must_not")
    world.register(other, promotion_rule="must_not")
    world.master.kill()
    before = world.state()

    _comes_back_with(world, 9)
    outcome = await world.recover()
    assert not outcome.succeeded
    assert StepKind.COVER.value in world.journal.kinds()
    assert StepKind.SEMI_SYNC_SOURCE.value in world.journal.kinds()
    assert "has 1 transactions more" in " ".join(outcome.errors)
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]


# Rule 10


async def test_rule_10_the_forced_variant_promotes_with_the_loss_that_was_shown(world: World) -> None:
    ahead = world.replicas[0]
    world.write(1)
    _await_received(world, *world.replicas)
    world.only_receives(ahead)
    world.write(2)
    await world.look()
    world.master.kill()
    ahead.kill()
    refused = await world.recover()
    assert refused.refusal is not None
    assert "at least 1 transactions" in refused.refusal.loss
    outcome = await world.recover(forced=True)
    world.assert_sound(outcome, rows=(1,), lost=(ahead,))


# Rule 11


async def test_rule_11_semi_sync_is_on_before_the_new_master_is_opened(world: World) -> None:
    await world.look()
    world.master.kill()
    seen: list[dict[str, object]] = []

    async def look_at_candidate() -> None:
        plan = next(entry for entry in reversed(world.journal.entries) if entry.kind == "plan")
        seen.append(state_of(world.server(plan.instance)))

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, look_at_candidate)
    outcome = await world.recover()
    (state,) = seen
    assert state["read_only"] == "1"
    assert state["rpl_semi_sync_source_enabled"] == "ON"
    assert state["rpl_semi_sync_source_wait_point"] == "AFTER_SYNC"
    assert state["rpl_semi_sync_source_wait_for_replica_count"] == "1"
    timeout_ms = world.seen[world.master.key].semi_sync_master_timeout_ms
    assert state["rpl_semi_sync_source_timeout"] == str(timeout_ms)
    promoted = world.assert_sound(outcome)
    wait_until(lambda: promoted.status("Rpl_semi_sync_source_clients") == "2")
    assert promoted.status("Rpl_semi_sync_source_status") == "ON"


async def test_rule_11_a_candidate_that_cannot_run_semi_sync_makes_way_for_another(world: World) -> None:
    unable = world.replicas[0]
    unable.execute(*_UNINSTALL)
    world.write(1)
    await world.look()
    world.register(unable, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor != unable.key
    assert any("next candidate, because semi-sync-source" in line for line in world.journal.said)
    world.assert_sound(outcome, rows=(1,))


async def test_rule_11_when_no_candidate_can_run_semi_sync_all_is_put_back(world: World) -> None:
    for server in world.replicas:
        server.execute(*_UNINSTALL)
    await world.look()
    world.master.kill()
    before = world.state()
    outcome = await world.recover()
    assert not outcome.succeeded
    assert world.state() == before
    assert world.writable() == []


async def test_rule_11_when_the_only_acknowledging_replica_is_promoted_writes_do_not_hang(
    world: World,
) -> None:
    only, *others = world.replicas
    off = "SET GLOBAL rpl_semi_sync_replica_enabled = OFF"
    for server in others:
        server.execute(off, "STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD")
    wait_until(lambda: world.master.status("Rpl_semi_sync_source_clients") == "1")
    world.write(1)
    await world.look()
    world.register(only, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor == only.key
    world.assert_sound(outcome, rows=(1,))  # it writes


# Rule 12


async def test_rule_12_an_old_master_that_is_back_with_nothing_of_its_own_is_fenced(world: World) -> None:
    world.write(1)
    _await_received(world, *world.replicas)
    await world.look()
    world.master.kill()
    client: list[Any] = []

    async def come_back() -> None:
        await asyncio.to_thread(world.master.start)
        account = world.topology.accounts.application
        client.append(await asyncio.to_thread(connect, world.master, account))

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back)
    outcome = await world.recover()
    assert world.deposed == [(world.master.key, outcome.successor)]
    assert world.master.variable("super_read_only") == "1"
    promoted = world.assert_sound(outcome, rows=(1,))
    assert promoted is not world.master
    sessions = world.master.query("SELECT USER AS user FROM information_schema.processlist")
    assert not [row for row in sessions if row["user"] == world.topology.accounts.application.user]
    assert any("it is read-only now and has nothing of its own" in line for line in world.journal.said)
    client[0].close()


async def test_rule_12_an_old_master_that_is_back_with_more_is_left_the_master(world: World) -> None:
    world.write(1)
    await world.look()
    world.master.kill()
    before = world.state()

    _comes_back_with(world, 2)
    outcome = await world.recover()
    assert not outcome.succeeded
    assert "the master is not dead" in " ".join(outcome.errors)
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]
    assert world.deposed == []
    executed = world.master.variable("gtid_executed")
    wait_until(lambda: all(has_all(server, executed) for server in world.replicas), 15)


async def test_rule_12_a_commit_that_waits_for_an_acknowledgement_leaves_it_the_master(
    world: World,
) -> None:
    """Its replicas' receivers are stopped, so its first commit hangs, with the lock that the fence needs."""
    await world.look()
    world.master.kill()
    before = world.state()
    hanging: list[asyncio.Task[None]] = []

    async def come_back_and_hang() -> None:
        await asyncio.to_thread(world.master.start)
        hanging.append(asyncio.ensure_future(asyncio.to_thread(_insert_in_vain, world, 3)))
        await asyncio.to_thread(wait_until, lambda: _waits_for_acknowledgement(world.master))

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back_and_hang)
    outcome = await world.recover()
    await asyncio.wait_for(hanging[0], 10)
    assert not outcome.succeeded, "what hung is in its binary log: it has more than the candidate"
    assert "it answers again and has 1 transactions more" in " ".join(outcome.errors)
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]
    wait_until(lambda: all(3 in world.rows(server) for server in world.topology.servers), 15)


def _insert_in_vain(world: World, row: int) -> None:
    account = world.topology.accounts.application
    try:
        with connect(world.master, account) as session, session.cursor() as cursor:
            cursor.execute(f"INSERT INTO app.t VALUES ({row})")
    except Exception:  # it is killed
        return


def _waits_for_acknowledgement(server: MySQLServer) -> bool:
    rows = server.query("SELECT STATE AS state FROM information_schema.processlist")
    return any("semi-sync ACK" in str(row["state"]) for row in rows)


async def test_rule_12_an_old_master_that_answers_with_an_error_is_alive(world: World) -> None:
    await world.look()
    world.master.kill()
    before = world.state()
    user = world.topology.accounts.orchestray.user

    async def come_back_and_refuse() -> None:
        await asyncio.to_thread(world.master.start)
        await asyncio.to_thread(
            world.master.execute, "SET SESSION sql_log_bin = 0", f"ALTER USER '{user}'@'%' ACCOUNT LOCK"
        )

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back_and_refuse)
    try:
        outcome = await world.recover()
    finally:
        world.master.execute("SET SESSION sql_log_bin = 0", f"ALTER USER '{user}'@'%' ACCOUNT UNLOCK")
    assert not outcome.succeeded
    assert "the master is not dead" in " ".join(outcome.errors)
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]


async def test_rule_12_a_fenced_old_master_is_opened_again_when_nobody_can_be_promoted(world: World) -> None:
    """It has nothing of its own, so it is fenced; then no candidate can run semi-sync."""
    for server in world.replicas:
        server.execute(*_UNINSTALL)
    await world.look()
    world.master.kill()

    _comes_back(world)
    outcome = await world.recover()
    assert not outcome.succeeded
    assert any("it is read-only now" in line for line in world.journal.said), "it was fenced"
    assert world.writable() == [world.master]


async def test_rule_12_a_later_term_opens_a_fenced_old_master_too(world: World) -> None:
    """The Leader dies between the fence and the opening."""
    await world.look()
    world.master.kill()

    async def die() -> None:
        raise _LeaderDiedError

    _comes_back(world)
    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, die)
    with pytest.raises(_LeaderDiedError):
        await world.recover()
    assert world.writable() == []
    outcome = await world.resume(FakeMandate(term=8))
    assert not outcome.succeeded
    assert world.writable() == [world.master]


class _LeaderDiedError(Exception):
    """As far as the servers can tell."""


# Whole trees


async def test_a_server_below_a_replica_follows_with_it(mysqld: Mysqld) -> None:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2, below_last=1))
    try:
        world = World(shared.topology())
        world.create_table()
        world.write(1)
        (leaf,), intermediate = world.topology.below, world.replicas[-1]
        await world.look()
        world.register(intermediate, promotion_rule="must_not")
        world.master.kill()
        outcome = await world.recover()
        promoted = world.assert_sound(outcome, rows=(1,))
        assert promoted is world.replicas[0]
        assert follows(leaf, intermediate)
        wait_until(lambda: world.rows(leaf) == {1, 4711})
    finally:
        shared.stop()


async def test_a_promoted_intermediate_master_keeps_what_is_below_it(mysqld: Mysqld) -> None:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2, below_last=1))
    try:
        world = World(shared.topology())
        world.create_table()
        world.write(1)
        (leaf,), intermediate = world.topology.below, world.replicas[-1]
        await world.look()
        policy = PromotionPolicy(designated=intermediate.key)
        world.master.kill()
        outcome = await world.recover(policy)
        promoted = world.assert_sound(outcome, rows=(1,))
        assert promoted is intermediate
        wait_until(lambda: follows(leaf, intermediate) and world.rows(leaf) == {1, 4711})
    finally:
        shared.stop()
