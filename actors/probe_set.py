"""The probes of a node, as Topology sees them: which there are, where they run, what each watches, whether it
reports.

They are spread evenly over the Ray nodes. When a Ray node dies, Ray starts its probes elsewhere; when one
comes, some move there, a few at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from actors.handles import Peer, create, end, end_and_wait, names_in_use
from actors.names import is_probe, probe_assignments, probe_options
from actors.probe import Assignment, Probe
from actors.ray_nodes import RayNode, choose, surplus
from actors.supervision import Started, watch_over
from services.node_errors import NodeError
from services.topology.keys import InstanceKey

__all__ = ["ProbeSet"]

_CALL_SECONDS = 2.0
_MOVED_AT_ONCE = 4  # while a probe moves, its instance is not polled for about a second
_STEADY_SECONDS = 5.0  # a Ray node that lives for less may be one that is restarted over and over
_STILL_COUNTED_SECONDS = 60.0
"""A Ray node that is gone has room for so long: probes are not packed anew because it was started again."""
_HANDOVER_SECONDS = 30.0
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
        self._started: dict[str, Started] = {}
        self._leaving: dict[str, tuple[float, frozenset[InstanceKey]]] = {}
        self._nodes: tuple[RayNode, ...] = ()
        self._since: dict[str, float] = {}  # id of a Ray node: since when it lives, as far as we know
        self._seen_at: dict[str, float] = {}  # address of a Ray node
        self._places: dict[str, str] = {}  # name of a probe: id of the Ray node on which it runs
        self._arranging = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._watched)

    def assignment_of(self, name: str, node_id: str) -> Assignment | None:
        """For a probe that has just (re)started on that Ray node; None if it is not wanted (yet)."""
        if name not in self._watched:
            return None
        self._places[name] = node_id
        return self._assignment(self._watched[name])

    # which there are

    def found(self, nodes: tuple[RayNode, ...]) -> bool:
        """These Ray nodes live. True if there is room for more probes than before, or for fewer."""
        before, now = self._rooms, time.monotonic()
        known = self._since
        newly = now if known else now - _STEADY_SECONDS  # those that are there before us are steady
        self._since = {node.id: known.get(node.id, newly) for node in nodes}
        self._nodes = tuple(node for node in nodes if now - self._since[node.id] >= _STEADY_SECONDS)
        self._seen_at.update({node.address: now for node in self._nodes})
        for address, seen_at in list(self._seen_at.items()):
            if now - seen_at > _STILL_COUNTED_SECONDS:
                del self._seen_at[address]
        return self._rooms != before

    @property
    def _rooms(self) -> int:
        return max(1, len(self._seen_at))

    async def arrange(self, keys: Iterable[InstanceKey], most_per_node: int) -> None:
        """Have exactly the probes that these instances need.

        Where instances are shared out anew, their former probes go on until the new ones report.
        """
        async with self._arranging:
            wanted = probe_assignments(keys, most_per_node * self._rooms)
            changed = [name for name, watched in wanted.items() if self._watched.get(name) != watched]
            ended = self._retire(wanted)
            self._watched = wanted
            await asyncio.gather(
                *(self._end(name) for name in ended), *(self._start(name) for name in changed)
            )
        # One that lives already (Topology was restarted) is told; a new one asks by itself.
        await self._tell(changed)

    def _retire(self, wanted: dict[str, tuple[InstanceKey, ...]]) -> list[str]:
        """Those to end at once; what others take over leaves later."""
        still = {key for watched in wanted.values() for key in watched}
        ended = []
        for name in set(self._watched) - set(wanted):
            watched = frozenset(self._watched[name])
            self._peers.pop(name, None)
            self._reported_at.pop(name, None)
            self._started.pop(name, None)
            if watched & still:
                self._leaving[name] = time.monotonic(), watched
            else:
                self._places.pop(name, None)
                ended.append(name)
        for name in wanted:
            self._leaving.pop(name, None)
        return ended

    async def _see_off(self) -> None:
        """End those whose instances others watch by now."""
        now = time.monotonic()
        waiting = {key for name, watched in self._watched.items() if not self._works(name) for key in watched}
        for name, (since, watched) in list(self._leaving.items()):
            if not watched & waiting or now - since > _HANDOVER_SECONDS:
                del self._leaving[name]
                self._places.pop(name, None)
                await self._end(name)

    async def end_strangers(self, keys: Iterable[InstanceKey], most_per_node: int) -> None:
        """End probes of a Topology before this one that nobody needs any more."""
        wanted = probe_assignments(keys, most_per_node * self._rooms)
        with contextlib.suppress(NodeError):
            strangers = [name for name in await names_in_use() if is_probe(name) and name not in wanted]
            await asyncio.gather(*(self._end(name) for name in strangers))

    def _works(self, name: str) -> bool:
        """It has reported since it was started here."""
        return name in self._started and self._started[name].worked

    async def _start(self, name: str) -> None:
        """Not one that is not wanted any more: whoever looks after a silent probe may be overtaken."""
        if name not in self._watched:
            return
        self._reported_at[name] = time.monotonic()
        self._started[name] = Started()
        self._peers.setdefault(name, Peer(name))
        place = self._place_of(name)
        try:
            label = name.partition(":")[2]
            await create(_shown_as(label), probe_options(name, place), name, label)
        except NodeError as error:
            _log.warning("a probe was not started", probe=name, reason=str(error))
        if name not in self._watched:
            self._reported_at.pop(name, None)
            self._peers.pop(name, None)
            await self._end(name)

    def _place_of(self, name: str) -> str:
        """The id of the Ray node for it; empty where there is no choice."""
        if len(self._nodes) < 2:
            return ""
        ids = {node.id for node in self._nodes}
        if self._places.get(name) not in ids:
            others = {other: place for other, place in self._places.items() if other != name}
            node = choose(self._nodes, others)
            assert node is not None
            self._places[name] = node.id
        return self._places[name]

    @staticmethod
    async def _end(name: str) -> None:
        try:
            await end(name)
        except NodeError as error:
            _log.warning("a probe was not ended", probe=name, reason=str(error))

    async def end_all(self) -> None:
        names = (*self._watched, *self._leaving)
        await asyncio.gather(*(end(name) for name in names), return_exceptions=True)

    # what they are told

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
                    place = await peer.call(
                        "assign", self._assignment(self._watched[name]), timeout=_CALL_SECONDS
                    )
                    self._places[name] = place

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

    # whether they report

    def reported(self, name: str) -> None:
        if name in self._watched:
            self._reported_at[name] = time.monotonic()
            if name in self._started:
                self._started[name].worked = True

    async def watch(self, silence_seconds: float, patience: float) -> None:
        """Look after the probes that have not reported for so long: replace one that hangs, start one that
        is gone, tell one that lives again what it should watch. Then see to it that they are spread."""
        now = time.monotonic()
        silent = [name for name in self._watched if now - self._reported_at.get(name, now) > silence_seconds]
        for name in silent:
            self._reported_at[name] = now
        await asyncio.gather(*(self._look_after(name, patience) for name in silent))
        await self._see_off()
        if not silent:  # first let all of them work
            await self._spread()

    async def _look_after(self, name: str, patience: float) -> None:
        try:
            await watch_over(
                self._peers[name],
                patience=patience,
                start=partial(self._start, name),
                replace=partial(self._replace, name),
            )
        except NodeError as error:
            _log.warning("a probe that does not report was not replaced", probe=name, reason=str(error))
        await self._tell([name])

    async def _replace(self, name: str) -> None:
        if name in self._started and self._started[name].may_be_ended:
            self._started[name] = Started()
            await end(name, restart=True)

    async def _spread(self) -> None:
        async with self._arranging:
            if len(self._nodes) < 2 or not all(map(self._works, self._watched)):
                return
            moved = surplus(self._nodes, self._places, _MOVED_AT_ONCE)
            if moved:
                _log.info("probes move to other Ray nodes", probes=moved)
            await asyncio.gather(*(self._move(name) for name in moved))

    async def _move(self, name: str) -> None:
        self._started.pop(name, None)
        try:
            await end_and_wait(name)
        except NodeError as error:
            _log.warning("a probe was not moved", probe=name, reason=str(error))
            return
        if name in self._watched:
            self._places.pop(name, None)
            await self._start(name)
        else:  # one that leaves anyway
            self._places.pop(name, None)
