"""Tags as people write them, and which servers an expression means."""

from __future__ import annotations

import pytest

from services.topology.keys import InstanceKey
from services.topology.registrations import InstanceTag
from services.topology.tags import InvalidTagError, TagTerm, matching, parse_expression, parse_term

A, B, C = (InstanceKey(name, 3306) for name in "abc")
TAGS = [
    InstanceTag(key=B, name="role", value="backup"),
    InstanceTag(key=A, name="role", value="web"),
    InstanceTag(key=A, name="new"),
    InstanceTag(key=C, name="new", value=""),
]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("role", TagTerm("role")),
        (" role ", TagTerm("role")),
        ("role=", TagTerm("role", "")),
        ("role=web", TagTerm("role", "web")),
        (" role = web \n", TagTerm("role", "web")),
        ("role=a=b", TagTerm("role", "a=b")),
        ("~role", TagTerm("role", negated=True)),
        ("! role=web", TagTerm("role", "web", negated=True)),
        ("role=~web", TagTerm("role", "~web")),
    ],
)
def test_a_term(text: str, term: TagTerm) -> None:
    assert parse_term(text) == term


@pytest.mark.parametrize("text", ["", "  ", "=web", "~", "~=web", "!~role", "~~role"])
def test_what_is_no_term(text: str) -> None:
    with pytest.raises(InvalidTagError, match=r"Unable to parse tag: .*; write name or name=value"):
        parse_term(text)


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("role", [A, B]),
        ("role=web", [A]),
        ("role=", []),
        ("new", [A, C]),
        ("new=", [A, C]),
        ("~role", [C]),
        ("!role", [C]),
        ("~new", [B]),
        ("~role=web", [B]),
        ("~role=other", [A, B]),
        ("~nobody", [A, B, C]),
        ("role,new", [A]),
        ("role, ~new", [B]),
        ("role=web,role=backup", []),
        ("nobody", []),
        ("Role", []),
    ],
)
def test_an_expression(expression: str, meant: list[InstanceKey]) -> None:
    assert matching(TAGS, parse_expression(expression)) == tuple(meant)


@pytest.mark.parametrize("text", ["", "a,", ",a", "a,,b", "a,~"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(InvalidTagError):
        parse_expression(text)
