"""The probe: watches one instance, or a pack of them, and reports to the topology actor.

Holds a connection per instance and nothing that is needed after it dies: Ray restarts it, and it asks
Topology what to watch. Reports are batched: while one is under way, the newest of each instance waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace

import structlog

from actors.handles import Peer
from actors.logs import configure_logging
from actors.names import TOPOLOGY
from actors.ray_nodes import own_node_id
from actors.tasks import Periodic, until_started
from services.mysql.connection import Login
from services.mysql.watcher import DEAD_AT_ONCE, Watcher, WatchPolicy
from services.node_errors import NodeError
from services.topology.instance import Observation
from services.topology.keys import InstanceKey

__all__ = ["Assignment", "Probe"]

_ASK_SECONDS = 2.0
_REPORT_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a probe is to watch. ``deposed`` are dialled at every heartbeat until they answer."""

    login: Login
    policy: WatchPolicy
    keys: tuple[InstanceKey, ...]
    deposed: frozenset[InstanceKey] = frozenset()


class Probe:
    """``name`` is its name in Ray, ``label`` what the dashboard shows."""

    def __init__(self, name: str, label: str) -> None:
        configure_logging()
        self._name = name
        self._label = label
        self._ray_node = own_node_id()
        self._topology = Peer(TOPOLOGY)
        self._assigned: Assignment | None = None
        self._watchers: dict[InstanceKey, Watcher] = {}
        self._waiting: dict[InstanceKey, tuple[float, Observation]] = {}
        self._lane = asyncio.Semaphore(DEAD_AT_ONCE)
        self._news = asyncio.Event()
        self._assigning = asyncio.Lock()
        self._periodic = Periodic()
        self._periodic.run(self._send)
        self._periodic.spawn(until_started(self._ask, lambda _: None))

    def __repr__(self) -> str:
        return f"Probe({self._label})"

    async def ping(self) -> str:
        return self._name

    async def assign(self, assignment: Assignment) -> str:
        """Watch exactly these. What is watched already and did not change goes on undisturbed.

        Returns the id of the Ray node on which this is.
        """
        async with self._assigning:
            await self._assign(assignment)
        return self._ray_node

    async def _assign(self, assignment: Assignment) -> None:
        before = self._assigned
        changed = before is None or (before.login, before.policy) != (assignment.login, assignment.policy)
        self._assigned = assignment
        if changed:
            self._lane = asyncio.Semaphore(assignment.policy.dead_at_once or DEAD_AT_ONCE)
        wanted = set(assignment.keys)
        ended = [self._watchers.pop(key) for key in list(self._watchers) if changed or key not in wanted]
        await asyncio.gather(*(watcher.stop() for watcher in ended))
        for key in assignment.keys:
            if key not in self._watchers:
                watcher = Watcher(key, assignment.login, assignment.policy, self._report, self._lane)
                self._watchers[key] = watcher
                watcher.start()
            self._watchers[key].redial(key in assignment.deposed)

    async def look(self, keys: list[InstanceKey], burst: bool, light: bool) -> None:
        """Check these at once; in a ``burst`` also again shortly after. As ``Watcher.look``."""
        for key in keys:
            if key in self._watchers:
                self._watchers[key].look(burst=burst, light=light)

    async def _ask(self) -> None:
        while self._assigned is None:
            assignment = None
            with contextlib.suppress(NodeError):
                assignment = await self._topology.call(
                    "assignment", self._name, self._ray_node, timeout=_ASK_SECONDS
                )
            if self._assigned is None and assignment is not None:
                await self.assign(assignment)
                return
            await asyncio.sleep(_RETRY_SECONDS)

    def _report(self, observation: Observation) -> None:
        self._waiting[observation.key] = (time.monotonic(), observation)
        self._news.set()

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._waiting = self._waiting, {}
            now = time.monotonic()
            aged = [
                replace(observation, age_seconds=observation.age_seconds + now - since)
                for since, observation in batch.values()
            ]
            try:
                await self._topology.call("report", self._name, aged, timeout=_REPORT_SECONDS)
            except Exception as error:
                # What is newer goes before what could not be sent.
                self._waiting = {**batch, **self._waiting}
                self._news.set()
                if not isinstance(error, NodeError):
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
