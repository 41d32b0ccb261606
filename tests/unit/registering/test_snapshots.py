"""Keeping the clusters' trees in the audit from time to time."""

from __future__ import annotations

from services.registering import RegularSnapshots, SnapshotCluster
from tests.unit.api.memory_node import ALONE, M, fleet, settings, snapshot

HOUR = 3600.0


async def test_every_so_many_hours_all_clusters_are_kept() -> None:
    kept: list[SnapshotCluster] = []

    async def register(one: SnapshotCluster) -> None:
        kept.append(one)

    regular, topology = RegularSnapshots(100.0), snapshot(fleet())
    for now, hours, expected in (
        (100.0 + 9 * HOUR, 0, 0),
        (99.0 + 2 * HOUR, 2, 0),
        (100.0 + 2 * HOUR, 2, 2),
        (101.0 + 2 * HOUR, 2, 2),
        (100.0 + 4 * HOUR, 2, 4),
    ):
        given = settings(SnapshotTopologiesIntervalHours=hours)
        await regular.take_if_due(topology, given, now, register)
        assert len(kept) == expected, (now, hours)
    assert {one.key for one in kept} == {M, ALONE}
    assert str(M) in kept[0].text
