"""Background tasks of an actor: none is lost to garbage collection, none dies of an exception unseen."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

__all__ = ["Periodic", "until_started"]

_log = structlog.get_logger(__name__)
_AGAIN_SECONDS = 0.5
_START_AGAIN_SECONDS = 1.0


async def until_started(start: Callable[[], Awaitable[None]], failed: Callable[[str], None]) -> None:
    """Try until it works; ``failed`` is told each time why it did not."""
    while True:
        try:
            await start()
        except Exception as error:
            _log.exception("cannot start")
            failed(f"cannot start: {error}")
            await asyncio.sleep(_START_AGAIN_SECONDS)
        else:
            _spare_the_collector()
            return


def _spare_the_collector() -> None:
    """What an actor has when it has started stays: a collection need not walk through it, failover or not."""
    gc.collect()
    gc.freeze()


class Periodic:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Call ``work`` for ever, ``seconds`` after it last ended. What it raises is logged."""

        async def loop() -> None:
            while True:
                try:
                    await work()
                except Exception:
                    _log.exception("periodic work failed", work=getattr(work, "__name__", "work"))
                await asyncio.sleep(seconds)

        self.spawn(loop())

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Keep ``work``, which should not end, running."""
        self.every(_AGAIN_SECONDS, work)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _guarded(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            _log.exception("background work failed")

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
