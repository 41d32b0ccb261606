"""The journal of one recovery in the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from services.store.errors import StoreError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.records import JournalEntry

__all__ = ["StoreJournal"]

_WAITING_LINES = 1000
_GATHER_SECONDS = 0.25
_CLOSE_SECONDS = 5.0
_log = structlog.get_logger(__name__)


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
            try:
                if lines:
                    await self._store.journal.add_steps(self._uid, lines)
            except StoreError as error:
                _log.warning("audit lines not kept", uid=self._uid[:24], lines=lines, reason=str(error))

    async def close(self) -> None:
        """Wait until what was said is kept, for a bounded time."""
        self._closing.set()
        with contextlib.suppress(asyncio.QueueFull):
            self._lines.put_nowait(None)
        await asyncio.wait({self._writer}, timeout=_CLOSE_SECONDS)
        self._writer.cancel()
