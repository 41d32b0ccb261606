"""What of the topology survives a restart of everything, on a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.registry.durable import Durable
from services.registry.registry import Registry, RegistryPolicy
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.instance import CheckOutcome, Instance, Observation, ThreadState
from services.topology.keys import InstanceKey
from services.topology.merging import merge
from services.topology.registrations import CandidateRule, Downtime
from tests.servers import wait_until_async

M, A = InstanceKey("m", 3306), InstanceKey("a", 3306)
LOSSLESS: dict[str, Any] = {
    "semi_sync_master_enabled": True,
    "semi_sync_master_status": True,
    "semi_sync_master_wait_point": "AFTER_SYNC",
    "semi_sync_master_timeout_ms": 2**64 - 1,
    "semi_sync_master_no_tx": 3,
    "uptime_seconds": 500,
}


class Process:
    """One life of a node: a registry over the store in ``path``."""

    def __init__(self, store: Store, *, acts: bool = True) -> None:
        self.store = store
        self.registry = Registry(RegistryPolicy())
        self.durable = Durable(store, self.registry, lambda *_: None)
        self.durable.acts = acts

    def see(self, key: InstanceKey, now: float, **facts: Any) -> Instance:
        if key not in self.registry.instances:
            self.registry.add(key, now, explicit=True)
        seen = Observation(key=key, outcome=CheckOutcome.OK, instance=Instance(key=key, **facts))
        changes = self.registry.observe([seen], now=now, utc=utc_now())
        self.durable.note(changes.fresh)
        return self.registry.instances[key]


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Any]:
    """``await lives()``: a process that has loaded what the ones before it left; they have ended."""
    running: list[Process] = []

    async def end() -> None:
        while running:
            await running.pop().durable.close()

    async def begin(*, acts: bool = True, beside: bool = False) -> Process:
        if not beside:
            await end()
        process = Process(await Store.open(tmp_path / "orchestray.db"), acts=acts)
        await process.durable.load()
        running.append(process)
        return process

    yield begin
    await end()


async def test_servers_are_known_again_and_not_taken_for_checked(lives: Any) -> None:
    first = await lives()
    first.see(M, 10.0, server_uuid="u-m", version="9.7.0", replicas=(A,))
    first.see(A, 11.0, master_key=M, using_oracle_gtid=True, receiver_state=ThreadState.RUNNING)
    second = await lives()
    assert set(second.registry.instances) == {M, A}
    known = second.registry.instances[A]
    assert (known.master_key, known.receiver_state) == (M, ThreadState.RUNNING)
    assert (known.seen_at, known.checked_at) == (0.0, 0.0), "of a clock that has ended"
    assert known.last_check_outcome is CheckOutcome.UNKNOWN


async def test_rule_3_that_a_master_was_lossless_survives_a_restart(lives: Any) -> None:
    """Should it die before it is seen again, its unreachable replicas still count."""
    first = await lives()
    assert first.see(M, 10.0, **{**LOSSLESS, "semi_sync_master_no_tx": 0}).semi_sync_unbroken
    second = await lives()
    assert second.registry.instances[M].semi_sync_unbroken
    assert second.see(M, 20.0, **{**LOSSLESS, "semi_sync_master_no_tx": 0}).semi_sync_unbroken


async def test_rule_3_a_lapse_during_a_restart_is_told_by_the_servers_counter(lives: Any) -> None:
    first = await lives()
    known = merge(None, _seen(LOSSLESS | {"semi_sync_master_no_tx": 0}), now=10.0, utc="")
    assert known.semi_sync_unbroken
    first.see(M, 10.0, **{**LOSSLESS, "semi_sync_master_no_tx": 0})
    second = await lives()
    assert not second.see(M, 20.0, **LOSSLESS).semi_sync_unbroken, "three commits that nobody acknowledged"


def _seen(facts: dict[str, Any]) -> Observation:
    return Observation(key=M, outcome=CheckOutcome.OK, instance=Instance(key=M, **facts))


async def test_facts_that_cannot_be_read_do_not_lose_the_server(lives: Any) -> None:
    first = await lives()
    first.see(M, 10.0)
    second = await lives()
    (stored,) = await second.store.instances.load_all()
    await second.store.instances.upsert_many([replace(stored, facts="{not json")])
    third = await lives()
    assert third.registry.instances[M] == Instance(key=M)


async def test_only_the_acting_node_writes(lives: Any) -> None:
    idle = await lives(acts=False)
    idle.see(M, 10.0)
    after = await lives()
    assert not after.registry.instances


async def _stored(process: Process, count: int) -> bool:
    return len(await process.store.instances.load_all()) == count


async def test_what_people_registered_is_applied_and_taken_back(lives: Any) -> None:
    process = await lives()
    process.see(A, 10.0)
    now = utc_now()
    rule = CandidateRule(key=A, promotion_rule="prefer", last_suggested=now, expires_at=shifted(now, 60))
    await process.store.registrations.register_candidate(rule)
    down = Downtime(key=A, owner="me", reason="disk", begins_at=now, ends_at=shifted(now, 60))
    await process.store.registrations.begin_downtime(down)
    await process.durable.synchronise()
    known = process.registry.instances[A]
    assert (known.promotion_rule, known.is_candidate) == ("prefer", True)
    assert (known.is_downtimed, known.downtime_owner, known.downtime_reason) == (True, "me", "disk")
    await process.store.registrations.end_downtime(A)
    await process.durable.synchronise()
    assert not process.registry.instances[A].is_downtimed


async def test_a_cluster_gets_one_identity_once_its_top_was_seen(lives: Any) -> None:
    process = await lives()
    process.see(A, 10.0, master_key=M, using_oracle_gtid=True)
    await process.durable.identify(process.registry.topology(10.0))
    assert await process.store.clusters.load() == (), "its master was never read"
    process.see(M, 11.0, replicas=(A,))
    topology = process.registry.topology(11.0)
    await process.durable.identify(topology)
    await process.durable.identify(topology)
    (record,) = await process.store.clusters.load()
    assert record.master_key == M
    assert process.registry.topology(11.0).clusters[0].id == record.id
    again = await lives()
    assert again.registry.identity(record.id) is not None


async def test_forgotten_servers_are_not_known_again(lives: Any) -> None:
    first = await lives()
    first.see(M, 10.0)
    await wait_until_async(lambda: _stored(first, 1))
    await first.durable.forget([M])
    second = await lives()
    assert not second.registry.instances
