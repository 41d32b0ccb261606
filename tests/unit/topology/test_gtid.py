"""GTID sets against an obvious model: Python's sets of single transactions.

What a real server says of the same texts is in tests/property/test_gtid_against_server.py.
"""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given

from services.topology.gtid import MAX_GNO, MAX_TEXT_LENGTH, GtidSet, GtidSource, GtidSyntaxError
from tests.gtid_texts import UUIDS, Sample, samples

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "8a94f357-aab4-11df-86ab-c80aa9429562"


def gtids(text: str) -> GtidSet:
    return GtidSet.parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (" \n", ""),
        (",, ,", ""),
        (f"{A}:1-3", f"{A}:1-3"),
        (f"{A}:1-1", f"{A}:1"),
        (f"{A}:007", f"{A}:7"),
        (f"{A}:4-6:1-3:8", f"{A}:1-6:8"),
        (f"{A}:1-5:2-9:3", f"{A}:1-9"),
        (A.upper() + ":1", f"{A}:1"),
        (A.replace("-", "") + ":1", f"{A}:1"),
        ("{" + A + "}:1", f"{A}:1"),
        (f"{B}:1,{A}:1", f"{A}:1,\n{B}:1"),
        (f"{A}:1,{B}:1,{A}:2", f"{A}:1-2,\n{B}:1"),
        (f"\t{A} : 1 - 3 : 5 : Tag : 8 - 9 ,\r\n", f"{A}:1-3:5:tag:8-9"),
        (f"{A}:Tag:1:2-5:_x9:7,{A}:3", f"{A}:3:_x9:7:tag:1-5"),
        (f"{A}:b:1:aa:1:a_:1:a1:1:a:1:_:1", f"{A}:_:1:a:1:a1:1:a_:1:aa:1:b:1"),
        (f"{A}:tag:1,{A}:5", f"{A}:5:tag:1"),
        (f"{A}:{'t' * 32}:1", f"{A}:{'t' * 32}:1"),
        (f"{A}:{MAX_GNO}", f"{A}:{MAX_GNO}"),
        # nothing in them, and a server takes them
        (A, ""),
        (f"{A}:3-1", ""),
        (f"{A}:tag", ""),
        (f"{A}:tag:other:1", f"{A}:other:1"),
    ],
)
def test_a_text_is_read_and_printed_as_a_server_does(text: str, canonical: str) -> None:
    assert str(gtids(text)) == canonical
    assert str(gtids(canonical)) == canonical


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("garbage", "'garbage'"),
        ("0-1-100", "'0-1-100'"),  # MariaDB's
        (f"{A}:1,x:1", "'x:1'"),
        (f"{A[:-1]}:1", f"'{A[:-1]}:1'"),
        (f"+{A}:1", f"'+{A}:1'"),
        ("{" + A + ":1", "{" + A),
        (f"{A}:", "''"),
        (f"{A}:1:", "''"),
        (f"{A}::1", "''"),
        (f"{A}:0", "'0'"),
        (f"{A}:0-5", "'0'"),
        (f"{A}:1 2", "'1 2'"),
        (f"{A}:1-", "'1-'"),
        (f"{A}:-1", "'-1'"),
        (f"{A}:1-3-5", "'1-3-5'"),
        (f"{A}:9a:1", "'9a'"),
        (f"{A}:a-b:1", "'a-b'"),
        (f"{A}:é:1", "'é'"),
        (f"{A}:{'t' * 33}:1", f"'{'t' * 33}'"),
        (f"{A}:{MAX_GNO + 1}", str(MAX_GNO + 1)),
        (f"{A}:1-{MAX_GNO + 1}", str(MAX_GNO + 1)),
        (f"{A}:1-{'9' * 10_000}", "'999"),
        (f"{A}:1\u00a0", "1\\xa0"),  # white space to Python, not to a server
        (f"{A}:\u0661", "\u0661"),  # a digit to Python
    ],
)
def test_the_offending_piece_is_named(text: str, named: str) -> None:
    with pytest.raises(GtidSyntaxError) as caught:
        gtids(text)
    assert named in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_highest_number_is_the_servers() -> None:
    assert gtids(f"{A}:9223372036854775806").count == 1
    with pytest.raises(GtidSyntaxError, match="9223372036854775807"):
        gtids(f"{A}:9223372036854775807")


def test_a_text_beyond_the_limit_is_refused() -> None:
    assert gtids("," * MAX_TEXT_LENGTH).is_empty
    with pytest.raises(GtidSyntaxError, match=str(MAX_TEXT_LENGTH)):
        gtids("," * (MAX_TEXT_LENGTH + 1))


@given(samples())
def test_a_set_is_its_transactions(sample: Sample) -> None:
    value = gtids(sample.text)
    assert value.count == len(sample.members)
    assert value.is_empty == (not sample.members)
    assert bool(value) == bool(sample.members)
    assert value.sources() == {(uuid, tag) for uuid, tag, _ in sample.members}
    one_by_one = ",".join(f"{uuid}:{tag}:{n}" if tag else f"{uuid}:{n}" for uuid, tag, n in sample.members)
    assert value == gtids(one_by_one)
    assert hash(value) == hash(gtids(one_by_one))
    assert gtids(str(value)) == value
    assert pickle.loads(pickle.dumps(value)) == value


@given(samples(), samples())
def test_operations_are_those_of_sets(left: Sample, right: Sample) -> None:
    a, b = gtids(left.text), gtids(right.text)
    for ours, model in (
        (a | b, left.members | right.members),
        (a & b, left.members & right.members),
        (a - b, left.members - right.members),
    ):
        assert set(_members(ours)) == model
        assert gtids(str(ours)) == ours  # merged and sorted like a parsed one
    assert (a == b) == (left.members == right.members)
    assert a.contains(b) == (a >= b) == (b <= a) == (left.members >= right.members)
    assert (a > b) == (b < a) == (left.members > right.members)


@given(samples(), samples(), samples())
def test_the_laws_of_set_algebra_hold(x: Sample, y: Sample, z: Sample) -> None:
    a, b, c = gtids(x.text), gtids(y.text), gtids(z.text)
    assert a | b == b | a
    assert a & b == b & a
    assert a | (b | c) == (a | b) | c
    assert a & (b | c) == (a & b) | (a & c)
    assert a - (b | c) == (a - b) & (a - c)
    assert (a - b) | (a & b) == a
    assert ((a - b) & b).is_empty
    assert a | a == a & a == a - GtidSet.EMPTY == a | GtidSet.EMPTY == a
    assert a | b >= a >= a & b >= GtidSet.EMPTY
    assert (a | b).count + (a & b).count == a.count + b.count


@given(samples())
def test_only_and_without_split_a_set(sample: Sample) -> None:
    value = gtids(sample.text)
    chosen = {UUIDS[0].upper(), UUIDS[2], "", "No"}  # as instances carry them, unknown ones included
    assert {uuid for uuid, _ in value.only(chosen).sources()} <= {UUIDS[0], UUIDS[2]}
    assert {uuid for uuid, _ in value.without(chosen).sources()} <= {UUIDS[1]}
    assert value.only(chosen) | value.without(chosen) == value
    assert (value.only([]), value.without([])) == (GtidSet.EMPTY, value)


def test_only_and_without_take_all_tags_of_a_server() -> None:
    value = gtids(f"{A}:1-3:tag:5,{B}:7:tag:1")
    assert str(value.only([A])) == f"{A}:1-3:tag:5"
    assert str(value.without([A])) == f"{B}:7:tag:1"
    assert value.sources() == {
        GtidSource(A, ""),
        GtidSource(A, "tag"),
        GtidSource(B, ""),
        GtidSource(B, "tag"),
    }


def test_one_uuid_is_not_a_collection_of_uuids() -> None:
    with pytest.raises(AssertionError, match="collection"):
        gtids(f"{A}:1").without(A)


def test_the_same_number_under_another_tag_is_another_transaction() -> None:
    assert not gtids(f"{A}:1-9") >= gtids(f"{A}:tag:5")
    assert (gtids(f"{A}:5") & gtids(f"{A}:tag:5")).is_empty


def test_of_two_sets_neither_may_hold_the_other() -> None:
    a, b = gtids(f"{A}:1-3"), gtids(f"{A}:2-4")
    assert not a >= b
    assert not a <= b


def test_what_is_no_set_is_no_operand() -> None:
    with pytest.raises(TypeError):
        gtids(f"{A}:1") | f"{A}:1"  # type: ignore[operator]


def test_transactions_are_not_enumerated() -> None:
    everything = gtids(f"{A}:1-{MAX_GNO}:tag:1-{MAX_GNO}")
    hole = gtids(f"{A}:{2**40}")
    assert everything.count == 2 * MAX_GNO
    assert (everything - hole).count == 2 * MAX_GNO - 1
    assert (everything - hole) | hole == everything
    assert not everything - hole >= hole
    assert str(everything - hole) == f"{A}:1-{2**40 - 1}:{2**40 + 1}-{MAX_GNO}:tag:1-{MAX_GNO}"


@pytest.mark.timeout(30)
def test_operations_are_linear_in_the_intervals() -> None:
    """Quadratic ones would take hours."""
    size = 100_000
    odd = gtids(f"{A}:" + ":".join(str(2 * n + 1) for n in range(size)))
    even = gtids(f"{A}:" + ":".join(str(2 * n) for n in range(size, 0, -1)))
    everything = gtids(f"{A}:1-{2 * size}")
    assert odd | even == everything
    assert everything - odd == even
    assert (odd & even).is_empty
    assert everything >= odd
    assert not odd >= even
    assert gtids(str(odd)) == odd


def _members(value: GtidSet) -> list[tuple[str, str, int]]:
    """The transactions of a small set, read from its canonical text and nothing else."""
    members: list[tuple[str, str, int]] = []
    for piece in filter(None, str(value).split(",\n")):
        uuid, *parts = piece.split(":")
        tag = ""
        for part in parts:
            first, _, last = part.partition("-")
            if first.isdigit():
                members += ((uuid, tag, n) for n in range(int(first), int(last or first) + 1))
            else:
                tag = part
    return members
