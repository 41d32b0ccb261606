"""The configuration's keys about promotion, on real servers (recovery.md 4.4 to 4.6; configuration.md 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.execution.dead_master import DeadMasterRecovery, Outcome
from services.planning.candidates import PromotionPolicy
from services.planning.plan import StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from services.topology.keys import InstanceKey
from services.topology.records import JournalPhase
from tests.recovery_world import FakeMandate, Shared, World, follows, side_by_side, state_of
from tests.servers import connect, wait_until

NOT_APPLIED = PromotionPolicy(apply_promotion=False)


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2))
    yield shared
    shared.stop()


@pytest.fixture
def world(shared: Shared) -> World:
    world = World(shared.topology())
    world.create_table()
    return world


async def recover(world: World, policy: PromotionPolicy | None = None, **changes: Any) -> Outcome:
    """``World.recover`` in an environment with changes."""
    env = replace(world.environment(), **changes)
    failed = world.seen[world.master.key]
    replicas = [one for one in world.seen.values() if one.master_key == failed.key]
    try:
        work = DeadMasterRecovery(env, "c", failed.key)
        return await asyncio.wait_for(work.run(failed, replicas, policy or PromotionPolicy()), 60)
    finally:
        await env.sessions.close()


def channel(server: MySQLServer) -> dict[str, Any]:
    (row,) = server.query("SHOW REPLICA STATUS")
    return row


# Rule 1: a long transaction is not a stuck applier


def _one_long_transaction(world: World, rows: int) -> None:
    """Its applier takes 10 ms for each row, and shows no position before the end."""
    world.stop_appliers()
    world.master.execute(
        "SET SESSION binlog_format = STATEMENT",
        f"SET SESSION cte_max_recursion_depth = {rows}",
        "INSERT INTO app.t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < {rows}) SELECT i + SLEEP(0.01) FROM n",
    )


async def test_rule_1_one_long_transaction_is_progress(world: World) -> None:
    _one_long_transaction(world, rows=250)
    world.timing = replace(world.timing, no_progress=1.0)
    await world.look()
    world.master.kill()
    outcome = await world.recover()
    assert not any("next candidate" in line for line in world.journal.said)
    world.assert_sound(outcome, rows=range(1, 251))


async def test_rule_1_an_applier_that_waits_for_a_lock_makes_no_progress(world: World) -> None:
    world.write(1)
    wait_until(lambda: all(world.rows(server) == {1} for server in world.replicas))
    held = []
    for server in world.replicas:
        session = connect(server, world.topology.accounts.application)
        held.append(session)
        with session.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM app.t WHERE id = 1 FOR SHARE")
    world.master.execute("UPDATE app.t SET id = 2 WHERE id = 1")
    world.timing = replace(world.timing, no_progress=0.5)
    await world.look()
    world.master.kill()
    before = world.state()
    try:
        outcome = await world.recover()
    finally:
        for session in held:
            session.close()
    assert outcome.refusal is not None
    assert "its applier made no progress for 0.5 s" in outcome.refusal.reason
    assert world.state() == before


# FailMasterPromotionIfSQLThreadNotUpToDate


async def test_an_applier_that_is_not_up_to_date_in_time_fails_the_promotion(world: World) -> None:
    """It moves all the time: without the key it would be awaited (the test before the last)."""
    _one_long_transaction(world, rows=250)
    world.timing = replace(world.timing, drain_within=0.5)
    await world.look()
    world.master.kill()
    before = world.state()
    outcome = await world.recover()
    assert outcome.refusal is not None
    assert "FailMasterPromotionIfSQLThreadNotUpToDate" in outcome.refusal.reason
    wait_until(lambda: world.state() == before, describe="all is put back")


# ApplyMySQLPromotionAfterMasterFailover


async def test_a_promotion_that_is_not_applied_leaves_the_opening_to_others(world: World) -> None:
    world.stop_appliers()
    world.write(1, 2)
    await world.look()
    world.master.kill()
    outcome = await recover(world, NOT_APPLIED)
    assert outcome.succeeded
    assert (outcome.opened, outcome.verified) == (False, True)
    promoted = world.server(outcome.successor)
    assert world.writable() == []
    assert promoted.variable("super_read_only") == "1"
    assert channel(promoted)["Source_Port"] == world.master.port, "it keeps its channel"
    assert channel(promoted)["Replica_IO_Running"] == "No"
    assert world.rows(promoted) == {1, 2}, "rule 1"
    (other,) = (server for server in world.replicas if server is not promoted)
    assert follows(other, promoted)
    assert world.deposed == [(world.master.key, promoted.key)], "rule 12"
    assert any("ApplyMySQLPromotionAfterMasterFailover is false" in line for line in world.journal.said)
    promoted.execute("STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0")
    promoted.execute("INSERT INTO app.t VALUES (3)")
    wait_until(lambda: world.rows(other) == {1, 2, 3}, describe="what a hook opens is the master")


class _LeaderDiedError(Exception):
    """As far as the servers can tell."""


@pytest.mark.parametrize("deposed", [False, True])
async def test_rule_9_a_promotion_that_is_not_applied_turns_at_the_deposal(
    world: World, deposed: bool
) -> None:
    """The Leader dies around it, and the journal has no more than the intent.

    If it was not carried out all is put back, else the others are re-pointed.
    """
    await world.look()
    world.master.kill()
    before = world.state()

    async def die(failed: InstanceKey, promoted: InstanceKey) -> None:
        if deposed:
            world.deposed.append((failed, promoted))
        raise _LeaderDiedError

    with pytest.raises(_LeaderDiedError):
        await recover(world, NOT_APPLIED, depose=die)
    outcome = await _resumed(world)
    assert outcome.succeeded is deposed
    if deposed:
        assert not outcome.opened
        promoted = world.server(outcome.successor)
        assert [follows(server, promoted) for server in world.replicas if server is not promoted] == [True]
    else:
        assert world.state() == before
    assert world.writable() == []


async def _resumed(world: World) -> Outcome:
    async def is_master(key: InstanceKey) -> bool:
        return any(promoted == key for _, promoted in world.deposed)

    env = replace(world.environment(FakeMandate(term=8)), is_master=is_master)
    try:
        work = DeadMasterRecovery(env, "c", world.master.key)
        return await asyncio.wait_for(work.resume(list(world.journal.entries)), 60)
    finally:
        await env.sessions.close()


async def test_a_promoted_server_that_keeps_its_source_is_detached_if_configured(world: World) -> None:
    await world.look()
    world.master.kill()
    outcome = await recover(world, replace(NOT_APPLIED, detach_promoted=True))
    promoted = world.server(outcome.successor)
    assert channel(promoted)["Source_Host"] == f"//{world.master.host}"
    assert channel(promoted)["Source_Port"] == world.master.port
    assert channel(promoted)["Replica_SQL_Running"] == "Yes"


# DetachLostReplicasAfterMasterFailover


async def test_lost_replicas_are_detached_as_far_as_they_can_be_reached(world: World) -> None:
    """One has lost its semi-sync plugin when it is to follow."""
    promoted, lost = world.replicas
    await world.look()
    world.register(promoted, promotion_rule="prefer")
    world.master.kill()

    async def lose() -> None:
        await asyncio.to_thread(
            lost.execute,
            "SET GLOBAL super_read_only = 0",
            "UNINSTALL PLUGIN rpl_semi_sync_replica",
            "SET GLOBAL super_read_only = 1",
        )

    world.journal.at(StepKind.REPOINT, JournalPhase.INTENT, lose)
    outcome = await recover(world, detach_lost=True)
    assert outcome.successor == promoted.key
    assert set(outcome.lost) == {lost.key}
    detached = channel(lost)
    assert (detached["Source_Host"], detached["Auto_Position"]) == (f"//{world.master.host}", 1)
    assert detached["Replica_SQL_Running"] == "Yes"
    assert f"{lost.key} is lost and is detached" in world.journal.said
    world.master.start()
    wait_until(lambda: int(channel(lost)["Last_IO_Errno"]) == 2005, describe="it looks for a host //…")
    assert state_of(lost)["source"] == (f"//{world.master.host}", world.master.port, 1)


@pytest.mark.long
async def test_a_lost_replica_that_cannot_be_reached_is_said_not_to_be_detached(world: World) -> None:
    promoted, lost = world.replicas
    await world.look()
    world.register(promoted, promotion_rule="prefer")
    world.seen[world.master.key] = replace(world.seen[world.master.key], semi_sync_unbroken=False)
    world.master.kill()
    lost.kill()
    outcome = await recover(world, detach_lost=True)
    assert set(outcome.lost) == {lost.key}
    assert any(f"{lost.key} is lost and could not be detached: " in line for line in world.journal.said)
    assert not any("is detached" in line for line in world.journal.said)
    side_by_side(lambda server: server.start(), [lost])
    assert channel(lost)["Source_Host"] == world.master.host
