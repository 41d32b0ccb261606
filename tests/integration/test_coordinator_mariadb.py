"""A failover of MariaDB servers from the analysis to the audit, through the coordinator, on a real store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from services.execution.coordinator import Coordinator
from services.execution.deposed import fence_deposed
from services.store.clusters import ClusterRecord
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.keys import InstanceKey
from services.topology.mariadb_gtid import MariadbGtidSet
from tests.conftest import MakeTopology
from tests.leader_process import CLUSTER, Events, Order, actionable_view, settings_of
from tests.recovery_world import FakeMandate, World, login_of
from tests.servers import connect, wait_until


class Writer(threading.Thread):
    """Inserts one row after another; ``acknowledged`` are those whose commit came back."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self._world = world
        self.acknowledged: list[int] = []

    def run(self) -> None:
        topology = self._world.topology
        try:
            with (
                connect(topology.master, topology.accounts.application) as session,
                session.cursor() as cursor,
            ):
                for row in range(1, 1_000_000):
                    cursor.execute(f"INSERT INTO app.t VALUES ({row})")
                    self.acknowledged.append(row)
        except (pymysql.MySQLError, OSError):
            return  # the master is dead


@dataclass
class Node:
    world: World
    store: Store
    coordinator: Coordinator
    mandate: FakeMandate
    order: Order

    async def recover(self) -> InstanceKey:
        view = await actionable_view(self.order)
        finding = next(one for one in view.findings if one.analyzed_instance_key == self.order.failed)
        return await asyncio.wait_for(self.coordinator.recover_now(view, finding), 60)


@pytest.fixture
async def node(make_mariadb_topology: MakeTopology, tmp_path: Path) -> AsyncIterator[Node]:
    world = World(make_mariadb_topology())
    world.create_table()
    await world.look()
    order = Order(
        database=tmp_path / "orchestray.db",
        login=login_of(world.topology),
        failed=world.master.key,
        seen=tuple(world.seen.values()),
    )
    store, mandate, settings = await Store.open(order.database), FakeMandate(term=1), settings_of(order)
    coordinator = Coordinator(store, lambda: settings, lambda: mandate, Events(), ("host", "token"))
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=order.failed))
    await coordinator.synchronise()
    yield Node(world, store, coordinator, mandate, order)
    await coordinator.stop()
    await store.close()


async def test_a_killed_master_is_replaced_and_nothing_acknowledged_is_missing(node: Node) -> None:
    world = node.world
    writer = Writer(world)
    writer.start()
    await asyncio.to_thread(wait_until, lambda: len(writer.acknowledged) > 200, 30)
    world.master.kill()
    await asyncio.to_thread(writer.join, 20)
    acknowledged = set(writer.acknowledged)

    promoted = world.server(await node.recover())
    assert world.writable() == [promoted]
    promoted.execute("INSERT INTO app.t VALUES (0)")  # waits for an acknowledgement
    for server in world.replicas:
        wait_until(
            lambda server=server: 0 in world.rows(server), describe=lambda server=server: server.log_tail()
        )
        assert acknowledged <= world.rows(server)
    assert promoted.variable("rpl_semi_sync_master_enabled") == "1"
    (recovery,) = await node.store.recoveries.page(RecoveryFilter(), now=utc_now())
    assert (recovery.is_successful, recovery.successor_key) == (True, promoted.key)
    assert recovery.lost_replicas == ()


async def test_rule_12_a_deposed_master_is_fenced_at_first_contact_and_the_loss_is_told(node: Node) -> None:
    world, login = node.world, login_of(node.world.topology)
    world.master.kill()
    promoted = world.server(await node.recover())
    (deposed,) = await node.store.clusters.deposed_masters()
    assert MariadbGtidSet.parse(deposed.executed_gtid_set), "its states, for what is told of the loss"
    world.master.start()
    world.master.execute("SET GLOBAL rpl_semi_sync_master_enabled = 0", "INSERT INTO app.t VALUES (99)")
    client = connect(world.master, world.topology.accounts.application)
    said = await fence_deposed(await world.poll(world.master), login, node.mandate, node.store)
    assert "it is read-only now" in said
    assert f"it has 1 transactions that {promoted.key} has not" in said
    assert world.writable() == [promoted]
    with pytest.raises(pymysql.MySQLError), client.cursor() as cursor:
        cursor.execute("SELECT 1")
    client.close()
    again = await fence_deposed(await world.poll(world.master), login, node.mandate, node.store)
    assert again == "", "told once"
    world.master.execute("SET GLOBAL read_only = 0")
    third = await fence_deposed(await world.poll(world.master), login, node.mandate, node.store)
    assert "was writable: made read-only again" in third
    assert world.writable() == [promoted]
