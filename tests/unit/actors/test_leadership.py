"""A deadline of the Leader's host on the clock of another."""

from __future__ import annotations

from actors.leadership import Lead, LeaderClock, clock_here
from services.election.clock import boot_id, boottime


def test_on_the_same_host_it_is_as_it_is() -> None:
    clock = LeaderClock()
    lead = Lead(term=1, deadline=123.0, boot=boot_id())
    assert clock.here(lead) == 123.0
    clock.measured(boottime() - 1.0, clock_here())
    assert clock.here(lead) == 123.0


def test_on_another_host_it_is_never_late() -> None:
    """Asked at 50 of its own clock, and told 1000 later: a deadline of 1003 comes at 53 or later."""
    clock = LeaderClock()
    clock.measured(50.0, ("another boot", 1000.0))
    assert clock.here(Lead(term=1, deadline=1003.0, boot="another boot")) == 53.0


def test_what_is_not_measured_has_ended() -> None:
    clock = LeaderClock()
    assert clock.here(Lead(term=1, deadline=1e9, boot="another boot")) == 0.0
    clock.measured(50.0, ("another boot", 1000.0))
    assert clock.here(Lead(term=1, deadline=1e9, boot="a third")) == 0.0  # the head has moved or was booted
    assert clock.here(Lead()) == 0.0
