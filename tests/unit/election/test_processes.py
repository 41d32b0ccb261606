"""Two real processes on one backend: of them one acts, whatever becomes of the other."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.election.clock import boottime
from services.election.lease import TAKE_AFTER
from services.store.backend import Backend
from tests.backends import ONE_MYSQL
from tests.seats import Seats

pytestmark = pytest.mark.parametrize("backend", ONE_MYSQL, indirect=True)

LENGTH, RENEW = 0.6, 0.2
LONG = 60.0  # a lease that no test sees the end of
SLACK = 2.0  # for a machine with other things to do


@pytest.fixture
def seats(backend: Backend, tmp_path: Path) -> Iterator[Seats]:
    seats = Seats(backend, tmp_path, length=LENGTH, renew=RENEW)
    yield seats
    seats.end_all()


def test_the_other_takes_over_when_the_holder_is_killed(seats: Seats) -> None:
    processes = {node: seats.start(node) for node in ("a", "b")}
    for _ in range(2):
        holder = seats.await_act(lambda act: act.at > boottime() - 0.1)
        processes[holder.node].kill()
        killed_at = boottime()
        term = seats.acts()[-1].term
        taken = seats.await_act(lambda act, term=term: act.term > term)  # type: ignore[misc]
        assert taken.node != holder.node
        assert taken.at > seats.lasts_until(term), "not before the deadline of the killed one"
        assert taken.at - killed_at < TAKE_AFTER * LENGTH + RENEW + SLACK
        processes[holder.node] = seats.start(holder.node)
    terms = [act.term for act in seats.assert_one_at_a_time()]
    assert terms == sorted(set(terms))
    assert len(terms) >= 3


def test_a_stopped_holder_leads_no_more_when_it_goes_on(seats: Seats) -> None:
    processes = {node: seats.start(node) for node in ("a", "b")}
    holder = seats.await_act(lambda act: act.at > boottime() - 0.1)
    stopped = processes[holder.node]
    stopped.send_signal(signal.SIGSTOP)
    term = max(act.term for act in seats.acts() if act.pid == stopped.pid)
    taken = seats.await_act(lambda act: act.term > term)
    assert taken.pid != stopped.pid
    assert taken.at > seats.lasts_until(term)
    stopped.send_signal(signal.SIGCONT)
    seats.await_act(lambda act: act.at > taken.at + 3 * LENGTH)
    seats.assert_one_at_a_time()
    assert stopped.poll() is None, "it lives, and knows"


def test_a_holder_alone_that_was_stopped_does_not_act_on_its_old_deadline(seats: Seats) -> None:
    alone = seats.start("a")
    seats.await_act(lambda act: True)
    alone.send_signal(signal.SIGSTOP)
    time.sleep(2 * LENGTH)
    woken_at = boottime()
    alone.send_signal(signal.SIGCONT)
    again = seats.await_act(lambda act: act.at > woken_at)
    assert again.deadline > woken_at, "only after it had renewed"
    assert all(act.at < act.deadline for act in seats.acts())


def test_a_restarted_node_that_holds_its_lock_leads_at_once(seats: Seats) -> None:
    first = seats.start("a", "holds-lock", LONG)
    held = seats.await_act(lambda act: True)
    first.kill()
    first.wait(10)
    restarted = seats.start("a", "holds-lock", LONG)
    taken = seats.await_act(lambda act: act.pid == restarted.pid)
    assert taken.term == held.term + 1
    assert taken.at < seats.lasts_until(held.term), "without waiting for the old lease"
    seats.assert_one_at_a_time()


def test_a_clean_stop_lets_the_other_lead_at_once(seats: Seats) -> None:
    first = seats.start("a", length=LONG)
    held = seats.await_act(lambda act: True)
    seats.start("b", length=LONG)
    first.terminate()
    assert first.wait(10) == 0
    taken = seats.await_act(lambda act: act.node == "b")
    assert taken.term == held.term + 1
    assert taken.at < seats.lasts_until(held.term), "without waiting for the old lease"
    seats.assert_one_at_a_time()
