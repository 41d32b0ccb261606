"""Samples that are kept for a while, and figures of them."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from services.measuring.figures import NO_SPREAD, at_once, spread_of
from services.measuring.samples import SAMPLES_KEPT, CheckSample, Measured
from services.topology.keys import InstanceKey

KEY = InstanceKey("db1", 3306)


def check(at: float, seconds: float = 0.1) -> CheckSample:
    return CheckSample(at, KEY, seconds, "")


def test_of_no_values_there_are_zeros() -> None:
    assert spread_of([]) == NO_SPREAD


def test_a_spread() -> None:
    found = spread_of([float(number) for number in range(1, 101)])
    assert (found.least, found.mean, found.median, found.p95, found.most) == (1.0, 50.5, 50.5, 95.0, 100.0)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1))
def test_figures_stand_in_order(values: list[float]) -> None:
    found = spread_of(values)
    assert found.least <= found.median <= found.p95 <= found.most
    assert found.least <= found.mean * (1 + 1e-9)
    assert found.mean <= found.most * (1 + 1e-9)


def test_checks_are_counted_in_every_second_in_which_they_ran() -> None:
    checks = [check(96.5), check(98.2, seconds=2.0), check(99.9), check(50.0)]
    assert at_once(checks, now=100.3, seconds=5) == [0, 2, 1, 1, 1]
    assert at_once([], now=100.3, seconds=3) == [0, 0, 0]
    assert at_once(checks, now=100.3, seconds=0) == []


def test_what_is_old_goes_and_what_is_too_much() -> None:
    measured = Measured()
    measured.check(KEY, 0.5, "", age_seconds=0.5)
    measured.query(0.1, 0.2, "")
    measured.flush(3, 0.1, 0.2)
    assert abs(measured.checks[0].at - time.time()) < 5
    measured.forget_before(time.time() + 10)
    assert (len(measured.checks), len(measured.queries), len(measured.flushes)) == (0, 0, 0)
    for number in range(SAMPLES_KEPT + 5):
        measured.checks.append(check(float(number)))
    assert len(measured.checks) == SAMPLES_KEPT
    assert measured.checks[0].at == 5.0


def test_what_is_taken_is_gone() -> None:
    measured, other = Measured(), Measured()
    measured.query(0.1, 0.2, "late")
    other.extend(measured.take())
    assert [one.error for one in other.queries] == ["late"]
    assert len(measured.queries) == 0
