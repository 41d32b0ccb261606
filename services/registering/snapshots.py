"""Requests about how topologies are at a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.config import Settings
from services.deciding_policies import render_policy
from services.node_errors import RefusedError
from services.registering.request import AGREED_CHARACTERS_MAX, Book, Request, checked_key
from services.topology.keys import InstanceKey
from services.topology.render import topology_text
from services.topology.tree import Topology

__all__ = ["RegularSnapshots", "SnapshotCluster", "snapshots_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCluster(Request[None]):
    """Keep a cluster's tree in the audit, under its master's name."""

    shows = False

    key: InstanceKey
    text: str

    async def carry_out(self, book: Book) -> None:
        if len(self.text) > AGREED_CHARACTERS_MAX:
            raise RefusedError(
                f"the tree of {self.key} has {len(self.text)} characters: {AGREED_CHARACTERS_MAX} can be kept"
            )
        await book.store.audit.add(
            book.entry("snapshot-topologies", f"\n{self.text}", key=checked_key(self.key), by=self.by)
        )


def snapshots_of(topology: Topology, settings: Settings, *, by: str = "") -> tuple[SnapshotCluster, ...]:
    """Every cluster as it is in that topology."""
    policy = render_policy(settings)
    return tuple(
        SnapshotCluster(
            key=cluster.master_key, text=topology_text(topology.instances_of(cluster), policy), by=by
        )
        for cluster in topology.clusters
    )


class RegularSnapshots:
    """Every SnapshotTopologiesIntervalHours, counted from ``now``, seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._last_at = now

    async def take_if_due(
        self,
        topology: Topology,
        settings: Settings,
        now: float,
        register: Callable[[SnapshotCluster], Awaitable[None]],
    ) -> None:
        """One that cannot be taken is not taken later either. Raises as ``register``."""
        hours = settings.SnapshotTopologiesIntervalHours
        if not hours or now - self._last_at < 3600.0 * hours:
            return
        self._last_at = now
        for snapshot in snapshots_of(topology, settings):
            await register(snapshot)
