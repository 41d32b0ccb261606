"""The journal of one recovery in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.store.errors import StoreError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.records import JournalEntry

__all__ = ["StoreJournal", "say_after_the_end"]

_WAITING_LINES = 1000
_GATHER_SECONDS = 0.25
_KEEP_SECONDS = 5.0
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
    """Intents and outcomes are written before anything goes on; lines for people follow behind, in order."""

    def __init__(self, store: Store, uid: str) -> None:
        self._store = store
        self._uid = uid
        self._lines: list[tuple[str, str]] = []
        self._writing = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, entries: Sequence[JournalEntry]) -> None:
        await self._store.journal.write(*entries)

    async def say(self, message: str) -> None:
        if self._closed:  # a hook that ends after the recovery
            await say_after_the_end(self._store, self._uid)(message)
            return
        _log.info("recovery", uid=self._uid[:24], step=message)
        if len(self._lines) < _WAITING_LINES:
            self._lines.append((utc_now(), message))
        if self._later is None or self._later.done():
            self._later = asyncio.ensure_future(self._keep_later())

    async def _keep_later(self) -> None:
        # What is urgent goes to the store meanwhile: lines are gathered, and written together.
        await asyncio.sleep(_GATHER_SECONDS)
        while self._lines:
            await self._write_lines()

    async def _write_lines(self) -> None:
        async with self._writing:
            lines, self._lines = self._lines, []
            await _add_lines(self._store, self._uid, lines)

    async def keep(self) -> None:
        """Write what was said, for a bounded time; what is late follows by itself."""
        self._keeping = asyncio.ensure_future(self._write_lines())
        await asyncio.wait({self._keeping}, timeout=_KEEP_SECONDS)

    async def close(self) -> None:
        """``keep``, and whatever is said from now on is written at once."""
        self._closed = True
        await self.keep()
        if self._later is not None and not self._writing.locked():
            self._later.cancel()
