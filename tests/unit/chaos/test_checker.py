"""The checker of the chaos test, on histories that break one rule each, and on ones that come close."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.checker import DIALLED_SECONDS, FENCED_SECONDS, LATE_SECONDS, check
from tests.chaos.history import (
    Election,
    Healing,
    History,
    Life,
    LockTaken,
    Reading,
    Registration,
    Statement,
    Trouble,
    read_general_log,
)

A, B = "10.0.0.1:3301", "10.0.0.2:3302"
HEALED = Healing(at=900.0, seconds=3.0)


def history(**fields: object) -> History:
    return History(**{"lossless": True, "healings": [HEALED], **fields})  # type: ignore[arg-type]


def broken(found: History) -> list[str]:
    return [violation.rule for violation in check(found)]


def statement(
    at: float, term: int, server: str = A, text: str = "STOP REPLICA", **fields: object
) -> Statement:
    return Statement(**{
        "at": at, "server": server, "session": (1, term), "term": term, "step": "1", "text": text, **fields,
    })  # type: ignore[arg-type]  # fmt: skip


def opening(at: float, term: int, server: str) -> Statement:
    never = "2100-01-01 00:00:00.000000"
    text = f"SET GLOBAL read_only = IF(SYSDATE(6) < '{never}', 0, @@global.read_only)"
    return statement(at, term, server, text)


def closing(at: float, term: int, server: str) -> Statement:
    return statement(at, term, server, "SET GLOBAL super_read_only = 1")


def away(server: str, begin: float, end: float) -> Trouble:
    return Trouble("pause", server, begin, end, (server,))


def test_a_run_without_anything_wrong() -> None:
    assert check(history(
        statements=[statement(1, 1), opening(2, 1, A), closing(10, 2, A), opening(11, 2, B)],
        elections=[Election(0, "n1", 1, 1), Election(9, "n2", 1, 2)],
        registrations=[Registration(1, 1.1, "rule:a", "prefer", "acknowledged")],
        readings=[Reading(5, "n1", {"rule:a": "prefer"})],
        writes=10,
    )) == []  # fmt: skip


# I


@pytest.mark.parametrize("server", [A, B], ids=["on the same server", "on another one"])
def test_an_older_term_after_a_newer_one(server: str) -> None:
    assert broken(history(statements=[statement(1.0, 2, A), statement(1.000001, 1, server)])) == ["I"]


def test_who_only_ends_the_session_of_an_older_term_decides_nothing() -> None:
    taking = statement(1.0, 2, text="KILL 7", step="lock")
    assert check(history(statements=[taking, statement(1.1, 1)])) == []


def test_a_newer_term_is_not_ended_by_an_older_one() -> None:
    killed = LockTaken(0.5, A, (1, 7), 2)
    kill = statement(1.0, 1, text="KILL 7", step="lock")
    assert broken(history(locks=[killed], statements=[kill])) == ["I"]
    assert check(history(locks=[replace(killed, term=1)], statements=[kill])) == []
    assert check(history(locks=[replace(killed, session=(2, 7))], statements=[kill])) == [], "its next life"


# II


def test_two_open_at_once() -> None:
    statements = [opening(1, 1, A), opening(2, 2, B)]
    found = broken(history(statements=statements))
    assert found == ["II", "II"], "it was opened, and the other was never closed"
    closed = [*statements, closing(3, 2, A)]
    assert broken(history(statements=closed)) == ["II"]


def test_the_first_was_closed_or_dead() -> None:
    assert check(history(statements=[opening(1, 1, A), closing(1.5, 2, A), opening(2, 2, B)])) == []
    dead = [Life(0, A, begins=True), Life(1.5, A, begins=False)]
    assert check(history(statements=[opening(1, 1, A), opening(2, 2, B)], lives=dead)) == []


def test_an_opening_whose_deadline_had_passed_opened_nothing() -> None:
    late = replace(opening(2, 2, B), text=opening(2, 2, B).text.replace("2100", "1969"))
    assert check(history(statements=[opening(1, 1, A), late])) == []


LATEST = 10 + DIALLED_SECONDS + FENCED_SECONDS


@pytest.mark.parametrize(("closed_at", "expected"), [(LATEST - 1, []), (LATEST + 1, ["II"])])
def test_who_could_not_be_reached_is_closed_when_it_is_back(closed_at: float, expected: list[str]) -> None:
    found = history(
        statements=[opening(1, 1, A), opening(5, 2, B), closing(closed_at, 2, A)], troubles=[away(A, 4, 10)]
    )
    assert broken(found) == expected


def test_who_was_back_long_before() -> None:
    found = history(
        statements=[opening(1, 1, A), opening(9, 2, B), closing(10, 2, A)], troubles=[away(A, 4, 5)]
    )
    assert broken(found) == ["II"]


def test_while_there_is_trouble_it_may_take_longer() -> None:
    other = Trouble("kill", "n1", 9, 60)
    found = history(
        statements=[opening(1, 1, A), opening(5, 2, B), closing(80, 2, A)], troubles=[away(A, 4, 10), other]
    )
    assert check(found) == []


def test_who_could_not_be_reached_and_stays_open() -> None:
    found = history(statements=[opening(1, 1, A), opening(5, 2, B)], troubles=[away(A, 4, 10)])
    assert broken(found) == ["II"]


def test_who_comes_back_as_it_was_configured_is_closed() -> None:
    lives = [Life(0, A, begins=True, writable=True), Life(3, A, begins=False)]
    back = Life(8, A, begins=True, writable=True)
    statements = [opening(4, 1, B)]
    assert check(history(statements=statements, lives=lives)) == []
    assert broken(history(statements=statements, lives=[*lives, back])) == ["II"]
    assert check(history(statements=[*statements, closing(9, 1, A)], lives=[*lives, back])) == []


def test_the_first_master_counts_as_open() -> None:
    lives = [Life(0, A, begins=True, writable=True)]
    assert broken(history(statements=[opening(4, 1, B), closing(5, 1, A)], lives=lives)) == ["II"]


def test_who_came_up_in_the_same_moment_was_silent_when_it_was_dialled() -> None:
    lives = [Life(3.9, A, begins=True, writable=True)]
    assert check(history(statements=[opening(4, 1, B), closing(5, 1, A)], lives=lives)) == []


# III


def test_terms_that_do_not_grow() -> None:
    assert broken(history(elections=[Election(1, "n1", 1, 2), Election(5, "n1", 2, 1)])) == ["III", "III"]
    assert broken(history(elections=[Election(1, "n1", 1, 2), Election(9, "n2", 1, 1)])) == ["III"]
    assert check(history(elections=[Election(2, "n1", 1, 2), Election(1, "n2", 1, 1)])) == []


def test_a_term_that_is_won_twice() -> None:
    assert broken(history(elections=[Election(1, "n1", 1, 1), Election(9, "n2", 1, 1)])) == ["III"]
    assert broken(history(elections=[Election(1, "n1", 1, 1), Election(9, "n1", 2, 1)])) == ["III"]


# IV


ASKED = [
    Registration(1, 1.1, "rule:a", "prefer", "acknowledged"),
    Registration(100, 100.1, "rule:a", "neutral", "acknowledged"),
]


@pytest.mark.parametrize("known", ["prefer", ""])
def test_an_acknowledged_registration_that_is_lost(known: str) -> None:
    assert broken(history(registrations=ASKED, readings=[Reading(200, "n2", {"rule:a": known})])) == ["IV"]


def test_what_was_known_between_the_two() -> None:
    assert check(history(registrations=ASKED, readings=[Reading(50, "n1", {"rule:a": "prefer"})])) == []


def test_of_what_was_never_answered_both_may_be() -> None:
    late = Registration(105, 110, "rule:a", "prefer_not", "unknown")
    for known in ("neutral", "prefer_not"):
        found = history(registrations=[*ASKED, late], readings=[Reading(200, "n1", {"rule:a": known})])
        assert check(found) == []
    long_ago = replace(late, sent=100 - LATE_SECONDS - 1, answered=99)
    refused = replace(late, outcome="refused")
    for not_this in (long_ago, refused):
        found = history(
            registrations=[*ASKED, not_this], readings=[Reading(200, "n1", {"rule:a": "prefer_not"})]
        )
        assert broken(found) == ["IV"]


# V, VI


def test_lost_writes() -> None:
    assert broken(history(missing=[3, 4])) == ["V"]
    assert check(history(missing=[3, 4], lossless=False)) == []


def test_what_did_not_heal() -> None:
    assert broken(history(healings=[HEALED, replace(HEALED, complaint="nobody leads")])) == ["VI"]
    assert broken(history(healings=[])) == ["VI"]


# Where it comes from


DAY = "2026-11-28"
STARTED = f"""\
/usr/sbin/mysqld, Version: 9.7.0 (MySQL). started with:
Tcp port: 3301  Unix socket: mysql.sock
Time                 Id Command    Argument
{DAY}T14:59:59.000001Z\t    9 Connect\torchestray@10.0.0.1 on  using TCP/IP
"""
DEADLINE = f"SYSDATE(6) < '{DAY} 15:00:03.000000'"
GUARD = (
    f"DO IF({DEADLINE} AND IS_USED_LOCK('orchestray:x') = CONNECTION_ID(), 1, (SELECT 1 UNION ALL SELECT 2))"
)
ASKING = "SELECT COALESCE(IS_USED_LOCK('orchestray:x:8')) AS newer, GET_LOCK('orchestray:x:7', 0) AS mine"
OPENING = f"/* orchestray term=7 step=3 */ SET GLOBAL read_only = IF({DEADLINE}, 0, @@global.read_only)"


def query(seconds: str, text: str) -> str:
    return f"{DAY}T15:00:{seconds}0000Z\t    9 Query\t{text}\n"


LOG = (
    STARTED
    + query("00.50", ASKING)
    + query("01.00", GUARD)
    + query("01.25", OPENING)
    + query("01.50", GUARD)
    + query("01.60", "SELECT 1")
    + query("01.70", GUARD)
    + STARTED
    + query("09.00", "/* orchestray term=8 step=lock */ KILL 12")
)


def test_a_general_log() -> None:
    log = read_general_log(A, LOG.splitlines())
    began = 1795878000.0  # 2026-11-28 15:00 UTC
    assert [(one.at - began, one.session, one.term, one.step) for one in log.statements] == [
        (1.25, (1, 9), 7, "3"),
        (9.0, (2, 9), 8, "lock"),
    ]
    assert [one.opens for one in log.statements] == [True, False]
    assert [one.takes_lock for one in log.statements] == [False, True]
    assert log.locks == (LockTaken(began + 0.5, A, (1, 9), 7),)
    assert (log.guards, log.refused) == (3, 2)


def test_a_history_that_was_kept(tmp_path: Path) -> None:
    kept = history(
        statements=[opening(1, 1, A)], lives=[Life(1, A, begins=True)], troubles=[away(A, 1, 2)],
        registrations=ASKED, readings=[Reading(1, "n1", {"a": "b"})], elections=[Election(1, "n1", 1, 1)],
        locks=[LockTaken(1, A, (1, 2), 3)],
    )  # fmt: skip
    kept.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == kept
