"""Downtimes that a recovery began, of the servers that it lost: when they end (recovery.md 4.4).

They last a year and are renewed, until the server is in its place again: it replicates within its cluster,
or is the only master that goes by its alias. What a promotion left behind under the old master is a
fragment: its servers replicate, and are lost all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.store.times import shifted
from services.topology.instance import Instance
from services.topology.registrations import Downtime
from services.topology.tree import LOST_IN_RECOVERY, Topology

__all__ = ["LOST_SECONDS", "LostDowntimes", "settle"]

LOST_SECONDS = 365 * 86400.0
_RENEW_SECONDS = LOST_SECONDS - 86400.0
_YOUNGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LostDowntimes:
    """What is to be done about them now."""

    lifted: tuple[Downtime, ...]
    renewed: tuple[Downtime, ...]
    """With their new ends."""


def settle(downtimes: Iterable[Downtime], topology: Topology, now: str) -> LostDowntimes:
    """Which are over at ``now``, and which begin to run out. One of less than a year is not renewed."""
    lifted, renewed = [], []
    for downtime in downtimes:
        if downtime.reason != LOST_IN_RECOVERY:
            continue
        instance = topology.instances.get(downtime.key)
        is_old = downtime.begins_at <= shifted(now, -_YOUNGEST_SECONDS)
        if is_old and instance is not None and _is_in_place(instance, topology):
            lifted.append(downtime)
        elif _lasts(downtime) and downtime.ends_at < shifted(now, _RENEW_SECONDS):
            renewed.append(replace(downtime, ends_at=shifted(now, LOST_SECONDS)))
    return LostDowntimes(tuple(lifted), tuple(renewed))


def _lasts(downtime: Downtime) -> bool:
    return downtime.ends_at >= shifted(downtime.begins_at, LOST_SECONDS)


def _is_in_place(instance: Instance, topology: Topology) -> bool:
    cluster = topology.cluster_of(instance.key)
    if not instance.is_last_check_valid or cluster is None or cluster.is_fragment:
        return False
    if instance.replication_running:
        return True
    claims = Counter(one.alias for one in topology.clusters)
    return not instance.is_replica and instance.replication_depth == 0 and claims[cluster.alias] == 1
