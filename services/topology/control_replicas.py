"""Replicas by whose lag an online schema change is throttled (discovery.md 10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["control_replicas"]

_EACH = 2


def control_replicas(
    members: Iterable[Instance], is_ignored: Callable[[InstanceKey], bool]
) -> tuple[Instance, ...]:
    """Of one cluster: two of depth 1 in each data centre, two below each of these, two of depth 3 in each."""
    valid = [member for member in members if member.is_last_check_valid and not is_ignored(member.key)]
    first = list(_by_data_center(member for member in valid if member.replication_depth == 1))
    second = [
        replica
        for above in first
        for replica in sorted(
            (member for member in valid if member.master_key == above.key),
            key=lambda member: (-len(member.replicas), member.key),
        )[:_EACH]
    ]
    third = list(_by_data_center(member for member in valid if member.replication_depth == 3))
    return tuple({found.key: found for found in (*first, *second, *third)}.values())


def _by_data_center(members: Iterable[Instance]) -> Iterator[Instance]:
    """Most replicas first; of those without, most lagging first."""
    taken: Counter[str] = Counter()
    for member in sorted(members, key=_rank):
        if taken[member.data_center] < _EACH:
            taken[member.data_center] += 1
            yield member


def _rank(member: Instance) -> tuple[int, int, InstanceKey]:
    lag_seconds = 0 if member.replicas else member.replication_lag_seconds or 0
    return -len(member.replicas), -lag_seconds, member.key
