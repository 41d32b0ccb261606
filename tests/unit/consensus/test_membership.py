"""``services.consensus.membership``: founding, and coming back without a disk."""

from __future__ import annotations

import pytest

from services.consensus.core import Raft
from services.consensus.membership import membership_error
from services.consensus.messages import Inquiry, InquiryReply, Vote, VoteReply
from services.consensus.state import LEARNER, Hard, Role
from tests.simulation.disk import Disk
from tests.simulation.table import Table
from tests.simulation.world import World


def empty_table(names: str = "abc") -> Table:
    table = Table(Raft, names)
    for name in names:
        table.disks[name] = Disk()
        table.restart(name)
    table.pass_time(1)
    return table


def lose_disk(table: Table, name: str) -> None:
    table.disks[name] = Disk()
    table.restart(name)


def test_a_cluster_is_founded_by_all_its_members_together() -> None:
    world = World(seed=1)
    world.crash("c")
    assert not world.run(5, until=lambda: bool(world.leaders()))
    world.start("c")
    assert world.run(3, until=lambda: world.acting() is not None)
    assert world.all_vote()


def test_nobody_is_a_candidate_before_all_are_founded() -> None:
    table = empty_table()
    table.tick("a")
    table.exchange("a", "b", "c")
    assert table.disks["a"].hard == Hard(0, None, 0)
    table.pass_time(1)
    table.tick("a")
    assert not [letter for letter in table.post if isinstance(letter.message, Vote)], (
        "b and c have no vote yet"
    )
    for name in "bc":
        table.tick(name)
        table.exchange(*"abc")
    table.pass_time(1)
    table.tick("a")  # learns of it
    table.exchange(*"abc")
    table.elect("a", "b", "c")


def test_who_finds_a_cluster_that_lives_is_no_founder() -> None:
    table = Table(Raft)
    table.elect("a", "b", "c")
    lose_disk(table, "c")
    table.tick("c")
    table.deliver("c", "a", Inquiry)
    table.deliver("c", "b", Inquiry)
    table.exchange("b", "c")
    assert table.disks["c"].hard.votes_after == LEARNER


def test_a_learner_neither_votes_nor_counts() -> None:
    table = Table(Raft)
    table.elect("a", "b", "c")
    lose_disk(table, "c")
    table.burn()
    entry = table.propose("a", b"x")
    table.exchange("a", "c")
    assert table.raft["c"].log.last_index == entry.index
    assert table.raft["a"].commit_index < entry.index, "the learner's answer does not count"
    table.pass_time(1)
    table.raft["c"].step("b", Vote(9, 99, 9), table.now)
    table.pump("c")
    (reply,) = [letter.message for letter in table.take("c", "b") if isinstance(letter.message, VoteReply)]
    assert not reply.granted


def test_a_learner_votes_again_in_terms_after_that_of_the_leader_whose_log_it_has() -> None:
    table = Table(Raft)
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    lose_disk(table, "c")
    table.beat("a", "b", "c")
    table.tick("c")
    table.exchange(*"abc")
    table.beat("a", "b", "c")
    assert table.disks["c"].hard.votes_after == table.term("a") == 2
    entry = table.propose("a", b"x")
    table.exchange("a", "c")
    assert table.raft["a"].commit_index == entry.index, "it counts"
    table.burn()
    table.pass_time(1)
    table.elect("c", "b")


def test_a_learner_waits_for_the_word_of_every_member() -> None:
    """It may have promised something to the one that is silent."""
    table = Table(Raft, "abcde")
    table.elect("a", *"bcde")
    lose_disk(table, "e")
    for _ in range(5):
        table.beat("a", "b", "c", "e")
        table.tick("e")
        table.exchange(*"abce")
    assert table.raft["e"].log.last_index == table.raft["a"].log.last_index
    assert table.raft["e"].acquaintance.silent == {"d"}
    assert table.raft["e"].is_learner
    table.tick("e")
    table.exchange(*"abcde")
    table.beat("a", *"bcde")
    assert not table.raft["e"].is_learner


def test_an_answer_to_an_earlier_life_is_nothing() -> None:
    table = empty_table()
    member = table.raft["c"]
    for peer in "ab":
        member.step(peer, InquiryReply(member.acquaintance.nonce + 1, 0, 0, False, 0), table.now)
    assert member.is_learner


def test_the_log_of_a_leader_before_it_answered_is_not_enough() -> None:
    """C had acknowledged what A committed with it; only A's log of now is sure to have it."""
    table = Table(Raft)
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    lose_disk(table, "c")
    table.burn()
    for _ in range(3):
        table.propose("a", b"x")
    table.burn()
    table.tick("c")
    for peer in "ab":
        table.deliver("c", peer, Inquiry)
        table.deliver(peer, "c", InquiryReply)
    member, leader = table.raft["c"], table.raft["a"]
    assert member.acquaintance.votes_after(member.hard, "a", leader.log.last_index - 1) == LEARNER
    assert member.acquaintance.votes_after(member.hard, "b", leader.log.last_index) == LEARNER
    assert member.acquaintance.votes_after(member.hard, "a", leader.log.last_index) == 2


def test_a_restarted_learner_is_still_one() -> None:
    table = Table(Raft)
    table.elect("a", "b", "c")
    lose_disk(table, "c")
    table.beat("a", "b", "c")
    table.restart("c")
    assert table.raft["c"].log.last_index > 0
    assert table.raft["c"].is_learner
    table.pass_time(1)
    table.tick("c")
    assert table.raft["c"].role is Role.FOLLOWER


@pytest.mark.parametrize(
    ("before", "now", "error"),
    [
        ("", "abc", ""),
        ("abc", "abc", ""),
        ("abc", "abcde", ""),
        ("abcde", "abcd", ""),
        ("abcd", "abc", ""),
        ("abc", "abd", ""),
        ("abcde", "abc", "need not have a member in common"),
        ("a", "abc", "never elect"),
        ("abc", "ade", "never elect"),
    ],
)
def test_which_change_of_members_is_safe(before: str, now: str, error: str) -> None:
    said = membership_error(frozenset(before), frozenset(now))
    assert error in said
    assert bool(error) == bool(said)
