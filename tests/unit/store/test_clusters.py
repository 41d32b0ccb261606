"""Identities of clusters: a promotion is one transaction, and what it deposed stays deposed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection, insert

from services.store import clusters
from services.store.backend import Backend
from services.store.clusters import ClusterRecord
from services.store.errors import MasterChangedError, StaleTermError
from services.store.rows import upsert
from services.store.schema import DEPOSED_MASTERS, LEASE
from services.store.store import Store
from services.store.times import shifted
from services.topology.records import DeposedMaster
from tests.unit.store.samples import MASTER, OTHER, REPLICA, T0

CLUSTER = ClusterRecord(id="c1", master_key=MASTER, alias="shop", domain="shop.example")
DEPOSED = DeposedMaster(
    cluster_id="c1",
    key=MASTER,
    deposed_at=T0,
    until=shifted(T0, 86_400),
    term=3,
    recovery_uid="1:a",
    executed_gtid_set="uuid:1-100",
)


async def promote(store: Store, *, term: int = 3, deposed: DeposedMaster | None = DEPOSED) -> ClusterRecord:
    return await store.clusters.promote(
        "c1", expected=MASTER, master=REPLICA, at=T0, term=term, deposed=deposed
    )


async def test_an_identity_goes_with_the_promoted_master(backend: Backend) -> None:
    store = await Store.open(backend)
    await store.clusters.create(CLUSTER)
    promoted = await promote(store)
    assert promoted == replace(CLUSTER, master_key=REPLICA, promoted_at=T0)
    await store.close()

    store = await Store.open(backend)
    assert await store.clusters.load() == (promoted,)
    assert await store.clusters.deposed_masters() == (DEPOSED,)
    await store.close()


async def test_a_promotion_is_all_or_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.clusters.create(CLUSTER)

    def fail_at_deposing(connection: Connection, table: object, rows: object) -> None:
        if table is DEPOSED_MASTERS:
            raise OSError("between the two")
        upsert(connection, table, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(clusters, "upsert", fail_at_deposing)
    with pytest.raises(OSError, match="between the two"):
        await promote(store)
    assert await store.clusters.load() == (CLUSTER,)


async def test_promoting_twice_is_promoting_once(store: Store) -> None:
    await store.clusters.create(CLUSTER)
    assert await promote(store) == await promote(store)
    assert await store.clusters.deposed_masters() == (DEPOSED,)


async def test_a_promotion_does_not_need_the_identity_to_be_written_before(store: Store) -> None:
    """Topology writes behind: the leader may be first."""
    await promote(store)
    assert await store.clusters.create(CLUSTER) == ClusterRecord(
        id="c1", master_key=REPLICA, promoted_at=T0
    ), "what the leader wrote stands"


async def test_a_promotion_over_another_master_is_refused(store: Store) -> None:
    """Rule 6: every change carries the cluster's expected master."""
    await store.clusters.create(replace(CLUSTER, master_key=OTHER))
    with pytest.raises(MasterChangedError, match=r"c1 has master ::1:3306, not m\.example:3306 as expected"):
        await promote(store)
    assert await store.clusters.deposed_masters() == ()


async def test_a_promotion_in_an_earlier_term_is_refused(store: Store) -> None:
    """Rule 6: a newer term cancels it."""
    await store.clusters.create(CLUSTER)
    lease = {"name": "leader", "node_id": "other", "term": 4, "counter": 1, "length_ms": 3000}
    await store.database.write(lambda c: c.execute(insert(LEASE).values(lease)))
    with pytest.raises(StaleTermError):
        await promote(store, term=3)
    await promote(store, term=4)


async def test_a_deposed_master_is_seen_again_once(store: Store) -> None:
    await promote(store)
    assert await store.clusters.seen_again("c1", MASTER, shifted(T0, 9))
    assert not await store.clusters.seen_again("c1", MASTER, shifted(T0, 10))
    assert await store.clusters.deposed_masters() == (replace(DEPOSED, seen_again_at=shifted(T0, 9)),)
    assert not await store.clusters.seen_again("c1", OTHER, T0)


async def test_it_stays_deposed_until_it_rejoins_or_is_promoted(store: Store) -> None:
    await promote(store)
    assert await store.clusters.rejoined("c1", MASTER)
    assert not await store.clusters.rejoined("c1", MASTER)
    await promote(store)
    back = replace(DEPOSED, key=REPLICA)
    await store.clusters.promote("c1", expected=REPLICA, master=MASTER, at=T0, term=4, deposed=back)
    assert await store.clusters.deposed_masters() == (back,)


async def test_a_change_that_was_seen_does_not_override_a_promotion(store: Store) -> None:
    await store.clusters.create(CLUSTER)
    assert await store.clusters.follow("c1", expected=MASTER, master=OTHER, at=T0)
    await store.clusters.promote("c1", expected=OTHER, master=REPLICA, at=T0, term=1)
    assert not await store.clusters.follow("c1", expected=OTHER, master=MASTER, at=T0)
    (record,) = await store.clusters.load()
    assert record.master_key == REPLICA


async def test_clusters_are_given_names_and_forgotten(store: Store) -> None:
    await promote(store)
    assert await store.clusters.set_alias("c1", "bank")
    assert not await store.clusters.set_alias("c2", "bank")
    (record,) = await store.clusters.load()
    assert record.alias == "bank"
    await store.clusters.forget("c1")
    assert await store.clusters.load() == ()
    assert await store.clusters.deposed_masters() == ()
