"""Clusters of which no server is known any more: their identity ends in the end, and its alias with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.store.clusters import ClusterRecord
from services.topology.tree import Topology

__all__ = ["EmptiedClusters"]


@dataclass(slots=True)
class EmptiedClusters:
    """Remembers since when; a node that begins to act counts anew."""

    _since: dict[str, float] = field(default_factory=dict)

    def over(
        self, records: Iterable[ClusterRecord], topology: Topology, now: float, seconds: float
    ) -> tuple[ClusterRecord, ...]:
        """Those that have had no server for so long. A fragment of a cluster is of that cluster."""
        has_servers = {instance.cluster_id for instance in topology.instances.values()}
        empty = [
            one for one in records if one.id not in has_servers and one.master_key not in topology.instances
        ]
        self._since = {one.id: self._since.get(one.id, now) for one in empty}
        return tuple(one for one in empty if now - self._since[one.id] >= seconds)

    def begin_anew(self) -> None:
        self._since.clear()
