"""What the API needs from the node it runs in, and nothing more.

`Node` is the seam between the HTTP interface and the actors: the gateway implements it, tests
implement it in memory. It promises:

- Reads are synchronous and answered from caches: no actor call, no query, no clock skew between two
  fields of one reply. Only the audit trail (`AuditReads`) is read from the store, and so is async.
- Changes are async, are bounded in time by the implementer, and end in a value or in a `NodeError`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol, TypeVar

from services.analysis import ReplicationAnalysis
from services.analysis.changelog import AnalysisChangelog
from services.config import Secret, Settings
from services.measuring.samples import Measured
from services.node_errors import (
    NodeError,
    NotLeaderError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
    UnknownClusterError,
    UnknownInstanceError,
)
from services.raft.view import RaftView
from services.registering import Request
from services.store.labels import AttributeStore, PoolStore, TagStore
from services.store.recoveries import RecoveryFilter
from services.store.registrations import RegistrationStore
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry, BlockedRecovery, FailureDetection, Recovery, RecoveryStep
from services.topology.tree import Cluster, Topology

__all__ = [
    "Acting",
    "AuditReads",
    "DetectionReads",
    "Event",
    "EventLog",
    "LogReads",
    "Node",
    "NodeError",
    "NodeIdentity",
    "NodeStatus",
    "NotLeaderError",
    "OutcomeUnknownError",
    "RecoveryReads",
    "RefusedError",
    "StepReads",
    "UnavailableError",
    "UnknownClusterError",
    "UnknownInstanceError",
]

T = TypeVar("T")

EVENTS_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """One orchestray node as the others see it. Times are UTC, ``2026-11-22T20:46:24Z``."""

    hostname: str = ""
    token: str = ""
    app_version: str = ""
    first_seen_active: str = ""
    last_seen_active: str = ""
    db_backend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """How this node is, at the moment of asking.

    ``is_leader`` is computed from the deadline of the term each time: a node whose Leader is paused
    stops being leader without anybody telling it.
    """

    hostname: str
    token: str  # 64 hex digits, new with each process
    app_version: str
    db_backend: str  # file of the SQLite backend, or host:port
    is_leader: bool
    active_node: NodeIdentity = NodeIdentity()
    available_nodes: tuple[NodeIdentity, ...] = ()
    healthy: bool = True
    error: str = ""
    warnings: tuple[str, ...] = ()
    raft: RaftView | None = None
    """This node as a raft member; None without raft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Who acts, as far as this node knows. Names are those of the election: node ids, or raft members."""

    me: str
    node: str = ""
    """Empty: nobody that is known."""
    uri: str = ""
    """Where its HTTP interface is; empty if that is not known."""
    term: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. ``seq`` grows by one within one process."""

    seq: int
    at: str  # UTC, 2026-11-22T20:46:24Z
    kind: str  # discovered, forgotten, analysis, detection, recovery, leader, ...
    message: str
    instance: InstanceKey = NO_KEY
    cluster: str = ""


class EventLog:
    """The last events of a node, for those who poll for them. Belongs to one event loop.

    Bounded: the oldest are dropped, which a reader sees as a gap in ``seq``. Numbers follow ``start``: a node
    that starts anew takes one beyond those of its earlier process, or its readers would miss events. A
    reader whose ``since`` lies in the future is given all that is kept.
    """

    def __init__(self, kept: int = EVENTS_KEPT, *, start: int = 0) -> None:
        self._events: deque[Event] = deque(maxlen=kept)
        self._last_seq = start
        self._arrived = asyncio.Event()

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def append(
        self, kind: str, message: str, *, at: str, instance: InstanceKey = NO_KEY, cluster: str = ""
    ) -> Event:
        """Add an event and wake those who wait."""
        self._last_seq += 1
        event = Event(
            seq=self._last_seq, at=at, kind=kind, message=message, instance=instance, cluster=cluster
        )
        self._events.append(event)
        self._arrived.set()
        self._arrived = asyncio.Event()
        return event

    def since(self, seq: int) -> tuple[Event, ...]:
        """Kept events with a greater number than ``seq``, oldest first."""
        after = 0 if seq > self._last_seq else seq
        return tuple(event for event in self._events if event.seq > after)

    async def wait(self, seq: int, timeout_seconds: float) -> tuple[Event, ...]:
        """As `since`, but wait up to ``timeout_seconds`` for the first one."""
        events = self.since(seq)
        if not events and timeout_seconds > 0:
            arrived = self._arrived
            try:
                await asyncio.wait_for(arrived.wait(), timeout_seconds)
            except asyncio.TimeoutError:
                return ()
            events = self.since(seq)
        return events


class RecoveryReads(Protocol):
    """``services.store.recoveries.RecoveryStore``. Lists are newest first, 20 to a page from 0."""

    async def page(self, which: RecoveryFilter = ..., *, page: int = 0, now: str) -> tuple[Recovery, ...]: ...

    async def blocked(self, now: str, cluster_name: str | None = None) -> tuple[BlockedRecovery, ...]: ...


class StepReads(Protocol):
    """``services.store.journal.JournalStore``."""

    async def steps(self, uid: str) -> tuple[RecoveryStep, ...]:
        """Steps of one recovery, oldest first."""
        ...


class DetectionReads(Protocol):
    """``services.store.detections.DetectionStore``. Newest first, 20 to a page from 0."""

    async def page(
        self,
        *,
        page: int = 0,
        now: str,
        detection_id: int | None = None,
        cluster_alias: str | None = None,
    ) -> tuple[FailureDetection, ...]: ...


class LogReads(Protocol):
    """``services.store.audit.AuditStore``. Newest first, 20 to a page from 0."""

    async def page(self, *, page: int = 0, instance: InstanceKey | None = None) -> tuple[AuditEntry, ...]: ...


class NodeReads(Protocol):
    """``services.store.nodes.NodeStore``."""

    async def secret(self) -> str:
        """What the nodes that share the store have in common; empty if nothing yet."""
        ...


class AuditReads(Protocol):
    """The part of ``services.store.Store`` that the API reads. Bounded in time; raises StoreError."""

    @property
    def recoveries(self) -> RecoveryReads: ...

    @property
    def journal(self) -> StepReads: ...

    @property
    def detections(self) -> DetectionReads: ...

    @property
    def nodes(self) -> NodeReads: ...

    @property
    def audit(self) -> LogReads: ...

    @property
    def registrations(self) -> RegistrationStore: ...

    @property
    def tags(self) -> TagStore: ...

    @property
    def pools(self) -> PoolStore: ...

    @property
    def attributes(self) -> AttributeStore: ...


class Node(Protocol):
    """The node behind the API; see the module's text for what it promises."""

    # reads, from caches

    @property
    def settings(self) -> Settings: ...

    @property
    def configuration_warnings(self) -> tuple[str, ...]: ...

    @property
    def topology(self) -> Topology:
        """The newest snapshot. The same object until something in it changed: replies are cached by it."""
        ...

    @property
    def analysis(self) -> tuple[ReplicationAnalysis, ...]:
        """What is wrong in that snapshot, already evaluated; same rule of identity."""
        ...

    @property
    def global_recoveries_enabled(self) -> bool: ...

    def status(self) -> NodeStatus: ...

    def acting(self) -> Acting: ...

    @property
    def events(self) -> EventLog: ...

    @property
    def store(self) -> AuditReads: ...

    @property
    def changelog(self) -> AnalysisChangelog: ...

    @property
    def measured(self) -> Measured: ...

    # reads, from a server: bounded in time by the implementer

    async def locate_errant(self, key: InstanceKey) -> tuple[str, ...]:
        """Names of the server's binary logs in which its errant transactions are, oldest first.

        Raises RefusedError if there are none, or if they cannot be located.
        """
        ...

    # passing changes on

    async def forwarding_secret(self) -> Secret:
        """What the nodes of the setup have in common. Raises UnavailableError."""
        ...

    async def catch_up(self) -> None:
        """Something was changed on the node that acts: see it here too. Bounded; raises nothing."""
        ...

    # changes, bounded in time by the implementer; each may raise any NodeError

    async def discover(self, key: InstanceKey, *, background: bool = False) -> Instance | None:
        """Probe a server and take it into the topology; its replicas and master follow by themselves.

        Returns what the probe saw; None in the background, or if the server is filtered out.
        """
        ...

    async def refresh(self, key: InstanceKey) -> None:
        """Probe a server now, without taking up what it is connected to."""
        ...

    async def forget(self, key: InstanceKey) -> None: ...

    async def hostname_resolves(self) -> dict[str, tuple[str, int]]:
        """Names of hosts: what each stands for, and until when that is believed, in Unix nanoseconds."""
        ...

    async def reset_hostname_resolves(self) -> None:
        """Forget what was learned of names here; what is still used is learned again."""
        ...

    async def forget_cluster(self, cluster: Cluster) -> None:
        """Forget all instances of a cluster as the topology shows it: of a fragment, only its own."""
        ...

    async def recover(
        self, key: InstanceKey, *, candidate: InstanceKey | None, skip_hooks: bool, caller: str
    ) -> InstanceKey:
        """Recover from the failure of ``key``; returns the promoted server.

        Raises RefusedError with the failed key as details when not attempted, or when nothing was promoted.
        """
        ...

    async def acknowledge(self, which: RecoveryFilter, *, comment: str, owner: str) -> int:
        """Acknowledge what matches and is not acknowledged yet; returns how many."""
        ...

    async def register(self, request: Request[T]) -> T:
        """Have something registered, the same on all nodes; what comes of it, see the request."""
        ...

    async def end_deposal(self, key: InstanceKey, *, owner: str) -> None:
        """Leave a former master alone from now on. Raises RefusedError if it is not deposed."""
        ...

    async def set_global_recoveries(self, enabled: bool) -> None: ...

    async def reelect(self) -> None:
        """Stop leading; whoever is elected next leads, perhaps this node again."""
        ...

    async def stand(self) -> bool:
        """Whoever led has given it up: whether this node leads now. Not in raft."""
        ...

    async def raft_yield(self, member: str) -> None:
        """Hand the leadership over to that raft member. Raises RefusedError."""
        ...

    async def raft_snapshot(self) -> None: ...

    async def reload_configuration(self, extra_path: str = "") -> tuple[str, ...]:
        """Read the configuration files again, then ``extra_path``; all or nothing.

        Returns the changed keys that wait for a restart. Raises RefusedError that names the key, the value
        and the mend.
        """
        ...
