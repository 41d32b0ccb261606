"""The test of the tests: a core with one rule missing is caught, by the schedule that is for this rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.consensus.core import Raft
from services.consensus.state import ConsensusError
from tests.simulation import mutants, schedules
from tests.simulation.chaos import story

Schedule = Callable[[type[Raft]], None]

_CAUGHT = [
    (mutants.ForgetsVote, schedules.restart_after_voting, "two leaders in term"),
    (mutants.ForgetsLog, schedules.restart_after_acknowledging, "lacks the committed|is not elected"),
    (mutants.CommitsByCountingOlderTerms, schedules.figure_8, "lacks the committed|committed entry"),
    (mutants.CommitsUnverifiedLog, schedules.commit_beyond_what_was_shown, "applies .*, others"),
    (mutants.CommitsWithoutLooking, schedules.cut_compact_heal, "applies .*, others|committed entry"),
    (mutants.NoGraceAfterRestart, schedules.restart_inside_a_lease, "may act in term"),
    (mutants.NoLogCheckInVote, schedules.log_grows_between_prevote_and_vote, "lacks the committed"),
    (mutants.LeaseFromReceipt, schedules.answer_on_a_long_way, "may act in term|assert not"),
    (mutants.NoStickyFollowers, schedules.disturber_during_a_lease, "may act in term"),
]


@pytest.mark.parametrize(
    ("mutant", "schedule", "message"), _CAUGHT, ids=[mutant.__name__ for mutant, _, _ in _CAUGHT]
)
def test_a_mutant_is_caught_by_its_schedule(mutant: type[Raft], schedule: Schedule, message: str) -> None:
    with pytest.raises((AssertionError, ConsensusError), match=message):
        schedule(mutant)


@pytest.mark.parametrize("schedule", [schedule for _, schedule, _ in _CAUGHT], ids=lambda each: each.__name__)
def test_the_real_core_passes_each_schedule(schedule: Schedule) -> None:
    schedule(Raft)


@pytest.mark.parametrize(
    "mutant", [mutants.ForgetsLog, mutants.CommitsWithoutLooking, mutants.LeaseFromReceipt]
)
def test_a_mutant_is_caught_by_chance(mutant: type[Raft]) -> None:
    """The simulator itself would notice: among its first seeds there is one that does."""
    for seed in range(120):
        try:
            story(seed, mutant)
        except (AssertionError, ConsensusError):
            return
    pytest.fail(f"no seed catches {mutant.__name__}")
