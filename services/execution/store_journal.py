"""The journal of one recovery in the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.store.errors import StoreError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.records import JournalEntry

__all__ = ["StoreJournal", "say_after_the_end"]

_WAITING_LINES = 1000
_GATHER_SECONDS = 0.25
_CLOSE_SECONDS = 5.0
_log = structlog.get_logger(__name__)


async def _add_lines(store: Store, uid: str, lines: list[tuple[str, str]]) -> None:
    try:
        if lines:
            await store.journal.add_steps(uid, lines)
    except StoreError as error:
        _log.warning("audit lines not kept", uid=uid[:24], lines=lines, reason=str(error))


def say_after_the_end(store: Store, uid: str) -> Callable[[str], Awaitable[None]]:
    """``StoreJournal.say`` for a recovery that has ended: each line is written at once."""

    async def say(message: str) -> None:
        _log.info("recovery", uid=uid[:24], step=message)
        await _add_lines(store, uid, [(utc_now(), message)])

    return say


class StoreJournal:
    """Intents and outcomes are written before anything goes on; lines for people follow behind."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid
        self._lines: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(_WAITING_LINES)
        self._closing = asyncio.Event()
        self._writer = asyncio.ensure_future(self._write_lines())

    async def write(self, entries: Sequence[JournalEntry]) -> None:
        await self._store.journal.write(*entries)

    async def say(self, message: str) -> None:
        if self._closing.is_set():  # a hook that ends after the recovery
            await say_after_the_end(self._store, self._uid)(message)
            return
        _log.info("recovery", uid=self._uid[:24], step=message)
        with contextlib.suppress(asyncio.QueueFull):
            self._lines.put_nowait((utc_now(), message))

    async def _write_lines(self) -> None:
        ended = False
        while not ended:
            waiting = [await self._lines.get()]
            # What is urgent goes to the store meanwhile: lines are gathered, and written together.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _GATHER_SECONDS)
            while not self._lines.empty():
                waiting.append(self._lines.get_nowait())
            ended = None in waiting
            lines = [line for line in waiting if line is not None]
            await _add_lines(self._store, self._uid, lines)

    async def close(self) -> None:
        """Wait until what was said is kept, for a bounded time."""
        self._closing.set()
        with contextlib.suppress(asyncio.QueueFull):
            self._lines.put_nowait(None)
        await asyncio.wait({self._writer}, timeout=_CLOSE_SECONDS)
        self._writer.cancel()
