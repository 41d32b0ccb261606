"""The gateway: serves the HTTP API of the node from a cache that Topology and the Leader push to it.

Holds that cache and the listening socket, nothing else: killed, it is restarted by Ray, asks Topology for a
snapshot and serves again. It never serves before it has one, so that nobody sees an empty topology that is
not. Changes are handed to Topology and to the Leader.

There is one on each Ray node. Those of workers have neither the configuration nor the store at hand: they are
given the one with the snapshot, and read the other through the gateway of the head.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import socket
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from actors.handles import Peer
from actors.leadership import Lead, LeaderClock
from actors.logs import configure_logging
from actors.names import GATEWAY, GATEWAY_LOCK, LEADER, TOPOLOGY
from actors.news import NEWS_KEPT, News
from actors.ray_nodes import end_forsaken_raylet
from actors.spec import Configuration, NodeSpec
from actors.standing import STALE_SECONDS, Standing
from actors.supervision import ORPHAN_SECONDS
from actors.tasks import Periodic, until_started
from actors.worker_gateway import listen_endpoint, reads_of_the_head, tell_time
from services.analysis import ReplicationAnalysis
from services.analysis.changelog import AnalysisChangelog
from services.config import LoadedConfiguration, Secret, Settings
from services.election.clock import boottime
from services.election.process_lock import ProcessLock
from services.measuring.samples import Measured
from services.node_view import (
    Acting,
    AuditReads,
    EventLog,
    Node,
    NodeError,
    NodeStatus,
    NotLeaderError,
    UnavailableError,
)
from services.registering import Request
from services.store.backend import backend_of
from services.store.errors import StoreError
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster, Topology

__all__ = ["Gateway", "GatewayNode", "Push", "listen"]

APPLICATION = "api.app:create_app"
"""Imported by name: the actors know of the API only that it makes an application of a `Node`."""

T = TypeVar("T")

_SECRET_SECONDS = 5.0  # what was read so long ago is read again
_APPLIED_SECONDS = 0.15  # a raft leader tells its followers ten times a second what was agreed on
_CHANGE_SECONDS = 10.0
_RECOVER_SECONDS = 120.0
_LOCATE_SECONDS = 90.0
_SNAPSHOT_SECONDS = 2.0
_BIND_RETRY_SECONDS = 0.1
_BACKLOG = 512
_FORSAKEN_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What Topology tells: a whole snapshot, and the events since the last one."""

    configuration: LoadedConfiguration
    topology: Topology
    analysis: tuple[ReplicationAnalysis, ...]
    recoveries_enabled: bool
    store_error: str
    events: tuple[News, ...]
    measured: Measured | None = None
    """Samples since the last one."""
    run: str
    """Which Topology it is from: one that was started again begins to count anew."""
    number: int
    """Counts up; a push may be overtaken by a later one."""


class GatewayNode:
    """`services.node_view.Node` for the application in this process."""

    def __init__(self, spec: NodeSpec, snapshot: Push, store: AuditReads, clock: LeaderClock) -> None:
        self._spec = spec
        self._configuration = snapshot.configuration
        self._store = store
        self._topology_actor = Peer(TOPOLOGY)
        self._leader = Peer(LEADER)
        # Milliseconds since 1970: beyond the numbers of a gateway before this one.
        self._events = EventLog(start=int(time.time() * 1000))
        self._heard: deque[News] = deque(maxlen=NEWS_KEPT)
        self._changelog = AnalysisChangelog()
        self._measured = Measured()
        if isinstance(store, Store):  # on a worker it is the head's
            store.database.note = self._measured.query
        self._push: Push | None = None
        self._pushed_at = 0.0
        self._standing = Standing(spec, lambda: self._configuration, clock)
        self._secret: tuple[float, Secret] = (-math.inf, Secret())
        self.accept(snapshot)

    # what is pushed

    def accept(self, push: Push) -> None:
        known = self._push
        if known is None or known.run != push.run or known.number < push.number:
            self._push, self._pushed_at = push, boottime()
            self._configuration = push.configuration
            self._changelog.note(push.analysis, utc_now())
        if push.measured is not None:
            self._measured.extend(push.measured)
            self._measured.forget_before(time.time() - self.settings.DiscoveryCollectionRetentionSeconds)
        for news in push.events:
            if news in self._heard:  # whoever was not sure that it had come has sent it again
                continue
            self._heard.append(news)
            at, kind, message, instance, cluster = news
            self._events.append(kind, message, at=at, instance=instance, cluster=cluster)

    def lead(self, lead: Lead) -> None:
        self._standing.told(lead)

    @property
    def has_snapshot(self) -> bool:
        return self._push is not None

    # reads

    @property
    def settings(self) -> Settings:
        return self._configuration.settings

    @property
    def configuration_warnings(self) -> tuple[str, ...]:
        return self._configuration.warnings

    @property
    def _snapshot(self) -> Push:
        if self._push is None:
            raise UnavailableError("this node has no view of the topology yet")
        return self._push

    @property
    def topology(self) -> Topology:
        return self._snapshot.topology

    @property
    def analysis(self) -> tuple[ReplicationAnalysis, ...]:
        return self._snapshot.analysis

    @property
    def global_recoveries_enabled(self) -> bool:
        return self._snapshot.recoveries_enabled

    @property
    def events(self) -> EventLog:
        return self._events

    @property
    def store(self) -> AuditReads:
        return self._store

    @property
    def changelog(self) -> AnalysisChangelog:
        return self._changelog

    @property
    def measured(self) -> Measured:
        return self._measured

    def status(self) -> NodeStatus:
        problems = []
        if self._push is not None:
            silent = boottime() - self._pushed_at
            if silent > STALE_SECONDS:
                problems.append(f"no news from the topology actor for {silent:.0f} s")
            if self._push.store_error:
                problems.append(self._push.store_error)
        return self._standing.status(problems)

    def acting(self) -> Acting:
        return self._standing.acting()

    # passing changes on

    async def forwarding_secret(self) -> Secret:
        if self.settings.RaftEnabled:
            if not self.settings.RaftSecret:
                raise UnavailableError(
                    "nodes pass changes on to each other under RaftSecret, which is empty: set it on all"
                )
            return self.settings.RaftSecret
        read_at, secret = self._secret
        if not secret or boottime() - read_at > _SECRET_SECONDS:
            try:
                secret = Secret(await self._store.nodes.secret())
            except StoreError as error:
                raise UnavailableError(f"the secret that the nodes share cannot be read: {error}") from None
            self._secret = boottime(), secret
        if not secret:
            raise UnavailableError("the nodes that share this store have no secret yet: ask again")
        return secret

    async def catch_up(self) -> None:
        with contextlib.suppress(NodeError):
            if self.settings.RaftEnabled:
                await asyncio.sleep(_APPLIED_SECONDS)
            await self._topology("synchronise", timeout=_SNAPSHOT_SECONDS)
        await self._catch_up()

    # changes

    def _must_lead(self) -> None:
        """What is changed must be written, and only the acting node writes. Raises NotLeaderError."""
        if not self._standing.acts:
            holder = self.acting().node or "nobody"
            raise NotLeaderError(f"this node does not lead, nothing was done; {holder} does")

    async def discover(self, key: InstanceKey, *, background: bool = False) -> Instance | None:
        self._must_lead()
        found: Instance | None = await self._topology("discover", key, background, timeout=20.0)
        await self._catch_up()
        return found

    async def refresh(self, key: InstanceKey) -> None:
        await self._topology("refresh", key, timeout=20.0)
        await self._catch_up()

    async def locate_errant(self, key: InstanceKey) -> tuple[str, ...]:
        located: tuple[str, ...] = await self._topology("locate_errant", key, timeout=_LOCATE_SECONDS)
        return located

    async def hostname_resolves(self) -> dict[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = await self._topology("hostname_resolves")
        return found

    async def reset_hostname_resolves(self) -> None:
        await self._topology("reset_hostname_resolves")
        await self._catch_up()

    async def forget(self, key: InstanceKey) -> None:
        self._must_lead()
        await self._topology("forget", [key])
        await self._catch_up()

    async def forget_cluster(self, cluster: Cluster) -> None:
        self._must_lead()
        await self._topology("forget_cluster", cluster.name)
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Whoever changed something finds it changed when reading next."""
        with contextlib.suppress(NodeError):
            self.accept(await self._topology("snapshot", timeout=_SNAPSHOT_SECONDS))

    async def _topology(self, method: str, *arguments: Any, timeout: float = _CHANGE_SECONDS) -> Any:
        return await self._topology_actor.call(method, *arguments, timeout=timeout)

    async def recover(
        self, key: InstanceKey, *, candidate: InstanceKey | None, skip_hooks: bool, caller: str
    ) -> InstanceKey:
        _log.info("recover", instance=str(key), caller=caller, skip_hooks=skip_hooks)
        promoted: InstanceKey = await self._leader.call(
            "recover", key, candidate, skip_hooks, timeout=_RECOVER_SECONDS
        )
        await self._catch_up()
        return promoted

    async def acknowledge(self, which: RecoveryFilter, *, comment: str, owner: str) -> int:
        number: int = await self._leader.call("acknowledge", which, comment, owner, timeout=_CHANGE_SECONDS)
        return number

    async def register(self, request: Request[T]) -> T:
        result: T = await self._leader.call("register", request, timeout=_CHANGE_SECONDS)
        if request.shows:
            await self._catch_up()
        return result

    async def end_deposal(self, key: InstanceKey, *, owner: str) -> None:
        await self._leader.call("end_deposal", key, owner, timeout=_CHANGE_SECONDS)
        await self._catch_up()

    async def set_global_recoveries(self, enabled: bool) -> None:
        await self._leader.call("set_global_recoveries", enabled, timeout=_CHANGE_SECONDS)
        await self._catch_up()

    async def reelect(self) -> None:
        await self._leader.call("reelect", timeout=_CHANGE_SECONDS)

    async def stand(self) -> bool:
        elected: bool = await self._leader.call("stand", timeout=_CHANGE_SECONDS)
        return elected

    async def raft_yield(self, member: str) -> None:
        await self._leader.call("raft_yield", member, timeout=_CHANGE_SECONDS)

    async def raft_snapshot(self) -> None:
        await self._leader.call("raft_snapshot", timeout=_CHANGE_SECONDS)

    async def reload_configuration(self, extra_path: str = "") -> tuple[str, ...]:
        """Topology puts it in force or refuses; a Leader that cannot be told now reads it when it starts."""
        late: tuple[str, ...] = await self._topology("reload", extra_path)
        await self._catch_up()
        with contextlib.suppress(NodeError):
            await self._leader.call("adopt_configuration", timeout=_CHANGE_SECONDS)
        return late


class Gateway:
    """See the module. ``name`` is its name in Ray."""

    def __init__(self, spec: NodeSpec, name: str = GATEWAY) -> None:
        configure_logging()
        self._spec = spec
        self._name = name
        self._place = name.partition(":")[2]  # "head", or the address of its Ray node
        self._state = "is starting"
        self._periodic = Periodic()
        self._lock = ProcessLock(spec.folder / GATEWAY_LOCK)
        self._node: GatewayNode | None = None
        self._server: Any = None
        self._main_task = asyncio.ensure_future(until_started(self._serve, self._failed_to_start))

    def __repr__(self) -> str:
        return f"Gateway({self._place})"

    def _failed_to_start(self, why: str) -> None:
        self._node, self._state = None, why

    async def _serve(self) -> None:
        import uvicorn

        if self._name == GATEWAY:
            await self._lock.acquire(patience=ORPHAN_SECONDS)
            settings = Configuration(self._spec).settings
            listening = await self._bind(*settings.listen_endpoint)
        else:  # its port is its lock
            settings = (await self._first_snapshot()).configuration.settings
            listening = await self._bind(*listen_endpoint(settings, self._place))
        with listening:
            # Topology has prepared the store by the time that it gives a snapshot.
            snapshot = await self._first_snapshot()
            self._node = node = await self._made(snapshot, settings)
            module, _, factory = APPLICATION.partition(":")
            application = getattr(importlib.import_module(module), factory)(_as_node(node))
            config = uvicorn.Config(
                application, loop="none", log_config=None, access_log=False, timeout_graceful_shutdown=1
            )
            self._server = uvicorn.Server(config)
            self._server.capture_signals = contextlib.nullcontext  # signals belong to Ray's worker
            listening.listen(_BACKLOG)
            self._state = ""
            await self._server.serve(sockets=[listening])

    async def _made(self, snapshot: Push, settings: Settings) -> GatewayNode:
        clock = LeaderClock()
        if self._name == GATEWAY:
            store = await Store.open(backend_of(settings), read_only=True)
            return GatewayNode(self._spec, snapshot, store, clock)
        self._periodic.stop()
        self._periodic.run(partial(tell_time, self._name, clock))
        self._periodic.every(_FORSAKEN_SECONDS, self._watch_own_ray_node)
        return GatewayNode(self._spec, snapshot, reads_of_the_head(), clock)

    @staticmethod
    async def _watch_own_ray_node() -> None:
        await end_forsaken_raylet()  # Topology sees to that of the head

    async def _first_snapshot(self) -> Push:
        topology = Peer(TOPOLOGY)
        while True:
            try:
                snapshot: Push = await topology.call("snapshot", timeout=_SNAPSHOT_SECONDS)
            except NodeError as error:
                self._state = f"waits for the topology: {error}"
                await asyncio.sleep(_BIND_RETRY_SECONDS)
            else:
                return snapshot

    async def _bind(self, host: str, port: int) -> socket.socket:
        """The listening address, as soon as it is free. Connections are accepted only when we can answer."""
        while True:
            try:
                return listen(host, port)
            except OSError as error:
                self._state = f"cannot listen on {host}:{port}: {error.strerror} (ListenAddress)"
                await asyncio.sleep(_BIND_RETRY_SECONDS)

    async def ping(self) -> str:
        """ "" when it serves, else why it does not."""
        return self._state

    async def push(self, push: Push) -> None:
        """Raises UnavailableError while there is nobody to show it to: the events in it are not lost."""
        self._serving().accept(push)

    async def lead(self, lead: Lead) -> None:
        self._serving().lead(lead)

    async def read(self, part: str, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """For the gateways of workers: as `AuditReads`. Raises StoreError."""
        return await getattr(getattr(self._serving().store, part), method)(*arguments, **named)

    async def reload(self) -> tuple[str, ...]:
        """For ``orchestray reload``: as the API's, whatever its rules of access."""
        return await self._serving().reload_configuration()

    def _serving(self) -> GatewayNode:
        if self._node is None:
            raise UnavailableError(f"the gateway {self._state}")
        return self._node

    async def stop(self) -> None:
        self._periodic.stop()
        if self._server is not None:
            self._server.should_exit = True
            await asyncio.wait({self._main_task}, timeout=2.0)


def _as_node(node: GatewayNode) -> Node:
    return node  # the type checker sees here that it is one


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio switches Nagle's algorithm off only on sockets that say that they are TCP. With
    # it, a reply on a kept connection waited 40 ms between its head and its body.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening
