"""What stands between a finding and an automatic recovery of its cluster.

Hold-down: a finding is acted upon once it has lasted for ``FailureHoldDownMilliseconds``, on evidence that
was gathered after that. It lasts while every news of the cluster has it, under whichever code that is
recovered; news without it, no news for some seconds, or another term begin it anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.analysis import ReplicationAnalysis
from services.config import Settings, cluster_matches, hold_down_milliseconds
from services.topology.instance import CheckOutcome, Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster

__all__ = ["ClusterView", "Gates"]

_SILENCE_SECONDS = 5.0
"""Topology reminds of what lasts each second: after so long without a word it may have gone and come back."""


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


@dataclass(slots=True)
class _Sighting:
    """Since when a failure has been seen without a break, and when it was seen last."""

    since: float
    last: float


class Gates:
    """Remembers of each cluster what speaks against acting now. Times are of the monotonic clock."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self.recoveries_enabled = False  # until the store has been asked
        self._settings = settings
        self._in_force = settings()
        self._backoff: dict[str, _Backoff] = {}
        self._sightings: dict[InstanceKey, _Sighting] = {}

    def why_not(self, view: ClusterView, finding: ReplicationAnalysis) -> str:
        """Why this finding is not acted upon now, "" if it may be."""
        settings, cluster = self._settings(), view.cluster
        if settings != self._in_force:  # what was refused under others is decided anew
            self._in_force = settings
            self.clear()
        self.seen(finding.analyzed_instance_key)
        held_for = self.held_for(view, finding)
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
            (held_for is not None and held_for > 0, "FailureHoldDownMilliseconds has not passed"),
            (held_for == 0, "FailureHoldDownMilliseconds has passed, and nobody has looked since"),
            (self.must_wait(cluster.id), "the last attempt failed a moment ago"),
            (
                backoff is not None and backoff.refused_view == _signature(view),
                "it was refused, and nothing has changed since",
            ),
        )
        return next((reason for applies, reason in checks if applies), "")

    def seen(self, key: InstanceKey) -> None:
        """Something is to be done about this server, now as before."""
        now = time.monotonic()
        sighting = self._sightings.get(key)
        if sighting is None or now - sighting.last > _SILENCE_SECONDS:
            self._sightings[key] = _Sighting(since=now, last=now)
        else:
            sighting.last = now

    def held_for(self, view: ClusterView, finding: ReplicationAnalysis) -> float | None:
        """For how many more seconds its hold-down lasts; 0.0 if it is over and the evidence is from before.

        None if nothing of that holds it back.
        """
        settings, key = self._settings(), finding.analyzed_instance_key
        hold_ms = hold_down_milliseconds(
            settings.FailureHoldDownMilliseconds,
            settings.FailureHoldDownMillisecondsByCluster,
            view.cluster.name,
            view.cluster.alias,
        )
        sighting = self._sightings.get(key)
        if not hold_ms or sighting is None:
            return None
        due = sighting.since + hold_ms / 1000
        left = due - time.monotonic()
        if left > 0:
            return left
        return None if _looked_at_since(view, key, due) else 0.0

    def why_not_even_ask(self, view: ClusterView) -> str:
        """Why nothing is prepared, and no witness asked, while the master is in doubt; "" if it may be."""
        settings, cluster = self._settings(), view.cluster
        master = view.instance(cluster.master_key)
        checks = (
            (not cluster.id, "the cluster has no identity yet"),
            (cluster.is_fragment, "it is what a promotion left behind"),
            (not self.recoveries_enabled, "recoveries are globally disabled"),
            (bool(view.unread), "not all of the cluster was looked at yet"),
            (master is None or master.is_downtimed, "it is unknown, or downtimed"),
            (master is not None and bool(master.maintenance), "it is under maintenance"),
            (
                not cluster_matches(settings.RecoverMasterClusterFilters, cluster.name, cluster.alias),
                "RecoverMasterClusterFilters does not match the cluster",
            ),
            (self.must_wait(cluster.id), "the last attempt failed a moment ago"),
        )
        return next((reason for applies, reason in checks if applies), "")

    def must_wait(self, cluster_id: str) -> bool:
        """An attempt failed so recently that the next is not due yet."""
        backoff = self._backoff.get(cluster_id)
        return backoff is not None and time.monotonic() < backoff.not_before

    def well(self, keys: set[InstanceKey]) -> None:
        """Nothing is to be done about these: a later failure of theirs is a new one."""
        for key in keys:
            self._sightings.pop(key, None)

    def failed(self, cluster_id: str, *, within: float = math.inf) -> bool:
        """An attempt did not promote anyone. True if it was the first in a row.

        The next is due after the pause, at the latest after ``within`` seconds.
        """
        backoff = self._backoff.setdefault(cluster_id, _Backoff())
        first = backoff.pause == 0.0
        now = time.monotonic()
        backoff.failed(now, float(self._settings().RecoveryRetryMaxSeconds))
        backoff.not_before = min(backoff.not_before, now + within)
        return first

    def refused(self, view: ClusterView) -> None:
        """A rule refused on this view: as long as it stays the same, so does the refusal."""
        self._backoff.setdefault(view.cluster.id, _Backoff()).refused_view = _signature(view)

    def passed(self, cluster_id: str) -> None:
        self._backoff.pop(cluster_id, None)

    def clear(self) -> None:
        """Failed attempts and refusals do not count any more."""
        self._backoff.clear()

    def begin_anew(self) -> None:
        """A new term: nobody has watched over what was seen before."""
        self.clear()
        self._sightings.clear()


_REFUSED_FOR = (
    "key", "last_check_outcome", "master_key", "executed", "retrieved_gtid_set", "gtid_purged",
    "gtid_io_pos", "read_coordinates", "receiver_state",
    "server_uuid", "version", "binlog_format", "log_bin_enabled", "log_replica_updates_enabled",
    "has_replication_filters", "sql_delay_seconds", "applier_state", "last_sql_errno", "promotion_rule",
    "data_center", "region", "semi_sync_replica_enabled", "semi_sync_master_clients",
)  # fmt: skip
"""What planning looks at: a refusal depends on it."""


def _signature(view: ClusterView) -> object:
    """What a refusal depends on: if it is the same, so is the refusal."""
    return tuple(tuple(getattr(instance, name) for name in _REFUSED_FOR) for instance in view.instances)


def _looked_at_since(view: ClusterView, failed: InstanceKey, due: float) -> bool:
    """The failed server and a replica of it were checked after ``due``."""
    master = view.instance(failed)
    replicas = [one for one in view.replicas_of(failed) if one.last_check_outcome is CheckOutcome.OK]
    return (master is None or master.checked_at >= due) and any(one.checked_at >= due for one in replicas)
