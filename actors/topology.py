"""The topology actor: the live topology of the node, in memory.

Holds what is known of every server; one actor per node, on the head. Probes report to it; it merges,
analyses and tells the Leader what is wrong; the gateway serves what it pushes. It promises that nothing is
forgotten when it dies: it reloads from the store and adopts the probes that live. It watches Leader,
probes and gateway, and replaces what hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from actors.findings import Findings, undecided_in, view_of
from actors.gateway import Push
from actors.gateways import GatewaySet
from actors.handles import Peer, create
from actors.later_checks import LaterChecks
from actors.logs import configure_logging
from actors.names import GATEWAY, GATEWAY_LOCK, LEADER, LEADER_LOCK, TOPOLOGY_LOCK, head_options
from actors.naming import keep_names, look_up
from actors.news import News
from actors.probe import Assignment
from actors.probe_set import ProbeSet
from actors.ray_nodes import end_forsaken_raylet, ray_nodes
from actors.seats import agreeing_through
from actors.single_checks import check_once, locate_errant
from actors.spec import Configuration, NodeSpec
from actors.supervision import ORPHAN_SECONDS, watch_over
from actors.tasks import Periodic, until_started
from services.agreement.store import agreed_store
from services.config import ConfigurationError, Settings, changed_keys
from services.election.process_lock import ProcessLock, end_holder
from services.execution.coordinator import ClusterView
from services.measuring.samples import Measured
from services.node_view import (
    NodeError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
    UnknownClusterError,
    UnknownInstanceError,
)
from services.policies import login, registry_policy, watch_policy
from services.registering import RegularSnapshots, SnapshotCluster
from services.registry.durable import Durable
from services.registry.registry import Changes, Registry
from services.store.backend import backend_of
from services.store.errors import StoreError
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.instance import Instance, Observation
from services.topology.keys import NO_KEY, InstanceKey, InvalidInstanceKeyError

__all__ = ["TopologyActor"]

_PUSH_SECONDS = 2.0
_REGISTER_SECONDS = 10.0
_REPORT_SECONDS = 0.5  # from the end of a check until it is known here
_PROBE_SILENCE_SECONDS = 2.0  # beyond the poll interval
_log = structlog.get_logger(__name__)


class TopologyActor:
    """See the module. Calls made before it is ready raise UnavailableError."""

    def __init__(self, spec: NodeSpec) -> None:
        configure_logging()
        self._spec = spec
        self._state = "is starting"
        self._lock = ProcessLock(spec.folder / TOPOLOGY_LOCK)
        self._configuration: Configuration | None = None
        self._registry: Registry | None = None
        self._durable: Durable | None = None
        self._probes = ProbeSet(self._assignment)
        self._leader = Peer(LEADER)
        self._run, self._snapshots = secrets.token_hex(8), itertools.count(1)
        self._reported = asyncio.Event()  # a new one for each report
        self._stopping = False
        self._periodic = Periodic()
        self._gateways = GatewaySet(spec, self._snapshot, self._measured, self._periodic)
        self._findings = Findings(self._periodic.spawn, self._event)
        self._later = LaterChecks(
            lambda key: self.discover(key, background=False),
            lambda key, why: self._event("discovered", f"not taken up: {why}", key, ""),
            self._periodic.spawn,
        )
        self._main_task = asyncio.ensure_future(until_started(self._start, self._failed_to_start))

    def __repr__(self) -> str:
        return "Topology"

    # life

    def _failed_to_start(self, why: str) -> None:
        self._state = why

    async def _start(self) -> None:
        await self._lock.acquire(patience=ORPHAN_SECONDS)
        self._configuration = Configuration(self._spec)
        settings = self._configuration.settings
        registry = Registry(registry_policy(settings, self._spec.hostname, self._spec.token))
        store = await Store.open(backend_of(settings))
        if settings.RaftEnabled:
            store = agreed_store(store, agreeing_through(self._leader))
        durable = Durable(store, registry, self._event, in_raft=settings.RaftEnabled)
        try:
            await durable.load()
        except BaseException:
            await store.close()
            raise
        # From here on calls are answered: nobody has seen a topology that was not loaded yet.
        self._registry, self._durable, self._state = registry, durable, ""
        self._take_seeds(settings)
        self._gateways.changed()
        every = self._periodic.every
        self._periodic.spawn(self._adopt_probes())
        every(1.0, self._tick)
        every(0.5, self._keep_names)
        every(60.0, self._forget_unseen)
        every(60.0, partial(self._take_snapshots, RegularSnapshots(time.monotonic())))
        every(1.0, self._watch_leader)
        every(1.0, self._watch_gateways)
        every(2.0, self._watch_probes)
        every(2.0, self._watch_ray_nodes)
        every(2.0, self._watch_own_ray_node)
        every(5.0, self._synchronise)
        self._gateways.start()

    def _take_seeds(self, settings: Settings) -> None:
        assert self._durable is not None
        seeds = []
        for seed in settings.DiscoverySeeds:
            try:
                seeds.append(InstanceKey.parse(seed, settings.DefaultInstancePort))
            except InvalidInstanceKeyError as error:
                self._event("configuration", f"DiscoverySeeds: {error}", NO_KEY, "")
        for key in seeds:
            self._ready().add(key, time.monotonic(), explicit=True)
        self._durable.seed(seeds)

    async def ping(self) -> dict[str, Any]:
        return {
            "state": self._state,
            "instances": len(self._registry.instances) if self._registry else 0,
            "probes": len(self._probes),
            "store_error": self._durable.last_error if self._durable else "",
        }

    async def stop(self) -> None:
        """End the probes, write what waits, and watch over nobody any more."""
        self._stopping = True
        self._main_task.cancel()
        self._periodic.stop()
        self._gateways.stop()
        await self._probes.end_all()
        if self._durable is not None:
            await self._durable.close()

    def _ready(self) -> Registry:
        if self._registry is None:
            raise UnavailableError(f"the topology {self._state}")
        return self._registry

    @property
    def _settings(self) -> Settings:
        if self._configuration is None:
            raise UnavailableError(f"the topology {self._state}")
        return self._configuration.settings

    # probes

    async def assignment(self, name: str, ray_node: str) -> Assignment | None:
        """What a probe that has just (re)started there is to watch; None if it is not wanted (yet)."""
        self._ready()
        return self._probes.assignment_of(name, ray_node)

    def _assignment(self, keys: tuple[InstanceKey, ...]) -> Assignment:
        settings = self._settings
        deposed = self._durable.redialled(utc_now()) if self._durable else frozenset()
        return Assignment(login(settings), watch_policy(settings), keys, deposed & frozenset(keys))

    async def _adopt_probes(self) -> None:
        """Those that live go on; each looks at once, as what is known from the store has no age."""
        with contextlib.suppress(NodeError):
            self._probes.found(await ray_nodes())
        await self._probes.end_strangers(self._ready().watched, self._settings.ProbeActorsMax)
        await self._arrange_probes()
        await self._probes.look(self._ready().watched, burst=False)

    async def _arrange_probes(self) -> None:
        if not self._stopping:
            await self._probes.arrange(self._ready().watched, self._settings.ProbeActorsMax)

    async def report(self, name: str, observations: list[Observation]) -> None:
        """A probe's news. Idempotent: merging the same observation twice changes nothing."""
        registry = self._ready()
        self._probes.reported(name)
        if self._durable is not None:
            for one in observations:
                self._durable.measured.check(
                    one.key, one.latency_seconds, one.error, age_seconds=one.age_seconds
                )
        changes = registry.observe(observations, now=time.monotonic(), utc=utc_now())
        self._reported.set()
        self._reported = asyncio.Event()
        await self._act_on(changes)

    async def _act_on(self, changes: Changes) -> None:
        registry = self._ready()
        if self._durable is not None:
            self._durable.note(changes.fresh)
        for key, note in changes.notes:
            self._event("check", note, key, self._cluster_name(key))
        for instance in changes.fresh:
            if instance.key in self._durable_unfenced():
                self._periodic.spawn(self._meet_deposed(instance))
        if changes.significant:
            self._analyse()
        await self._follow_names(changes)
        if changes.look_at:  # the reporting probe does not wait for others, one of which may hang
            self._periodic.spawn(self._probes.look(changes.look_at, burst=True, light=True))
        if changes.found:
            for key in sorted(changes.found):
                self._event("discovered", f"found {key}", key, "")
            self._periodic.spawn(self._arrange_probes())
            if self._durable is not None:
                await self._durable.identify(registry.topology(time.monotonic()))
        self._gateways.changed()

    async def _follow_names(self, changes: Changes) -> None:
        """Of who has another name, or is not to be watched, nothing is kept under the name that was met."""
        for before, key in changes.renamed:
            self._event("discovered", f"{before} is {key}, and known as that from now on", key, "")
            if self._durable is not None:
                await self._durable.renamed(before, key)
        if changes.dropped and self._durable is not None and self._durable.acts:
            with contextlib.suppress(StoreError):
                await self._durable.forget(changes.dropped)
        if changes.renamed or changes.dropped:
            self._periodic.spawn(self._arrange_probes())

    async def _keep_names(self) -> None:
        await self._take_up(await keep_names(self._ready(), lambda: login(self._settings)))
        await self._follow_names(Changes(renamed=self._ready().moved()))

    async def _take_up(self, found: frozenset[InstanceKey]) -> None:
        for key in sorted(found):
            self._event("discovered", f"found {key}", key, "")
        if found:
            await self._arrange_probes()

    async def _forget_unseen(self) -> None:
        """Only the acting node forgets; the others follow."""
        hours = self._settings.UnseenInstanceForgetHours
        if not hours or self._durable is None:
            return
        if not self._durable.acts:
            await self._durable.forget_emptied(time.monotonic(), 3600.0 * hours)  # it counts anew
            return
        limit = shifted(utc_now(), -3600.0 * hours)
        keys = self._ready().long_unseen(time.monotonic(), limit, 3600.0 * hours)
        if keys:
            _log.info("not seen for long", hours=hours, instances=[str(key) for key in keys])
            await self.forget(list(keys))
        with contextlib.suppress(StoreError):  # the next time will do
            await self._durable.forget_emptied(time.monotonic(), 3600.0 * hours)

    async def _take_snapshots(self, regular: RegularSnapshots) -> None:
        async def register(snapshot: SnapshotCluster) -> None:
            await self._leader.call("register", snapshot, timeout=_REGISTER_SECONDS)

        if self._durable is not None and self._durable.acts:
            now = time.monotonic()
            await regular.take_if_due(self._ready().topology(now), self._settings, now, register)

    def _durable_unfenced(self) -> frozenset[InstanceKey]:
        return self._durable.deposed_keys if self._durable else frozenset()

    async def _meet_deposed(self, instance: Instance) -> None:
        """Rule 12: a deposed master that answers is handed to the Leader, which fences it first of all."""
        with contextlib.suppress(NodeError):
            await self._leader.call("meet_deposed", instance, timeout=_PUSH_SECONDS)

    async def _tick(self) -> None:
        if self._durable is not None:
            self._durable.expire(utc_now())
        self._analyse()
        self._gateways.changed()
        self._periodic.spawn(self._look_closer())
        if self._durable is not None:
            self._periodic.spawn(self._durable.identify(self._ready().topology(time.monotonic())))
            self._periodic.spawn(self._follow(self._durable))

    async def _follow(self, durable: Durable) -> None:
        ended = await durable.follow(self._ready().topology(time.monotonic()))
        if ended:
            await self._probes.renew(ended)

    async def _look_closer(self) -> None:
        """Each second, whatever the poll interval."""
        await self._probes.look(undecided_in(self._ready()), burst=False)

    def _analyse(self) -> None:
        self._findings.tell(self._ready())

    # what the gateway is told

    async def snapshot(self) -> Push:
        """What a gateway that has just started needs."""
        return self._snapshot(())

    def _measured(self) -> Measured | None:
        return self._durable.measured.take() if self._durable is not None else None

    def _snapshot(self, events: tuple[News, ...]) -> Push:
        registry, now = self._ready(), time.monotonic()
        assert self._configuration is not None
        return Push(
            configuration=self._configuration.loaded,
            topology=registry.topology(now),
            analysis=registry.analysis(now, unix_now=time.time()),
            recoveries_enabled=self._durable.recoveries_enabled if self._durable else True,
            store_error=self._durable.last_error if self._durable else "",
            events=events,
            run=self._run,
            number=next(self._snapshots),
        )

    def _event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        _log.info(kind, message=message, instance=str(instance), cluster=cluster)
        self._gateways.changed((utc_now(), kind, message, instance, cluster))

    async def events(self, news: tuple[News, ...]) -> None:
        """From the Leader: what people should see."""
        self._ready()
        self._gateways.changed(*news)

    def _cluster_name(self, key: InstanceKey) -> str:
        cluster = self._ready().topology(time.monotonic()).cluster_of(key)
        return cluster.name if cluster is not None else ""

    # what the Leader and the API ask for

    async def leading(self, acts: bool) -> str:
        """Whether this node acts: only then it writes what it observes. Tells which run this is."""
        durable = self._durable
        if durable is not None and durable.acts != acts:
            durable.acts = acts
            self._ready().settle_disputes()
            self._findings.tell_anew()
            self._analyse()
        return self._run

    async def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        """The cluster's identity goes with its new master, from now on."""
        if self._durable is not None:
            self._durable.promoted(cluster_id, failed, successor)
        self._findings.tell_anew()
        self._gateways.changed()

    async def witnessed(self, master: InstanceKey) -> None:
        """A witness could not connect to this server: judge anew, at once."""
        self._ready().witnessed(master, time.monotonic())
        self._analyse()

    async def disputed(self, master: InstanceKey, facts: tuple[str, ...]) -> None:
        """The raft members do not agree that this server is dead; without ``facts`` they do, or need not."""
        self._ready().dispute(master, facts, time.monotonic())
        self._analyse()
        self._gateways.changed()

    async def changed(self, keys: list[InstanceKey]) -> None:
        """These servers were changed: look at them, and dial deposed ones from now on."""
        await self._synchronise()
        await self._probes.renew(keys)
        await self._probes.look(keys, burst=True)

    async def synchronise(self) -> None:
        """Registrations were changed in the store: read them, and tell the Leader what follows."""
        await self._synchronise()
        self._findings.tell_anew()
        self._analyse()
        self._gateways.changed()

    async def _synchronise(self) -> None:
        if self._durable is None:
            return
        try:
            new = await self._durable.synchronise()
        except StoreError as error:
            _log.warning("the store cannot be read", reason=str(error))
            return
        if new:
            await self._arrange_probes()

    async def fresh_view_of(self, key: InstanceKey) -> ClusterView:
        """As ``view_of``, once the server and its replicas were checked anew, or time is up."""
        registry, began = self._ready(), time.monotonic()
        near = {key, *(one.key for one in registry.topology(began).replicas_of(key))}
        await self._probes.look(near, burst=True)
        until = began + self._settings.InstanceHeartbeatMilliseconds / 1000 + _REPORT_SECONDS

        def awaited() -> bool:
            known = registry.instances
            return any(one in known and known[one].checked_at < began for one in near)

        while awaited() and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._reported.wait(), left)
        return await self.view_of(key)

    async def view_of(self, key: InstanceKey) -> ClusterView:
        """The cluster of a server, with all that is wrong in it now. Raises UnknownInstanceError."""
        found = view_of(self._ready(), key)
        if found is None:
            raise UnknownInstanceError(f"Cannot read instance: {key}")
        return found

    async def discover(self, key: InstanceKey, background: bool) -> Instance | None:
        """Probe a server once, and watch it from then on if it answers: now, or when there is time.

        None: a filter leaves it out.
        """
        registry = self._ready()
        if registry.policy.ignores_host(key):
            return None
        if background:
            self._later.add(key)
            return None
        if not registry.names.is_settled(key):
            await self._take_up(await look_up(registry, key.hostname))
        key = registry.names.resolve(key)
        observation = await check_once(key, self._settings)
        if observation.instance is None and key not in registry.instances:
            raise RefusedError(f"{key}: {observation.error or observation.outcome.value}")
        if registry.add(key, time.monotonic(), explicit=True):
            self._event("discovered", f"found {key}", key, "")
            self._periodic.spawn(self._arrange_probes())
        changes = registry.observe([observation], now=time.monotonic(), utc=utc_now())
        await self._act_on(changes)
        if observation.instance is None:
            raise RefusedError(f"{key}: {observation.error}")
        key = registry.names.resolve(key)
        if key in changes.dropped:
            return None
        if self._durable is not None:
            await self._durable.identify(registry.topology(time.monotonic()))
        return registry.topology(time.monotonic()).instances[key]

    async def locate_errant(self, key: InstanceKey) -> tuple[str, ...]:
        """Names of the binary logs in which its errant transactions are. Raises RefusedError with the key."""
        known = self._ready().topology(time.monotonic()).instances.get(key)
        if known is None:
            raise UnknownInstanceError(f"Cannot read instance: {key}")
        if not known.gtid_errant:
            raise RefusedError(f"{key}: no errant-gtid", None)
        return await locate_errant(known, self._settings)

    async def refresh(self, key: InstanceKey) -> None:
        """Probe a known server now. Raises RefusedError with what it answered."""
        registry = self._ready()
        key = registry.names.resolve(key)
        if key not in registry.instances:
            raise UnknownInstanceError(f"Cannot read instance: {key}")
        observation = await check_once(key, self._settings)
        await self._act_on(registry.observe([observation], now=time.monotonic(), utc=utc_now()))
        if observation.instance is None:
            raise RefusedError(f"{key}: {observation.error}")

    async def forget(self, keys: list[InstanceKey]) -> None:
        """Forget servers, here and in the store. Raises UnknownInstanceError before anything is done."""
        registry = self._ready()
        keys = [registry.names.resolve(key) for key in keys]
        unknown = [key for key in keys if key not in registry.instances]
        if unknown:
            raise UnknownInstanceError(f"Cannot read instance: {unknown[0]}")
        registry.forget(keys, time.monotonic())
        if self._durable is not None:
            try:
                await self._durable.forget(keys)
            except StoreError as error:
                raise OutcomeUnknownError(f"forgotten here, and not in the store: {error}") from None
        for key in keys:
            self._event("forgotten", f"forgot {key}", key, "")
        await self._arrange_probes()

    async def found_here(self) -> list[InstanceKey]:
        """In raft: servers that only this node knows, for the member that acts."""
        self._ready()
        return sorted(self._durable.found_here) if self._durable is not None else []

    async def learn(self, keys: list[InstanceKey]) -> None:
        """Other members of raft have found these."""
        registry, now = self._ready(), time.monotonic()
        await self._take_up(frozenset(key for key in keys if registry.add(key, now)))

    async def hostname_resolves(self) -> dict[str, tuple[str, int]]:
        """Name to what it stands for, and until when that is believed, in Unix nanoseconds."""
        registry, now, clock = self._ready(), time.monotonic(), time.time()
        return {
            name: (known.name, int((clock + known.until - now) * 1e9))
            for name, known in registry.names.cache(registry.instances, now).items()
        }

    async def reset_hostname_resolves(self) -> None:
        """What was learned of names is forgotten; what is still used is learned again."""
        self._ready().reset_names()
        self._gateways.changed()

    async def forget_cluster(self, name: str) -> None:
        topology = self._ready().topology(time.monotonic())
        cluster = topology.cluster_by_name(name)
        if cluster is None:
            raise UnknownClusterError(f"no cluster {name!r} is known")
        await self.forget([key for key in cluster.instance_keys if key in topology.instances])

    async def reload(self, extra: str) -> tuple[str, ...]:
        """Put a changed configuration in force; the other actors adopt it, or read it when they start.

        Returns the keys that changed and need a restart. Raises RefusedError; then nothing has changed.
        """
        registry = self._ready()
        assert self._configuration is not None
        before = self._settings
        try:
            late = self._configuration.reload(extra)
        except ConfigurationError as error:
            raise RefusedError(str(error)) from None
        except OSError as error:
            raise UnavailableError(f"the configuration cannot be kept: {error}") from None
        settings = self._settings
        changed = ", ".join(changed_keys(before, settings)) or "nothing"
        waiting = f"; not before a restart: {', '.join(late)}" if late else ""
        self._event("reload", f"configuration read again, changed: {changed}{waiting}", NO_KEY, "")
        registry.policy = registry_policy(settings, self._spec.hostname, self._spec.token)
        self._take_seeds(settings)
        await self._arrange_probes()
        await self._probes.renew()
        return late

    # watching over the others

    async def _watch_leader(self) -> None:
        from actors.leader import LeaderActor

        await self._watch(
            self._leader,
            lambda: create(LeaderActor, head_options(LEADER), self._spec),
            LEADER_LOCK,
        )

    async def _watch_gateways(self) -> None:
        if not self._stopping:
            await self._gateways.watch(self._patience, self._ending(GATEWAY, GATEWAY_LOCK))

    async def _watch(self, peer: Peer, start: Callable[[], Awaitable[None]], lock: str) -> None:
        if not self._stopping:
            replace = self._ending(peer.name, lock)
            await watch_over(peer, patience=self._patience, start=start, replace=replace)

    @property
    def _patience(self) -> float:
        return float(self._settings.RestartLeaderAfterSeconds)

    def _ending(self, name: str, lock: str) -> Callable[[], Awaitable[None]]:
        async def end_it() -> None:
            # One that holds no lock is only being started, on a machine that is busy.
            if end_holder(self._spec.folder / lock) is not None:
                said = f"{name} did not answer for {self._patience:g} s: ended, it is started anew"
                self._event("supervision", said, NO_KEY, "")

        return end_it

    async def _watch_probes(self) -> None:
        """A probe reports at each poll, unless its server is dead for long: silence is a reason to ask it."""
        settings = self._settings
        silence = settings.InstancePollSeconds + _PROBE_SILENCE_SECONDS
        await self._probes.watch(silence, self._patience)

    async def _watch_ray_nodes(self) -> None:
        """A worker that comes has room for probes, and a gateway of its own."""
        if self._stopping:
            return
        nodes = await ray_nodes()
        self._gateways.found(nodes)
        if self._probes.found(nodes):
            await self._arrange_probes()

    async def _watch_own_ray_node(self) -> None:
        if not self._stopping and await end_forsaken_raylet():
            said = "Ray has given up this host: its raylet is ended, so that all is started anew"
            self._event("supervision", said, NO_KEY, "")
