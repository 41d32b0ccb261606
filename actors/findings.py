"""What is wrong, told to who can do something about it: the Leader, and people."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from actors.handles import Peer
from actors.names import LEADER
from services.analysis import Emergency, RecoveryKind, ReplicationAnalysis
from services.execution.coordinator import ClusterView
from services.node_errors import NodeError
from services.registry.registry import Registry
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster, Topology

__all__ = ["Findings", "undecided_in", "view_of"]

_TELL_SECONDS = 2.0
_REMIND_SECONDS = 0.9  # the Leader hears again of what is still to be acted upon
_NO_PROBLEM = "NoProblem"
_PASSING = frozenset({"FirstTierReplicaFailingToConnectToMaster", "LockedSemiSyncMasterHypothesis"})
"""Codes that say less than what is said of the master in the same moment, or are not yet sure."""
_Told = tuple[tuple[InstanceKey, str], ...]
Event = Callable[[str, str, InstanceKey, str], None]


class Findings:
    """What the Leader and people have heard of each cluster. ``spawn`` runs a task that nobody waits for."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], None], event: Event) -> None:
        self._leader = Peer(LEADER)
        self._spawn = spawn
        self._event = event
        self._told: dict[str, tuple[float, _Told]] = {}
        self._codes: dict[InstanceKey, str] = {}

    def tell_anew(self) -> None:
        """Who acts from now on has heard of nothing yet."""
        self._told.clear()

    def tell(self, registry: Registry) -> None:
        """Tell the Leader of each cluster in which something is to be done, at once and each second."""
        now = time.monotonic()
        topology, findings = registry.topology(now), registry.analysis(now)
        by_cluster: dict[str, list[ReplicationAnalysis]] = {}
        for finding in findings:
            by_cluster.setdefault(finding.cluster_details.cluster_name, []).append(finding)
        for cluster in topology.clusters:
            wrong = tuple(by_cluster.get(cluster.name, ()))
            self._report(cluster, wrong)
            urgent: _Told = tuple(
                (f.analyzed_instance_key, f.analysis) for f in wrong if f.actionable or f.is_detected
            )
            master = topology.instances.get(cluster.master_key)
            silent = master is not None and master.last_check_outcome.is_silence
            if master is not None and silent and topology.replicas_of(master.key):
                urgent = (*urgent, (master.key, master.last_check_outcome.value))
            told_at, told = self._told.get(cluster.name, (0.0, ()))
            if urgent == told and (not urgent or now - told_at < _REMIND_SECONDS):
                continue
            self._told[cluster.name] = (now, urgent)
            self._spawn(self._tell_leader(_view(registry, topology, cluster, wrong, now)))

    def _report(self, cluster: Cluster, wrong: tuple[ReplicationAnalysis, ...]) -> None:
        """One event when a server gets another code; the reasons may change with every check."""
        findings = {finding.analyzed_instance_key: finding for finding in wrong}
        for key in cluster.instance_keys:
            finding = findings.get(key)
            code = finding.analysis if finding is not None else _NO_PROBLEM
            if code in _PASSING or self._codes.get(key, _NO_PROBLEM) == code:
                continue
            self._codes[key] = code
            reasons = f" ({'; '.join(finding.reasons)})" if finding is not None and finding.reasons else ""
            said = f"{key}: no problem any more" if code == _NO_PROBLEM else f"{code}: {key}{reasons}"
            self._event("analysis", said, key, cluster.name)

    async def _tell_leader(self, view: ClusterView) -> None:
        with contextlib.suppress(NodeError):
            await self._leader.call("consider", view, timeout=_TELL_SECONDS)


def view_of(registry: Registry, key: InstanceKey) -> ClusterView | None:
    """The cluster of a server, with all that is wrong in it now; None if it has none."""
    now = time.monotonic()
    topology = registry.topology(now)
    cluster = topology.cluster_of(key)
    if cluster is None:
        return None
    findings = tuple(
        finding for finding in registry.analysis(now) if finding.cluster_details.cluster_name == cluster.name
    )
    return _view(registry, topology, cluster, findings, now)


def _view(
    registry: Registry,
    topology: Topology,
    cluster: Cluster,
    findings: tuple[ReplicationAnalysis, ...],
    now: float,
) -> ClusterView:
    return ClusterView(
        cluster=cluster,
        instances=topology.instances_of(cluster),
        findings=findings,
        unread=registry.unread(cluster, now) if findings else (),
    )


def undecided_in(registry: Registry) -> set[InstanceKey]:
    """Servers whose finding is not decided yet, with their replicas: they are looked at more closely.

    Not in a cluster in which something is being done: it would be in the way.
    """
    now = time.monotonic()
    topology, findings = registry.topology(now), registry.analysis(now)
    acted_upon = {one.cluster_details.cluster_name for one in findings if one.actionable}
    undecided = {
        finding.analyzed_instance_key
        for finding in findings
        if finding.cluster_details.cluster_name not in acted_upon
        and (finding.emergency is not Emergency.NONE or finding.recovery is not RecoveryKind.NONE)
    }
    return undecided | {replica.key for key in undecided for replica in topology.replicas_of(key)}
