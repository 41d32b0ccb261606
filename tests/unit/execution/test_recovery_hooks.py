"""Hooks that follow a recovery, when the next term finds that they were not run to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.execution.recovery_hooks import RecoveryHooks
from services.execution.store_journal import say_after_the_end
from services.publish.facts import facts_to_json
from services.publish.hooks import HookKind, HookPolicy, HookRunner
from services.store.recoveries import Outcome
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, JournalEntry, JournalPhase, Recovery
from tests.servers import wait_until_async
from tests.unit.publish.samples import facts, promoted


class World:
    """A store with recoveries whose hooks are to be run, and hooks that note what they are told."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.noted = folder / "noted"
        self.go = folder / "go"
        self.told: list[str] = []

    def hooks(self) -> RecoveryHooks:
        note = "echo {recoveryUID} {successorHost}"
        policy = HookPolicy(
            commands={
                HookKind.POST_MASTER_FAILOVER: (f"until test -e {self.go}; do sleep 0.02; done", "exit 3"),
                HookKind.POST_FAILOVER: (f"{note} >>{self.noted}",),
                HookKind.POST_UNSUCCESSFUL_FAILOVER: (f"{note} >>{self.noted}",),
            }
        )
        return RecoveryHooks(self.store, HookRunner(lambda: policy), self._event)

    def _event(self, kind: str, message: str, _key: InstanceKey, _cluster: str) -> None:
        self.told.append(f"{kind}: {message}")

    async def ended(
        self, uid: str, *, cluster: str = "c1", age_seconds: float = 0, ok: bool = True
    ) -> Recovery:
        """A recovery that has ended, with the intent to run its hooks."""
        at = shifted(utc_now(), -age_seconds)
        entry = AnalysisEntry(
            analyzed_instance_key=InstanceKey("db1", 3306),
            analysis="DeadMaster",
            cluster_name="c",
            cluster_id=cluster,
        )
        recovery = Recovery(uid=uid, analysis_entry=entry, recovery_start_timestamp=at, term=1)
        recovery = await self.store.recoveries.register(recovery, automatic=False)
        told = promoted(recovery_uid=uid) if ok else facts(recovery_uid=uid)
        await self.store.journal.write(
            JournalEntry(
                recovery_uid=uid,
                term=1,
                step_no=0,
                kind="post-hooks",
                phase=JournalPhase.INTENT,
                detail=facts_to_json(told),
                at=at,
            )
        )
        await self.store.recoveries.resolve(uid, Outcome(is_successful=ok), at=at, term=1, block_seconds=0)
        return recovery

    async def catch_up(self, hooks: RecoveryHooks, term: int) -> None:
        await hooks.catch_up(term, lambda uid: say_after_the_end(self.store, uid))

    def lines(self) -> list[str]:
        return self.noted.read_text().splitlines() if self.noted.exists() else []

    async def all_done(self) -> None:
        await wait_until_async(self._nothing_left, 15)

    async def _nothing_left(self) -> bool:
        return await self.store.journal.unfinished("post-hooks") == ()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await Store.open(tmp_path / "orchestray.db")
    yield World(store, tmp_path)
    await store.close()


async def test_the_next_term_runs_them_once_with_what_they_were_to_be_told(world: World) -> None:
    await world.ended("1:a")
    await world.ended("2:b", cluster="c2", ok=False)
    world.go.touch()
    hooks = world.hooks()
    await world.catch_up(hooks, 2)
    await world.catch_up(hooks, 2)
    await world.all_done()
    assert sorted(world.lines()) == ["1:a db2", "2:b {successorHost}"]
    await world.catch_up(world.hooks(), 3)
    assert sorted(world.lines()) == ["1:a db2", "2:b {successorHost}"]
    assert world.told == ["hook: PostMasterFailoverProcesses 2 of 2: exit code 3 (failure of db1:3306)"]
    said = [step.message for step in await world.store.journal.steps("1:a")]
    assert said[0] == "its node stopped before the hooks had ended: term 2 runs them"


async def test_of_one_cluster_only_the_newest_and_nothing_that_is_old(world: World) -> None:
    """A hook that points the service to a server that was replaced since would do harm."""
    await world.ended("1:a")
    await world.ended("2:b")
    await world.ended("3:c", cluster="c3", age_seconds=3700)
    world.go.touch()
    await world.catch_up(world.hooks(), 2)
    await world.all_done()
    assert world.lines() == ["2:b db2"]
    for uid in ("1:a", "3:c"):
        (step,) = await world.store.journal.steps(uid)
        assert "too late" in step.message


async def test_those_of_two_recoveries_of_a_cluster_run_one_after_another(world: World) -> None:
    hooks = world.hooks()
    for uid in ("1:a", "2:b"):
        recovery = await world.ended(uid)
        hooks.start(recovery, promoted(recovery_uid=uid), 1, say_after_the_end(world.store, uid))
    other = await world.ended("3:c", cluster="c3", ok=False)
    hooks.start(other, facts(recovery_uid="3:c"), 1, say_after_the_end(world.store, "3:c"))
    await wait_until_async(lambda: world.lines() == ["3:c {successorHost}"], 10, "another cluster's")
    world.go.touch()
    await world.all_done()
    assert world.lines()[1:] == ["1:a db2", "2:b db2"]
    begins = [step for step in await world.store.journal.steps("2:b") if "begins" in step.message]
    ends = [step for step in await world.store.journal.steps("1:a") if "ended" in step.message]
    assert begins[0].id > ends[-1].id


async def test_stopped_in_the_middle_they_are_left_to_the_next_term(world: World) -> None:
    hooks = world.hooks()
    recovery = await world.ended("1:a")
    hooks.start(recovery, promoted(recovery_uid="1:a"), 1, say_after_the_end(world.store, "1:a"))
    await wait_until_async(lambda: world.store.journal.steps("1:a"), 10)
    await asyncio.wait_for(hooks.stop(), 5)
    assert not await world._nothing_left()
    world.go.touch()
    await world.catch_up(world.hooks(), 2)
    await world.all_done()
    assert world.lines() == ["1:a db2"]
