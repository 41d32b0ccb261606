"""Binary log coordinates: order by number, and no answer where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.topology.coordinates import (
    NO_COORDINATES,
    BinlogCoordinates,
    IncomparableCoordinatesError,
    InvalidCoordinatesError,
)


def at(text: str) -> BinlogCoordinates:
    return BinlogCoordinates.parse(text)


def test_files_are_ordered_by_their_number() -> None:
    assert at("mysql-bin.999999:4") < at("mysql-bin.1000000:4")
    assert at("mysql-bin.000009:900") < at("mysql-bin.000010:4")
    assert at("db.host.1:4") < at("db.host.2:4")


def test_positions_are_ordered_within_a_file() -> None:
    assert at("mysql-bin.000001:9") < at("mysql-bin.000001:10")
    assert at("mysql-bin.000001:10") <= at("mysql-bin.000001:10")


@given(*(st.tuples(st.integers(1, 2**31 - 1), st.integers(0, 2**63 - 1)) for _ in range(2)))
def test_order_is_that_of_number_and_position(left: tuple[int, int], right: tuple[int, int]) -> None:
    a, b = (BinlogCoordinates(f"mysql-bin.{number:06d}", position) for number, position in (left, right))
    assert (a < b) == (left < right)
    assert (a >= b) == (left >= right)
    assert (a == b) == (left == right)
    assert at(str(a)) == a


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (at("a-bin.000001:4"), at("b-bin.000002:4")),
        (at("mysql-bin.000001:4"), NO_COORDINATES),
        (at("mysql-bin.000001:4"), at("//mysql-bin.000001:4:4")),
        (at("//mysql-bin.000001:4"), at("//mysql-bin.000002:4")),
        (at("mysql-bin.index:4"), at("mysql-bin.index:5")),
        (at("bin.000001:4"), BinlogCoordinates("bin.000002", 4, is_relay=True)),
    ],
)
def test_what_is_not_one_sequence_has_no_order(left: BinlogCoordinates, right: BinlogCoordinates) -> None:
    for a, b in ((left, right), (right, left)):
        assert a != b
        with pytest.raises(IncomparableCoordinatesError, match=r":[0-9]"):
            assert a < b
        with pytest.raises(ValueError):
            assert a >= b


def test_parsing() -> None:
    assert at(" mysql-bin.000012:345\n") == BinlogCoordinates("mysql-bin.000012", 345)
    assert BinlogCoordinates.parse("relay.000001:4", is_relay=True).is_relay
    assert at(str(NO_COORDINATES)) == NO_COORDINATES
    assert at("mysql-bin.000012:345").file_number == 12
    assert at("mysql-bin.index:345").file_number is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mysql-bin.000001",
        "mysql-bin.000001:",
        "mysql-bin.000001:x",
        "mysql-bin.000001:-4",
        "mysql-bin.000001:\u0664",
        ":4",
        f"mysql-bin.000001:{2**63}",
        f"mysql-bin.000001:{'9' * 5000}",
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidCoordinatesError):
        at(text)


def test_detached_and_empty() -> None:
    assert at("//mysql-bin.000001:4:4").is_detached
    assert at("//mysql-bin.000001:4:4").log_file == "//mysql-bin.000001:4"
    assert not at("mysql-bin.000001:4").is_detached
    assert NO_COORDINATES.is_empty
    assert not at("mysql-bin.000001:4").is_empty
