"""What others did to a cluster (rule 12): a deposed master that rejoined, a master put above another."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.registry.durable import Durable
from services.registry.registry import Registry, RegistryPolicy
from services.store.clusters import ClusterRecord
from services.store.store import Store
from services.topology.instance import CheckOutcome, Instance, Observation, ThreadState
from services.topology.keys import InstanceKey
from services.topology.records import DeposedMaster
from tests.unit.registry.test_durable import CLUSTER, NEW, OLD, OTHER, UTC, master, replica


class Node:
    """One that acts, with a cluster whose master is NEW and that OLD, deposed, once had."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.said: list[str] = []
        self.registry = Registry(RegistryPolicy())
        self.durable = Durable(store, self.registry, self._event)
        self.durable.acts = True

    def _event(self, _kind: str, text: str, *_: object) -> None:
        with closing(sqlite3.connect(self.store.database.path)) as connection:
            audited = connection.execute("SELECT message FROM audit_log").fetchall()
        assert (text,) in audited, "what is told can be read already"
        self.said.append(text)

    async def start(self, *, seen_again: bool = True) -> None:
        await self.store.clusters.create(ClusterRecord(id=CLUSTER, master_key=OLD))
        deposed = DeposedMaster(
            cluster_id=CLUSTER,
            key=OLD,
            deposed_at=UTC,
            until="2100-01-01T00:00:00Z",
            term=1,
            recovery_uid="1",
        )
        await self.store.clusters.promote(CLUSTER, expected=OLD, master=NEW, at=UTC, term=1, deposed=deposed)
        if seen_again:
            await self.store.clusters.seen_again(CLUSTER, OLD, UTC)
        await self.durable.synchronise()

    async def see(self, *instances: Instance) -> frozenset[InstanceKey]:
        for instance in instances:
            self.registry.add(instance.key, 1.0, explicit=True)
        seen = [Observation(key=one.key, outcome=CheckOutcome.OK, instance=one) for one in instances]
        self.registry.observe(seen, now=1.0, utc=UTC)
        return await self.durable.follow(self.registry.topology(1.0))

    async def deposed(self) -> list[InstanceKey]:
        return [one.key for one in await self.store.clusters.deposed_masters()]

    async def master(self) -> InstanceKey:
        (record,) = await self.store.clusters.load()
        return record.master_key


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    store = await Store.open(tmp_path / "orchestray.db")
    yield Node(store)
    await store.close()


@pytest.mark.parametrize("source", [NEW, OTHER], ids=["directly", "through another"])
async def test_a_deposed_master_that_replicates_from_the_new_one_is_deposed_no_more(
    node: Node, source: InstanceKey
) -> None:
    await node.start()
    ended = await node.see(master(NEW), replica(OTHER, of=NEW), replica(OLD, of=source))
    assert ended == {OLD}
    assert await node.deposed() == []
    assert node.durable.redialled(UTC) == frozenset()
    (entry,) = await node.store.audit.page(instance=OLD)
    assert entry.type == "deposed"
    assert f"replicates from {NEW}" in entry.message
    assert await node.durable.follow(node.registry.topology(1.0)) == frozenset()
    assert len(await node.store.audit.page()) == 1, "told once"


@pytest.mark.parametrize(
    "instead",
    [
        {"read_only": False},
        {"receiver_state": ThreadState.OTHER},
        {"receiver_state": ThreadState.STOPPED},
        {"master_key": InstanceKey("elsewhere", 3306)},
    ],
    ids=str,
)
async def test_one_that_does_not_quite_replicate_stays_deposed(
    node: Node, instead: dict[str, object]
) -> None:
    await node.start()
    assert await node.see(master(NEW), replace(replica(OLD, of=NEW), **instead)) == frozenset()  # type: ignore[arg-type]
    assert await node.deposed() == [OLD]


async def test_one_that_was_not_met_yet_stays_deposed(node: Node) -> None:
    await node.start(seen_again=False)
    assert await node.see(master(NEW), replica(OLD, of=NEW)) == frozenset()
    assert await node.deposed() == [OLD]


async def test_a_master_that_somebody_put_above_is_followed(node: Node) -> None:
    await node.start()
    await node.see(replica(NEW, of=OTHER), master(OTHER))
    assert await node.master() == OTHER
    identity = node.registry.identity(CLUSTER)
    assert identity is not None
    assert identity.master_key == OTHER
    assert any("somebody put it above" in line for line in node.said)


async def test_a_deposed_master_above_the_new_one_is_not_followed(node: Node) -> None:
    """Not before a person has ended its deposal."""
    await node.start()
    await node.see(replica(NEW, of=OLD), master(OLD))
    assert await node.master() == NEW
    await node.store.clusters.rejoined(CLUSTER, OLD)
    await node.durable.synchronise()
    await node.durable.follow(node.registry.topology(2.0))
    assert await node.master() == OLD


async def test_who_does_not_act_keeps_nothing(node: Node) -> None:
    await node.start()
    node.durable.acts = False
    assert await node.see(master(NEW), replica(OLD, of=NEW)) == frozenset()
    assert await node.deposed() == [OLD]
