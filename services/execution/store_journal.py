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
_CLOSE_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class StoreJournal:
    """Intents and outcomes are written before anything goes on; lines for people follow behind."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid
        self._lines: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_WAITING_LINES)
        self._writer = asyncio.ensure_future(self._write_lines())

    async def write(self, entries: Sequence[JournalEntry]) -> None:
        await self._store.journal.write(*entries)

    async def say(self, message: str) -> None:
        _log.info("recovery", uid=self._uid[:24], step=message)
        with contextlib.suppress(asyncio.QueueFull):
            self._lines.put_nowait((utc_now(), message))

    async def _write_lines(self) -> None:
        while True:
            at, message = await self._lines.get()
            try:
                await self._store.journal.add_step(self._uid, message, at=at)
            except StoreError as error:
                _log.warning("audit line not kept", uid=self._uid[:24], line=message, reason=str(error))
            finally:
                self._lines.task_done()

    async def close(self) -> None:
        """Wait until what was said is kept, for a bounded time."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._lines.join(), _CLOSE_SECONDS)
        self._writer.cancel()
