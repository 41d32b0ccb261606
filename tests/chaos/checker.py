"""The rules that no history may break. Values in, violations out.

I    On all servers together no statement of a term follows one of a higher term, and no term ends the session
     of a higher one. What a guard refused is in no log; an opening whose deadline had passed opened nothing.
II   Nothing is opened while another server is open that could be reached; one that could not be reached, or
     that came back as it was configured, is closed soon after.
III  Terms only grow, and no two nodes lead in one.
IV   What was acknowledged is known to every node.
V    With lossless semi-sync no acknowledged write is lost.
VI   When faults end, everything heals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tests.chaos.history import Election, History, Life, Registration, Statement, Trouble

__all__ = ["DIALLED_SECONDS", "FENCED_SECONDS", "LATE_SECONDS", "Violation", "check"]

FENCED_SECONDS = 30.0
"""Within this time of quiet a server that must not be writable is closed; on a machine that is busy."""
LATE_SECONDS = 30.0
"""A request that was never answered may still be carried out as long after it was sent."""
DIALLED_SECONDS = 3.0
"""Who came back so shortly before an opening may have been silent when it was dialled for the last time."""
_CLOCK_SECONDS = 2.0
"""What a node says has the time in whole seconds, and the seconds of its clock do not end with ours."""


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    text: str


def check(history: History) -> list[Violation]:
    return [
        *_terms_in_order(history.statements),
        *_sessions_ended(history),
        *_one_open(history),
        *_terms_grow(history.elections),
        *_registrations(history),
        *_writes(history),
        *_healed(history),
    ]


# I


def _terms_in_order(statements: Iterable[Statement]) -> Iterator[Violation]:
    newest: Statement | None = None
    for one in sorted(statements, key=lambda one: one.at):
        if one.takes_lock:
            continue
        if newest is not None and one.term < newest.term:
            yield Violation("I", f"{_said(one)} after {_said(newest)}")
        else:
            newest = one


def _sessions_ended(history: History) -> Iterator[Violation]:
    terms: dict[tuple[str, tuple[int, int]], list[tuple[float, int]]] = {}
    for lock in history.locks:
        terms.setdefault((lock.server, lock.session), []).append((lock.at, lock.term))
    for one in history.statements:
        if not one.takes_lock or not one.text.startswith("KILL "):
            continue
        victim = (one.session[0], int(one.text.split()[1]))
        for at, term in terms.get((one.server, victim), ()):
            if at <= one.at and term > one.term:
                yield Violation("I", f"{_said(one)} ends a session of term {term}")


# II


@dataclass(frozen=True, slots=True)
class _Turn:
    """A server was opened (``by`` whom) or is not open any more (``by`` empty)."""

    at: float
    server: str
    by: str


def _one_open(history: History) -> Iterator[Violation]:
    open_since: dict[str, _Turn] = {}
    rivals: dict[str, tuple[float, _Turn]] = {}  # until when they have to be closed, and for whom
    for turn in sorted(_turns(history.statements, history.lives), key=lambda turn: turn.at):
        if rival := rivals.get(turn.server):
            until, successor = rival
            if turn.at > until:
                yield _not_closed(turn.server, successor)
            if not turn.by or turn.at > until:
                del rivals[turn.server]
        if not turn.by:
            open_since.pop(turn.server, None)
            continue
        for other, since in open_since.items():
            if other == turn.server:
                continue
            back = _back_at(history.troubles, other, turn.at)
            if since.by != "orchestray":
                back = max(back, since.at + DIALLED_SECONDS)
            if turn.by == "orchestray" and back <= turn.at:
                yield Violation(
                    "II",
                    f"{turn.server} was opened at {turn.at:.6f} while {other} was open, "
                    f"since {since.at:.6f} by {since.by}, and could be reached",
                )
            loser, winner = (other, turn) if turn.by == "orchestray" else (turn.server, since)
            until = _quiet_at(history.troubles, max(back, turn.at)) + FENCED_SECONDS
            rivals.setdefault(loser, (until, winner))
        open_since[turn.server] = turn
    for server, (_, successor) in rivals.items():
        yield _not_closed(server, successor)


def _not_closed(server: str, successor: _Turn) -> Violation:
    said = f"{server} was not closed in time, with {successor.server} open since {successor.at:.6f}"
    return Violation("II", f"{said} by {successor.by}")


def _turns(statements: Iterable[Statement], lives: Iterable[Life]) -> Iterator[_Turn]:
    for one in statements:
        if one.opens:
            yield _Turn(one.at, one.server, "orchestray")
        elif one.closes:
            yield _Turn(one.at, one.server, "")
    for life in lives:
        yield _Turn(life.at, life.server, "configuration" if life.begins and life.writable else "")


def _back_at(troubles: Iterable[Trouble], server: str, at: float) -> float:
    """Since when, or from when on, it is to be reached at that time; that time itself if it always was."""
    away = [replace(one, end=one.end + DIALLED_SECONDS) for one in troubles if server in one.away]
    return _end_of(away, at)


def _quiet_at(troubles: Sequence[Trouble], at: float) -> float:
    return _end_of(troubles, at)


def _end_of(troubles: Sequence[Trouble], at: float) -> float:
    while covering := [one.end for one in troubles if one.begin <= at < one.end]:
        at = max(covering)
    return at


# III


def _terms_grow(elections: Sequence[Election]) -> Iterator[Violation]:
    leads: dict[int, Election] = {}
    last: dict[str, Election] = {}
    for one in elections:  # of each node in its order
        first = leads.setdefault(one.term, one)
        before = last.get(one.node)
        repeated = before is not None and before.term == one.term and before.life == one.life
        if first.node != one.node or (first is not one and not repeated):
            yield Violation("III", f"term {one.term} was won twice, by {first.node} and by {one.node}")
        if before is not None and one.term < before.term:
            yield Violation("III", f"{one.node} led in term {one.term} after {before.term}")
        last[one.node] = one
    in_order = sorted(leads.values(), key=lambda one: one.term)
    for earlier, later in pairwise(in_order):
        if later.at < earlier.at - _CLOCK_SECONDS:
            said = f"term {later.term} ({later.node}) began at {later.at:.0f}"
            yield Violation("III", f"{said}, before term {earlier.term} ({earlier.node}) at {earlier.at:.0f}")


# IV


def _registrations(history: History) -> Iterator[Violation]:
    by_key: dict[str, list[Registration]] = {}
    for one in history.registrations:
        by_key.setdefault(one.key, []).append(one)
    for reading in history.readings:
        for key, asked in by_key.items():
            allowed = _allowed([one for one in asked if one.answered <= reading.at])
            if allowed and (found := reading.values.get(key, "")) not in allowed:
                said = f"{reading.node} knows {found!r} of {key} at {reading.at:.3f}"
                yield Violation("IV", f"{said}, acknowledged was {sorted(allowed)}")


def _allowed(asked: Sequence[Registration]) -> set[str]:
    """What may be known; nothing is said about a key that nothing was acknowledged of."""
    acknowledged = [one for one in asked if one.outcome == "acknowledged"]
    if not acknowledged:
        return set()
    last = max(acknowledged, key=lambda one: one.answered)
    unknown = {one.value for one in asked if one.outcome == "unknown" and one.sent > last.sent - LATE_SECONDS}
    return {last.value} | unknown


# V and VI


def _writes(history: History) -> Iterator[Violation]:
    if history.lossless and history.missing:
        some = ", ".join(map(str, sorted(history.missing)[:10]))
        yield Violation("V", f"{len(history.missing)} acknowledged writes are lost: {some}")


def _healed(history: History) -> Iterator[Violation]:
    for healing in history.healings:
        if healing.complaint:
            said = f"not healed after {healing.seconds:.0f} s at {healing.at:.0f}"
            yield Violation("VI", f"{said}: {healing.complaint}")
    if not history.healings:
        yield Violation("VI", "there was no phase without faults")


def _said(one: Statement) -> str:
    return f"term {one.term} step {one.step} on {one.server} at {one.at:.6f} ({one.text[:80]})"
