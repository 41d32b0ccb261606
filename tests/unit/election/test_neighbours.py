"""Who lives is told by a counter that moves, on the reader's clock."""

from __future__ import annotations

from dataclasses import replace

from services.election.neighbours import GONE_SECONDS, LIVES_SECONDS, Neighbours
from services.store.nodes import NodeRow

ME = NodeRow(node_id="me", host="m", token="", uri="", version="", backend="", counter=1)
IT = replace(ME, node_id="it", host="i")


def ids(rows: tuple[NodeRow, ...]) -> list[str]:
    return [row.node_id for row in rows]


def at(row: NodeRow, counter: int) -> NodeRow:
    return replace(row, counter=counter)


def test_one_that_was_only_seen_may_be_long_dead() -> None:
    others = Neighbours("me")
    others.saw([ME, at(IT, 900)], 10.0)
    assert others.living(10.0) == ()
    assert others.row_of("it") == at(IT, 900)
    others.saw([ME, at(IT, 901)], 11.0)
    assert others.living(11.0) == (at(IT, 901),)


def test_one_that_stands_still_is_not_alive() -> None:
    others = Neighbours("me")
    for counter in (1, 2):
        others.saw([at(ME, counter), at(IT, counter)], float(counter))
    for second in range(3, 9):
        others.saw([at(ME, second), at(IT, 2)], float(second))
        assert ids(others.living(float(second))) == (["it"] if second <= 2 + LIVES_SECONDS else [])
    others.saw([ME, at(IT, 1)], 9.0)  # a store that was put back: it moves all the same
    assert ids(others.living(9.0)) == ["it"]


def test_a_reader_that_stops_reading_knows_nobody() -> None:
    others = Neighbours("me")
    others.saw([IT], 1.0)
    others.saw([at(IT, 2)], 2.0)
    assert others.living(2.0 + LIVES_SECONDS + 0.1) == ()


def test_one_whose_row_is_gone_is_gone() -> None:
    others = Neighbours("me")
    others.saw([IT], 1.0)
    others.saw([at(IT, 2)], 2.0)
    others.saw([ME], 2.5)
    assert others.living(2.5) == ()
    assert others.row_of("it") is None


def test_what_stands_still_for_long_is_to_be_removed_but_never_oneself() -> None:
    others = Neighbours("me")
    others.saw([ME, IT], 0.0)
    assert others.gone(GONE_SECONDS) == ()
    assert others.gone(GONE_SECONDS + 1) == ("it",)
