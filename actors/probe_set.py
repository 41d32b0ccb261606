"""The probes of a node, as Topology sees them: which there are, what each watches, whether it reports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from actors.handles import Peer, create, end, names_in_use
from actors.names import is_probe, probe_assignments, probe_options
from actors.probe import Assignment, Probe
from actors.supervision import watch_over
from services.node_errors import NodeError
from services.topology.keys import InstanceKey

__all__ = ["ProbeSet"]

_CALL_SECONDS = 2.0
_log = structlog.get_logger(__name__)


def _shown_as(label: str) -> type[Probe]:
    """The same actor under a class name that says whom it watches.

    Ray's plain list of actors (``/api/v0/actors``) has the class, and the ``__repr__`` only in detail.
    """
    return type(f"Probe({label})", (Probe,), {"__module__": Probe.__module__, "__doc__": Probe.__doc__})


class ProbeSet:
    """``assignment`` gives what a probe of these keys is to be told.

    What cannot be started or told now is not lost: ``watch`` comes back to each probe that does not report.
    """

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
        async with self._arranging:
            wanted = probe_assignments(keys, most_actors)
            gone = set(self._watched) - set(wanted)
            changed = [name for name, watched in wanted.items() if self._watched.get(name) != watched]
            self._watched = wanted
            for name in gone:
                self._peers.pop(name, None)
                self._reported_at.pop(name, None)
            await asyncio.gather(
                *(self._end(name) for name in gone), *(self._start(name) for name in changed)
            )
        # One that lives already (Topology was restarted) is told; a new one asks by itself.
        await self._tell(changed)

    async def end_strangers(self, keys: Iterable[InstanceKey], most_actors: int) -> None:
        """End probes of a Topology before this one that nobody needs any more."""
        wanted = probe_assignments(keys, most_actors)
        with contextlib.suppress(NodeError):
            strangers = [name for name in await names_in_use() if is_probe(name) and name not in wanted]
            await asyncio.gather(*(self._end(name) for name in strangers))

    async def _start(self, name: str) -> None:
        """Not one that is not wanted any more: whoever looks after a silent probe may be overtaken."""
        if name not in self._watched:
            return
        self._reported_at[name] = time.monotonic()
        self._peers.setdefault(name, Peer(name))
        try:
            label = name.partition(":")[2]
            await create(_shown_as(label), probe_options(name), name, label)
        except NodeError as error:
            _log.warning("a probe was not started", probe=name, reason=str(error))
        if name not in self._watched:
            self._reported_at.pop(name, None)
            self._peers.pop(name, None)
            await self._end(name)

    @staticmethod
    async def _end(name: str) -> None:
        try:
            await end(name)
        except NodeError as error:
            _log.warning("a probe was not ended", probe=name, reason=str(error))

    async def renew(self, keys: Iterable[InstanceKey] | None = None) -> None:
        """Tell the probes of these instances, or all, anew what to watch and how."""
        wanted = None if keys is None else set(keys)
        await self._tell(
            [name for name, watched in self._watched.items() if wanted is None or wanted & set(watched)]
        )

    async def _tell(self, names: Iterable[str]) -> None:
        async def tell(name: str) -> None:
            peer = self._peers.get(name)
            if peer is not None and name in self._watched:
                with contextlib.suppress(NodeError):
                    await peer.call("assign", self._assignment(self._watched[name]), timeout=_CALL_SECONDS)

        await asyncio.gather(*(tell(name) for name in names))

    async def look(self, keys: Iterable[InstanceKey], *, burst: bool, light: bool = False) -> None:
        """Have these instances checked at once; in a ``burst`` again shortly after. As ``Watcher.look``."""
        wanted = set(keys)
        calls = []
        for name, watched in self._watched.items():
            mine = [key for key in watched if key in wanted]
            peer = self._peers.get(name)
            if mine and peer is not None:
                calls.append(peer.call("look", mine, burst, light, timeout=_CALL_SECONDS))
        await asyncio.gather(*calls, return_exceptions=True)

    def reported(self, name: str) -> None:
        if name in self._watched:
            self._reported_at[name] = time.monotonic()

    async def watch(self, silence_seconds: float, patience: float) -> None:
        """Look after the probes that have not reported for so long: replace one that hangs, start one that
        is gone, tell one that lives again what it should watch."""
        now = time.monotonic()
        silent = [name for name in self._watched if now - self._reported_at.get(name, now) > silence_seconds]
        for name in silent:
            self._reported_at[name] = now
        await asyncio.gather(*(self._look_after(name, patience) for name in silent))

    async def _look_after(self, name: str, patience: float) -> None:
        try:
            await watch_over(
                self._peers[name],
                patience=patience,
                start=partial(self._start, name),
                replace=partial(end, name, restart=True),
            )
        except NodeError as error:
            _log.warning("a probe that does not report was not replaced", probe=name, reason=str(error))
        await self._tell([name])

    async def end_all(self) -> None:
        await asyncio.gather(*(end(name) for name in self._watched), return_exceptions=True)
