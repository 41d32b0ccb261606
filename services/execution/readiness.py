"""Sessions on the replicas of a master in doubt, so that a recovery finds them open.

A master that refuses connections, or has reset them, is dead as soon as a replica confirms it, some tens of
milliseconds later: meanwhile the sessions can be opened. They change nothing, and hold the setup's lock on
each server. If nobody takes them they are closed, and not opened again before the master was seen to answer.

Not for one that does not answer at all: there a witness is asked first, in a session of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from services.config import Settings
from services.execution.environment import Sessions
from services.execution.gates import ClusterView
from services.mysql.session import Mandate
from services.policies import login, timing
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["ReadySessions"]

_KEPT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Ready:
    sessions: Sessions
    opening: asyncio.Future[None]
    term: int
    keys: frozenset[InstanceKey]


class ReadySessions:
    """Belongs to the leader's event loop."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._ready: dict[str, _Ready] = {}
        self._done: set[InstanceKey] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def consider(self, view: ClusterView, mandate: Mandate) -> None:
        """Open them if the cluster's master has come to be in doubt. Returns at once."""
        master = view.instance(view.cluster.master_key)
        if master is None:
            return
        outcome = master.last_check_outcome
        if not outcome.is_silence or outcome.is_unanswered:
            self._done.discard(master.key)
        elif master.key not in self._done:
            self._done.add(master.key)
            self._drop(view.cluster.id)
            ready = self._opened(view.replicas_of(master.key), mandate)
            self._ready[view.cluster.id] = ready
            asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire, view.cluster.id, ready)

    def take(
        self, cluster_id: str, replicas: tuple[Instance, ...], mandate: Mandate
    ) -> tuple[Sessions, asyncio.Future[None]]:
        """Sessions on these replicas for a recovery, which closes them; and what to wait for."""
        ready = self._ready.pop(cluster_id, None)
        if ready is not None and (ready.term, ready.keys) != (mandate.term, _keys(replicas)):
            self._close(ready)
            ready = None
        ready = ready or self._opened(replicas, mandate)
        return ready.sessions, ready.opening

    def _opened(self, replicas: tuple[Instance, ...], mandate: Mandate) -> _Ready:
        sessions = Sessions(login(self._settings()), mandate, timing(self._settings()))
        opening = asyncio.ensure_future(sessions.prepare(replicas))
        return _Ready(sessions, opening, mandate.term, _keys(replicas))

    def _expire(self, cluster_id: str, ready: _Ready) -> None:
        if self._ready.get(cluster_id) is ready:
            self._drop(cluster_id)

    def _drop(self, cluster_id: str) -> None:
        ready = self._ready.pop(cluster_id, None)
        if ready is not None:
            self._close(ready)

    def _close(self, ready: _Ready) -> None:
        ready.opening.cancel()
        task = asyncio.ensure_future(ready.sessions.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def stop(self) -> None:
        for cluster_id in list(self._ready):
            self._drop(cluster_id)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2.0)


def _keys(replicas: tuple[Instance, ...]) -> frozenset[InstanceKey]:
    return frozenset(replica.key for replica in replicas)
