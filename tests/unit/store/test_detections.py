"""Detections: one active one of a server and actionability (failure-detection, section 7)."""

from __future__ import annotations

import pytest

from services.store.recoveries import Outcome, RecoveryFilter
from services.store.store import Store
from services.store.times import shifted
from tests.unit.store.samples import MASTER, REPLICA, T0, detection, entry, recovery

HOUR = 3600


async def register(store: Store, **kind: object) -> bool:
    registered = await store.detections.register(
        detection(**kind),  # type: ignore[arg-type]
        active_seconds=HOUR,
    )
    return registered.is_new


async def test_a_failure_that_lasts_is_told_once(store: Store) -> None:
    first = await store.detections.register(detection(), active_seconds=HOUR)
    assert first.is_new
    later = detection(about=entry(code="DeadMasterAndSomeReplicas"), at=shifted(T0, HOUR - 1))
    again = await store.detections.register(later, active_seconds=HOUR)
    assert not again.is_new
    assert again.detection == first.detection, "the one that is active, not the one handed in"
    assert len(await store.detections.page(now=T0)) == 1


async def test_its_time_over_it_is_told_again(store: Store) -> None:
    assert await register(store)
    assert await register(store, at=shifted(T0, HOUR))
    newest, oldest = await store.detections.page(now=shifted(T0, HOUR))
    assert (newest.is_active, oldest.is_active) == (True, False)


async def test_an_unactionable_one_does_not_hide_an_actionable_one(store: Store) -> None:
    assert await register(store, actionable=False)
    assert await register(store, actionable=True)
    assert not await register(store, actionable=False)


async def test_another_server_has_its_own(store: Store) -> None:
    assert await register(store)
    assert await register(store, about=entry(failed=REPLICA))


@pytest.mark.parametrize("successful", [True, False])
async def test_a_successful_recovery_of_the_server_ends_it(store: Store, successful: bool) -> None:
    await register(store)
    await register(store, about=entry(failed=REPLICA))
    await store.recoveries.register(recovery("1:a"))
    outcome = Outcome(is_successful=successful)
    await store.recoveries.resolve("1:a", outcome, at=T0, term=1, block_seconds=HOUR)
    assert await register(store) is successful
    assert not await register(store, about=entry(failed=REPLICA)), "the recovered server's only"


@pytest.mark.parametrize(
    ("which", "ends"),
    [
        (RecoveryFilter(cluster_name="m.example:3306"), True),
        (RecoveryFilter(cluster_alias="shop"), True),
        (RecoveryFilter(cluster_id="c1"), True),
        (RecoveryFilter(instance=MASTER), True),
        (RecoveryFilter(instance=REPLICA), False),
        (RecoveryFilter(cluster_name="other:3306"), False),
        (RecoveryFilter(), False),
        (RecoveryFilter(id=1), False),
        (RecoveryFilter(uid="1:a"), False),
    ],
)
async def test_acknowledging_a_cluster_or_an_instance_ends_it(
    store: Store, which: RecoveryFilter, ends: bool
) -> None:
    await register(store)
    await store.recoveries.register(recovery("1:a"))
    await store.recoveries.acknowledge(which, owner="me", comment="seen", at=T0)
    assert await register(store) is ends


async def test_they_are_listed_newest_first_by_page_id_and_alias(store: Store) -> None:
    for n in range(25):
        alias = "even" if n % 2 == 0 else "odd"
        await register(store, about=entry(cluster_id=f"c{n}", alias=alias), at=shifted(T0, n * HOUR))
    first = await store.detections.page(now=T0)
    older = await store.detections.page(page=1, now=T0)
    ids = [one.id for one in (*first, *older)]
    assert ids == sorted(set(ids), reverse=True), "a pair of servers leaves numbers out"
    assert (len(first), len(older)) == (20, 5)
    third_id = ids[22]
    (third,) = await store.detections.page(detection_id=third_id, now=T0)
    assert (third.id, third.recovery_start_timestamp) == (third_id, shifted(T0, 2 * HOUR))
    odd = await store.detections.page(cluster_alias="odd", now=T0)
    assert [one.id for one in odd] == ids[1::2]
    assert await store.detections.page(detection_id=2**70, now=T0) == ()
