"""The gateways of a node, as Topology sees them: one on each Ray node, told of every change, watched over.

That of the head is always there. Those of workers come and go with their Ray nodes; they hold nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import structlog

from actors.gateway import Gateway, Push
from actors.handles import Peer, create, end
from actors.names import GATEWAY, gateway_name, gateway_options
from actors.news import NEWS_KEPT, News
from actors.ray_nodes import RayNode
from actors.spec import NodeSpec
from actors.supervision import Started, watch_over
from actors.tasks import Periodic
from services.measuring.samples import Measured
from services.node_errors import NodeError

__all__ = ["GatewaySet"]

_PUSH_SECONDS = 2.0
_SOON_SECONDS = 0.25  # changes are gathered for so long before they are pushed
_AGAIN_SECONDS = 0.2
_log = structlog.get_logger(__name__)

Snapshot = Callable[[tuple[News, ...]], Push]


class _Feed:
    """What one gateway is still to be told."""

    def __init__(self, peer: Peer, snapshot: Snapshot, gather: Callable[[], None]) -> None:
        self.peer = peer
        self.measured = Measured()
        self._snapshot = snapshot
        self._gather = gather
        self._news: deque[News] = deque(maxlen=NEWS_KEPT)
        self._dirty = asyncio.Event()
        self.started = Started()

    def changed(self, *news: News) -> None:
        self._news.extend(news)
        self._dirty.set()

    async def run(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_SOON_SECONDS)
            self._dirty.clear()
            events = tuple(self._news)
            self._news.clear()
            self._gather()
            measured = self.measured.take()  # figures are no events: those of a push that was lost are gone
            try:
                push = replace(self._snapshot(events), measured=measured)
                await self.peer.call("push", push, timeout=_PUSH_SECONDS)
            except Exception as error:
                if not isinstance(error, NodeError):
                    _log.exception("a gateway was not told", gateway=self.peer.name)
                self._news = deque((*events, *self._news), NEWS_KEPT)
                await asyncio.sleep(_AGAIN_SECONDS)
                self._dirty.set()


async def _end_unless_starting(feed: _Feed) -> None:
    if feed.started.may_be_ended:
        feed.started = Started()
        await end(feed.peer.name, restart=True)


class GatewaySet:
    """``snapshot`` gives what a gateway is to know, with these news; ``measured`` what was measured since it
    was asked last."""

    def __init__(
        self,
        spec: NodeSpec,
        snapshot: Snapshot,
        measured: Callable[[], Measured | None],
        periodic: Periodic,
    ) -> None:
        self._spec = spec
        self._snapshot = snapshot
        self._measured = measured
        self._periodic = periodic
        self._head = _Feed(Peer(GATEWAY), snapshot, self._gather)
        self._workers: dict[str, tuple[RayNode, _Feed, asyncio.Task[None]]] = {}

    def start(self) -> None:
        """Begin to tell that of the head."""
        self._periodic.run(self._head.run)

    def changed(self, *news: News) -> None:
        """Something is new: all are told soon."""
        for feed in self._feeds():
            feed.changed(*news)

    def _feeds(self) -> tuple[_Feed, ...]:
        return self._head, *(feed for _, feed, _ in self._workers.values())

    def _gather(self) -> None:
        if (measured := self._measured()) is not None:
            for feed in self._feeds():
                feed.measured.extend(measured)

    def found(self, nodes: tuple[RayNode, ...]) -> None:
        """These Ray nodes live: each worker among them is to have a gateway of its own."""
        workers = {node.address: node for node in nodes if not node.is_head}
        for address in set(self._workers) - set(workers):
            _, _, task = self._workers.pop(address)
            task.cancel()  # the gateway has ended with its Ray node
        for address, node in workers.items():
            known = self._workers.get(address)
            if known is None:
                feed = _Feed(Peer(gateway_name(address)), self._snapshot, self._gather)
                self._workers[address] = node, feed, asyncio.ensure_future(feed.run())
            elif known[0].id != node.id:
                self._workers[address] = node, *known[1:]

    async def watch(self, patience: float, end_head: Callable[[], Awaitable[None]]) -> None:
        """Start those that are not there, replace those that hang: that of the head by ``end_head``."""
        await asyncio.gather(
            self._watch(self._head, "", patience, end_head),
            *(
                self._watch(feed, node.id, patience, partial(_end_unless_starting, feed))
                for node, feed, _ in tuple(self._workers.values())
            ),
        )

    async def _watch(
        self, feed: _Feed, node_id: str, patience: float, replace: Callable[[], Awaitable[None]]
    ) -> None:
        name = feed.peer.name

        async def start() -> None:
            feed.started = Started()
            await create(Gateway, gateway_options(name, node_id), self._spec, name)

        try:
            if await watch_over(feed.peer, patience=patience, start=start, replace=replace):
                feed.started.worked = True
        except NodeError as error:
            _log.warning("a gateway was not started or replaced", gateway=name, reason=str(error))

    def stop(self) -> None:
        for _, _, task in self._workers.values():
            task.cancel()
