"""The rules at the head of ``services.consensus.core``, on members that nothing moves but the test."""

from __future__ import annotations

import pytest

from services.consensus.core import Raft
from services.consensus.messages import Append, Install, Reply, TimeoutNow, Vote, VoteReply
from services.consensus.state import ConsensusError, NotLeadingError, Role, Timing
from tests.simulation.table import Table


@pytest.fixture
def table() -> Table:
    return Table(Raft)


def test_the_right_to_act_begins_with_the_first_answered_entry_and_ends_by_itself(table: Table) -> None:
    table.time_out("a")
    for _ in range(2):
        table.deliver("a", "b")
        table.deliver("b", "a")
    assert table.raft["a"].role is Role.LEADER
    assert not table.may_act("a"), "its first entry is not applied"
    asked = table.now
    table.deliver("a", "b")
    table.pass_time(0.1)
    table.deliver("b", "a")
    held = table.raft["a"].leadership(table.now)
    assert held is not None
    assert held.deadline == pytest.approx(asked + table.timing.lease), "counted from the asking"
    table.pass_time(held.deadline - table.now)
    assert not table.may_act("a")


def test_a_prevote_changes_nobodys_term(table: Table) -> None:
    table.time_out("c")
    table.exchange("c", "a")
    assert table.raft["c"].role is Role.LEADER
    table.burn()
    before = table.term("a")
    table.time_out("b")
    table.deliver("b", "a")
    table.deliver("a", "b")
    assert table.term("b") == 1
    assert table.term("a") == before


def test_check_quorum_a_leader_without_answers_steps_down(table: Table) -> None:
    table.elect("a", "b", "c")
    table.pass_time(table.timing.election_max + 0.001)
    table.tick("a")
    assert table.raft["a"].role is Role.FOLLOWER
    with pytest.raises(NotLeadingError):
        table.raft["a"].propose(b"x")


def test_who_steps_down_is_sticky_itself(table: Table) -> None:
    """Its own answer stands in the deadlines that it gave out."""
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    table.raft["a"].step_down(table.now)
    table.raft["a"].step("b", Vote(9, 99, 9), table.now)
    assert table.term("a") == 2


def test_late_answers_to_a_deposed_leader_are_nothing(table: Table) -> None:
    """A led in term 2, is deposed and leads again: answers of then must not prolong or commit now."""
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    table.propose("a", b"x")
    table.deliver("a", "b", Append)
    late = table.take("b", "a", Reply)
    table.burn()
    table.pass_time(1)
    table.elect("b", "c")
    table.exchange("b", "a")
    table.burn()
    table.pass_time(1)
    table.elect("a", "b")
    table.burn()
    table.pass_time(table.timing.lease)
    commit = table.raft["a"].commit_index
    table.propose("a", b"y")
    assert not table.may_act("a")
    table.hand(late)
    assert not table.may_act("a")
    assert table.raft["a"].commit_index == commit


def test_a_late_answer_counts_from_its_asking(table: Table) -> None:
    table.elect("a", "b", "c")
    table.burn()
    table.pass_time(0.3)
    table.tick("a")
    table.deliver("a", "b", Append)
    late = table.take("b", "a", Reply)
    asked = table.now
    table.burn()
    table.pass_time(0.3)
    table.hand(late)
    held = table.raft["a"].leadership(table.now)
    assert held is not None
    assert held.deadline == pytest.approx(asked + table.timing.lease)


def test_a_vote_is_given_once_in_a_term(table: Table) -> None:
    voter = table.raft["c"]
    voter.step("a", Vote(2, 0, 0), table.now)
    voter.step("b", Vote(2, 0, 0), table.now)
    voter.step("a", Vote(2, 0, 0), table.now)
    replies = {
        letter.to: letter.message.granted
        for letter in _posted(table, "c")
        if isinstance(letter.message, VoteReply)
    }
    assert replies == {"a": True, "b": False}


def _posted(table: Table, name: str) -> list:  # type: ignore[type-arg]
    table.pump(name)
    return [letter for letter in table.post if letter.sender == name]


def test_a_log_that_differs_is_found_by_terms_and_replaced_from_there(table: Table) -> None:
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    for number in range(30):
        table.propose("a", b"lost %d" % number)
    table.burn()
    table.pass_time(1)
    table.elect("b", "c")
    table.propose("b", b"kept")
    table.exchange("b", "c")
    table.burn()
    table.pass_time(0.1)
    table.tick("b")
    table.exchange("a", "b")
    a, b = table.raft["a"].log, table.raft["b"].log
    assert a.last_index == b.last_index
    assert a.between(1, a.last_index) == b.between(1, b.last_index)
    assert table.disks["a"].read().entries == a.between(1, a.last_index)


def test_who_is_behind_what_the_log_has_gets_the_snapshot(table: Table) -> None:
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    for _ in range(20):
        table.propose("a", b"x")
        table.exchange("a", "b")
    table.raft["a"].compact(table.state_at["a"], b"the state", keep=3)
    table.pump("a")
    table.burn()
    for _ in range(40):
        table.beat("a", "b", "c")
    assert table.state_at["c"] == table.state_at["a"]
    assert table.disks["c"].snapshot.data == b"the state"
    table.restart("c")
    assert table.raft["c"].applied_index == table.raft["a"].log.snapshot.index


def test_a_small_lag_is_caught_up_with_entries_that_were_kept(table: Table) -> None:
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    for _ in range(3):
        table.propose("a", b"x")
        table.exchange("a", "b")
    table.raft["a"].compact(table.state_at["a"], b"the state", keep=10)
    table.burn()
    table.pass_time(table.timing.heartbeat)
    table.tick("a")
    assert not [letter for letter in table.post if isinstance(letter.message, Install)]
    table.exchange("a", "b", "c")
    assert table.raft["c"].log.last_index == table.raft["a"].log.last_index


def test_handing_over_waits_until_no_deadline_runs(table: Table) -> None:
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    held = table.raft["a"].leadership(table.now)
    assert held is not None
    table.raft["a"].transfer("c", table.now)
    assert not table.may_act("a")
    with pytest.raises(NotLeadingError):
        table.raft["a"].propose(b"x")
    while not any(isinstance(letter.message, TimeoutNow) for letter in table.post):
        table.pass_time(0.02)
        table.tick("a")
        table.hand([*table.take("a", "b"), *table.take("a", "c")])
        table.hand([*table.take("b", "a"), *table.take("c", "a", Reply)])
    assert table.now >= held.deadline
    table.exchange("a", "b", "c")
    assert table.raft["c"].role is Role.LEADER
    table.beat("c", "a", "b")
    assert table.may_act("c")


def test_a_successor_that_does_not_answer_ends_the_leadership_too(table: Table) -> None:
    table.elect("a", "b")
    table.beat("a", "b")
    table.raft["a"].transfer("c", table.now)
    for _ in range(20):
        assert not table.may_act("a")
        table.beat("a", "b")
    assert table.raft["a"].role is Role.FOLLOWER
    table.pass_time(1)
    table.elect("b", "a")


def test_a_second_leader_of_a_term_stops_the_member(table: Table) -> None:
    table.elect("a", "b", "c")
    with pytest.raises(ConsensusError, match="and so does this member"):
        table.raft["a"].step("b", Append(2, 1, 0, 0, (), 0), table.now)


def test_a_committed_entry_is_never_replaced(table: Table) -> None:
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    with pytest.raises(ConsensusError, match="committed entry"):
        table.raft["b"].step("c", Append(9, 1, 1, 7, (), 0), table.now)


def test_who_is_not_a_member_is_not_heard(table: Table) -> None:
    table.raft["a"].step("z", Append(9, 1, 0, 0, (), 0), table.now)
    assert table.term("a") == 1


def test_one_member_leads_alone() -> None:
    table = Table(Raft, "a")
    table.time_out("a")
    assert table.may_act("a")
    entry = table.propose("a", b"x")
    assert table.checker.acknowledged == [entry]
    table.restart("a")
    assert not table.may_act("a")
    table.time_out("a")
    assert table.state_at["a"] == entry.index + 1, "it applies again what is not in a snapshot"
    assert table.may_act("a")


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="two heartbeats"):
        Timing(heartbeat=0.3, election_min=0.4)
