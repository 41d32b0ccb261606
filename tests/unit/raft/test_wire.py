"""Messages as bytes: each comes back as it was, and nothing else comes in."""

from __future__ import annotations

import msgpack
import pytest

from services.consensus.messages import (
    Append,
    Entry,
    Inquiry,
    InquiryReply,
    Install,
    Message,
    Reply,
    Snapshot,
    TimeoutNow,
    Vote,
    VoteReply,
)
from services.raft.errors import PeerError
from services.raft.wire import decode, encode


@pytest.mark.parametrize(
    "message",
    [
        Vote(3, 7, 2, pre=True),
        VoteReply(3, 4, granted=True),
        Append(3, 9, 6, 2, (Entry(7, 3, None), Entry(8, 3, b"\x00\xff")), 5),
        Append(3, 9, 6, 2, (), 5),
        Reply(3, 9, accepted=False, index=4, counts=True),
        Install(3, 9, Snapshot(5, 2, b"state")),
        TimeoutNow(3),
        Inquiry(2**63 - 1),
        InquiryReply(5, 3, -1, leads=True, last_index=8),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_comes_back(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        [],
        [99, 1],
        [6],
        [6, 1, 2],
        [6, "1"],
        [6, True],
        [6, None],
        [1, 3, 7, 2, 1, 0],
        [3, 3, 9, 6, 2, [[7, 3]], 5],
        [3, 3, 9, 6, 2, [[7, 3, "text"]], 5],
        [5, 3, 9, [5, 2]],
        {"6": 1},
    ],
    ids=repr,
)
def test_what_is_no_message_is_refused(value: object) -> None:
    with pytest.raises(PeerError, match="no message"):
        decode(value if isinstance(value, bytes) else msgpack.packb(value))
