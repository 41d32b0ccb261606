"""Servers that were named to be looked at later: so many at a time, each once, and nobody waits.

One that does not answer is not taken up, as when somebody waits for the answer; it is told in an event.
What waits here is lost with the actor: who named it names it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from services.node_view import NodeError, UnavailableError
from services.topology.keys import InstanceKey

__all__ = ["LaterChecks"]

AT_ONCE = 32
WAITING_MAX = 10_000


class LaterChecks:
    """``look`` looks at one server, and raises NodeError if it is not taken up; ``failed`` is told why."""

    def __init__(
        self,
        look: Callable[[InstanceKey], Coroutine[Any, Any, object]],
        failed: Callable[[InstanceKey, str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._look, self._failed, self._spawn = look, failed, spawn
        self._waiting: set[InstanceKey] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def add(self, key: InstanceKey) -> None:
        """Raises UnavailableError if too many wait; nothing is done then."""
        if key in self._waiting:
            return
        if len(self._waiting) >= WAITING_MAX:
            raise UnavailableError(
                f"{key}: {WAITING_MAX} servers wait to be looked at already; ask again later"
            )
        self._waiting.add(key)
        self._spawn(self._one(key))

    async def _one(self, key: InstanceKey) -> None:
        try:
            async with self._slots:
                await self._look(key)
        except NodeError as error:
            self._failed(key, str(error))
        finally:
            self._waiting.discard(key)
