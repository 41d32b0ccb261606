"""The journal of a recovery in a real store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.election.election import LeaseElection
from services.execution.store_journal import StoreJournal
from services.store.errors import StaleTermError, StoreFullError
from services.store.store import Store
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, JournalEntry, JournalPhase, Recovery

UID = "1:x"
KEY = InstanceKey("m", 3306)
AT = "2026-11-23T08:00:00Z"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "orchestray.db")
    entry = AnalysisEntry(analyzed_instance_key=KEY, analysis="DeadMaster", cluster_name="c", cluster_id="c")
    recovery = Recovery(uid=UID, analysis_entry=entry, recovery_start_timestamp=AT, term=1)
    await store.recoveries.register(recovery)
    yield store
    await store.close()


def entry(number: int, term: int = 1) -> JournalEntry:
    return JournalEntry(
        recovery_uid=UID,
        term=term,
        step_no=number,
        kind="open",
        instance=KEY,
        phase=JournalPhase.INTENT,
        at=AT,
    )


async def test_intents_are_there_when_the_call_returns(store: Store) -> None:
    journal = StoreJournal(store, UID)
    await journal.write([entry(1), entry(2)])
    assert [found.step_no for found in await store.journal.entries(UID)] == [1, 2]
    await journal.close()


async def test_lines_for_people_are_kept_in_order_and_by_the_end(store: Store) -> None:
    journal = StoreJournal(store, UID)
    for number in range(30):
        await journal.say(f"line {number}")
    await journal.close()
    said = [step.message for step in await store.journal.steps(UID)]
    assert said == [f"line {number}" for number in range(30)]


async def test_lines_are_there_when_they_are_asked_to_be_kept(store: Store) -> None:
    journal = StoreJournal(store, UID)
    for turn in range(2):
        await journal.say(f"line {turn}")
        await journal.keep()
        assert len(await store.journal.steps(UID)) == turn + 1
    await journal.close()


async def test_a_store_that_takes_no_lines_stops_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise StoreFullError("no room")

    monkeypatch.setattr(store.journal, "add_steps", full)
    journal = StoreJournal(store, UID)
    await journal.say("lost")
    began = time.monotonic()
    await journal.close()
    assert time.monotonic() - began < 2


async def test_a_term_that_is_over_writes_nothing(store: Store) -> None:
    for _ in range(2):  # the same node again: its second life has the higher term
        election = LeaseElection(store.database, "n", holds_node_lock=True)
        await election.step()
    journal = StoreJournal(store, UID)
    with pytest.raises(StaleTermError):
        await journal.write([entry(1, term=1)])
    assert await store.journal.entries(UID) == ()
    await journal.close()


async def test_what_is_said_after_the_end_is_kept_too(store: Store) -> None:
    """A hook that nobody waits for ends when it ends."""
    journal = StoreJournal(store, UID)
    await journal.say("in time")
    await journal.close()
    await journal.say("late")
    assert [step.message for step in await store.journal.steps(UID)] == ["in time", "late"]
