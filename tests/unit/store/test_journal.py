"""Steps and journal: what a restarted leader finds of a recovery that was cut short."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert

from services.store.backend import Backend
from services.store.errors import StaleTermError, UnknownRecoveryError
from services.store.recoveries import Outcome
from services.store.schema import LEASE
from services.store.store import Store
from services.store.times import shifted
from services.topology.keys import NO_KEY
from services.topology.records import JournalEntry, JournalPhase
from tests.unit.store.samples import REPLICA, T0, entry, recovery


def line(uid: str = "1:a", step_no: int = 0, phase: JournalPhase = JournalPhase.INTENT) -> JournalEntry:
    return JournalEntry(
        recovery_uid=uid,
        term=1,
        step_no=step_no,
        kind="stop-receiver",
        instance=REPLICA,
        phase=phase,
        detail='{"retrieved": "uuid:1-5"}',
        at=T0,
    )


async def test_an_open_recovery_comes_back_with_its_journal_in_order(backend: Backend) -> None:
    store = await Store.open(backend)
    registered = await store.recoveries.register(recovery("1:a"))
    await store.recoveries.register(recovery("2:b", about=entry(cluster_id="c2")))
    await store.recoveries.register(recovery("3:c", about=entry(cluster_id="c3")))
    written = [line(step_no=n, phase=phase) for n in (0, 1) for phase in JournalPhase]
    for one in written:
        await store.journal.write(one)
    await store.journal.write(line("3:c"))
    await store.recoveries.resolve("3:c", Outcome(is_successful=False), at=T0, term=1, block_seconds=1)
    await store.close()  # as a kill would: nothing is written at the end

    store = await Store.open(backend)
    first, second = await store.journal.open_recoveries()
    assert first.recovery == registered
    assert [replace(one, id=0) for one in first.journal] == written
    assert [one.id for one in first.journal] == sorted({one.id for one in first.journal})
    assert (second.recovery.uid, second.journal) == ("2:b", ())
    assert await store.journal.entries("1:a") == first.journal
    assert len(await store.journal.entries("3:c")) == 1, "the journal of an ended one can still be read"
    await store.close()


async def test_an_entry_need_not_be_about_a_server(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await store.journal.write(replace(line(), instance=NO_KEY))
    (read,) = await store.journal.entries("1:a")
    assert read.instance == NO_KEY


async def test_a_leader_of_an_earlier_term_writes_no_journal(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    lease = {"name": "leader", "node_id": "other", "term": 2, "counter": 1, "length_ms": 3000}
    await store.database.write(lambda c: c.execute(insert(LEASE).values(lease)))
    with pytest.raises(StaleTermError):
        await store.journal.write(line())
    await store.journal.write(replace(line(), term=2))
    assert [one.term for one in await store.journal.entries("1:a")] == [2]


async def test_entries_written_together_are_written_all_or_none(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await store.journal.write(line(step_no=1), line(step_no=2), line(step_no=3))
    assert [one.step_no for one in await store.journal.entries("1:a")] == [1, 2, 3]
    lease = {"name": "leader", "node_id": "other", "term": 2, "counter": 1, "length_ms": 3000}
    await store.database.write(lambda c: c.execute(insert(LEASE).values(lease)))
    with pytest.raises(StaleTermError):
        await store.journal.write(replace(line(), term=2), line())
    with pytest.raises(UnknownRecoveryError):
        await store.journal.write(replace(line(), term=2), replace(line("9:z"), term=2))
    assert len(await store.journal.entries("1:a")) == 3
    await store.journal.write()
    assert len(await store.journal.entries("1:a")) == 3


async def test_steps_written_together_keep_their_order_and_times(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    lines = [(shifted(T0, n), f"step {n}") for n in (3, 1, 2)]
    await store.journal.add_steps("1:a", lines)
    await store.journal.add_steps("1:a", [])
    assert [(step.audit_at, step.message) for step in await store.journal.steps("1:a")] == lines


async def test_steps_are_listed_oldest_first(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await store.recoveries.register(recovery("2:b", about=entry(cluster_id="c2")))
    for n in range(3):
        await store.journal.add_step("1:a", f"step {n}", at=T0)
    await store.journal.add_step("2:b", "other", at=T0)
    steps = await store.journal.steps("1:a")
    assert [(step.recovery_uid, step.audit_at, step.message) for step in steps] == [
        ("1:a", T0, f"step {n}") for n in range(3)
    ]
    assert await store.journal.steps("9:z") == ()


async def test_what_belongs_to_no_recovery_is_refused(store: Store) -> None:
    with pytest.raises(UnknownRecoveryError):
        await store.journal.add_step("9:z", "step", at=T0)
    with pytest.raises(UnknownRecoveryError):
        await store.journal.write(line("9:z"))


async def test_what_was_to_follow_an_ended_recovery_is_found_until_it_is_done(store: Store) -> None:
    hooks = replace(line(), kind="post-hooks")
    ends = Outcome(is_successful=False)
    for uid in ("1:a", "2:b", "3:c"):
        await store.recoveries.register(recovery(uid, about=entry(cluster_id=uid)))
        await store.journal.write(line(uid), replace(hooks, recovery_uid=uid, detail=f"of {uid}"))
    assert await store.journal.unfinished("post-hooks") == (), "none has ended"
    for uid in ("1:a", "2:b"):
        await store.recoveries.resolve(uid, ends, at=T0, term=1, block_seconds=1)
    found = await store.journal.unfinished("post-hooks")
    assert [(one.recovery.uid, [e.detail for e in one.journal]) for one in found] == [
        ("1:a", ["of 1:a"]),
        ("2:b", ["of 2:b"]),
    ]
    await store.journal.write(replace(hooks, recovery_uid="1:a", phase=JournalPhase.DONE))
    assert [one.recovery.uid for one in await store.journal.unfinished("post-hooks")] == ["2:b"]
