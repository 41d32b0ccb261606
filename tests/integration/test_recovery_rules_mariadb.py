"""The rules of recovery on real MariaDB servers, each test named after its rule.

What differs: the relay log is thrown away at any START while both threads are stopped, and at every CHANGE
MASTER; there are states and positions instead of sets; there is no ``super_read_only``.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pymysql
import pytest

from api.cli.analyze import analyze_text
from api.wire import analysis_to_wire, instance_to_wire
from services.analysis import AnalysisPolicy
from services.execution.executor import Executor
from services.mysql.dialect import modern_columns
from services.mysql.session import ActingSession, MandateOverError, NewerTermError
from services.planning.candidates import PromotionPolicy
from services.planning.plan import Step, StepKind
from services.sandbox.server import MySQLServer
from services.topology.mariadb_gtid import MariadbGtidSet
from services.topology.records import JournalPhase
from tests.conftest import MakeTopology
from tests.recovery_world import FakeMandate, World, follows, login_of, state_of
from tests.servers import connect, general_log, start_general_log, wait_until


@pytest.fixture
def world(make_mariadb_topology: MakeTopology) -> World:
    """One master and three replicas, lossless, with a table ``app.t`` that everybody has."""
    world = World(make_mariadb_topology())
    world.create_table()
    return world


def _channel(server: MySQLServer) -> dict[str, Any]:
    return modern_columns(server.query("SHOW REPLICA STATUS")[0])


def _await_received(world: World, *servers: MySQLServer) -> None:
    state = world.master.variable("gtid_binlog_pos")
    for server in servers or world.replicas:
        wait_until(lambda server=server: _channel(server)["Gtid_IO_Pos"] == state)


def _await_executed(world: World, *servers: MySQLServer) -> None:
    state = world.master.variable("gtid_binlog_pos")
    for server in servers or world.replicas:
        wait_until(lambda server=server: server.variable("gtid_slave_pos") == state)


def _conflict(server: MySQLServer, row: int) -> None:
    """A row of its own that the applier will stumble over."""
    server.execute("SET SESSION sql_log_bin = 0", f"INSERT INTO app.t VALUES ({row})")


def _comes_back(world: World, *statements: str) -> None:
    """The old master is started again, between the freeze and the moment when it is dialled."""

    async def come_back() -> None:
        await asyncio.to_thread(world.master.start)
        if statements:
            await asyncio.to_thread(world.master.execute, *statements)

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back)


_ALONE = "SET GLOBAL rpl_semi_sync_master_enabled = 0"


# Rule 1


async def test_rule_1_what_exists_only_in_relay_logs_is_executed_before_the_promotion(world: World) -> None:
    """Every applier is stopped: were the receivers stopped first, every relay log would be gone."""
    world.stop_appliers()
    world.write(*range(1, 21))
    await world.look()
    world.master.kill()
    assert all(world.rows(server) == set() for server in world.replicas), "they are in relay logs only"
    outcome = await world.recover()
    world.assert_sound(outcome, rows=range(1, 21))


async def test_rule_1_a_replica_found_with_both_threads_stopped_is_never_started_nor_counted_as_safe(
    world: World,
) -> None:
    """The trap that somebody else has sprung: no START applies what it alone received."""
    trapped, *others = world.replicas
    world.only_receives(trapped)
    world.stop_appliers(trapped)
    world.write(1, 2)
    _await_received(world, trapped)
    trapped.execute("STOP REPLICA")
    await world.look()
    world.master.kill()
    held, before = _channel(trapped)["Gtid_IO_Pos"], world.state()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert "a start would throw its relay log away" in outcome.refusal.reason
    assert world.state() == before, "nobody is promoted, and it is not started"
    assert _channel(trapped)["Gtid_IO_Pos"] == held
    assert world.writable() == []
    assert all(world.rows(server) == set() for server in others)


async def test_rule_1_one_with_both_threads_stopped_and_nothing_that_others_lack_follows(
    world: World,
) -> None:
    trapped, *_ = world.replicas
    world.stop_appliers(trapped)
    world.write(1, 2)
    _await_received(world)
    trapped.execute("STOP REPLICA")
    await world.look()
    world.register(trapped, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor != trapped.key
    world.assert_sound(outcome, rows=(1, 2))


async def test_rule_1_an_applier_that_cannot_proceed_makes_way_for_another_that_holds_as_much(
    world: World,
) -> None:
    stuck = world.replicas[0]
    _conflict(stuck, 5)
    world.write(5, 6)
    _await_received(world)
    await world.look()
    world.register(stuck, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.succeeded, outcome
    promoted = world.server(outcome.successor)
    assert promoted is not stuck
    assert world.rows(promoted) == {5, 6}
    assert world.writable() == [promoted]


async def test_rule_1_nobody_is_promoted_while_the_only_holder_cannot_execute_it(world: World) -> None:
    """It is not started again either: that would throw away the only copy."""
    stuck, *others = world.replicas
    _conflict(stuck, 5)
    world.only_receives(stuck)
    world.write(5)
    _await_received(world, stuck)
    wait_until(lambda: _channel(stuck)["Replica_SQL_Running"] == "No")
    await world.look()
    world.master.kill()
    held, before = _channel(stuck)["Gtid_IO_Pos"], world.state(*others)
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert world.state(*others) == before
    assert _channel(stuck)["Gtid_IO_Pos"] == held
    assert _channel(stuck)["Replica_IO_Running"] == "No"
    assert "a start would throw away what it retrieved" in " ".join(outcome.errors)
    assert world.writable() == []


async def test_rule_1_a_relay_log_that_holds_more_than_the_new_source_is_not_thrown_away(
    world: World,
) -> None:
    """No plan does this; should one, or should somebody interfere, the step itself refuses."""
    source, holder, _ = world.replicas
    world.only_receives(holder)
    _conflict(holder, 1)
    world.write(1)
    _await_received(world, holder)
    world.master.kill()
    step = Step(
        number=1, stage=1, kind=StepKind.REPOINT, instance=holder.key, source=source.key, required=False
    )
    env = world.environment()
    failures = await Executor(env).run([step])
    await env.sessions.close()
    assert "its relay log holds what" in failures[holder.key]
    assert state_of(holder)["source"][:2] == (world.master.host, world.master.port)  # type: ignore[index]


async def test_rule_1_what_a_restart_threw_away_keeps_everybody_from_being_promoted(world: World) -> None:
    """A replica that comes back starts both threads, and so with an empty relay log."""
    ahead, *_ = world.replicas
    world.only_receives(ahead)
    world.stop_appliers(ahead)
    world.write(1, 2)
    _await_received(world, ahead)
    await world.look()
    world.master.kill()
    ahead.restart()
    others = world.replicas[1:]
    before = world.state(*others)
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert (outcome.refusal.rule, f"{ahead.key} had retrieved" in outcome.refusal.reason) == ("rule 1", True)
    assert world.state(*others) == before
    assert world.writable() == []


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


async def test_rule_2_one_with_errant_transactions_is_not_preferred(world: World) -> None:
    errant = min(world.replicas, key=lambda server: server.key)  # which would be the first of equals
    errant.execute("SET SESSION gtid_domain_id = 7", "CREATE DATABASE its_own")
    world.write(1)
    _await_executed(world)
    await world.look()
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor != errant.key
    assert any(f"candidate {errant.key}" in line and "errant" in line for line in world.journal.said)
    world.assert_sound(outcome, rows=(1,))


async def test_rule_2_a_history_that_the_master_did_not_know_is_unknown_and_refused(world: World) -> None:
    """The master's binary log was reset under its replicas: its numbers begin anew."""
    world.write(1, 2, 3)
    _await_executed(world)
    world.master.execute(_ALONE, "RESET MASTER", "INSERT INTO app.t VALUES (4)")
    for server in world.replicas:
        server.execute("STOP REPLICA", "START REPLICA")
        wait_until(lambda server=server: _channel(server)["Last_IO_Errno"] == 1236)
    await world.look()
    world.master.kill()
    before = world.state()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert outcome.refusal.rule == "rule 10"
    assert "whether it is of the same history cannot be told" in outcome.refusal.reason
    assert world.state() == before


async def test_rule_2_one_without_log_slave_updates_is_not_promoted_and_follows(world: World) -> None:
    silent = min(world.replicas, key=lambda server: server.key)
    silent.options["log-slave-updates"] = "OFF"
    silent.restart()
    wait_until(lambda: follows(silent, world.master))
    world.write(1)
    _await_executed(world)
    await world.look()
    world.register(silent, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.successor != silent.key
    world.assert_sound(outcome, rows=(1,))


async def test_rule_2_one_made_from_a_backup_follows_and_may_be_promoted(world: World) -> None:
    """Its binary log knows nothing of what came before: only its position tells, in the master's history."""
    world.write(1, 2)
    _await_executed(world)
    restored = min(world.replicas, key=lambda server: server.key)
    restored.execute("STOP REPLICA")
    position = restored.variable("gtid_slave_pos")
    restored.execute("RESET MASTER", f"SET GLOBAL gtid_slave_pos = '{position}'", "START REPLICA")
    wait_until(lambda: follows(restored, world.master))
    world.write(3)
    _await_executed(world)
    await world.look()
    world.master.kill()
    outcome = await world.recover(PromotionPolicy(designated=restored.key))
    assert outcome.successor == restored.key
    world.assert_sound(outcome, rows=(1, 2, 3))


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
    assert world.state(*others) == before, "an abort undoes everything"
    assert all(state_of(server)["receives"] for server in others)


async def test_rule_3_without_lossless_semi_sync_it_is_lost_and_said_to_be(world: World) -> None:
    world.master.execute("SET GLOBAL rpl_semi_sync_master_timeout = 1000")
    gone = world.replicas[1]
    world.write(1)
    _await_received(world)
    await world.look()
    world.master.kill()
    gone.kill()
    outcome = await world.recover()
    world.assert_sound(outcome, lost=[gone])
    assert any(str(gone.key) in line and "is lost" in line for line in world.journal.said)


# Rule 6 and the fences of design, "Acting"


async def test_rule_6_a_newer_term_cancels_before_the_opening(world: World) -> None:
    await world.look()
    world.master.kill()
    taken: list[ActingSession] = []

    async def take_over() -> None:
        for server in world.replicas:
            newer = FakeMandate(term=8)
            taken.append(await ActingSession.open(server.key, login_of(world.topology), newer))

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, take_over)
    with pytest.raises(Exception, match=r"whether|newer|guard"):
        await world.recover()
    assert world.writable() == []
    for session in taken:
        await session.close()
    outcome = await world.resume(FakeMandate(term=8))
    assert not outcome.succeeded
    assert world.writable() == []


async def test_rule_6_the_servers_own_guard_stops_what_comes_without_the_lock_or_too_late(
    world: World,
) -> None:
    """MariaDB's DO ignores errors: the guard has other words there."""
    server, login = world.replicas[0], login_of(world.topology)
    mandate = FakeMandate()
    session = await ActingSession.open(server.key, login, mandate)
    change = "SET GLOBAL slave_net_timeout = 77"
    await session.act(change, step="1")
    assert server.variable("slave_net_timeout") == "77"
    await session.read(f"DO RELEASE_LOCK('orchestray:{mandate.setup}')")
    with pytest.raises(MandateOverError, match="guard"):
        await session.act("SET GLOBAL slave_net_timeout = 78", step="2")
    await session.close()

    session = await ActingSession.open(server.key, login, mandate)
    late = "2000-01-01 00:00:00.000000"
    with pytest.raises(MandateOverError, match="guard"):
        await session._guarded("SET GLOBAL slave_net_timeout = 79", late, "3", 1.0)
    mandate.seconds = 0.0
    with pytest.raises(MandateOverError):
        await session.set_writable(step="4")
    await session.close()
    assert server.variable("slave_net_timeout") == "77"
    assert server.variable("read_only") == "1"


async def test_rule_6_a_newer_term_ends_the_older_ones_session_and_not_the_other_way_round(
    world: World,
) -> None:
    server, login = world.replicas[0], login_of(world.topology)
    older = await ActingSession.open(server.key, login, FakeMandate(term=7))
    newer = await ActingSession.open(server.key, login, FakeMandate(term=8))
    with pytest.raises(Exception, match=r"closed|gone|Lost|Connection"):
        await older.act("SET GLOBAL slave_net_timeout = 78", step="1")
    with pytest.raises(NewerTermError):
        await ActingSession.open(server.key, login, FakeMandate(term=7))
    await newer.set_writable(step="2")
    assert server.variable("read_only") == "0"
    await newer.close()
    await older.close()


# Rule 8


async def test_rule_8_the_old_master_is_made_read_only_and_who_may_write_nevertheless_is_told(
    world: World,
) -> None:
    user, application = world.topology.accounts.orchestray.user, world.topology.accounts.application
    world.master.execute(
        "CREATE USER almighty@'%' IDENTIFIED BY 'x'",
        "GRANT READ_ONLY ADMIN ON *.* TO almighty@'%'",
        f"GRANT SELECT ON mysql.* TO '{user}'@'%'",
    )
    world.write(1)
    _await_received(world)
    await world.look()
    world.master.kill()
    client: list[Any] = []

    async def come_back() -> None:
        await asyncio.to_thread(world.master.start)
        await asyncio.to_thread(start_general_log, world.master)
        client.append(await asyncio.to_thread(connect, world.master, application))

    world.journal.at(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT, come_back)
    outcome = await world.recover()
    promoted = world.assert_sound(outcome, rows=(1,))
    assert promoted is not world.master
    assert world.master.variable("read_only") == "1"
    texts = [entry.text for entry in general_log(world.master)]
    closing = next(place for place, text in enumerate(texts) if "SET GLOBAL read_only = 1" in text)
    asking = next(place for place, text in enumerate(texts) if "gtid_binlog_state" in text)
    assert closing < asking
    with pytest.raises(pymysql.MySQLError):
        client[0].cursor().execute("SELECT 1")
    client[0].close()
    (finding,) = (line for line in world.journal.said if "does not keep these accounts" in line)
    assert "'almighty'@'%'" in finding
    assert user not in finding


async def test_rule_8_what_cannot_be_listed_is_said_to_be_so(world: World) -> None:
    await world.look()
    world.master.kill()
    _comes_back(world)
    outcome = await world.recover()
    assert outcome.succeeded, outcome
    assert any("grant us SELECT ON mysql.*" in line for line in world.journal.said)


# Rule 9


async def test_rule_9_an_abort_undoes_what_was_done(world: World) -> None:
    """A cover and started appliers, semi-sync settings and a stopped one: all is as it was before."""
    ahead, chosen, other = world.replicas
    chosen.execute("SET GLOBAL rpl_semi_sync_master_timeout = 77777")
    world.only_receives(ahead)
    world.stop_appliers(ahead, other)
    world.write(1, 2)
    await world.look()
    world.register(ahead, promotion_rule="must_not")
    world.register(other, promotion_rule="must_not")
    world.master.kill()
    before = world.state()
    _comes_back(world, _ALONE, "INSERT INTO app.t VALUES (9)")
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
    _await_received(world)
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
    assert state["rpl_semi_sync_master_enabled"] == "ON"
    assert state["rpl_semi_sync_master_wait_point"] == "AFTER_SYNC"
    timeout_ms = world.seen[world.master.key].semi_sync_master_timeout_ms
    assert timeout_ms == 2**64 - 1
    assert state["rpl_semi_sync_master_timeout"] == str(timeout_ms)
    promoted = world.assert_sound(outcome)
    wait_until(lambda: promoted.status("Rpl_semi_sync_master_clients") == "2")
    assert promoted.status("Rpl_semi_sync_master_status") == "ON"


# Rule 12


async def test_rule_12_an_old_master_that_is_back_with_more_is_left_the_master(world: World) -> None:
    world.write(1)
    await world.look()
    world.master.kill()
    before = world.state()
    _comes_back(world, _ALONE, "INSERT INTO app.t VALUES (2)")
    outcome = await world.recover()
    assert not outcome.succeeded
    assert "the master is not dead" in " ".join(outcome.errors)
    assert world.state(*world.replicas) == before
    assert world.writable() == [world.master]
    wait_until(lambda: all(world.rows(server) == {1, 2} for server in world.replicas), 15)


async def test_rule_12_a_commit_that_waits_for_an_acknowledgement_leaves_it_the_master(
    world: World,
) -> None:
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
    return any("semi-sync ACK" in str(row["State"]) for row in server.query("SHOW PROCESSLIST"))


# States, and what is shown


async def test_what_is_shown_is_what_the_reference_shows_of_mariadb(world: World) -> None:
    await world.look()
    master, replica = (instance_to_wire(world.seen[s.key]) for s in (world.master, world.replicas[0]))
    assert (replica["FlavorName"], replica["UsingMariaDBGTID"], replica["UsingOracleGTID"]) == (
        "MariaDB",
        True,
        False,
    )
    for one in (master, replica):
        assert (one["GTIDMode"], one["ExecutedGtidSet"], one["GtidPurged"], one["ServerUUID"]) == ("",) * 4
        assert (one["SupportsOracleGTID"], one["GtidErrant"]) == (False, "")
    assert (replica["MasterUUID"], replica["SemiSyncReplicaStatus"]) == ("No", True)
    assert (master["SemiSyncMasterStatus"], master["SemiSyncMasterWaitForReplicaCount"]) == (True, 0)

    dead = {**master, "IsLastCheckValid": False, "LastCheckOutcome": "refused"}
    connecting = {
        "ReplicationIOThreadState": 2,
        "ReplicationIOThreadRuning": False,
        "LastIOError": "error reconnecting to master 'repl@127.0.0.1:1' - retry-time: 1",
        "IsLastCheckValid": True,
    }
    replicas = [{**instance_to_wire(world.seen[s.key]), **connecting} for s in world.replicas]
    (finding,) = analyze_text(json.dumps([dead, *replicas]).encode(), AnalysisPolicy())
    assert finding.analysis == "DeadMaster"
    assert analysis_to_wire(finding)["MariaDBGTIDImmediateTopology"] is True
    assert analysis_to_wire(finding)["OracleGTIDImmediateTopology"] is False


async def test_what_the_states_say_is_what_the_servers_have(world: World) -> None:
    world.write(1, 2, 3)
    _await_executed(world)
    _await_received(world)  # which is told a moment after the applier may have done its work
    await world.look()
    state = MariadbGtidSet.parse(world.master.variable("gtid_binlog_state"))
    assert MariadbGtidSet.parse(world.seen[world.master.key].executed) == state
    for server in world.replicas:
        seen = world.seen[server.key]
        assert MariadbGtidSet.parse(seen.executed) == state
        assert MariadbGtidSet.parse(seen.gtid_io_pos) == state
        assert (seen.using_mariadb_gtid, seen.using_oracle_gtid) == (True, False)
        assert (seen.executed_gtid_set, seen.gtid_mode, seen.server_uuid) == ("", "", "")
        assert seen.master_server_id == world.master.port


async def test_a_replica_is_detached_once_it_has_executed_what_it_retrieved(world: World) -> None:
    replica, torn, _ = world.replicas
    torn.execute("STOP SLAVE SQL_THREAD")
    world.write(3)
    _await_received(world)
    _await_executed(world, replica)
    env = world.environment(FakeMandate(term=7))

    def step(server: MySQLServer) -> Step:
        source = world.master.key
        return Step(
            number=server.port,
            stage=1,
            kind=StepKind.DETACH,
            instance=server.key,
            source=source,
            required=False,
            what="detach it",
        )

    try:
        failures = await Executor(env).run([step(replica), step(torn)])
    finally:
        await env.sessions.close()
    assert {key: "has not executed all" in why for key, why in failures.items()} == {torn.key: True}
    assert (_channel(torn)["Source_Host"], _channel(replica)["Source_Host"]) == (
        world.master.host,
        f"//{world.master.host}",
    )
    world.write(2)
    attached = f"CHANGE MASTER TO MASTER_HOST = '{world.master.host}', MASTER_PORT = {world.master.port}"
    replica.execute("STOP SLAVE", attached, "START SLAVE")
    _await_executed(world, replica)
    assert _channel(replica)["Using_Gtid"] == "Slave_Pos"
