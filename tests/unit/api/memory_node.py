"""A node without actors, for tests of the API: real values, a real store, changes written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from services.analysis import AnalysisPolicy, ReplicationAnalysis, analyze
from services.analysis.changelog import AnalysisChangelog
from services.config import Secret, Settings, from_mapping
from services.measuring.samples import Measured
from services.node_view import Acting, EventLog, NodeIdentity, NodeStatus, RefusedError
from services.raft.view import RaftView
from services.registering import Book, Request
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.tree import Cluster, ClusterIdentity, Topology, TreePolicy, derive

T = TypeVar("T")

NOW = 1000.0
TOKEN = "ab" * 32
SECRET = Secret("what the nodes of a test have in common")

M = InstanceKey("orders-1.example.com", 3306)
R1 = InstanceKey("orders-2.example.com", 3306)
R2 = InstanceKey("orders-3.example.com", 3307)
ALONE = InstanceKey("users.example.com", 3306)


def settings(**keys: object) -> Settings:
    return from_mapping({"BackendDB": "sqlite", "SQLite3DataFile": "/tmp/x.sqlite3", **keys}).settings


def master(key: InstanceKey, *, replicas: Iterable[InstanceKey] = (), **facts: object) -> Instance:
    instance = Instance(
        key=key,
        version="8.4.6",
        version_comment="MySQL Community Server",
        flavor="MySQL",
        server_id=key.port,
        server_uuid=f"uuid-of-{key.hostname}",
        binlog_format="ROW",
        log_bin_enabled=True,
        log_replica_updates_enabled=True,
        gtid_mode="ON",
        replicas=tuple(replicas),
        last_check_outcome=CheckOutcome.OK,
        checked_at=NOW,
        seen_at=NOW,
        last_seen_timestamp="2026-11-22T20:46:24Z",
    )
    return replace(instance, **facts)  # type: ignore[arg-type]


def replica(key: InstanceKey, of: InstanceKey, **facts: object) -> Instance:
    return replace(
        master(key),
        **{
            "read_only": True,
            "master_key": of,
            "receiver_state": ThreadState.RUNNING,
            "applier_state": ThreadState.RUNNING,
            "read_coordinates": BinlogCoordinates("binlog.000002", 157),
            "exec_coordinates": BinlogCoordinates("binlog.000002", 157),
            "using_oracle_gtid": True,
            "seconds_behind_master": 0,
            "replication_lag_seconds": 0,
            **facts,
        },  # type: ignore[arg-type]
    )


def fleet() -> tuple[Instance, ...]:
    """A master with two replicas, of which one is broken, and a server that stands alone."""
    return (
        master(M, replicas=(R1, R2), suggested_cluster_alias="orders", data_center="dc1"),
        replica(R1, M, data_center="dc1"),
        replica(
            R2,
            M,
            applier_state=ThreadState.STOPPED,
            last_sql_error="Duplicate entry",
            seconds_behind_master=None,
            replication_lag_seconds=None,
            is_downtimed=True,
            downtime_owner="me",
        ),
        master(ALONE, data_center="dc2", version="9.1.0"),
    )


def snapshot(instances: Iterable[Instance]) -> Topology:
    identities = [
        ClusterIdentity(id="c-orders", master_key=M),
        ClusterIdentity(id="c-users", master_key=ALONE),
    ]
    return derive(instances, identities, TreePolicy(), NOW)


@dataclass
class MemoryNode:
    """Implements ``services.node_view.Node``. What was asked to change stands in ``done``."""

    store: Store
    settings: Settings = field(default_factory=settings)
    configuration_warnings: tuple[str, ...] = ()
    topology: Topology = field(default_factory=lambda: snapshot(fleet()))
    analysis: tuple[ReplicationAnalysis, ...] = ()
    global_recoveries_enabled: bool = True
    is_leader: bool = True
    error: str = ""
    events: EventLog = field(default_factory=EventLog)
    done: list[tuple[object, ...]] = field(default_factory=list)
    fails_with: BaseException | None = None
    promotes: InstanceKey | None = None
    raft: RaftView | None = None
    changelog: AnalysisChangelog = field(default_factory=AnalysisChangelog)
    measured: Measured = field(default_factory=Measured)
    errant_in: tuple[str, ...] = ()
    acts: Acting = field(default_factory=lambda: Acting(me="node-1", term=1))
    secret: Secret = SECRET
    wins: bool = True

    def show(self, instances: Iterable[Instance]) -> None:
        self.topology = snapshot(instances)
        self.analysis = analyze(self.topology, AnalysisPolicy(), NOW)

    def status(self) -> NodeStatus:
        own = NodeIdentity(hostname="node-1", token=TOKEN, app_version="0.1.0", db_backend="x.sqlite3")
        return NodeStatus(
            hostname="node-1",
            token=TOKEN,
            app_version="0.1.0",
            db_backend="x.sqlite3",
            is_leader=self.is_leader,
            active_node=own if self.is_leader else NodeIdentity(hostname="node-2"),
            available_nodes=(own,),
            healthy=not self.error,
            error=self.error,
            warnings=("the disk is nearly full",) if self.error else (),
            raft=self.raft,
        )

    def _note(self, *what: object) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.done.append(what)

    def acting(self) -> Acting:
        return replace(self.acts, node=self.acts.me if self.is_leader else self.acts.node)

    async def forwarding_secret(self) -> Secret:
        return self.secret

    async def catch_up(self) -> None:
        self.done.append(("catch-up",))

    async def discover(self, key: InstanceKey, *, background: bool = False) -> Instance | None:
        self._note("discover", key, background)
        return None if background else self.topology.instances.get(key)

    async def locate_errant(self, key: InstanceKey) -> tuple[str, ...]:
        self._note("locate-errant", key)
        return self.errant_in

    async def refresh(self, key: InstanceKey) -> None:
        self._note("refresh", key)

    async def hostname_resolves(self) -> dict[str, tuple[str, int]]:
        return {"db-alias": ("db-7.example.com", 1_700_000_000_000_000_000)}

    async def reset_hostname_resolves(self) -> None:
        self._note("reset-hostname-resolves")

    async def forget(self, key: InstanceKey) -> None:
        self._note("forget", key)

    async def forget_cluster(self, cluster: Cluster) -> None:
        self._note("forget-cluster", cluster.name)

    async def recover(
        self, key: InstanceKey, *, candidate: InstanceKey | None, skip_hooks: bool, caller: str
    ) -> InstanceKey:
        self._note("recover", key, candidate, skip_hooks, caller)
        if self.promotes is None:
            raise RefusedError("Recovery not attempted", key)
        return candidate or self.promotes

    async def acknowledge(self, which: RecoveryFilter, *, comment: str, owner: str) -> int:
        self._note("acknowledge", which, comment, owner)
        return await self.store.recoveries.acknowledge(which, owner=owner, comment=comment, at=utc_now())

    async def register(self, request: Request[T]) -> T:
        """In the store, as the acting node does; nothing of it shows on the instances."""
        self._note("register", request)
        return await request.carry_out(Book(self.store, self.settings))

    async def end_deposal(self, key: InstanceKey, *, owner: str) -> None:
        self._note("end-deposal", key, owner)

    async def set_global_recoveries(self, enabled: bool) -> None:
        self._note("set-global-recoveries", enabled)
        self.global_recoveries_enabled = enabled

    async def reelect(self) -> None:
        self._note("reelect")

    async def stand(self) -> bool:
        self._note("stand")
        self.is_leader = self.wins
        return self.wins

    async def raft_yield(self, member: str) -> None:
        self._note("raft-yield", member)

    async def raft_snapshot(self) -> None:
        self._note("raft-snapshot")

    async def reload_configuration(self, extra_path: str = "") -> tuple[str, ...]:
        self._note("reload-configuration", extra_path)
        return ("ListenAddress",) if extra_path else ()


__all__ = [
    "ALONE",
    "NOW",
    "NO_KEY",
    "R1",
    "R2",
    "SECRET",
    "TOKEN",
    "M",
    "MemoryNode",
    "fleet",
    "master",
    "replica",
    "settings",
    "snapshot",
]
