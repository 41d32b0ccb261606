"""Replicas that know their source by another name than orchestray, on real servers (discovery.md 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.execution.dead_master import DeadMasterRecovery
from services.execution.undoing import restore
from services.planning.candidates import PromotionPolicy
from services.planning.plan import Step, StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from services.topology.keys import InstanceKey
from tests.recovery_world import FakeMandate, Shared, World, follows
from tests.servers import wait_until

NAME = "localhost"
ELSEWHERE = "127.0.0.77"
"""Nobody listens there."""


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(replicas=2))
    yield shared
    shared.stop()


@pytest.fixture
async def world(shared: Shared) -> World:
    """Its replicas know the master as localhost, here it is 127.0.0.1."""
    world = World(shared.topology())
    world.create_table()
    for replica in world.replicas:
        _point(replica, NAME)
    wait_until(lambda: all(follows(replica, world.master) for replica in world.replicas))
    await world.look()
    world.register(world.master, also_known_as=(InstanceKey(NAME, world.master.port),))
    for replica in world.replicas:
        assert world.seen[replica.key].source_host == NAME
        world.register(replica, master_key=world.master.key)  # as the registry resolves it
    return world


def _point(server: MySQLServer, host: str) -> None:
    server.execute("STOP REPLICA", f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}'", "START REPLICA")


def _channel(server: MySQLServer) -> dict[str, Any]:
    (row,) = server.query("SHOW REPLICA STATUS")
    return row


async def test_their_master_is_recovered(world: World) -> None:
    world.write(1, 2)
    for replica in world.replicas:  # nothing acknowledges here
        wait_until(lambda replica=replica: world.rows(replica) == {1, 2})
    world.master.kill()
    outcome = await world.recover()
    promoted = world.assert_sound(outcome, rows=(1, 2))
    (other,) = (server for server in world.replicas if server is not promoted)
    assert _channel(other)["Source_Host"] == promoted.host


async def test_one_that_is_lost_is_detached_also_by_a_later_term(world: World) -> None:
    chosen, lost = world.replicas
    world.register(chosen, promotion_rule="prefer", unresolved_hostname=ELSEWHERE)
    world.master.kill()

    async def run(mandate: FakeMandate, *, resumed: bool) -> None:
        env = replace(world.environment(mandate), detach_lost=True)
        work = DeadMasterRecovery(env, "c", world.master.key)
        failed, *replicas = (world.seen[server.key] for server in world.topology.servers)
        entries = list(world.journal.entries)
        running = work.resume(entries) if resumed else work.run(failed, replicas, PromotionPolicy())
        try:
            outcome = await asyncio.wait_for(running, 60)
        finally:
            await env.sessions.close()
        assert (outcome.successor, set(outcome.lost)) == (chosen.key, {lost.key}), outcome

    await run(FakeMandate(term=7), resumed=False)
    assert _channel(lost)["Source_Host"] == f"//{NAME}"
    _point(lost, NAME)
    await run(FakeMandate(term=8), resumed=True)
    assert _channel(lost)["Source_Host"] == f"//{NAME}", "the journal tells under which names it is known"


async def test_an_abort_gives_back_the_name_that_was_there(world: World) -> None:
    replica, other = world.replicas
    before = world.seen[replica.key]
    _point(replica, "127.0.0.1")
    step = Step(number=1, stage=1, kind=StepKind.COVER, instance=replica.key, source=other.key)
    env = world.environment()
    try:
        await restore(env, before, [step], world.master.key)
    finally:
        await env.sessions.close()
    assert (_channel(replica)["Source_Host"], _channel(replica)["Source_Port"]) == (NAME, world.master.port)


# register-hostname-unresolve


async def test_replicas_are_given_the_name_that_is_registered_for_the_promoted_host(world: World) -> None:
    for replica in world.replicas:
        world.register(replica, unresolved_hostname=NAME)
    world.master.kill()
    promoted = world.assert_sound(await world.recover())
    (other,) = (server for server in world.replicas if server is not promoted)
    assert _channel(other)["Source_Host"] == NAME


async def test_a_registered_name_that_does_not_lead_there_is_not_given(world: World) -> None:
    for replica in world.replicas:
        world.register(replica, unresolved_hostname=ELSEWHERE)
    world.master.kill()
    outcome = await world.recover()
    promoted = world.server(outcome.successor)
    (other,) = (server for server in world.replicas if server is not promoted)
    assert world.writable() == [promoted]
    assert set(outcome.lost) == {other.key}
    assert f"{ELSEWHERE}:{promoted.port}, the name that is registered" in outcome.lost[other.key]
    assert _channel(other)["Source_Host"] == NAME, "nothing was changed there"
