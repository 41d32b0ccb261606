"""What stands between a finding and an automatic recovery of its cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from services.analysis import ReplicationAnalysis
from services.config import Settings, cluster_matches, hold_down_milliseconds
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster

__all__ = ["ClusterView", "Gates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """A cluster at one moment, with what is wrong in it."""

    cluster: Cluster
    instances: tuple[Instance, ...]
    findings: tuple[ReplicationAnalysis, ...]
    unread: tuple[InstanceKey, ...] = ()
    """Servers that belong to it, or may, and that nobody has looked at since the node knows of them."""

    def instance(self, key: InstanceKey) -> Instance | None:
        return next((instance for instance in self.instances if instance.key == key), None)

    def replicas_of(self, key: InstanceKey) -> tuple[Instance, ...]:
        return tuple(instance for instance in self.instances if instance.master_key == key)


@dataclass(slots=True)
class _Backoff:
    """When a cluster whose recovery did not promote anyone may be tried again: after 1, 2, 4 … s."""

    not_before: float = 0.0
    pause: float = 0.0
    refused_view: object = None
    """The snapshot on which a rule refused: as long as it stays, so does the refusal."""

    def failed(self, now: float, longest: float) -> None:
        self.pause = min(max(1.0, self.pause * 2), longest)
        self.not_before = now + self.pause


class Gates:
    """Remembers of each cluster what speaks against acting now. Times are of the monotonic clock."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self.recoveries_enabled = False  # until the store has been asked
        self._settings = settings
        self._backoff: dict[str, _Backoff] = {}
        self._first_seen: dict[InstanceKey, float] = {}

    def why_not(self, view: ClusterView, finding: ReplicationAnalysis) -> str:
        """Why this finding is not acted upon now, "" if it may be."""
        settings, cluster = self._settings(), view.cluster
        now = time.monotonic()
        first = self._first_seen.setdefault(finding.analyzed_instance_key, now)
        hold_ms = hold_down_milliseconds(
            settings.FailureHoldDownMilliseconds,
            settings.FailureHoldDownMillisecondsByCluster,
            cluster.name,
            cluster.alias,
        )
        backoff = self._backoff.get(cluster.id)
        checks = (
            (not cluster.id, "the cluster has no identity yet"),
            (cluster.is_fragment, "it is what a promotion left behind"),
            (not self.recoveries_enabled, "recoveries are globally disabled"),
            (bool(view.unread), f"nobody has looked at {', '.join(map(str, view.unread))} yet"),
            (finding.skippable_due_to_downtime, "it is downtimed"),
            (
                not cluster_matches(settings.RecoverMasterClusterFilters, cluster.name, cluster.alias),
                "RecoverMasterClusterFilters does not match the cluster",
            ),
            (now - first < hold_ms / 1000, "FailureHoldDownMilliseconds has not passed"),
            (self.must_wait(cluster.id), "the last attempt failed a moment ago"),
            (
                backoff is not None and backoff.refused_view == _signature(view),
                "it was refused, and nothing has changed since",
            ),
        )
        return next((reason for applies, reason in checks if applies), "")

    def must_wait(self, cluster_id: str) -> bool:
        """An attempt failed so recently that the next is not due yet."""
        backoff = self._backoff.get(cluster_id)
        return backoff is not None and time.monotonic() < backoff.not_before

    def well(self, keys: set[InstanceKey]) -> None:
        """Nothing is to be done about these: a later failure of theirs is a new one."""
        for key in keys:
            self._first_seen.pop(key, None)

    def failed(self, cluster_id: str) -> bool:
        """An attempt did not promote anyone. True if it was the first in a row."""
        backoff = self._backoff.setdefault(cluster_id, _Backoff())
        first = backoff.pause == 0.0
        backoff.failed(time.monotonic(), float(self._settings().RecoveryRetryMaxSeconds))
        return first

    def refused(self, view: ClusterView) -> None:
        """A rule refused on this view: as long as it stays the same, so does the refusal."""
        self._backoff.setdefault(view.cluster.id, _Backoff()).refused_view = _signature(view)

    def passed(self, cluster_id: str) -> None:
        self._backoff.pop(cluster_id, None)

    def clear(self) -> None:
        self._backoff.clear()


def _signature(view: ClusterView) -> object:
    """What a refusal depends on: if it is the same, so is the refusal."""
    return tuple(
        (
            instance.key,
            instance.last_check_outcome,
            instance.master_key,
            instance.executed_gtid_set,
            instance.retrieved_gtid_set,
            instance.promotion_rule,
        )
        for instance in view.instances
    )
