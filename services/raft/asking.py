"""Questions between members, beside the log: what one of them sees, now.

A question goes out on the connection that this member dialled, its answer comes on the one that it accepted:
both are authenticated, and who is not connected both ways is not heard. Nothing is kept and nothing is
repeated: an answer that comes after its time is dropped.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterable

import msgpack
import structlog

from services.raft.errors import PeerError

__all__ = ["ANSWER", "QUESTION", "Answer", "Asking", "nobody_answers"]

QUESTION, ANSWER = b"\2", b"\3"
"""The kinds of the frames, beside those of ``peers``."""

_BYTES_MAX = 16 * 1024
_ANSWERING_MAX = 16
_ANSWER_SECONDS = 2.0
_log = structlog.get_logger(__name__)

Answer = Callable[[bytes], Awaitable[bytes]]
"""What this member says to a question. It may raise: then it says nothing."""


async def nobody_answers(question: bytes) -> bytes:
    raise PeerError("this member answers no questions")


class Asking:
    """``send`` gives a frame to a member and says whether it is connected."""

    def __init__(self, send: Callable[[str, bytes], bool], answer: Answer) -> None:
        self._send, self._answer = send, answer
        self._numbers = itertools.count(secrets.randbits(48))  # an answer to an earlier run is none
        self._asked: dict[int, asyncio.Queue[tuple[str, bytes]]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def ask(
        self, members: Iterable[str], question: bytes, *, seconds: float, heard: Callable[[str, bytes], bool]
    ) -> None:
        """Give each answer to ``heard`` as it comes, until that says that it is enough, all have answered, or
        the time is up."""
        number, answers = next(self._numbers), asyncio.Queue[tuple[str, bytes]]()
        self._asked[number] = answers
        frame = QUESTION + bytes(msgpack.packb([number, question]))
        try:
            waits_for = {member for member in members if self._send(member, frame)}
            deadline = asyncio.get_running_loop().time() + seconds
            while waits_for:
                left = deadline - asyncio.get_running_loop().time()
                try:
                    member, answer = await asyncio.wait_for(answers.get(), max(0.0, left))
                except asyncio.TimeoutError:
                    return
                if member in waits_for:
                    waits_for.discard(member)
                    if heard(member, answer):
                        return
        finally:
            del self._asked[number]

    def received(self, sender: str, kind: bytes, data: bytes) -> None:
        """Raises PeerError if it is none."""
        try:
            number, said = msgpack.unpackb(data)
            fits = type(number) is int and type(said) is bytes and len(said) <= _BYTES_MAX
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise PeerError("a question or answer that is none") from error
        if not fits:
            raise PeerError("a question or answer that is none")
        if kind == QUESTION:
            self._take(sender, number, said)
        elif number in self._asked:
            self._asked[number].put_nowait((sender, said))

    def _take(self, sender: str, number: int, question: bytes) -> None:
        if len(self._answering) >= _ANSWERING_MAX:
            return  # it counts as not heard
        task = asyncio.ensure_future(self._say(sender, number, question))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _say(self, sender: str, number: int, question: bytes) -> None:
        try:
            said = await asyncio.wait_for(self._answer(question), _ANSWER_SECONDS)
        except Exception as error:  # whatever it is, the asker is to hear nothing rather than a guess
            _log.warning("raft: a question is not answered", member=sender, reason=repr(error))
            return
        self._send(sender, ANSWER + bytes(msgpack.packb([number, said])))

    async def stop(self) -> None:
        tasks = list(self._answering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
