"""A node without Ray: watchers, registry, analysis and coordinator in one event loop, on real servers.

What the actors do is wiring; here it is wired by hand, so that a test needs no Ray, can look into everything,
and can put a proxy between the node and one server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from services.config import Settings, settings_for_demo
from services.execution.coordinator import ClusterView, Coordinator
from services.execution.deposed import fence_deposed
from services.mysql.watcher import Watcher, WatchPolicy
from services.planning.witness import is_suspected
from services.policies import login, registry_policy, watch_policy
from services.registry.registry import Registry
from services.sandbox.topology import MySQLTopology
from services.store.clusters import ClusterRecord
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.instance import Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.records import Recovery
from services.topology.tree import ClusterIdentity
from tests.recovery_world import FakeMandate
from tests.servers import wait_until_async

__all__ = ["CLUSTER", "LiveNode", "live_node"]

CLUSTER = "cluster-of-the-test"


class LiveNode:
    """``reaches`` maps a server to the endpoint under which the node itself reaches it: a proxy's."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        topology: MySQLTopology,
        reaches: Mapping[InstanceKey, InstanceKey],
    ) -> None:
        self.store = store
        self.topology = topology
        self.mandate = FakeMandate(term=1, seconds=1000.0)
        self.said: list[str] = []
        self.promoted_to: list[InstanceKey] = []
        self.registry = Registry(registry_policy(settings))
        self.coordinator = Coordinator(store, lambda: settings, lambda: self.mandate, self, ("host", "token"))
        self._settings = settings
        self._reaches = reaches
        self._deposed: frozenset[InstanceKey] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fencing: set[InstanceKey] = set()
        self._watchers: dict[InstanceKey, Watcher] = {}

    async def start(self) -> None:
        await self.coordinator.synchronise()
        await self.store.clusters.create(ClusterRecord(id=CLUSTER, master_key=self.topology.master.key))
        await self._read_identities()
        policy = watch_policy(self._settings)
        for server in self.topology.servers:
            self.registry.add(server.key, time.monotonic(), explicit=True)
            self._watchers[server.key] = self._watcher(server.key, policy)
            self._watchers[server.key].start()
        self._spawn(self._each_second())

    def _watcher(self, key: InstanceKey, policy: WatchPolicy) -> Watcher:
        there = self._reaches.get(key, key)
        return Watcher(there, login(self._settings), policy, lambda seen: self._report(_renamed(seen, key)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(watcher.stop() for watcher in self._watchers.values()))
        await self.coordinator.stop()
        await self.store.close()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what Topology does

    def _report(self, seen: Observation) -> None:
        changes = self.registry.observe([seen], now=time.monotonic(), utc=utc_now())
        for instance in changes.fresh:
            if instance.key in self._deposed:
                self._spawn(self._meet(instance))
        if changes.significant:
            self.judge()
        self.look(*changes.look_at)

    def look(self, *keys: InstanceKey) -> None:
        for key in keys:
            if key in self._watchers:
                self._watchers[key].look(burst=True)

    async def _each_second(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.judge()
            await self.coordinator.resume_open()

    def judge(self) -> None:
        for view in self.views():
            master = view.instance(view.cluster.master_key)
            suspected = master is not None and is_suspected(master)
            if suspected or any(finding.actionable for finding in view.findings):
                self.coordinator.consider(view)

    def views(self) -> list[ClusterView]:
        now = time.monotonic()
        topology, findings = self.registry.topology(now), self.registry.analysis(now)
        return [
            ClusterView(
                cluster=cluster,
                instances=topology.instances_of(cluster),
                findings=tuple(one for one in findings if one.cluster_details.cluster_name == cluster.name),
                unread=self.registry.unread(cluster, now),
            )
            for cluster in topology.clusters
        ]

    async def _meet(self, instance: Instance) -> None:
        if instance.key in self._fencing:
            return
        self._fencing.add(instance.key)
        try:
            said = await fence_deposed(instance, login(self._settings), self.mandate, self.store)
        finally:
            self._fencing.discard(instance.key)
        if said:
            self.event("deposed", said, instance.key, "")
            self.look(instance.key)

    async def _read_identities(self) -> None:
        records, deposed = await self.store.clusters.load(), await self.store.clusters.deposed_masters()
        self._deposed = frozenset(one.key for one in deposed)
        self.registry.set_identities(
            ClusterIdentity(id=one.id, master_key=one.master_key, deposed=self._deposed) for one in records
        )
        for key, watcher in self._watchers.items():
            watcher.redial(key in self._deposed)

    # Observer of the coordinator

    def event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        self.said.append(f"{kind}: {message}")

    def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        self.promoted_to.append(successor)
        self.registry.promoted(successor, failed)
        self._spawn(self._read_identities())

    def changed(self, keys: tuple[InstanceKey, ...]) -> None:
        self._spawn(self._read_identities())
        self.look(*keys)

    def witnessed(self, master: InstanceKey) -> None:
        self.registry.witnessed(master, time.monotonic())
        self.judge()

    # what tests ask

    def seen(self, key: InstanceKey) -> Instance:
        return self.registry.topology(time.monotonic()).instances[key]

    def heard(self, part: str) -> list[str]:
        return [line for line in self.said if part in line]

    async def recoveries(self) -> tuple[Recovery, ...]:
        return await self.store.recoveries.page(RecoveryFilter(), now=utc_now())

    async def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        await wait_until_async(condition, seconds, lambda: "\n".join(self.said))  # type: ignore[arg-type]


def _renamed(seen: Observation, key: InstanceKey) -> Observation:
    instance = replace(seen.instance, key=key) if seen.instance is not None else None
    return replace(seen, key=key, instance=instance)


@asynccontextmanager
async def live_node(
    topology: MySQLTopology,
    folder: Path,
    reaches: Mapping[InstanceKey, InstanceKey] | None = None,
    **settings: object,
) -> AsyncIterator[LiveNode]:
    """A node that has seen all servers of the topology well."""
    account = topology.accounts.orchestray
    given = {
        "MySQLTopologyUser": account.user,
        "MySQLTopologyPassword": account.password,
        "RecoverMasterClusterFilters": ["*"],
        "RecoveryPeriodBlockSeconds": 1,
        **settings,
    }
    file = folder / "orchestray.db"
    node = LiveNode(
        await Store.open(file), settings_for_demo(file, overrides=given).settings, topology, reaches or {}
    )
    try:
        await node.start()
        await node.until(
            lambda: (
                all(node.seen(server.key).is_last_check_valid for server in topology.servers)
                and set(node.seen(topology.master.key).replicas) == {one.key for one in topology.replicas}
            )
        )
        yield node
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await node.stop()
