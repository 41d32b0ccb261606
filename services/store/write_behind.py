"""What is known of instances goes to the store behind the polls: nobody who polls waits for it.

Of each server only the newest is kept until it is written, so the queue is never longer than there are
servers, and never than its limit. When the store fails, what was to be written stays, unless
something newer comes, and is tried again; watching goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.store.instances import KnownInstance
from services.topology.keys import InstanceKey

__all__ = ["WriteBehind"]

_log = structlog.get_logger(__name__)


class WriteBehind:
    """Coalesces instances and hands them to ``save`` in batches, from a task of its own.

    ``put`` and ``discard`` return at once, always. ``healthy`` is whether the last write went well;
    ``last_error`` is why not; ``dropped`` counts the servers that did not fit into the queue.
    """

    def __init__(
        self,
        save: Callable[[Sequence[KnownInstance]], Awaitable[None]],
        *,
        limit: int = 20_000,
        batch: int = 500,
        pause_seconds: float = 0.2,
        retry_seconds: float = 1.0,
    ) -> None:
        assert limit > 0 and batch > 0
        self.last_error = ""
        self.dropped = 0
        self.note: Callable[[int, float, float], None] | None = None
        """Told of each batch that was written: how many, seconds the first waited, seconds it took."""
        self._save = save
        self._limit = limit
        self._batch = batch
        self._pause_seconds = pause_seconds
        self._retry_seconds = retry_seconds
        self._waiting: dict[InstanceKey, KnownInstance] = {}  # longest waiting first
        self._in_flight: dict[InstanceKey, KnownInstance] = {}
        self._waits_since = 0.0
        self._something = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return not self.last_error

    @property
    def pending(self) -> int:
        """How many servers are not written yet."""
        return len(self._waiting.keys() | self._in_flight.keys())

    def put(self, known: KnownInstance) -> None:
        """Have this written, in place of anything older that waits."""
        if known.key not in self._waiting and len(self._waiting) >= self._limit:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        if not self._waiting:
            self._waits_since = time.monotonic()
        self._waiting[known.key] = known
        self._something.set()

    def discard(self, key: InstanceKey) -> None:
        """Write nothing more of this server. Forget it in the store after this, or it may come back."""
        self._waiting.pop(key, None)
        self._in_flight.pop(key, None)

    def start(self) -> None:
        assert self._task is None, "started twice"
        self._task = asyncio.create_task(self._run(), name="write-behind")

    async def close(self, limit_seconds: float = 5.0) -> None:
        """Write what waits, if the store lets us in this time, and end."""
        self._closing.set()
        self._something.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=limit_seconds)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            await self._sleep(self._pause_seconds)  # a round of polls arrives within moments
            while self._waiting:
                if await self._flush():
                    await asyncio.sleep(0)
                elif self._closing.is_set():
                    break
                else:
                    await self._sleep(self._retry_seconds)
            if self._closing.is_set():
                return

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _flush(self) -> bool:
        """Write one batch; False if it failed and waits again."""
        for key in list(self._waiting)[: self._batch]:
            self._in_flight[key] = self._waiting.pop(key)
        began, since = time.monotonic(), self._waits_since  # what comes meanwhile begins to wait anew
        try:
            await self._save(tuple(self._in_flight.values()))
        except Exception as error:
            self._note(f"{type(error).__name__}: {error}")
            # newer ones that came meanwhile stay; those discarded meanwhile are in neither
            self._waiting = {**self._in_flight, **self._waiting}
            self._waits_since = since
            while len(self._waiting) > self._limit:
                del self._waiting[next(iter(self._waiting))]
                self.dropped += 1
            return False
        else:
            self._note("")
            if self.note is not None and self._in_flight:
                self.note(len(self._in_flight), began - since, time.monotonic() - began)
            return True
        finally:
            self._in_flight = {}

    def _note(self, error: str) -> None:
        if error and not self.last_error:
            _log.warning("instances are not written to the store", error=error)
        if self.last_error and not error:
            _log.info("instances are written to the store again")
        self.last_error = error
