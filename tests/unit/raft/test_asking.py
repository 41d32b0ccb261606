"""Questions between members: who is heard, in which time, and what is no answer."""

from __future__ import annotations

import asyncio
import time

import msgpack
import pytest

from services.raft.asking import ANSWER, QUESTION, Asking
from services.raft.errors import PeerError


class Members:
    """a asks; b and c answer as they are told. Frames go from one to the other in the same event loop."""

    def __init__(self, **answers: float | Exception | None) -> None:
        self.connected = {"a", *answers}
        self.asking = {name: Asking(self._sender(name), self._answer(name, answers)) for name in "abc"}
        self.heard: list[tuple[str, bytes]] = []

    def _sender(self, name: str):  # type: ignore[no-untyped-def]
        def send(to: str, frame: bytes) -> bool:
            if to not in self.connected:
                return False
            loop = asyncio.get_running_loop()
            loop.call_soon(self.asking[to].received, name, frame[:1], frame[1:])
            return True

        return send

    def _answer(self, name: str, answers: dict[str, float | Exception | None]):  # type: ignore[no-untyped-def]
        async def answer(question: bytes) -> bytes:
            how = answers.get(name)
            if isinstance(how, Exception):
                raise how
            await asyncio.sleep(how or 0.0)
            return name.encode() + b" to " + question

        return answer

    async def ask(self, seconds: float = 1.0, enough: int = 99) -> float:
        def heard(member: str, answer: bytes) -> bool:
            self.heard.append((member, answer))
            return len(self.heard) >= enough

        began = time.monotonic()
        await self.asking["a"].ask("bc", b"what?", seconds=seconds, heard=heard)
        return time.monotonic() - began


async def test_all_that_are_connected_are_heard() -> None:
    members = Members(b=0.0, c=0.0)
    assert await members.ask() < 0.9
    assert sorted(members.heard) == [("b", b"b to what?"), ("c", b"c to what?")]


async def test_who_is_away_is_not_waited_for() -> None:
    members = Members(b=0.0)
    assert await members.ask() < 0.9
    assert [member for member, _ in members.heard] == ["b"]


async def test_enough_is_enough() -> None:
    members = Members(b=0.0, c=5.0)
    assert await members.ask(seconds=3.0, enough=1) < 2.0
    for asking in members.asking.values():
        await asking.stop()


async def test_an_answer_after_its_time_is_dropped() -> None:
    members = Members(b=0.3, c=0.0)
    assert 0.1 <= await members.ask(seconds=0.1) < 0.3
    await asyncio.sleep(0.4)
    assert [member for member, _ in members.heard] == ["c"]


async def test_who_cannot_answer_says_nothing() -> None:
    members = Members(b=ValueError("not that"), c=0.0)
    await members.ask(seconds=0.1)
    assert [member for member, _ in members.heard] == ["c"]


async def test_an_answer_that_nobody_asked_for_and_one_that_comes_twice_count_nothing() -> None:
    members = Members(b=0.05, c=0.05)
    asking = asyncio.ensure_future(members.ask())
    await asyncio.sleep(0)
    (number,) = members.asking["a"]._asked
    for at in (number + 1, number, number):
        members.asking["a"].received("b", ANSWER, msgpack.packb([at, b"forged"]))
    await asking
    assert sorted(members.heard) == [("b", b"forged"), ("c", b"c to what?")]


async def test_more_than_can_be_answered_are_left_out() -> None:
    members = Members(b=0.2)
    for number in range(40):
        members.asking["b"].received("a", QUESTION, msgpack.packb([number, b"?"]))
    assert len(members.asking["b"]._answering) == 16
    await members.asking["b"].stop()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgpack.packb(1), msgpack.packb(["x", b""]), msgpack.packb([1, "text"]),
     msgpack.packb([1, b"x" * 20_000])],
)  # fmt: skip
async def test_what_is_none_is_refused(data: bytes) -> None:
    members = Members()
    for kind in (QUESTION, ANSWER):
        with pytest.raises(PeerError, match="that is none"):
            members.asking["a"].received("b", kind, data)
