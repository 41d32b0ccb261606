"""A quorum of eyes: what members saw, and whether that makes a master dead."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from services.analysis import AnalysisPolicy, RecoveryKind, ReplicationAnalysis, Saw, Sight, analyze, judge
from services.topology.instance import CheckOutcome
from services.topology.tree import TreePolicy, derive
from tests.unit.analysis.stories import CANNOT_CONNECT, LOST, NOW, key, server

MEMBERS = "abcde"
REFUSED, OK, SILENT = CheckOutcome.REFUSED, CheckOutcome.OK, CheckOutcome.SILENT


def sight(saw: Saw) -> Sight:
    outcome = {Saw.ALIVE: OK, Saw.UNKNOWN: CheckOutcome.UNRESOLVED}.get(saw, REFUSED)
    return Sight(outcome=outcome, reached=0 if saw is Saw.BLIND else 2, dialled=2, at="12:00:00")


@pytest.mark.parametrize("outcome", list(CheckOutcome))
@pytest.mark.parametrize(("reached", "dialled"), [(0, 0), (0, 2), (1, 2)])
def test_what_a_member_saw(outcome: CheckOutcome, reached: int, dialled: int) -> None:
    """Any answer of the master is life; silence is death only to who reaches a replica, if there is one."""
    saw = Sight(outcome=outcome, reached=reached, dialled=dialled).saw
    if outcome.is_answer:
        assert saw is Saw.ALIVE
    elif not outcome.is_silence:
        assert saw is Saw.UNKNOWN
    else:
        assert saw is (Saw.BLIND if (reached, dialled) == (0, 2) else Saw.DEAD)


TABLE = [
    # members; what each that answered saw: dead? could others still make it so?
    (1, "D", True, False),
    (2, "D", False, True),
    (2, "DD", True, False),
    (2, "DA", False, False),
    (3, "", False, True),
    (3, "D", False, True),
    (3, "DD", True, False),
    (3, "DA", False, True),
    (3, "DDA", True, False),
    (3, "DAA", False, False),
    (3, "DB", False, True),
    (3, "DBB", False, False),
    (3, "DU", False, True),
    (3, "DUU", False, False),
    (3, "AA", False, False),
    (4, "DD", False, True),
    (4, "DDA", False, True),
    (4, "DDAA", False, False),
    (4, "DDD", True, False),
    (5, "DD", False, True),
    (5, "DDAA", False, True),
    (5, "DDD", True, False),
    (5, "DDDAA", True, False),
    (5, "DDBUA", False, False),
]
WORDS = {"D": Saw.DEAD, "A": Saw.ALIVE, "B": Saw.BLIND, "U": Saw.UNKNOWN}


@pytest.mark.parametrize(("number", "said", "is_dead", "is_open"), TABLE)
def test_the_table_of_verdicts(number: int, said: str, is_dead: bool, is_open: bool) -> None:
    members = MEMBERS[:number]
    sights = {member: sight(WORDS[word]) for member, word in zip(members, said, strict=False)}
    verdict = judge(members, sights)
    assert (verdict.is_dead, verdict.is_open) == (is_dead, is_open)
    assert len(verdict.facts) == number


def test_only_a_strict_majority_of_all_members_is_enough() -> None:
    """Of every number of members up to seven, and of everything that they can have seen or left unsaid."""
    for number in range(1, 8):
        members = "abcdefg"[:number]
        for said in combinations_with_replacement([None, *Saw], number):
            sights = {
                member: sight(saw) for member, saw in zip(members, said, strict=True) if saw is not None
            }
            dead = sum(saw is Saw.DEAD for saw in said)
            assert judge(members, sights).is_dead == (2 * dead > number), said


def test_who_is_no_member_has_no_voice() -> None:
    sights = {name: sight(Saw.DEAD) for name in ("a", "stranger", "another")}
    verdict = judge("abc", sights)
    assert not verdict.is_dead
    assert not any("stranger" in fact for fact in verdict.facts)


def test_the_facts_say_who_saw_what_and_when() -> None:
    sights = {
        "a": Sight(outcome=REFUSED, error="nobody listens", reached=1, dialled=2, at="10:00:01"),
        "b": Sight(outcome=OK, at="10:00:02"),
    }
    assert judge("abc", sights).facts == (
        "a says dead at 10:00:01: refused (nobody listens); it reached 1 of 2 replicas",
        "b says alive at 10:00:02: ok",
        "c did not answer",
    )


# The finding


def _found(*, replica: dict[str, object], disputed: bool) -> ReplicationAnalysis:
    servers = server("m", "", LOST), server("a", "m", replica)
    (entry,) = (
        one
        for one in analyze(
            derive(servers, (), TreePolicy(), NOW),
            AnalysisPolicy(),
            NOW,
            disputed={key("m"): ("b says alive",)} if disputed else {},
        )
        if one.analyzed_instance_key == key("m")
    )
    return entry


def test_a_disputed_master_is_not_acted_upon_and_says_who_saw_what() -> None:
    entry = _found(replica=CANNOT_CONNECT, disputed=False)
    assert (entry.analysis.value, entry.actionable) == ("DeadMaster", True)
    entry = _found(replica=CANNOT_CONNECT, disputed=True)
    assert (entry.analysis.value, entry.actionable) == ("DisputedMaster", False)
    assert (entry.recovery, entry.is_detected) == (RecoveryKind.NONE, True)
    assert "DeadMaster as seen from here" in entry.description
    assert "b says alive" in entry.description
    assert "b says alive" in entry.reasons


def test_a_dispute_is_about_death_only() -> None:
    entry = _found(replica={}, disputed=True)
    assert entry.analysis.value == "UnreachableMaster"
