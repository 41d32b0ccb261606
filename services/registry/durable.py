"""What of the topology survives: read at start and kept in step with the store, behind the polls."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import structlog

from services.measuring.samples import Measured
from services.registry.emptied import EmptiedClusters
from services.registry.facts import facts_from_json, facts_to_json, lasting_facts
from services.registry.lost import settle
from services.registry.registered import Registered
from services.registry.registry import Registry
from services.store.clusters import ClusterRecord
from services.store.errors import StoreError
from services.store.instances import KnownInstance
from services.store.store import Store
from services.store.times import utc_now
from services.store.write_behind import WriteBehind
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry, DeposedMaster
from services.topology.registrations import Downtime
from services.topology.succession import follows_another, has_rejoined
from services.topology.tree import ClusterIdentity, Topology, roots_without_identity

__all__ = ["Durable"]

_log = structlog.get_logger(__name__)
_GATHER_SECONDS = 1.0
_WRITES_BEHIND = 20
"""A server of a cluster that is read from may be behind the one that is written to by some."""
_RENEW_SECONDS = 60.0
"""Facts that only move (positions, sets, lag) are written so often; what is configured, when it changes."""

Event = Callable[[str, str, InstanceKey, str], None]


class Durable:
    """Between the registry and the store. ``acts``: only the acting node writes what it observes.

    In raft the store is this node's own, and every node writes there what it observes. Which servers are
    known is agreed on: the acting node proposes those that it found, and all follow.
    """

    def __init__(self, store: Store, registry: Registry, event: Event, *, in_raft: bool = False) -> None:
        self.acts = False
        self._in_raft = in_raft
        self.recoveries_enabled = True
        self._store = store
        self._registry = registry
        self._event = event
        save = store.instances.update_many if in_raft else store.instances.upsert_many
        self._behind = WriteBehind(save, pause_seconds=_GATHER_SECONDS)
        self.measured = Measured()
        self._behind.note = self.measured.flush
        store.database.note = self.measured.query
        self._clusters: dict[str, ClusterRecord] = {}
        self._deposed: tuple[DeposedMaster, ...] = ()
        self._emptied = EmptiedClusters()
        self._promotions = 0
        self._identifying = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._read_error = ""
        self._registered = Registered()
        self._in_store: frozenset[InstanceKey] = frozenset()
        self._seeds: frozenset[InstanceKey] = frozenset()  # that are not in the store yet
        self._kept: dict[InstanceKey, tuple[Instance | None, float]] = {}
        self._writes = 0  # of the store, when last read

    @property
    def last_error(self) -> str:
        return self._read_error or self._behind.last_error

    @property
    def deposed_keys(self) -> frozenset[InstanceKey]:
        return frozenset(deposed.key for deposed in self._deposed)

    def redialled(self, now: str) -> frozenset[InstanceKey]:
        """Deposed masters that are still to be dialled at every heartbeat."""
        return frozenset(deposed.key for deposed in self._deposed if deposed.until > now)

    async def load(self) -> None:
        """Fill the registry from the store. Raises StoreError."""
        known = []
        for stored in await self._store.instances.load_all():
            try:
                known.append(facts_from_json(stored.facts))
            except (ValueError, TypeError, KeyError):
                known.append(Instance(key=stored.key))
        self._registry.restore(known, time.monotonic())
        await self.synchronise()
        self._take_over_promotions(self._deposed)
        self._behind.start()

    def seed(self, keys: Iterable[InstanceKey]) -> None:
        """This node was told of these servers: with the next synchronisation, whoever acts is too.

        In raft the one that acts asks for them (`found_here`).
        """
        if not self._in_raft:
            self._seeds |= frozenset(keys)

    @property
    def found_here(self) -> frozenset[InstanceKey]:
        """In raft: servers that are known to this node, and not agreed on."""
        return frozenset(self._registry.instances.keys() - self._in_store) if self._in_raft else frozenset()

    async def _share_seeds(self) -> None:
        seeds = self._seeds
        if not seeds:
            return
        try:
            await self._store.instances.discover(seeds)
        except StoreError as error:  # reading may go well nevertheless
            _log.warning("seeds are not in the store yet", reason=str(error))
        else:
            self._seeds -= seeds

    def _take_over_promotions(self, deposed: Iterable[DeposedMaster]) -> None:
        """The facts that are known of a new master may be older than its promotion."""
        for one in deposed:
            record = self._clusters.get(one.cluster_id)
            if record is not None:
                self._registry.promoted(record.master_key, one.key)

    async def synchronise(self) -> bool:
        """Take over what is registered, and the servers that another node found or forgot.

        True if there are any. Raises StoreError.
        """
        async with self._reading:  # or what was read first might be taken over last
            try:
                return await self._synchronise()
            except StoreError as error:
                self._read_error = str(error)
                raise

    async def _synchronise(self) -> bool:
        await self._share_seeds()
        self._notice_another_store(await self._store.database.writes())
        promotions = -1
        while promotions != self._promotions:  # one that came meanwhile may not be in what was read
            promotions = self._promotions
            records = await self._store.clusters.load()
            deposed = await self._store.clusters.deposed_masters()
        registered = await Registered.read(self._store.registrations, utc_now())
        if self.acts:
            registered = replace(registered, downtimes=await self._settle_lost(registered.downtimes))
        recoveries_enabled = await self._store.registrations.recoveries_enabled()
        follows = self._in_raft or not self.acts
        if follows:
            others_changed = self._follow(await self._store.instances.load_all())
        else:
            others_changed = self._take_up(await self._store.instances.unobserved())
        self._read_error = ""
        self.recoveries_enabled = recoveries_enabled
        if promotions == self._promotions:
            before, self._deposed = self.deposed_keys, deposed
            self._clusters.update({record.id: record for record in records})
            if not self.acts:
                self._take_over_promotions([one for one in deposed if one.key not in before])
            self._publish_identities()
        self._registered = registered
        self.expire(utc_now())
        return others_changed

    def _notice_another_store(self, writes: int | None) -> None:
        """One that has fewer writes than before is another: the second of a pair, or an older copy.

        Nobody has forgotten what it has not got: all that is known here is kept, and written there by
        whoever acts.
        """
        if writes is None or self._in_raft:  # where what is known is agreed on
            return
        if writes < self._writes - _WRITES_BEHIND:
            said = (
                f"the store has {writes} writes, after {self._writes}: what it does not have is written again"
            )
            _log.warning("another store", reason=said)
            self._event("store", said, NO_KEY, "")
            self._in_store, self._clusters, self._kept = frozenset(), {}, {}
        self._writes = writes

    async def _settle_lost(self, downtimes: tuple[Downtime, ...]) -> tuple[Downtime, ...]:
        """Lift or renew what recoveries began; those that last."""
        settled = settle(downtimes, self._registry.topology(time.monotonic()), utc_now())
        for downtime in settled.lifted:
            said = f"{downtime.key} is in its place again: not lost"
            entry = AuditEntry(at=utc_now(), type="end-downtime", instance=downtime.key, message=said)
            if await self._store.registrations.end_downtime(downtime.key, entry):
                self._event("downtime", said, downtime.key, "")
        for downtime in settled.renewed:
            await self._store.registrations.begin_downtime(downtime)
        return tuple(downtime for downtime in downtimes if downtime not in settled.lifted)

    def expire(self, now: str) -> None:
        """Registrations count until their end, without the store being asked again."""
        self._registered.apply(self._registry, now)

    def _follow(self, stored: Iterable[KnownInstance]) -> bool:
        """Others act, or did: what they found is watched here too, what they forgot is forgotten."""
        keys = frozenset(known.key for known in stored)
        found = keys - self._registry.instances.keys()
        gone = (self._in_store - keys) & self._registry.instances.keys()
        self._in_store = keys
        self._registry.restore([Instance(key=key) for key in sorted(found)], time.monotonic())
        if gone:
            self._registry.forget(gone, time.monotonic())
        return bool(found or gone)

    def _take_up(self, keys: Iterable[InstanceKey]) -> bool:
        """Seeds of other nodes, but what was forgotten a moment ago. Whoever acts keeps what it knows."""
        now = time.monotonic()
        return bool([key for key in keys if self._registry.add(key, now)])

    def note(self, instances: Iterable[Instance]) -> None:
        """These were read: keep them, without anybody waiting for it."""
        if not (self.acts or self._in_raft):
            return
        for instance in instances:
            if self._in_raft and instance.key not in self._in_store:
                continue  # it is not agreed yet that it is known
            if instance.key in self._registry.instances and self._is_news(instance):
                self._behind.put(
                    KnownInstance(
                        key=instance.key,
                        facts=facts_to_json(instance),
                        cluster_id=instance.cluster_id,
                        last_seen=instance.last_seen_timestamp,
                    )
                )

    def _is_news(self, instance: Instance) -> bool:
        lasting = lasting_facts(instance)
        known, at = self._kept.get(instance.key, (None, 0.0))
        if lasting == known and instance.seen_at - at < _RENEW_SECONDS:
            return False
        self._kept[instance.key] = lasting, instance.seen_at
        return True

    async def identify(self, topology: Topology) -> None:
        """Give clusters that have none an identity, once their top was really seen."""
        async with self._identifying:  # of two reports of one cluster, the second finds it identified
            if self._in_raft and self.acts:
                await self._agree_on_known()
            await self._identify(topology)

    async def _agree_on_known(self) -> None:
        new = self._registry.instances.keys() - self._in_store
        if not new:
            return
        try:
            await self._store.instances.discover(sorted(new))
        except StoreError as error:
            _log.warning("new servers are not agreed on", reason=str(error))
        else:
            self._in_store |= new

    async def _identify(self, topology: Topology) -> None:
        identified = {record.master_key for record in self._clusters.values()}
        new = [
            root
            for root in roots_without_identity(topology)
            if root in topology.instances and topology.instances[root].seen_at and root not in identified
        ]
        if not new or not self.acts:
            return
        for root in new:
            record = ClusterRecord(id=secrets.token_hex(16), master_key=root)
            try:
                self._clusters[record.id] = await self._store.clusters.create(record)
            except StoreError as error:
                _log.warning("a cluster's identity was not kept", cluster=str(root), reason=str(error))
                return
        self._publish_identities()

    async def follow(self, topology: Topology) -> frozenset[InstanceKey]:
        """Keep what others did: a deposed master that has rejoined, a cluster that was given another master.

        Returns the servers that are not dialled as deposed ones any more.
        """
        if not self.acts:
            return frozenset()
        async with self._identifying:  # of two at once, the second finds it done
            before = self._deposed
            try:
                await self._keep_what_others_did(topology)
            except StoreError as error:
                _log.warning("what others changed was not kept", reason=str(error))
            if self._deposed != before:
                self._publish_identities()
            return frozenset(one.key for one in before if one not in self._deposed)

    async def _keep_what_others_did(self, topology: Topology) -> None:
        for one in self._deposed:
            record = self._clusters.get(one.cluster_id)
            if record is None or not one.seen_again_at:  # it is met, and its loss told, first
                continue
            if has_rejoined(topology, one.key, record.master_key):
                await self._end_deposal(one, record.master_key)
        for cluster in topology.clusters:
            record = self._clusters.get(cluster.id)
            if record is not None and follows_another(topology, cluster, record.master_key):
                await self._take_over(record, cluster.master_key)

    async def _end_deposal(self, deposed: DeposedMaster, master: InstanceKey) -> None:
        said = f"{deposed.key} replicates from {master} and is read-only: it is not deposed any more"
        await self._store.clusters.rejoined(deposed.cluster_id, deposed.key)
        self._deposed = tuple(one for one in self._deposed if one != deposed)
        await self._store.audit.add(  # first: who is told of it finds it there
            AuditEntry(at=utc_now(), type="deposed", instance=deposed.key, message=said)
        )
        self._event("deposed", said, deposed.key, "")

    async def _take_over(self, record: ClusterRecord, master: InstanceKey) -> None:
        now = utc_now()
        if not await self._store.clusters.follow(
            record.id, expected=record.master_key, master=master, at=now
        ):
            return
        self._clusters[record.id] = replace(record, master_key=master, promoted_at=now)
        self._publish_identities()
        said = f"{master} is the master in place of {record.master_key}: somebody put it above that"
        await self._store.audit.add(AuditEntry(at=now, type="cluster", instance=master, message=said))
        self._event("cluster", said, master, str(master))

    def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        """The store has it already; this is so that nobody waits for the next synchronisation."""
        self._promotions += 1
        record = self._clusters.get(cluster_id) or ClusterRecord(id=cluster_id, master_key=failed)
        self._clusters[cluster_id] = replace(record, master_key=successor)
        if failed not in self.deposed_keys:
            deposed = DeposedMaster(
                cluster_id=cluster_id, key=failed, deposed_at=utc_now(), until="", term=0, recovery_uid=""
            )
            self._deposed = (*self._deposed, deposed)
        self._registry.promoted(successor, failed)
        self._publish_identities()

    async def renamed(self, before: InstanceKey, key: InstanceKey) -> None:
        """A server is known under its own name from now on. Who does not act follows."""
        if not self.acts:
            return
        now = utc_now()
        try:
            for record in list(self._clusters.values()):
                if record.master_key == before and await self._store.clusters.follow(
                    record.id, expected=before, master=key, at=now
                ):
                    self._clusters[record.id] = replace(record, master_key=key, promoted_at=now)
            await self.forget([before])
            said = f"{before} is {key}, and known as that from now on"
            await self._store.audit.add(AuditEntry(at=now, type="resolve", instance=key, message=said))
        except StoreError as error:
            _log.warning("a server's name was not kept", instance=str(key), reason=str(error))
        self._publish_identities()

    def _publish_identities(self) -> None:
        self._registry.set_identities(
            ClusterIdentity(
                id=record.id,
                master_key=record.master_key,
                alias=record.alias,
                domain=record.domain,
                deposed=frozenset(
                    deposed.key for deposed in self._deposed if deposed.cluster_id == record.id
                ),
            )
            for record in self._clusters.values()
        )

    async def forget(self, keys: Collection[InstanceKey]) -> None:
        """Raises StoreError; then they may be found again at the next start."""
        self._seeds -= frozenset(keys)
        for key in keys:
            self._kept.pop(key, None)
            self._behind.discard(key)
        await self._store.instances.forget(keys)

    async def forget_emptied(self, now: float, seconds: float) -> None:
        """Forget the clusters that have had no server for so long, if this node acts. Raises StoreError."""
        if not self.acts:
            self._emptied.begin_anew()
            return
        topology = self._registry.topology(now)
        for record in self._emptied.over(self._clusters.values(), topology, now, seconds):
            await self._store.clusters.forget(record.id)
            del self._clusters[record.id]
            said = f"cluster {record.alias or record.master_key} is forgotten: none of its servers is known"
            await self._store.audit.add(AuditEntry(at=utc_now(), type="forget-cluster", message=said))
            self._event("forgotten", said, NO_KEY, "")
            self._publish_identities()

    async def close(self) -> None:
        await self._behind.close()
        await self._store.close()
