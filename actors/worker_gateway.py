"""What a gateway on a worker node has instead of the head's files: the head's own answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from actors.handles import Peer
from actors.leadership import LeaderClock
from actors.names import GATEWAY, LEADER
from services.config import Settings
from services.election.clock import boottime
from services.node_errors import NodeError
from services.node_view import AuditReads
from services.store.errors import StoreUnavailableError

__all__ = ["listen_endpoint", "reads_of_the_head", "tell_time"]

_READ_SECONDS = 10.0
_CLOCK_SECONDS = 1.0
_ASK_SECONDS = 2.0
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - an address that is configured
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def listen_endpoint(settings: Settings, ray_address: str) -> tuple[str, int]:
    """Where a gateway on the Ray node at ``ray_address`` listens, by the head's ``ListenAddress``.

    As the head's where that means the same on each host; an address of the head becomes that of the Ray node.
    """
    host, port = settings.listen_endpoint
    return (host if host in _EVERYWHERE | _LOCAL else ray_address), port


class _Part:
    def __init__(self, head: Peer, part: str) -> None:
        self._head, self._part = head, part

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        async def read(*arguments: Any, **named: Any) -> Any:
            try:
                return await self._head.call(
                    "read", self._part, method, arguments, named, timeout=_READ_SECONDS
                )
            except NodeError as error:
                raise StoreUnavailableError(f"the head has the store, and is not reached: {error}") from None

        return read


class _Reads:
    def __init__(self, head: Peer) -> None:
        self._head = head

    def __getattr__(self, part: str) -> _Part:
        if part.startswith("_"):
            raise AttributeError(part)
        return _Part(self._head, part)


def reads_of_the_head() -> AuditReads:
    """The store, which may be a file of the head's, read by the gateway there."""
    return cast(AuditReads, _Reads(Peer(GATEWAY)))


async def tell_time(name: str, clock: LeaderClock) -> None:
    """Run this for ever in the gateway ``name``: only who asks for the Leader's time is told who leads."""
    leader = Peer(LEADER)
    while True:
        asked_at = boottime()
        with contextlib.suppress(NodeError):
            clock.measured(asked_at, await leader.call("follow", name, timeout=_ASK_SECONDS))
        await asyncio.sleep(_CLOCK_SECONDS)
