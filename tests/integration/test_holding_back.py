"""What holds a recovery back, and what ends that (recovery.md 1, 2; configuration.md 11)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.analysis import AnalysisPolicy, analyze
from services.config import settings_for_demo
from services.execution.coordinator import Coordinator, RecoveryRefusedError
from services.execution.gates import ClusterView
from services.planning.plan import StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from services.store.clusters import ClusterRecord
from services.store.errors import ClusterBusyError
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.merging import merge
from services.topology.records import JournalPhase
from services.topology.registrations import Downtime
from services.topology.tree import ClusterIdentity, TreePolicy, derive
from tests.integration.test_coordinator import Node
from tests.leader_process import CLUSTER, Order, _observed
from tests.recovery_world import FakeMandate, Shared, World, follows, login_of, state_of
from tests.servers import wait_until, wait_until_async


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(replicas=2))
    yield shared
    shared.stop()


@pytest.fixture
async def world(shared: Shared) -> World:
    world = World(shared.topology())
    world.create_table()
    world.write(1)
    await world.look()
    return world


class Holding(Node):
    """A coordinator whose settings change, and that is shown what is there when it asks for another look."""

    def __init__(self, world: World, order: Order, store: Store) -> None:
        super().__init__(world, order, store, FakeMandate(term=1))
        self.configure()
        node = ("host", "token")
        self.coordinator = Coordinator(store, lambda: self.settings, lambda: self.mandate, self.events, node)
        self.looks: list[float] = []
        self.began: float | None = None
        self.events.look_again = self._look_again  # type: ignore[method-assign]
        self.events.event = self._event  # type: ignore[method-assign]
        self._looking: set[asyncio.Task[None]] = set()

    def configure(self, **settings: Any) -> None:
        account = {
            "MySQLTopologyUser": self.order.login.user,
            "MySQLTopologyPassword": self.order.login.password,
            "ReasonableReplicationLagSeconds": 1,
            "RecoveryPeriodBlockSeconds": 60,
        }
        self.settings = settings_for_demo(self.order.database, overrides={**account, **settings}).settings

    def _event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        self.events.said.append(f"{kind}: {message}")
        if message.endswith(": recovering"):
            self.began = time.monotonic()

    def _look_again(self, key: InstanceKey) -> None:
        assert key == self.order.failed
        task = asyncio.ensure_future(self._look())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _look(self) -> None:
        self.coordinator.consider(await self.as_it_is())
        self.looks.append(time.monotonic())

    async def as_it_is(self) -> ClusterView:
        """The cluster with every server polled now, the master too."""
        began, instances = time.monotonic(), []
        for known in self.order.seen:
            seen = await _observed(known, self.order.login)
            last = replace(known, seen_at=began)
            instances.append(merge(last, seen, now=time.monotonic(), utc=utc_now()))
        identity = ClusterIdentity(id=CLUSTER, master_key=self.order.failed)
        topology = derive(instances, [identity], TreePolicy(), time.monotonic())
        cluster = topology.cluster_of(self.order.failed)
        assert cluster is not None
        findings = analyze(topology, AnalysisPolicy(), time.monotonic())
        return ClusterView(cluster=cluster, instances=topology.instances_of(cluster), findings=findings)

    async def ended(self) -> None:
        await wait_until_async(lambda: not self.coordinator.busy_clusters, 30)


@pytest.fixture
async def node(world: World, tmp_path: Path) -> AsyncIterator[Holding]:
    order = Order(
        database=tmp_path / "orchestray.db",
        login=login_of(world.topology),
        failed=world.master.key,
        seen=tuple(world.seen.values()),
    )
    store = await Store.open(order.database)
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=order.failed))
    node = Holding(world, order, store)
    await node.coordinator.synchronise()
    yield node
    await node.coordinator.stop()
    await store.close()


# Hold-down


async def test_without_a_hold_down_the_recovery_begins_at_once(world: World, node: Holding) -> None:
    world.master.kill()
    node.coordinator.consider(await node.view())
    assert node.coordinator.busy_clusters
    await node.ended()
    assert len(world.writable()) == 1
    assert not node.looks


async def test_what_lasts_is_acted_upon_as_soon_as_its_time_has_passed(world: World, node: Holding) -> None:
    """Nobody reminds the Leader of it: it looks again by itself, and acts on what it sees then."""
    node.configure(FailureHoldDownMilliseconds=1500)
    world.master.kill()
    view = await node.view()
    seen = time.monotonic()
    node.coordinator.consider(view)
    assert not node.coordinator.busy_clusters
    began = await wait_until_async(lambda: node.began, 20)
    assert began - seen >= 1.5
    last_look = max(look for look in node.looks if look - seen >= 1.5)
    assert last_look - seen < 2.3, "not at a reminder of each second"
    await node.ended()
    assert len(world.writable()) == 1


async def test_a_master_that_is_back_within_the_hold_down_is_not_failed_over(
    world: World, node: Holding
) -> None:
    node.configure(FailureHoldDownMilliseconds=5000)
    before = world.state()
    world.master.kill()
    seen = time.monotonic()
    node.coordinator.consider(await node.view())
    await asyncio.to_thread(world.master.start)
    assert time.monotonic() - seen < 4, "the test is about one that is back in time"
    wait_until(lambda: all(follows(server, world.master) for server in world.replicas), 70)
    await wait_until_async(lambda: time.monotonic() - seen > 5.5, 20)
    # Now another failure: that it was down once does not shorten the wait.
    world.master.kill()
    again = time.monotonic()
    node.coordinator.consider(await node.view())
    assert not node.coordinator.busy_clusters
    assert node.began is None
    await asyncio.to_thread(world.master.start)
    assert again - seen > 5
    assert await node.recoveries() == ()
    wait_until(lambda: all(follows(server, world.master) for server in world.replicas), 70)
    assert world.state() == before


async def test_a_failure_that_is_doubted_meanwhile_begins_anew(world: World, node: Holding) -> None:
    """DeadMaster, then a replica that still replicates (UnreachableMaster), then DeadMaster again."""
    node.configure(FailureHoldDownMilliseconds=1500)
    world.master.kill()
    dead = await node.view()
    (finding,) = (one for one in dead.findings if one.analyzed_instance_key == node.order.failed)
    doubted = replace(dead, findings=(replace(finding, analysis="UnreachableMaster", actionable=False),))
    node.coordinator.consider(dead)
    until = time.monotonic() + 1.0
    await wait_until_async(lambda: time.monotonic() > until)
    node.coordinator.consider(doubted)
    again = time.monotonic()
    node.coordinator.consider(dead)
    began = await wait_until_async(lambda: node.began, 20)
    assert began - again >= 1.5
    await node.ended()


async def test_evidence_from_before_the_end_of_the_hold_down_is_not_acted_upon(
    world: World, node: Holding
) -> None:
    node.configure(FailureHoldDownMilliseconds=300)
    node.events.look_again = lambda key: None  # type: ignore[method-assign]
    world.master.kill()
    old = await node.view()
    node.coordinator.consider(old)
    until = time.monotonic() + 0.5
    await wait_until_async(lambda: time.monotonic() > until)
    node.coordinator.consider(old)
    assert not node.coordinator.busy_clusters
    node.coordinator.consider(await node.view())
    assert node.coordinator.busy_clusters
    await node.ended()


# Blocks


async def test_a_block_is_listed_and_ends_when_it_is_acknowledged(world: World, node: Holding) -> None:
    """Both gates of the reference: the cluster was recovered, and the failed server was promoted."""
    world.master.kill()
    node.coordinator.consider(await node.view())
    await node.ended()
    (promoted,) = world.writable()
    (third,) = (server for server in world.replicas if server is not promoted)
    wait_until(lambda: follows(third, promoted))
    world.seen = {}
    await world.look()
    node.order = replace(node.order, failed=promoted.key, seen=tuple(world.seen.values()))
    promoted.kill()
    view = await node.view()
    node.coordinator.consider(view)
    await node.ended()
    assert world.writable() == []
    (first,) = await node.recoveries()
    (blocked,) = await node.store.recoveries.blocked(utc_now())
    assert (blocked.failed_instance_key, blocked.blocking_recovery_id) == (promoted.key, first.id)
    assert any(said.startswith(f"blocked: recovery of {promoted.key} blocked") for said in node.events.said)
    await node.store.recoveries.acknowledge(RecoveryFilter(), owner="t", comment="t", at=utc_now())
    node.coordinator.acknowledged()
    assert await node.store.recoveries.blocked(utc_now()) == ()
    node.coordinator.consider(view)
    assert node.coordinator.busy_clusters, "at once, whatever the pause after the blocked attempt"
    await node.ended()
    assert world.writable() == [third]


async def test_a_block_that_ends_is_not_outlasted_by_the_pause_between_attempts(
    world: World, node: Holding
) -> None:
    node.configure(RecoveryPeriodBlockSeconds=4)
    world.master.kill()
    view = await node.view()
    node.coordinator.consider(view)
    await node.ended()
    (first,) = await node.recoveries()
    assert first.blocked_until == shifted(first.recovery_end_timestamp, 4), "from its end"
    tries = 0

    async def tried_again() -> bool:
        nonlocal tries
        node.coordinator.consider(view)
        if node.coordinator.busy_clusters:
            tries += 1
            await node.ended()
        return len(await node.recoveries()) == 2

    await wait_until_async(tried_again, 20)
    assert utc_now() <= shifted(first.blocked_until, 2)
    assert tries <= 5, "after 1, 2, 4 … s, and when the block ends"


async def test_acknowledging_does_not_free_a_cluster_whose_recovery_runs(world: World, node: Holding) -> None:
    world.master.kill()
    view = await node.view()
    come, go = node.hold_before(StepKind.OPEN, JournalPhase.INTENT)
    node.coordinator.consider(view)
    await asyncio.wait_for(come.wait(), 20)
    everything = RecoveryFilter()
    assert await node.store.recoveries.acknowledge(everything, owner="t", comment="t", at=utc_now()) == 0
    node.coordinator.acknowledged()
    (running,) = await node.recoveries()
    for automatic in (True, False):
        another = replace(running, id=0, uid="2:another")
        with pytest.raises(ClusterBusyError, match="has a running recovery"):
            await node.store.recoveries.register(another, automatic=automatic)
    go.set()
    await node.ended()
    assert len(world.writable()) == 1
    assert [one.is_successful for one in await node.recoveries()] == [True]


# Refusals, and what changes them


async def test_a_changed_filter_is_in_force_at_once(world: World, node: Holding) -> None:
    """PromotionIgnoreHostnameFilters of both replicas, then of one: the refusal is not waited out."""
    first, second = world.replicas
    node.configure(PromotionIgnoreHostnameFilters=[f":{first.port}$", f":{second.port}$"])
    world.master.kill()
    view = await node.view()
    node.coordinator.consider(view)
    await node.ended()
    (refused,) = await node.recoveries()
    assert "matches PromotionIgnoreHostnameFilters" in " ".join(refused.all_errors)
    node.coordinator.consider(view)
    assert not node.coordinator.busy_clusters
    node.configure(PromotionIgnoreHostnameFilters=[f":{first.port}$"])
    node.coordinator.consider(view)
    assert node.coordinator.busy_clusters
    await node.ended()
    assert world.writable() == [second]


async def test_a_server_in_another_data_centre_is_not_promoted_and_the_key_is_named(
    world: World, node: Holding
) -> None:
    near, far = world.replicas
    places = {world.master.key: "east", near.key: "east", far.key: "west"}
    seen = tuple(replace(one, data_center=places[one.key]) for one in node.order.seen)
    node.order = replace(node.order, seen=seen)
    node.configure(
        PreventCrossDataCenterMasterFailover=True, PromotionIgnoreHostnameFilters=[f":{near.port}$"]
    )
    before = state_of(far)
    world.master.kill()
    with pytest.raises(RecoveryRefusedError, match="PreventCrossDataCenterMasterFailover"):
        await node.recover()
    assert state_of(far) == before
    node.configure(PreventCrossDataCenterMasterFailover=True)
    assert await node.recover() == near.key


# What is registered afterwards


async def test_the_lost_are_downtimed_and_the_promoted_is_not_any_more(world: World, node: Holding) -> None:
    promoted, lost = world.replicas
    await _downtime(node, promoted.key)
    world.master.kill()
    lost.kill()
    view = await node.view()
    assert await node.recover(view) == promoted.key
    downtimes = await _downtimes(node)
    assert set(downtimes) == {world.master.key, lost.key}
    for downtime in downtimes.values():
        assert (downtime.reason, downtime.owner) == ("lost-in-recovery", "host")
        assert downtime.ends_at == shifted(downtime.begins_at, 365 * 86400)


@pytest.mark.long
async def test_the_lost_are_downtimed_as_long_as_configured(world: World, node: Holding) -> None:
    node.configure(MasterFailoverLostInstancesDowntimeMinutes=10)
    world.master.kill()
    await node.recover()
    (downtime,) = (await _downtimes(node)).values()
    assert downtime.ends_at == shifted(downtime.begins_at, 600)


async def _downtime(node: Holding, key: InstanceKey) -> None:
    now = utc_now()
    ends_at = shifted(now, 600)
    downtime = Downtime(key=key, owner="dba", reason="upgrade", begins_at=now, ends_at=ends_at)
    await node.store.registrations.begin_downtime(downtime)


async def _downtimes(node: Holding) -> dict[InstanceKey, Downtime]:
    return {one.key: one for one in await node.store.registrations.downtimes(utc_now())}


async def test_a_promotion_that_is_not_applied_moves_the_cluster_and_says_so(
    world: World, node: Holding
) -> None:
    node.configure(ApplyMySQLPromotionAfterMasterFailover=False)
    world.master.kill()
    promoted = await node.recover()
    assert promoted != NO_KEY
    assert world.writable() == []
    (record,) = await node.store.clusters.load()
    assert record.master_key == promoted
    (deposed,) = await node.store.clusters.deposed_masters()
    assert deposed.key == world.master.key
    (recovery,) = await node.recoveries()
    assert recovery.is_successful
    assert recovery.blocked_until
    said = await node.said()
    assert any(
        line.startswith(f"promoted {promoted} ") and line.endswith("without opening it") for line in said
    )
