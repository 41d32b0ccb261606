"""What people should see, on its way from one actor to another: in order, not lost while that restarts."""

from __future__ import annotations

import asyncio
from collections import deque

from actors.handles import Peer
from services.node_errors import NodeError
from services.store.times import utc_now
from services.topology.keys import InstanceKey

__all__ = ["NEWS_KEPT", "News", "NewsQueue"]

News = tuple[str, str, str, InstanceKey, str]
"""When (UTC), kind, message, server and cluster that it is about."""

NEWS_KEPT = 1000
_KEPT_FOR_A_RESTART = 100
_CALL_SECONDS = 2.0
_RETRY_SECONDS = 0.1


class NewsQueue:
    """Calls ``events`` of the peer. Beyond NEWS_KEPT the oldest are dropped.

    A peer that dies takes with it what it has not passed on: its successor is told the last news again, and
    whoever shows them knows those that it has heard.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._waiting: deque[News] = deque(maxlen=NEWS_KEPT)
        self._told: deque[News] = deque(maxlen=_KEPT_FOR_A_RESTART)
        self._run = ""
        self._some = asyncio.Event()

    def peer_is(self, run: str) -> None:
        """Which run of the peer lives now."""
        if self._run and run != self._run:
            self._waiting = deque((*self._told, *self._waiting), NEWS_KEPT)
            self._told.clear()
            self._some.set()
        self._run = run

    def add(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        self._waiting.append((utc_now(), kind, message, instance, cluster))
        self._some.set()

    async def send(self) -> None:
        """Run this for ever. What may have been received is sent again: better told twice than never."""
        while True:
            await self._some.wait()
            self._some.clear()
            news = tuple(self._waiting)
            self._waiting.clear()
            try:
                await self._peer.call("events", news, timeout=_CALL_SECONDS)
            except NodeError:
                self._waiting = deque((*news, *self._waiting), NEWS_KEPT)
                self._some.set()
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._told.extend(news)
