"""A seat on a real store, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import delete

from services.election.clock import boottime
from services.election.election import ASIDE_SECONDS, Holder, Leadership, LeaseElection
from services.store.backend import Backend, SQLiteBackend
from services.store.errors import StaleTermError, StoreConflictError
from services.store.mysql import GUARD_TABLE
from services.store.mysql_session import Session
from services.store.schema import LEASE
from services.store.store import Store
from tests.unit.store.samples import recovery


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    opened = await Store.open(backend)
    yield opened
    await opened.close()


def seat(store: Store, clock: Clock, node: str = "a", *, lock: bool = False) -> LeaseElection:
    return LeaseElection(store.database, node, holds_node_lock=lock, clock=clock)


async def test_leadership_ends_by_the_clock_alone(store: Store, clock: Clock) -> None:
    a = seat(store, clock)
    assert (a.leadership(), a.current_holder()) == (None, None)
    await a.step()
    assert a.leadership() == Leadership(term=1, deadline=103.0)
    assert a.current_holder() == Holder("a", 1)
    clock.now = 102.9
    assert a.leadership() is not None
    clock.now = 103.0
    assert a.leadership() is None


async def test_it_renews_in_the_same_term(store: Store, clock: Clock) -> None:
    a, b = seat(store, clock, "a"), seat(store, clock, "b")
    for _ in range(10):
        await a.step()
        await b.step()
        clock.now += 1.0
    assert a.leadership() == Leadership(term=1, deadline=112.0)
    assert b.leadership() is None
    assert b.current_holder() == Holder("a", 1)


async def test_a_term_of_another_ends_its_own(store: Store, clock: Clock) -> None:
    a, b = seat(store, clock, "a"), seat(store, clock, "b")
    await a.step()
    await b.step()
    clock.now += 3.4
    await b.step()
    assert b.leadership() == Leadership(term=2, deadline=106.4)
    await a.step()
    assert a.leadership() is None
    assert a.current_holder() == Holder("b", 2)
    clock.now += 1.0
    await b.step()
    assert b.leadership() == Leadership(term=2, deadline=107.4), "a has not disturbed it"


async def test_a_restart_replaces_its_own_nodes_lease_only_under_the_lock(store: Store, clock: Clock) -> None:
    await seat(store, clock).step()
    without = seat(store, clock, lock=False)
    await without.step()
    assert without.leadership() is None
    under_lock = seat(store, clock, lock=True)
    await under_lock.step()
    # What the killed process sent to a server that hangs may be carried out until its deadline.
    assert under_lock.leadership() == Leadership(term=2, deadline=103.0, earlier_until=103.0)
    clock.now += 1.0
    await under_lock.step()
    assert under_lock.leadership() == Leadership(term=2, deadline=104.0, earlier_until=103.0)


async def test_a_release_ends_leadership_first_and_keeps_the_term(store: Store, clock: Clock) -> None:
    a, b = seat(store, clock, "a"), seat(store, clock, "b")
    await a.step()
    await a.release()
    assert a.leadership() is None
    await b.step()
    assert b.leadership() == Leadership(term=2, deadline=103.0)
    await a.release()
    await b.step()
    assert b.leadership() is not None, "who leads no more has nothing to release"


async def test_terms_go_on_when_somebody_deletes_the_row(store: Store, clock: Clock) -> None:
    a, b = seat(store, clock, "a"), seat(store, clock, "b")
    await a.step()
    await b.step()
    clock.now += 3.4
    await b.step()
    await store.database.write(lambda connection: connection.execute(delete(LEASE)))
    clock.now += 3.4
    await b.step()
    held = b.leadership()
    assert held is not None
    assert held.term == 3


@contextmanager
def held_by_another(backend: Backend) -> Iterator[Callable[[], None]]:
    """Another process is in the middle of a write, until the call."""
    if isinstance(backend, SQLiteBackend):
        with closing(sqlite3.connect(backend.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield lambda: other.execute("ROLLBACK") and None
        return
    session = Session(backend, idle_seconds=60, database=backend.database)
    session.connect()
    with closing(session.driver):
        session.driver.query(f"UPDATE {GUARD_TABLE} SET writes = writes + 1")
        yield session.driver.rollback


async def test_a_store_that_fails_ends_leadership_and_is_told(
    backend: Backend, store: Store, clock: Clock
) -> None:
    a = LeaseElection(store.database, "a", length=1.0, renew=0.1, clock=clock)
    await a.step()
    with held_by_another(backend) as let_go:
        clock.now += 0.1
        await a.step()
        assert "did not answer" in a.last_error
        held = a.leadership()
        assert held is not None
        assert held.deadline == pytest.approx(101.0), "a renewal of unknown outcome did not happen"
        clock.now = 101.1
        assert a.leadership() is None
        let_go()
    await a.step()
    assert a.last_error == ""
    assert a.leadership() is not None


async def test_others_that_are_first_each_time_are_told_of(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one of several servers that all take writes: once is nothing, for ever is no store."""
    a = LeaseElection(store.database, "a", length=3.0, renew=1.0, clock=clock)

    async def contended(*_: object, **__: object) -> None:
        raise StoreConflictError("another process wrote first")

    with monkeypatch.context() as patch:
        patch.setattr(store.database, "write", contended)
        await a.step()
        assert a.last_error == ""
        for _ in range(10):
            await a.step()
        assert a.last_error == "another process wrote first"
        assert a.leadership() is None
    await a.step()
    assert a.last_error == ""
    assert a.leadership() is not None


async def test_run_steps_by_itself_and_as_soon_as_a_lease_runs_out(store: Store) -> None:
    a = LeaseElection(store.database, "a", length=0.3, renew=0.1)
    b = LeaseElection(store.database, "b", length=30.0, renew=10.0)
    await a.step()
    await b.step()
    running = asyncio.create_task(b.run())
    began = boottime()
    while b.leadership() is None:
        assert boottime() - began < 5, "it slept for its own time to renew"
        await asyncio.sleep(0.01)
    running.cancel()


async def test_the_lease_of_another_is_looked_at_more_often_than_ones_own_is_renewed(store: Store) -> None:
    a, b = (LeaseElection(store.database, node, length=30.0, renew=2.0) for node in "ab")
    await a.step()
    await b.step()
    began = boottime()
    await b.wait()
    assert 0.4 < boottime() - began < 1.5


async def test_what_is_done_in_the_name_of_an_older_term_is_refused_by_the_store(
    store: Store, clock: Clock
) -> None:
    await seat(store, clock).step()
    await seat(store, clock, lock=True).step()
    with pytest.raises(StaleTermError, match="term 1 is over: term 2 was elected"):
        await store.recoveries.register(recovery(term=1))


@pytest.mark.parametrize(("node", "length", "renew"), [("", 3.0, 1.0), ("a", 1.0, 1.0), ("a", 1.0, 0.0)])
def test_settings_that_cannot_work_are_refused(store: Store, node: str, length: float, renew: float) -> None:
    with pytest.raises(ValueError, match=r"election needs|cannot be renewed"):
        LeaseElection(store.database, node, length=length, renew=renew)


def test_the_clock_goes_on_while_the_host_sleeps() -> None:
    assert abs(boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


# a newer term that was met on a server


async def test_a_newer_term_elsewhere_ends_this_one_at_once(store: Store, clock: Clock) -> None:
    """Of a store that still says that it is ours: somebody acts by another one. Nobody is to act by this."""
    a, b = seat(store, clock), seat(store, clock, "b")
    await a.step()
    a.superseded(1, "db:3306")
    assert a.leadership() is None
    for _ in range(3):
        await a.step()
        await b.step()
        assert a.leadership() is None
        assert "a newer term than 1 acts on db:3306, and this node's store does not know it" in a.last_error
        clock.now += 1.0
    clock.now = 100.0 + ASIDE_SECONDS + 0.1
    await b.step()  # it has seen the lease stand still, and knows nothing of all that
    assert b.leadership() == Leadership(term=2, deadline=clock.now + 3.0)
    await a.step()
    assert (a.leadership(), a.last_error) == (None, "")
    await b.release()
    await a.step()
    assert a.leadership() is not None, "it stands for election again"


async def test_one_that_was_taken_over_need_not_stand_aside(store: Store, clock: Clock) -> None:
    """Paused and continued, it finds its successor on a server before it looks at the lease."""
    a, b = seat(store, clock), seat(store, clock, "b")
    await a.step()
    await b.step()
    clock.now += 3.4
    await b.step()
    a.superseded(1, "db:3306")
    await a.step()
    assert (a.leadership(), a.last_error) == (None, "")
    await b.release()
    await a.step()
    assert a.leadership() is not None


async def test_what_is_said_of_an_earlier_term_is_of_no_weight(store: Store, clock: Clock) -> None:
    a = seat(store, clock)
    await a.step()
    await a.release()
    await a.step()
    a.superseded(1, "db:3306")
    assert a.leadership() == Leadership(term=2, deadline=103.0)
    await a.step()
    assert a.leadership() is not None


async def test_a_renewal_under_way_brings_nothing_back(store: Store, clock: Clock) -> None:
    a = seat(store, clock)
    await a.step()
    renewing = asyncio.create_task(a.step())
    await asyncio.sleep(0)
    a.superseded(1, "db:3306")
    await renewing
    await a.step()
    assert a.leadership() is None
    assert "db:3306" in a.last_error


@pytest.mark.parametrize("given_up", ["released", "superseded"])
async def test_what_is_given_up_while_a_renewal_is_written_stays_given_up(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, given_up: str
) -> None:
    a, b = seat(store, clock, "a"), seat(store, clock, "b")
    await a.step()
    write = store.database.write
    written, answered = asyncio.Event(), asyncio.Event()

    async def answered_late(*arguments: Any, **named: Any) -> Any:
        done = await write(*arguments, **named)
        written.set()
        await answered.wait()
        return done

    with monkeypatch.context() as patch:
        patch.setattr(store.database, "write", answered_late)
        renewing = asyncio.create_task(a.step())
        await asyncio.wait_for(written.wait(), 10)
    if given_up == "released":
        await a.release()
        await b.step()
        assert b.leadership() == Leadership(term=2, deadline=103.0)
    else:
        a.superseded(1, "db:3306")
    answered.set()
    await renewing
    assert a.leadership() is None, "not even until its next step"
