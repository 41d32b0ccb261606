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
from services.registry.durable import Durable
from services.registry.registry import Registry
from services.sandbox.topology import MySQLTopology
from services.store.clusters import ClusterRecord
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.instance import Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.records import Recovery
from tests.recovery_world import FakeMandate
from tests.servers import wait_until_async

__all__ = ["CLUSTER", "LiveNode", "live_node"]

CLUSTER = "cluster-of-the-test"


class LiveNode:
    """``reaches`` maps a server to the endpoint under which the node itself reaches it: a proxy's.

    ``master`` is the name under which the node and the replicas know the master.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        topology: MySQLTopology,
        reaches: Mapping[InstanceKey, InstanceKey],
        master: InstanceKey,
    ) -> None:
        self.store = store
        self.topology = topology
        self.master = master
        self.mandate = FakeMandate(term=1, seconds=1000.0)
        self.said: list[str] = []
        self.promoted_to: list[InstanceKey] = []
        self.registry = Registry(registry_policy(settings))
        self.coordinator = Coordinator(store, lambda: settings, lambda: self.mandate, self, ("host", "token"))
        self._settings = settings
        self._reaches = reaches
        self._durable = Durable(store, self.registry, self.event)
        self._durable.acts = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._fencing: set[InstanceKey] = set()
        self._watchers: dict[InstanceKey, Watcher] = {}

    async def start(self) -> None:
        await self.coordinator.synchronise()
        await self.store.clusters.create(ClusterRecord(id=CLUSTER, master_key=self.master))
        await self._durable.load()
        policy = watch_policy(self._settings)
        for key in self.keys:
            self.registry.add(key, time.monotonic(), explicit=True)
            self._watchers[key] = self._watcher(key, policy)
            self._watchers[key].start()
        await self._synchronise()
        self._spawn(self._each_second())

    @property
    def keys(self) -> list[InstanceKey]:
        return [self.master, *(server.key for server in self.topology.replicas)]

    def _watcher(self, key: InstanceKey, policy: WatchPolicy) -> Watcher:
        there = self._reaches.get(key, key)
        return Watcher(there, login(self._settings), policy, lambda seen: self._report(_renamed(seen, key)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(watcher.stop() for watcher in self._watchers.values()))
        await self.coordinator.stop()
        await self._durable.close()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what Topology does

    def _report(self, seen: Observation) -> None:
        changes = self.registry.observe([seen], now=time.monotonic(), utc=utc_now())
        for instance in changes.fresh:
            if instance.key in self._durable.deposed_keys:
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
            if await self._durable.follow(self.registry.topology(time.monotonic())):
                await self._synchronise()

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
            self.changed((instance.key,))

    async def _synchronise(self) -> None:
        await self._durable.synchronise()
        redialled = self._durable.redialled(utc_now())
        for key, watcher in self._watchers.items():
            watcher.redial(key in redialled)

    # Observer of the coordinator

    def event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        self.said.append(f"{kind}: {message}")

    def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        self.promoted_to.append(successor)
        self._durable.promoted(cluster_id, failed, successor)

    def changed(self, keys: tuple[InstanceKey, ...]) -> None:
        self._spawn(self._synchronise())
        self.look(*keys)

    def look_again(self, key: InstanceKey) -> None:
        self.look(key)
        self.judge()

    def witnessed(self, master: InstanceKey) -> None:
        self.registry.witnessed(master, time.monotonic())
        self.judge()

    # what tests ask

    def seen(self, key: InstanceKey) -> Instance:
        return self.registry.topology(time.monotonic()).instances[key]

    def heard(self, part: str) -> list[str]:
        return [line for line in self.said if part in line]

    def knows(self, key: InstanceKey) -> bool:
        """It was seen well, and so were all that replicate from it, if any."""
        one = self.seen(key)
        below = [other for other in self.keys if self.seen(other).master_key == key]
        return one.is_last_check_valid and len(one.replicas) == len(below)

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
    *,
    master: InstanceKey | None = None,
    **settings: object,
) -> AsyncIterator[LiveNode]:
    """A node that has seen all running servers. A second one in a folder goes on where the first was."""
    account = topology.accounts.orchestray
    given = {
        "MySQLTopologyUser": account.user,
        "MySQLTopologyPassword": account.password,
        "RecoverMasterClusterFilters": ["*"],
        "RecoveryPeriodBlockSeconds": 1,
        **settings,
    }
    file = folder / "orchestray.db"
    loaded = settings_for_demo(file, overrides=given).settings
    node = LiveNode(await Store.open(file), loaded, topology, reaches or {}, master or topology.master.key)
    down = {server.key for server in topology.servers if not server.is_running}
    try:
        await node.start()
        await node.until(lambda: all(node.knows(key) for key in node.keys if key not in down))
        yield node
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await node.stop()
