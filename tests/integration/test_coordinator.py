"""When a recovery begins, that a cluster has one at a time, what is remembered of it (rules 3, 6, 7, 12)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.analysis import AnalysisCode
from services.election.election import LeaseElection
from services.execution.coordinator import Coordinator, RecoveryRefusedError
from services.execution.deposed import fence_deposed
from services.execution.gates import ClusterView
from services.mysql.connection import Connection
from services.planning.plan import StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from services.store.clusters import ClusterRecord
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.instance import CheckOutcome
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import FailureDetection, JournalEntry, JournalPhase, Recovery
from tests.leader_process import CLUSTER, Events, Order, actionable_view, settings_of, view_of
from tests.recovery_world import FakeMandate, Shared, World, follows, login_of, state_of
from tests.servers import connect, wait_until, wait_until_async


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2))
    yield shared
    shared.stop()


class Node:
    """A coordinator on a store of its own on the common file, and the view that Topology would give it."""

    def __init__(self, world: World, order: Order, store: Store, mandate: FakeMandate) -> None:
        self.world = world
        self.order = order
        self.store = store
        self.mandate = mandate
        self.events = Events()
        settings = settings_of(order)
        self.coordinator = Coordinator(
            store, lambda: settings, lambda: self.mandate, self.events, ("host", "token")
        )

    async def view(self) -> ClusterView:
        return await actionable_view(self.order)

    async def view_of_living(self) -> ClusterView:
        return await view_of(self.order.seen, self.order.failed, self.order.login)

    async def recover(self, view: ClusterView | None = None) -> InstanceKey:
        view = view or await self.view()
        finding = next(one for one in view.findings if one.analyzed_instance_key == self.order.failed)
        return await asyncio.wait_for(self.coordinator.recover_now(view, finding), 60)

    def hold_before(self, kind: StepKind, phase: JournalPhase) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold the recovery before it journals this: (it has come there, it may go on)."""
        come, go = asyncio.Event(), asyncio.Event()
        write = self.store.journal.write

        async def held(*entries: JournalEntry) -> None:
            if not go.is_set() and any((e.kind, e.phase) == (kind.value, phase) for e in entries):
                come.set()
                await asyncio.wait_for(go.wait(), 30)
            await write(*entries)

        self.store.journal.write = held  # type: ignore[method-assign]
        return come, go

    async def recoveries(self) -> tuple[Recovery, ...]:
        return await self.store.recoveries.page(RecoveryFilter(), now=utc_now())

    async def said(self) -> list[str]:
        found = await self.recoveries()
        return [step.message for one in found for step in await self.store.journal.steps(one.uid)]


@pytest.fixture
async def world(shared: Shared) -> World:
    world = World(shared.topology())
    world.create_table()
    world.write(1)
    await world.look()
    return world


@pytest.fixture
async def nodes(world: World, tmp_path: Path) -> AsyncIterator[list[Node]]:
    """Two, of one setup, on one file; the cluster has its identity."""
    order = Order(
        database=tmp_path / "orchestray.db",
        login=login_of(world.topology),
        failed=world.master.key,
        seen=tuple(world.seen.values()),
    )
    made = []
    for _ in range(2):
        store = await Store.open(order.database)
        made.append(Node(world, order, store, FakeMandate(term=1)))
    await made[0].store.clusters.create(ClusterRecord(id=CLUSTER, master_key=order.failed))
    for node in made:
        await node.coordinator.synchronise()
    yield made
    for node in made:
        await node.coordinator.stop()
        await node.store.close()


async def test_a_recovery_is_remembered_with_its_reasons(world: World, nodes: list[Node]) -> None:
    node = nodes[0]
    world.master.kill()
    resolve, said_before = node.store.recoveries.resolve, list[str]()

    async def resolve_and_note(*given: Any, **named: Any) -> Recovery:
        said_before.extend(await node.said())
        return await resolve(*given, **named)

    node.store.recoveries.resolve = resolve_and_note  # type: ignore[method-assign]
    promoted = await node.recover()
    assert said_before == await node.said(), "who sees that it has ended finds all its steps"
    assert world.writable() == [world.server(promoted)]
    (recovery,) = await node.recoveries()
    assert recovery.is_successful
    assert recovery.successor_key == promoted
    assert set(recovery.participating_instance_keys) == {server.key for server in world.replicas}
    assert recovery.blocked_until
    said = await node.said()
    for server in world.replicas:
        assert any(f"candidate {server.key} may be promoted: " in line for line in said)
    assert any(line.startswith(f"promoted {promoted} in place of") for line in said)
    (record,) = await node.store.clusters.load()
    assert record.master_key == promoted
    (deposed,) = await node.store.clusters.deposed_masters()
    assert deposed.key == world.master.key
    assert deposed.executed_gtid_set == world.seen[world.master.key].executed_gtid_set
    assert node.events.said[0].startswith("recovery: DeadMaster of")


# What is prepared while the death is not certain yet


def holders(world: World) -> list[int | None]:
    """The sessions that hold the setup's lock on each replica."""
    asked = "SELECT IS_USED_LOCK('orchestray:test') AS holder"
    return [server.query(asked)[0]["holder"] for server in world.replicas]


async def test_sessions_are_open_before_the_death_is_certain(world: World, nodes: list[Node]) -> None:
    """The recovery takes those that were opened when the master was only in doubt."""
    node = nodes[0]
    world.master.kill()
    view = await node.view()
    node.coordinator.consider(replace(view, findings=()))
    opened = await wait_until_async(lambda: all(holders(world)) and holders(world))
    come, go = node.hold_before(StepKind.STOP_RECEIVER, JournalPhase.INTENT)
    recovering = asyncio.ensure_future(node.recover(view))
    await asyncio.wait_for(come.wait(), 30)
    assert holders(world) == opened
    go.set()
    promoted = await recovering
    assert world.writable() == [world.server(promoted)]


async def test_sessions_that_no_recovery_needs_are_closed(world: World, nodes: list[Node]) -> None:
    node = nodes[0]
    world.master.kill()
    in_doubt = replace(await node.view(), findings=())
    node.coordinator.consider(in_doubt)
    await wait_until_async(lambda: all(holders(world)))
    await wait_until_async(lambda: not any(holders(world)))
    assert await node.recoveries() == ()
    assert world.writable() == []


# What is told of failures that nobody acts upon


async def test_a_failure_that_nobody_acts_upon_is_told_when_it_lasts(world: World, nodes: list[Node]) -> None:
    """Not in its first moments: one code follows another then."""
    node = nodes[0]
    world.master.kill()
    view = await node.view()
    finding = replace(view.findings[0], analysis=AnalysisCode.UNREACHABLE_MASTER, actionable=False)
    unreachable = replace(view, findings=(finding,))
    began = time.monotonic()

    async def told() -> tuple[FailureDetection, ...]:
        node.coordinator.consider(unreachable)
        return await node.store.detections.page(now=utc_now())

    (detection,) = await wait_until_async(told)
    assert time.monotonic() - began > 1.0
    assert (detection.analysis_entry.analysis, detection.is_actionable) == ("UnreachableMaster", False)
    assert await node.recoveries() == ()
    node.coordinator.consider(replace(view, findings=()))
    assert len(await told()) == 1, "the same failure, a moment later, is not told again"


# Rule 7


async def test_rule_7_of_two_that_begin_at_once_one_recovers(world: World, nodes: list[Node]) -> None:
    world.master.kill()
    view = await nodes[0].view()
    come, go = nodes[0].hold_before(StepKind.OPEN, JournalPhase.INTENT)
    first = asyncio.ensure_future(nodes[0].recover(view))
    await asyncio.wait_for(come.wait(), 20)
    before = world.state()
    with pytest.raises(RecoveryRefusedError, match=f"cluster {world.master.key} has a running recovery"):
        await nodes[1].recover(view)
    assert world.state() == before
    assert await asyncio.to_thread(_other_process, nodes[0].order) == "ClusterBusyError"
    go.set()
    promoted = await first
    assert world.writable() == [world.server(promoted)]
    assert [one.is_successful for one in await nodes[0].recoveries()] == [True]


async def _resolved(node: Node) -> bool:
    await node.coordinator.resume_open()
    return not await node.store.journal.open_recoveries()


def _other_process(order: Order) -> str:
    program = f"""
import asyncio
from services.store.store import Store
from services.store.errors import StoreRefusedError
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, Recovery

async def main():
    store = await Store.open({str(order.database)!r})
    entry = AnalysisEntry(
        analyzed_instance_key=InstanceKey({order.failed.hostname!r}, {order.failed.port}),
        analysis="DeadMaster",
        cluster_name="c",
        cluster_id={CLUSTER!r},
    )
    now = "2026-11-23T08:00:00Z"
    try:
        await store.recoveries.register(
            Recovery(uid="1:other", analysis_entry=entry, recovery_start_timestamp=now, term=1)
        )
    except StoreRefusedError as error:
        print(type(error).__name__)
    await store.close()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    return done.stdout.strip()


async def test_rule_7_who_asks_while_a_recovery_runs_is_given_its_result(
    world: World, nodes: list[Node]
) -> None:
    world.master.kill()
    view = await nodes[0].view()
    first, second = await asyncio.gather(nodes[0].recover(view), nodes[0].recover(view))
    assert first == second
    assert len(await nodes[0].recoveries()) == 1


async def test_rule_7_a_promotion_blocks_what_would_follow_by_itself(world: World, nodes: list[Node]) -> None:
    world.master.kill()
    view = await nodes[0].view()
    await nodes[0].recover(view)
    before = world.state()
    nodes[1].coordinator.consider(view)
    await wait_until_async(lambda: not nodes[1].coordinator.busy_clusters, 20)
    assert any("blocked" in line for line in nodes[1].events.said)
    assert len(await nodes[0].recoveries()) == 1
    assert world.state() == before


async def test_rule_7_what_ended_while_it_was_being_looked_for_is_not_undone(
    world: World, nodes: list[Node]
) -> None:
    """The list of open recoveries is read while one runs, and acted upon when that one has succeeded.

    To undo it then would open the old master again, which had come back and was fenced.
    """
    node = nodes[0]
    world.master.kill()
    at_dial, dial = node.hold_before(StepKind.DIAL_OLD_MASTER, JournalPhase.INTENT)
    at_opening, opening = node.hold_before(StepKind.OPEN, JournalPhase.INTENT)
    recovering = asyncio.ensure_future(node.recover())
    await asyncio.wait_for(at_dial.wait(), 20)
    await asyncio.to_thread(world.master.start)
    dial.set()
    await asyncio.wait_for(at_opening.wait(), 20)
    stale = await node.store.journal.open_recoveries()
    assert stale
    opening.set()
    promoted = world.server(await recovering)
    assert world.writable() == [promoted]
    read, answers = node.store.journal.open_recoveries, [stale]

    async def late() -> Any:
        return answers.pop() if answers else await read()

    node.store.journal.open_recoveries = late  # type: ignore[method-assign]
    (recovery,) = await node.recoveries()
    before = world.state()
    await node.coordinator.resume_open()
    await wait_until_async(lambda: not node.coordinator.busy_clusters, 20)
    assert not answers
    assert world.state() == before
    assert world.writable() == [promoted]
    assert await node.recoveries() == (recovery,)


# Rule 6


async def test_rule_6_a_newer_term_in_the_store_cancels(world: World, nodes: list[Node]) -> None:
    """Another node is elected while this one is about to open the candidate, and believes in its term."""
    node, other = nodes
    world.master.kill()
    first = LeaseElection(node.store.database, "this", holds_node_lock=True)
    await first.step()
    come, go = node.hold_before(StepKind.OPEN, JournalPhase.INTENT)
    recovering = asyncio.ensure_future(node.recover())
    await asyncio.wait_for(come.wait(), 20)
    second = LeaseElection(other.store.database, "this", holds_node_lock=True)
    await second.step()
    leadership = second.leadership()
    assert leadership is not None
    assert leadership.term == 2
    go.set()
    with pytest.raises(RecoveryRefusedError, match="term 1 is over"):
        await recovering
    assert world.writable() == []
    other.mandate.term = 2
    other.coordinator.elected()
    await wait_until_async(lambda: _resolved(other), 30)
    assert world.writable() == []
    promoted = await other.recover()
    assert world.writable() == [world.server(promoted)]


async def test_rule_6_a_cluster_that_was_given_another_master_meanwhile_keeps_no_recovery_open(
    world: World, nodes: list[Node]
) -> None:
    """The store learns of it between the opening and the deposal; what is open by then stands."""
    node = nodes[0]
    world.master.kill()
    come, go = node.hold_before(StepKind.DEPOSE, JournalPhase.INTENT)
    recovering = asyncio.ensure_future(node.recover())
    await asyncio.wait_for(come.wait(), 20)
    other = InstanceKey("elsewhere", 3306)
    assert await node.store.clusters.follow(CLUSTER, expected=world.master.key, master=other, at=utc_now())
    go.set()
    promoted = await recovering
    assert world.writable() == [world.server(promoted)]
    assert await node.store.journal.open_recoveries() == ()
    (record,) = await node.store.clusters.load()
    assert record.master_key == promoted
    assert any(
        f"has master {other}, not {world.master.key} as expected" in line for line in await node.said()
    )


# A new term


@pytest.mark.parametrize("outcome", CheckOutcome)
async def test_a_new_term_waits_before_it_promotes_if_any_server_neither_answers_nor_refuses(
    world: World, nodes: list[Node], outcome: CheckOutcome
) -> None:
    """A statement of an earlier, paused Leader may still be on its way there."""
    coordinator, view = nodes[0].coordinator, await nodes[0].view_of_living()
    one, *others = view.instances
    view = replace(view, instances=(*others, replace(one, last_check_outcome=outcome)))
    coordinator.elected()
    began = time.monotonic()
    await coordinator._settle(view)
    waited = time.monotonic() - began
    definite = {CheckOutcome.OK, CheckOutcome.REFUSED, CheckOutcome.DENIED, CheckOutcome.REJECTED}
    assert (waited < 0.6) is (outcome in definite | {CheckOutcome.FAILED})
    assert waited < 0.6 or waited > 1.1


async def test_a_term_that_begins_before_an_earlier_one_has_run_out_waits_longer(nodes: list[Node]) -> None:
    """A Leader that was killed and started again: what it had sent is carried out until its deadline."""
    coordinator, view = nodes[0].coordinator, await nodes[0].view_of_living()
    one, *others = view.instances
    coordinator.elected(earlier_for=1.8)
    began = time.monotonic()
    await coordinator._settle(view)
    assert time.monotonic() - began < 0.6
    hung = replace(one, last_check_outcome=CheckOutcome.STALLED)
    await coordinator._settle(replace(view, instances=(*others, hung)))
    assert time.monotonic() - began > 1.7


# Rule 3, and what becomes of a refusal


async def test_rule_3_a_refusal_is_remembered_and_blocks_nothing(world: World, nodes: list[Node]) -> None:
    node = nodes[0]
    gone, other = world.replicas
    world.master.kill()
    gone.kill()
    before = state_of(other)
    with pytest.raises(RecoveryRefusedError, match=r"refused \(rule 3\)"):
        await node.recover()
    assert state_of(other) == before
    (recovery,) = await node.recoveries()
    assert not recovery.is_successful
    assert recovery.successor_key == NO_KEY
    assert recovery.blocked_until == ""
    assert any("rule 3" in error for error in recovery.all_errors)
    assert any("not promoting anyone: refused (rule 3)" in line for line in await node.said())
    gone.start()
    wait_until(lambda: state_of(gone)["receives"])
    promoted = await node.recover()
    assert world.writable() == [world.server(promoted)]


async def test_rule_3_a_refusal_stands_until_something_changes(world: World, nodes: list[Node]) -> None:
    node = nodes[0]
    gone, _ = world.replicas
    world.master.kill()
    gone.kill()
    view = await node.view()
    node.coordinator.consider(view)
    await wait_until_async(lambda: not node.coordinator.busy_clusters, 20)
    assert len(await node.recoveries()) == 1
    until = time.monotonic() + 1.1  # the pause after a first failure is a second
    await wait_until_async(lambda: time.monotonic() > until)
    node.coordinator.consider(view)
    assert not node.coordinator.busy_clusters, "nothing has changed"
    gone.start()
    wait_until(lambda: state_of(gone)["receives"])
    node.coordinator.consider(await node.view())
    assert node.coordinator.busy_clusters
    await wait_until_async(lambda: not node.coordinator.busy_clusters, 20)
    assert len(world.writable()) == 1


async def test_rule_3_without_semi_sync_a_hung_replica_is_waited_for_once(
    world: World, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes[0]
    hangs, _ = world.replicas
    seen = replace(world.seen[world.master.key], semi_sync_unbroken=False)
    node.order = replace(node.order, seen=(seen, *node.order.seen[1:]))
    world.master.kill()
    view = await node.view()
    hangs.pause()
    dialled: list[tuple[InstanceKey, bool]] = []
    connect_to = Connection.open

    async def counted(key: InstanceKey, login: Any, *, timeout: float) -> Connection:
        dialled.append((key, world.replicas[1].variable("read_only") == "0"))
        return await connect_to(key, login, timeout=timeout)

    monkeypatch.setattr(Connection, "open", counted)
    promoted = await node.recover(view)
    hangs.resume()
    assert promoted == world.replicas[1].key
    assert [key for key, opened in dialled if not opened].count(hangs.key) == 1
    (recovery,) = await node.recoveries()
    assert recovery.lost_replicas == (hangs.key,)
    assert any(f"{hangs.key} is lost: " in line and "said nothing" in line for line in await node.said())


async def test_recoveries_that_are_switched_off_are_not_begun_by_themselves(
    world: World, nodes: list[Node]
) -> None:
    node = nodes[0]
    await node.store.registrations.disable_recoveries()
    await node.coordinator.synchronise()
    world.master.kill()
    node.coordinator.consider(await node.view())
    assert not node.coordinator.busy_clusters
    await node.store.registrations.enable_recoveries()
    await node.coordinator.synchronise()
    node.coordinator.consider(await node.view())
    await wait_until_async(lambda: not node.coordinator.busy_clusters, 20)
    assert len(world.writable()) == 1


async def test_a_living_master_is_not_recovered(world: World, nodes: list[Node]) -> None:
    """The view says that it refuses; the replicas receive from it."""
    node = nodes[0]
    view = await view_of(node.order.seen, node.order.failed, node.order.login)
    (finding,) = (one for one in view.findings if one.analyzed_instance_key == node.order.failed)
    assert not finding.actionable
    with pytest.raises(RecoveryRefusedError, match="is not acted upon"):
        await node.coordinator.recover_now(view, finding)
    assert world.writable() == [world.master]


async def test_who_does_not_lead_recovers_nothing(world: World, nodes: list[Node]) -> None:
    node = nodes[0]
    world.master.kill()
    view = await node.view()
    node.mandate = None  # type: ignore[assignment]
    with pytest.raises(RecoveryRefusedError, match="does not lead"):
        await node.recover(view)
    node.coordinator.consider(view)
    assert not node.coordinator.busy_clusters
    assert await node.recoveries() == ()


# Rule 12


async def test_rule_12_a_deposed_master_is_fenced_at_first_contact_and_the_loss_is_told(
    world: World, nodes: list[Node]
) -> None:
    """It comes back by itself with a transaction that nobody else has."""
    node = nodes[0]
    login = login_of(world.topology)
    world.master.kill()
    promoted = world.server(await node.recover())
    world.master.start()
    world.master.execute("SET GLOBAL rpl_semi_sync_source_enabled = 0", "INSERT INTO app.t VALUES (99)")
    client = connect(world.master, world.topology.accounts.application)
    said = await fence_deposed(await world.poll(world.master), login, node.mandate, node.store)
    assert "it is read-only now" in said
    assert f"it has 1 transactions that {promoted.key} has not" in said
    assert world.writable() == [promoted]
    assert world.master.variable("super_read_only") == "1"
    with pytest.raises(Exception, match=r"Lost connection|gone away|closed"), client.cursor() as cursor:
        cursor.execute("SELECT 1")
    client.close()
    assert said in await node.said(), "the audit of its recovery"
    again = await fence_deposed(await world.poll(world.master), login, node.mandate, node.store)
    assert again == "", "told once"
    world.master.execute("SET GLOBAL read_only = 0")
    third = await fence_deposed(await world.poll(world.master), login, node.mandate, node.store)
    assert "was writable: made read-only again" in third
    assert world.writable() == [promoted]


async def test_rule_12_a_server_that_is_not_deposed_is_left_alone(world: World, nodes: list[Node]) -> None:
    seen = await world.poll(world.master)
    assert await fence_deposed(seen, login_of(world.topology), nodes[0].mandate, nodes[0].store) == ""
    assert world.writable() == [world.master]


async def test_a_promoted_server_that_dies_next_is_recovered_too(world: World, nodes: list[Node]) -> None:
    """Two failovers in a row: the second is as protected as the first."""
    node = nodes[0]
    world.master.kill()
    promoted = world.server(await node.recover())
    (third,) = (server for server in world.replicas if server is not promoted)
    wait_until(lambda: follows(third, promoted))
    wait_until(lambda: promoted.status("Rpl_semi_sync_source_clients") == "1")
    promoted.execute("INSERT INTO app.t VALUES (2)")
    world.seen = {}
    await world.look()
    await node.store.recoveries.acknowledge(RecoveryFilter(), owner="t", comment="t", at=utc_now())
    node.order = replace(node.order, failed=promoted.key, seen=tuple(world.seen.values()))
    promoted.kill()
    assert await node.recover() == third.key
    assert world.rows(third) == {1, 2}
    assert world.writable() == [third]
