"""MariaDB's states and positions as sets: against the slow, obvious model, and by example."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.topology.gtid import GtidSet, GtidSyntaxError
from services.topology.mariadb_gtid import MAX_SEQUENCE, MariadbGtidSet

Members = set[tuple[int, int, int]]

parse = MariadbGtidSet.parse


def states(highest: int = 8) -> st.SearchStrategy[dict[tuple[int, int], int]]:
    sources = st.tuples(st.integers(0, 1), st.integers(1, 3))
    return st.dictionaries(sources, st.integers(1, highest), max_size=4)


def text_of(state: dict[tuple[int, int], int]) -> str:
    return ",".join(f"{domain}-{server}-{last}" for (domain, server), last in state.items())


def members(state: dict[tuple[int, int], int]) -> Members:
    return {(*source, number) for source, last in state.items() for number in range(1, last + 1)}


def counted(found: MariadbGtidSet) -> Members:
    """By asking for every transaction."""
    return {
        (domain, server, number)
        for domain in (0, 1)
        for server in (1, 2, 3)
        for number in range(1, 10)
        if found >= parse(f"{domain}-{server}-{number}..{number}")
    }


@given(states(), states())
@settings(deadline=None)
def test_the_algebra_is_that_of_sets(
    left: dict[tuple[int, int], int], right: dict[tuple[int, int], int]
) -> None:
    one, other = parse(text_of(left)), parse(text_of(right))
    mine, theirs = members(left), members(right)
    assert counted(one) == mine
    assert counted(one | other) == mine | theirs
    assert counted(one - other) == mine - theirs
    assert counted(one & other) == mine & theirs
    assert (one >= other) == (mine >= theirs)
    assert bool(one) == bool(mine)
    for found in (one, one - other, (one | other) - (one & other)):
        assert parse(str(found)) == found, "what is printed is read again"


@given(states(), states())
@settings(deadline=None)
def test_the_count_is_never_more_than_there_are(
    left: dict[tuple[int, int], int], right: dict[tuple[int, int], int]
) -> None:
    difference = parse(text_of(left)) - parse(text_of(right))
    assert (difference.count > 0) == bool(difference)
    assert difference.count <= len(counted(difference))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """What one server has written, in order: in each domain the numbers grow, whoever gives them."""
    next_number = {0: 1, 1: 1}
    written = []
    for domain, server in draw(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3)), max_size=12)):
        written.append((domain, server, next_number[domain]))
        next_number[domain] += 1
    return written


@given(histories(), st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_position_in_a_known_history_tells_all_that_came_before_it(
    history: list[tuple[int, int, int]], at: int, seen: int
) -> None:
    """However little of the history was seen, it never tells of what comes after the position."""
    has, known = history[:at], history[:seen]
    last = {domain: (domain, server, number) for domain, server, number in has}
    position = ",".join("-".join(map(str, gtid)) for gtid in last.values())
    state = {(domain, server): number for domain, server, number in known}
    told = MariadbGtidSet.reached(position, parse(text_of(state)))
    for gtid in has:
        if gtid in known and any(gtid[0] == d and (d, s) in state for d, s, _ in last.values()):
            domain = gtid[0]
            if (domain, last[domain][1]) in state:
                assert told >= parse("{}-{}-{}".format(*gtid)), gtid
    for domain, server, number in history[at:]:
        slice_of_one = parse(f"{domain}-{server}-{number}..{number}")
        assert not told >= slice_of_one, "it has not come so far"


def test_a_position_of_another_history_tells_of_itself_only() -> None:
    history = parse("0-1-100,0-2-150")
    assert str(MariadbGtidSet.reached("0-2-150", history)) == "0-1-100,0-2-150"
    assert str(MariadbGtidSet.reached("0-2-120", history)) == "0-1-100,0-2-120"
    assert str(MariadbGtidSet.reached("0-2-50", history)) == "0-1-50,0-2-50"
    assert str(MariadbGtidSet.reached("0-9-150", history)) == "0-9-150"
    assert str(MariadbGtidSet.reached("0-9-150", history, {9})) == "0-1-100,0-2-150,0-9-150"
    assert str(MariadbGtidSet.reached("1-2-5", history)) == "1-2-5", "another domain"
    assert MariadbGtidSet.reached("", history) == MariadbGtidSet.EMPTY


def test_what_is_written_and_what_is_not() -> None:
    assert str(parse(" 1-2-3 ,0-10-4,\n0-2-5")) == "0-2-5,0-10-4,1-2-3", "by number, not by text"
    assert parse("0-1-0") == parse("") == MariadbGtidSet.EMPTY
    assert str(parse("0-1-9") - parse("0-1-4")) == "0-1-5..9"
    assert str(parse("0-1-9,0-2-12").without([1])) == "0-2-12"
    assert parse(f"4294967295-1-{MAX_SEQUENCE}").count == MAX_SEQUENCE
    for wrong in (
        "0-1",
        "0-1-2-3",
        "a-1-2",
        "0-1-x",
        "uuid:1-5",
        "4294967296-1-1",
        f"0-1-{MAX_SEQUENCE + 1}",
    ):
        with pytest.raises(GtidSyntaxError, match=wrong):
            parse(wrong)


def test_the_flavours_do_not_mix() -> None:
    with pytest.raises(TypeError, match="do not mix"):
        parse("0-1-1") | GtidSet.EMPTY  # type: ignore[operator]
