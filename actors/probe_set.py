"""The probes of a node, as Topology sees them: which there are, what each watches, whether it reports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial

from actors.handles import Peer, create, end
from actors.names import probe_assignments, probe_options
from actors.probe import Assignment, Probe
from actors.supervision import watch_over
from services.node_view import NodeError
from services.topology.keys import InstanceKey

__all__ = ["ProbeSet"]

_CALL_SECONDS = 2.0


class ProbeSet:
    """``assignment`` gives what a probe of these keys is to be told."""

    def __init__(self, assignment: Callable[[tuple[InstanceKey, ...]], Assignment]) -> None:
        self._assignment = assignment
        self._watched: dict[str, tuple[InstanceKey, ...]] = {}
        self._peers: dict[str, Peer] = {}
        self._reported_at: dict[str, float] = {}
        self._arranging = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._watched)

    def assignment_of(self, name: str) -> Assignment | None:
        """For a probe that has just (re)started; None if it is not wanted (yet)."""
        return self._assignment(self._watched[name]) if name in self._watched else None

    async def arrange(self, keys: Iterable[InstanceKey], most_actors: int) -> None:
        """Have exactly the probes that these instances need."""
        wanted = probe_assignments(keys, most_actors)
        async with self._arranging:
            gone = set(self._watched) - set(wanted)
            changed = [name for name, watched in wanted.items() if self._watched.get(name) != watched]
            self._watched = wanted
            for name in gone:
                self._peers.pop(name, None)
                self._reported_at.pop(name, None)
                await end(name)
            await asyncio.gather(*(self._start(name) for name in changed))
        # One that lives already (Topology was restarted) is told; a new one asks by itself.
        await self._tell(changed)

    async def _start(self, name: str) -> None:
        self._reported_at[name] = time.monotonic()
        await create(Probe, probe_options(name), name, name.partition(":")[2])
        self._peers.setdefault(name, Peer(name))

    async def renew(self, keys: Iterable[InstanceKey] | None = None) -> None:
        """Tell the probes of these instances, or all, anew what to watch and how."""
        wanted = None if keys is None else set(keys)
        await self._tell(
            [name for name, watched in self._watched.items() if wanted is None or wanted & set(watched)]
        )

    async def _tell(self, names: list[str]) -> None:
        async def tell(name: str) -> None:
            peer = self._peers.get(name)
            if peer is not None and name in self._watched:
                with contextlib.suppress(NodeError):
                    await peer.call("assign", self._assignment(self._watched[name]), timeout=_CALL_SECONDS)

        await asyncio.gather(*(tell(name) for name in names))

    async def look(self, keys: Iterable[InstanceKey], *, burst: bool) -> None:
        """Have these instances checked at once, and in a ``burst`` again shortly after."""
        wanted = set(keys)
        calls = []
        for name, watched in self._watched.items():
            mine = [key for key in watched if key in wanted]
            peer = self._peers.get(name)
            if mine and peer is not None:
                calls.append(peer.call("look", mine, burst, timeout=_CALL_SECONDS))
        await asyncio.gather(*calls, return_exceptions=True)

    def reported(self, name: str) -> None:
        self._reported_at[name] = time.monotonic()

    async def watch(self, silence_seconds: float, patience: float) -> None:
        """Look after the probes that have not reported for so long."""
        now = time.monotonic()
        for name, at in list(self._reported_at.items()):
            if name in self._watched and now - at > silence_seconds:
                self._reported_at[name] = now
                await watch_over(
                    self._peers[name],
                    patience=patience,
                    start=partial(self._start, name),
                    replace=partial(end, name, restart=True),
                )

    async def end_all(self) -> None:
        await asyncio.gather(*(end(name) for name in self._watched), return_exceptions=True)
