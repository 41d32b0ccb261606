"""What raft members tell each other of servers that are not agreed on."""

from __future__ import annotations

import pytest

from services.registry.sharing import found_from, found_to
from services.topology.keys import InstanceKey


def test_an_answer_is_read_as_it_was_given() -> None:
    keys = (InstanceKey("::1", 3307), InstanceKey("db1", 3306))
    assert found_from(found_to(reversed(keys))) == keys
    assert found_from(found_to(())) == ()


def test_an_answer_has_a_limit() -> None:
    keys = [InstanceKey("h" * 200, port) for port in range(1, 1000)]
    answer = found_to(keys)
    assert len(answer) < 16 * 1024
    assert set(found_from(answer)) < set(keys)


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[1]", b'[["", 1]]', b'[["a", 0]]', b'[["a", "1"]]', b'[["a", 99999]]', b"\xff"]
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError):
        found_from(answer)
