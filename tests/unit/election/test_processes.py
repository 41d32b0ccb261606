"""Two real processes on one backend: of them one acts, whatever becomes of the other."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from services.election.clock import boottime
from services.election.lease import TAKE_AFTER
from services.store.backend import Backend
from tests.backends import ONE_MYSQL, as_text
from tests.servers import wait_until
from tests.unit.election.seat_process import Act, acts_in

pytestmark = pytest.mark.parametrize("backend", ONE_MYSQL, indirect=True)

ROOT = Path(__file__).parents[3]
LENGTH, RENEW = 0.6, 0.2
LONG = 60.0  # a lease that no test sees the end of
SLACK = 2.0  # for a machine with other things to do
PATIENCE = 30.0


class Seats:
    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.log = folder / "acts"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, node: str, lock: str = "no-lock", length: float = LENGTH) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "tests.unit.election.seat_process"]
        arguments = [as_text(self.backend), str(self.log), node, lock, str(length), str(RENEW)]
        process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def acts(self) -> list[Act]:
        return acts_in(self.log)

    def await_act(self, condition: Callable[[Act], bool]) -> Act:
        """The first act for which it holds."""
        return wait_until(
            lambda: next(filter(condition, self.acts()), None), PATIENCE, lambda: self.acts()[-3:]
        )

    def end_all(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()

    def assert_one_at_a_time(self) -> list[Act]:
        """The terms in the order of their acts: each of one process, none acted in after a newer one."""
        acts = self.acts()
        for earlier, later in pairwise(acts):
            assert earlier.term <= later.term, f"{earlier} and {later} overlap"
        firsts: dict[int, Act] = {}
        for act in acts:
            first = firsts.setdefault(act.term, act)
            assert first.pid == act.pid, f"term {act.term} was given to two: {first}, {act}"
        return list(firsts.values())


@pytest.fixture
def seats(backend: Backend, tmp_path: Path) -> Iterator[Seats]:
    seats = Seats(backend, tmp_path)
    yield seats
    seats.end_all()


def lasts_until(seats: Seats, term: int) -> float:
    return max(act.deadline for act in seats.acts() if act.term == term)


def test_the_other_takes_over_when_the_holder_is_killed(seats: Seats) -> None:
    processes = {node: seats.start(node) for node in ("a", "b")}
    for _ in range(2):
        holder = seats.await_act(lambda act: act.at > boottime() - 0.1)
        processes[holder.node].kill()
        killed_at = boottime()
        term = seats.acts()[-1].term
        taken = seats.await_act(lambda act, term=term: act.term > term)  # type: ignore[misc]
        assert taken.node != holder.node
        assert taken.at > lasts_until(seats, term), "not before the deadline of the killed one"
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
    assert taken.at > lasts_until(seats, term)
    stopped.send_signal(signal.SIGCONT)
    seats.await_act(lambda act: act.at > taken.at + 3 * LENGTH)
    seats.assert_one_at_a_time()
    assert [act for act in seats.acts() if act.at >= act.deadline] == [], "acted after its deadline"
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
    assert taken.at < lasts_until(seats, held.term), "without waiting for the old lease"
    seats.assert_one_at_a_time()


def test_a_clean_stop_lets_the_other_lead_at_once(seats: Seats) -> None:
    first = seats.start("a", length=LONG)
    held = seats.await_act(lambda act: True)
    seats.start("b", length=LONG)
    first.terminate()
    assert first.wait(10) == 0
    taken = seats.await_act(lambda act: act.node == "b")
    assert taken.term == held.term + 1
    assert taken.at < lasts_until(seats, held.term), "without waiting for the old lease"
    seats.assert_one_at_a_time()
