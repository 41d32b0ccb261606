"""Directed schedules: the orders of events that random ones miss. Each takes the core to be tried.

A schedule passes with the real core and breaks a promise with the mutant that it is for, see
``test_mutants``.
"""

from __future__ import annotations

from dataclasses import replace

from services.consensus.core import Raft
from services.consensus.messages import Append, Reply, Vote, VoteReply
from services.consensus.state import Role
from tests.simulation.table import Letter, Table

__all__ = [
    "answer_on_a_long_way",
    "commit_beyond_what_was_shown",
    "cut_compact_heal",
    "disturber_during_a_lease",
    "figure_8",
    "log_grows_between_prevote_and_vote",
    "restart_after_acknowledging",
    "restart_after_voting",
    "restart_inside_a_lease",
]


def restart_after_voting(core: type[Raft]) -> None:
    """C votes for A, dies, lives again, and is asked by B for a vote in the same term."""
    table = Table(core)
    table.time_out("a")
    table.deliver("a", "c", Vote)  # pre-votes
    table.time_out("b")
    table.deliver("b", "c", Vote)
    table.deliver("c", "b", VoteReply)
    late = table.take("b", "c", Vote)  # B's request for a vote in term 2 stays on its way
    table.deliver("c", "a", VoteReply)
    assert table.term("a") == table.term("b") == 2
    table.deliver("a", "c", Vote)
    answer = table.take("c", "a", VoteReply)
    table.restart("c")
    table.pass_time(1)
    table.hand(late)
    table.exchange("b", "c")
    table.hand(answer)


def restart_after_acknowledging(core: type[Raft]) -> None:
    """B has acknowledged an entry to A and dies; A answers its client and dies; C never saw the entry."""
    table = Table(core)
    table.elect("a", "b", "c")
    entry = table.propose("a", b"x")
    table.exchange("a", "b")
    assert table.checker.acknowledged == [entry]
    table.restart("b")
    table.burn()
    table.pass_time(1)
    table.time_out("c")
    table.exchange("b", "c")
    assert table.raft["c"].role is not Role.LEADER, "who lacks the entry is not elected"
    table.elect("b", "c")
    assert table.raft["b"].log.term_at(entry.index) == entry.term


def figure_8(core: type[Raft]) -> None:
    """Figure 8 of the raft paper, (a) to (d): an entry that a majority has is replaced all the same."""
    table = Table(core, "abcde")
    table.elect("a", "b", "c", "d", "e")
    table.beat("a", "b", "c", "d", "e")
    old = table.propose("a", b"2")  # (a): on A and B only
    table.exchange("a", "b")
    table.burn()
    table.restart("a")
    table.pass_time(1)
    table.time_out("e")  # (b): E is elected by C and D, and writes an entry nobody else gets
    for _ in range(2):
        for voter in "cd":
            table.deliver("e", voter, Vote)
            table.deliver(voter, "e", VoteReply)
    assert table.raft["e"].role is Role.LEADER
    table.propose("e", b"3")
    table.burn()
    table.restart("e")
    table.pass_time(1)
    while table.raft["a"].role is not Role.LEADER:  # (c): A again, in a term after E's
        table.time_out("a")
        for _ in range(2):
            for voter in "bcd":
                table.deliver("a", voter, Vote)
                table.deliver(voter, "a", VoteReply)
        table.take("a", "e")
    _give_only_old_entries(table, old.index)
    table.burn()
    table.restart("a")
    table.pass_time(1)
    while table.raft["e"].role is not Role.LEADER:  # (d): E is elected by B, C, D, and replaces it
        table.time_out("e")
        table.exchange("e", "b", "c", "d")
    table.exchange("e", "b", "c", "d")
    assert table.raft["b"].log.term_at(old.index) != old.term, "the entry that was on three was replaced"


def _give_only_old_entries(table: Table, index: int) -> None:
    """A sends B and C what it has of the older term, and dies before they get what is of its own."""
    for _ in range(4):
        for to in "bc":
            for letter in table.take("a", to, Append):
                append = letter.message
                assert isinstance(append, Append)
                if append.previous_index <= index:
                    entries = tuple(entry for entry in append.entries if entry.index <= index)
                    table.hand([Letter("a", to, replace(append, entries=entries))])
            table.deliver(to, "a", Reply)
    held = [name for name in table.names if table.raft[name].log.last_index >= index]
    assert {"a", "b", "c"} <= set(held), "a majority has the old entry"
    assert {table.raft[name].log.last_index for name in "bc"} == {index}


def cut_compact_heal(core: type[Raft]) -> None:
    """A leader is cut off with something pending; the others go on and compact; it must not commit it.

    What PySyncObj 0.3.17 does wrong.
    """
    table = Table(core)
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    table.burn()
    pending = table.propose("a", b"x")
    table.burn()
    table.pass_time(1)
    table.elect("b", "c")
    for number in range(50):
        table.propose("b", b"%d" % number)
        table.exchange("b", "c")
    for name in "bc":
        table.raft[name].compact(table.state_at[name], b"the state", keep=0)
        table.pump(name)
    table.burn()
    for _ in range(40):  # the snapshot that was lost is sent again in the meantime
        table.beat("b", "c")
    table.exchange("a", "b", "c")
    for _ in range(3):
        table.beat("b", "a", "c")
    assert table.raft["a"].log.base_index >= pending.index, "it has the snapshot"
    assert table.state_at["a"] == table.state_at["b"]


def commit_beyond_what_was_shown(core: type[Raft]) -> None:
    """A heartbeat of the new leader shows where logs agree; behind that there is what it will replace."""
    table = Table(core)
    table.elect("a", "b", "c")
    table.beat("a", "b", "c")
    agreed = table.raft["a"].log.last_index
    table.propose("a", b"x")
    table.propose("a", b"y")
    table.burn()
    table.pass_time(1)
    table.elect("b", "c")
    table.propose("b", b"z")
    table.exchange("b", "c")
    commit = table.raft["b"].commit_index
    assert commit > agreed
    table.raft["a"].step("b", Append(table.term("b"), 1, agreed, 2, (), commit), table.now)
    table.pump("a")
    assert table.raft["a"].commit_index == agreed


def restart_inside_a_lease(core: type[Raft]) -> None:
    """B has answered A, so that A may act; B restarts, and C, which does not hear A, asks it for a vote."""
    table = Table(core)
    table.elect("a", "b", "c")
    for _ in range(12):  # C hears nothing for longer than any time-out
        table.beat("a", "b")
    assert table.may_act("a")
    table.burn()
    table.restart("b")
    table.tick("c")
    table.exchange("b", "c")
    assert table.may_act("a")
    assert table.raft["c"].role is not Role.LEADER
    table.pass_time(table.timing.election_max)
    table.elect("c", "b")


def disturber_during_a_lease(core: type[Raft]) -> None:
    """C does not hear the leader; B does, so that it votes for nobody."""
    table = Table(core)
    table.elect("a", "b", "c")
    for _ in range(12):
        table.beat("a", "b")
    table.burn()
    table.tick("c")
    table.exchange("b", "c")
    assert table.may_act("a")
    assert table.term("b") == table.term("a")


def answer_on_a_long_way(core: type[Raft]) -> None:
    """The answer of B to A is late: it is worth only what is left of the time since it was asked."""
    table = Table(core)
    table.elect("a", "b", "c")
    table.burn()
    table.pass_time(table.timing.election_max)
    table.tick("a")
    table.deliver("a", "b", Append)
    late = table.take("b", "a", Reply)
    table.burn()
    table.pass_time(table.timing.election_min + 0.001)  # B is free again
    table.hand(late)
    table.look()
    table.time_out("c")
    table.exchange("b", "c")
    assert table.may_act("c")


def log_grows_between_prevote_and_vote(core: type[Raft]) -> None:
    """C would have B's vote; before it asks for it, B gets an entry from the old leader, which commits it."""
    table = Table(core)
    table.elect("a", "b", "c")
    table.burn()
    table.pass_time(table.timing.election_max - 0.01)
    table.time_out("c")
    table.deliver("c", "b", Vote)
    table.deliver("b", "c", VoteReply)
    asked = table.take("c", "b", Vote)
    assert table.raft["c"].role is Role.CANDIDATE
    entry = table.propose("a", b"x")
    table.exchange("a", "b")
    assert table.checker.acknowledged == [entry]
    table.burn()
    table.pass_time(table.timing.election_min + 0.01)
    table.hand(asked)
    table.deliver("b", "c", VoteReply)
    assert table.raft["c"].role is not Role.LEADER
