"""One recovery of a cluster at a time, and what its end blocks (design, rules of recovery)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from services.store.backend import Backend
from services.store.errors import (
    ClusterBlockedError,
    ClusterBusyError,
    StaleTermError,
    StoreUnavailableError,
    UnknownRecoveryError,
)
from services.store.recoveries import Outcome, RecoveryFilter
from services.store.schema import LEASE, RECOVERIES
from services.store.store import Store
from services.store.times import shifted
from services.topology.keys import NO_KEY
from services.topology.records import Recovery
from tests.backends import as_text
from tests.unit.store.samples import (
    MASTER,
    OTHER,
    REPLICA,
    T0,
    another_process,
    detection,
    entry,
    recovery,
)

HOUR = 3600
PROMOTED = Outcome(
    is_successful=True,
    successor_key=REPLICA,
    successor_alias="r",
    lost_replicas=(OTHER,),
    participating_instance_keys=(MASTER, REPLICA),
    all_errors=("one", 'two "quoted"'),
)
FAILED = Outcome(is_successful=False, all_errors=("no candidate",))


def after(seconds: float) -> str:
    return shifted(T0, seconds)


async def resolve(store: Store, uid: str = "1:a", outcome: Outcome = PROMOTED, *, at: str = T0) -> Recovery:
    return await store.recoveries.resolve(uid, outcome, at=at, term=1, block_seconds=HOUR)


async def ack(store: Store, which: RecoveryFilter, at: str = T0) -> int:
    return await store.recoveries.acknowledge(which, owner="me", comment="seen", at=at)


# --- one at a time ---------------------------------------------------------------------------------


async def test_a_recovery_comes_back_whole_after_a_restart(backend: Backend) -> None:
    store = await Store.open(backend)
    registered = await store.recoveries.register(recovery())
    assert registered == replace(recovery(), id=registered.id, is_active=True)
    assert registered.id > 0
    resolved = await resolve(store, at=after(5))
    await store.close()

    store = await Store.open(backend)
    assert await store.recoveries.page(now=after(6)) == (resolved,)
    assert resolved == replace(
        registered,
        recovery_end_timestamp=after(5),
        is_successful=True,
        successor_key=REPLICA,
        successor_alias="r",
        lost_replicas=(OTHER,),
        participating_instance_keys=(MASTER, REPLICA),
        all_errors=("one", 'two "quoted"'),
        blocked_until=after(5 + HOUR),
    )
    await store.close()


@pytest.mark.parametrize("automatic", [True, False])
async def test_a_second_recovery_of_a_running_cluster_is_refused(store: Store, automatic: bool) -> None:
    running = await store.recoveries.register(recovery("1:a"))
    for failed in (MASTER, REPLICA):
        with pytest.raises(ClusterBusyError, match=f"running recovery: id {running.id}, uid 1:a") as refusal:
            second = recovery("2:b", about=entry(failed=failed))
            await store.recoveries.register(second, automatic=automatic)
        assert refusal.value.running == running


async def test_other_clusters_are_recovered_side_by_side(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await store.recoveries.register(recovery("2:b", about=entry(cluster_id="c2")))


async def test_the_database_itself_holds_the_lock(store: Store) -> None:
    """Not a check before the insert: that would let two databases' transactions pass each other."""
    await store.recoveries.register(recovery("1:a"))
    row = await store.database.read(lambda c: dict(c.execute(RECOVERIES.select()).mappings().one()))
    del row["id"]
    row["uid"] = "2:b"
    with pytest.raises(StoreUnavailableError) as refusal:
        await store.database.write(lambda c: c.execute(insert(RECOVERIES).values(row)))
    assert isinstance(refusal.value.__cause__, IntegrityError)


async def test_a_cluster_without_an_id_cannot_be_locked(store: Store) -> None:
    with pytest.raises(ValueError, match="names no cluster id"):
        await store.recoveries.register(recovery(about=entry(cluster_id="")))


async def test_the_same_uid_twice_is_one_recovery(store: Store) -> None:
    """After a time-out the caller does not know whether it has the cluster: it asks again."""
    first = await store.recoveries.register(recovery("1:a"))
    assert await store.recoveries.register(recovery("1:a")) == first


REGISTER_AT_A_SIGNAL = """
    import asyncio, sys
    from services.store.errors import ClusterBusyError
    from services.store.store import Store
    from tests.backends import from_text
    from tests.unit.store.samples import entry, recovery

    async def main():
        store = await Store.open(from_text(sys.argv[1]))
        print("ready", flush=True)
        sys.stdin.readline()
        won = 0
        for n in range(20):
            try:
                await store.recoveries.register(
                    recovery(f"{n}:{sys.argv[2]}", about=entry(cluster_id=f"c{n}"))
                )
                won += 1
            except ClusterBusyError:
                pass
        await store.close()
        print(won)

    asyncio.run(main())
"""


async def test_of_processes_that_register_at_once_one_has_the_cluster(backend: Backend, store: Store) -> None:
    processes = [another_process(REGISTER_AT_A_SIGNAL, as_text(backend), name) for name in "xyz"]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 3
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = await asyncio.gather(*(asyncio.to_thread(p.communicate, None, 60) for p in processes))
    assert sum(int(out) for out, _ in ended) == 20, ended
    open_ones = await store.journal.open_recoveries()
    assert sorted(one.recovery.analysis_entry.cluster_id for one in open_ones) == sorted(
        f"c{n}" for n in range(20)
    )


# --- what an end blocks ----------------------------------------------------------------------------


async def test_a_promotion_blocks_its_cluster_counted_from_its_end(store: Store) -> None:
    await store.recoveries.register(recovery("1:a", at=T0))
    ended = await resolve(store, at=after(1000))
    again = entry(failed=REPLICA, cluster_name="r.example:3306")
    with pytest.raises(ClusterBlockedError, match=f"until {after(1000 + HOUR)}.*acknowledge") as refusal:
        await store.recoveries.register(recovery("2:b", about=again, at=after(999 + HOUR)))
    assert refusal.value.blocking.id == ended.id
    await store.recoveries.register(recovery("3:c", about=again, at=after(1000 + HOUR)))


@pytest.mark.parametrize(
    "outcome",
    [FAILED, Outcome(is_successful=True, successor_key=NO_KEY), replace(FAILED, successor_key=REPLICA)],
    ids=["failed", "repaired without a promotion", "failed after it had chosen"],
)
async def test_only_a_successful_promotion_blocks(store: Store, outcome: Outcome) -> None:
    await store.recoveries.register(recovery("1:a"))
    ended = await resolve(store, outcome=outcome)
    assert (ended.blocked_until, ended.is_active) == ("", False)
    await store.recoveries.register(recovery("2:b"))


async def test_the_server_that_was_promoted_is_not_failed_over_again_under_another_id(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await resolve(store)
    with pytest.raises(ClusterBlockedError):
        other = entry(failed=REPLICA, cluster_id="c9")
        await store.recoveries.register(recovery("2:b", about=other, at=after(1)))
    await store.recoveries.register(recovery("3:c", about=entry(failed=OTHER, cluster_id="c9")))


async def test_a_recovery_by_hand_ignores_the_block_and_acknowledges_what_ended(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await resolve(store)
    await store.recoveries.register(recovery("2:b", at=after(1)), automatic=False)
    (first,) = await store.recoveries.page(RecoveryFilter(uid="1:a"), now=after(1))
    assert (first.acknowledged, first.acknowledged_by) == (True, "node1")
    (second,) = await store.recoveries.page(RecoveryFilter(uid="2:b"), now=after(1))
    assert not second.acknowledged


async def test_a_recovery_is_active_while_it_runs_and_while_it_blocks(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))

    async def active(at: str) -> bool:
        (one,) = await store.recoveries.page(now=at)
        return one.is_active

    assert await active(after(10 * HOUR))
    await resolve(store, at=after(10 * HOUR))
    assert await active(after(11 * HOUR - 1))
    assert not await active(after(11 * HOUR))


# --- acknowledging ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "which",
    [
        RecoveryFilter(),
        RecoveryFilter(uid="1:a"),
        RecoveryFilter(id=1),
        RecoveryFilter(instance=MASTER),
        RecoveryFilter(cluster_id="c1"),
        RecoveryFilter(cluster_name="m.example:3306"),
        RecoveryFilter(cluster_alias="shop"),
    ],
)
async def test_acknowledging_ends_the_block_but_never_frees_a_running_recovery(
    store: Store, which: RecoveryFilter
) -> None:
    await store.recoveries.register(recovery("1:a"))
    assert await ack(store, which) == 0
    with pytest.raises(ClusterBusyError):
        await store.recoveries.register(recovery("2:b"))
    await resolve(store)
    with pytest.raises(ClusterBlockedError):
        await store.recoveries.register(recovery("2:b"))
    assert await ack(store, which, after(7)) == 1
    (acked,) = await store.recoveries.page(now=after(8))
    assert (acked.acknowledged_at, acked.acknowledged_by, acked.acknowledged_comment) == (
        after(7),
        "me",
        "seen",
    )
    assert not acked.is_active
    assert await ack(store, which) == 0, "once is enough"
    await store.recoveries.register(recovery("2:b"))


async def test_acknowledging_others_leaves_the_block(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await resolve(store)
    for which in (
        RecoveryFilter(uid="9:z"),
        RecoveryFilter(id=99),
        RecoveryFilter(id=2**70),
        RecoveryFilter(instance=REPLICA),
        RecoveryFilter(cluster_id="c2"),
        RecoveryFilter(cluster_name="other:3306"),
        RecoveryFilter(cluster_alias="other"),
    ):
        assert await ack(store, which) == 0
    with pytest.raises(ClusterBlockedError):
        await store.recoveries.register(recovery("2:b"))


async def test_a_cluster_is_acknowledged_with_the_names_that_it_had_before(store: Store) -> None:
    for n, about in enumerate(
        (
            entry(cluster_name="m.example:3306", alias=""),
            entry(cluster_name="r.example:3306", alias=""),  # the same id, after a promotion
            entry(cluster_name="far:3306", cluster_id="c2", alias=""),
        )
    ):
        await store.recoveries.register(recovery(f"{n}:x", about=about), automatic=False)
        await resolve(store, f"{n}:x", FAILED)
    await store.database.write(lambda c: c.execute(RECOVERIES.update().values(acknowledged=False)))
    assert await ack(store, RecoveryFilter(cluster_name="r.example:3306")) == 2


async def test_a_comment_is_asked_for(store: Store) -> None:
    with pytest.raises(ValueError, match="no acknowledge comment"):
        await store.recoveries.acknowledge(RecoveryFilter(), owner="me", comment=" ", at=T0)


# --- refused attempts ------------------------------------------------------------------------------


async def test_refused_attempts_are_listed_while_what_refuses_them_lasts(store: Store) -> None:
    running = await store.recoveries.register(recovery("1:a"))
    with pytest.raises(ClusterBusyError):
        await store.recoveries.register(recovery("2:b", at=after(10)))
    (blocked,) = await store.recoveries.blocked(after(11))
    assert (blocked.failed_instance_key, blocked.cluster_name, blocked.analysis) == (
        MASTER,
        "m.example:3306",
        "DeadMaster",
    )
    assert (blocked.last_blocked_timestamp, blocked.blocking_recovery_id) == (after(10), running.id)

    await resolve(store, at=after(12))
    with pytest.raises(ClusterBlockedError):
        await store.recoveries.register(recovery("2:b", at=after(20)))
    (blocked,) = await store.recoveries.blocked(after(21), "m.example:3306")
    assert blocked.last_blocked_timestamp == after(20)
    assert await store.recoveries.blocked(after(21), "other:3306") == ()
    assert await store.recoveries.blocked(after(200)) == (), "nobody tries any more"

    await ack(store, RecoveryFilter())
    assert await store.recoveries.blocked(after(21)) == ()


async def test_an_attempt_that_succeeds_is_no_longer_listed(store: Store) -> None:
    await store.recoveries.register(recovery("1:a", about=entry(failed=REPLICA)))
    with pytest.raises(ClusterBusyError):
        await store.recoveries.register(recovery("2:b"))
    await resolve(store)
    await store.recoveries.register(recovery("2:b"), automatic=False)
    assert await store.recoveries.blocked(T0) == ()


# --- ending ----------------------------------------------------------------------------------------


async def test_the_first_end_stands(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    first = await resolve(store, at=after(1))
    assert await resolve(store, outcome=FAILED, at=after(2)) == first


async def test_an_end_needs_a_beginning(store: Store) -> None:
    with pytest.raises(UnknownRecoveryError, match="no recovery with uid 9:z"):
        await resolve(store, "9:z")


async def test_a_leader_of_an_earlier_term_can_neither_begin_nor_end_a_recovery(store: Store) -> None:
    """Rule 6: a newer term cancels it."""
    await store.recoveries.register(recovery("1:a", term=4))
    lease = {"name": "leader", "node_id": "other", "term": 5, "counter": 1, "length_ms": 3000}
    await store.database.write(lambda c: c.execute(insert(LEASE).values(lease)))
    with pytest.raises(StaleTermError, match="term 4 is over: term 5 was elected"):
        await store.recoveries.register(recovery("2:b", about=entry(cluster_id="c2"), term=4))
    with pytest.raises(StaleTermError):
        await store.recoveries.resolve("1:a", PROMOTED, at=T0, term=4, block_seconds=1)
    resolved = await store.recoveries.resolve("1:a", PROMOTED, at=T0, term=5, block_seconds=1)
    assert resolved.is_successful


# --- the audit -------------------------------------------------------------------------------------


async def test_the_audit_is_paged_newest_first(store: Store) -> None:
    for n in range(45):
        await store.recoveries.register(recovery(f"{n}:x", about=entry(cluster_id=f"c{n}")))
    pages = [await store.recoveries.page(page=n, now=T0) for n in range(4)]
    assert [len(page) for page in pages] == [20, 20, 5, 0]
    assert [one.uid for page in pages for one in page] == [f"{n}:x" for n in reversed(range(45))]
    assert await store.recoveries.page(page=2**70, now=T0) == ()
    assert await store.recoveries.page(page=-1, now=T0) == pages[0]


async def test_the_audit_is_filtered(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    await resolve(store, outcome=FAILED)
    await ack(store, RecoveryFilter())
    second = entry(failed=REPLICA, cluster_id="c2", cluster_name="r.example:3306", alias="bank")
    await store.recoveries.register(recovery("2:b", about=second))

    async def uids(which: RecoveryFilter) -> list[str]:
        return [one.uid for one in await store.recoveries.page(which, now=T0)]

    assert await uids(RecoveryFilter()) == ["2:b", "1:a"]
    assert await uids(RecoveryFilter(id=1)) == ["1:a"]
    assert await uids(RecoveryFilter(uid="2:b")) == ["2:b"]
    assert await uids(RecoveryFilter(cluster_id="c2")) == ["2:b"]
    assert await uids(RecoveryFilter(cluster_name="m.example:3306")) == ["1:a"]
    assert await uids(RecoveryFilter(cluster_alias="bank")) == ["2:b"]
    assert await uids(RecoveryFilter(instance=REPLICA)) == ["2:b"]
    assert await uids(RecoveryFilter(unacknowledged=True)) == ["2:b"]
    assert await uids(RecoveryFilter(cluster_alias="bank", instance=MASTER)) == []


async def test_a_recovery_and_the_detection_that_led_to_it_name_each_other(store: Store) -> None:
    noticed = await store.detections.register(detection(), active_seconds=HOUR)
    begun = await store.recoveries.register(recovery("1:a", detection=noticed.detection.id))
    assert begun.last_detection_id == noticed.detection.id
    (led,) = await store.detections.page(now=T0)
    assert led.related_recovery_id == begun.id


async def test_the_newest_detection_of_the_server_is_found(store: Store) -> None:
    await store.detections.register(detection(about=entry(failed=REPLICA)), active_seconds=HOUR)
    await store.detections.register(detection(actionable=False), active_seconds=HOUR)
    noticed = await store.detections.register(detection(), active_seconds=HOUR)
    begun = await store.recoveries.register(recovery("1:a"))
    assert begun.last_detection_id == noticed.detection.id
    assert (await store.detections.page(now=T0))[0].related_recovery_id == begun.id


@pytest.mark.parametrize("successful", [True, False])
async def test_a_detection_that_is_noted_late_finds_its_recovery(store: Store, successful: bool) -> None:
    """A recovery has the store first. One that has succeeded meanwhile has ended the detection too."""
    begun = await store.recoveries.register(recovery("1:a"))
    outcome = Outcome(is_successful=successful)
    await store.recoveries.resolve("1:a", outcome, at=T0, term=1, block_seconds=HOUR)
    other = await store.detections.register(detection(about=entry(failed=REPLICA)), active_seconds=HOUR)
    early = await store.detections.register(detection(actionable=False), active_seconds=HOUR)
    noticed = await store.detections.register(detection(at=shifted(T0, 1)), active_seconds=HOUR)
    assert noticed.detection.related_recovery_id == begun.id
    assert noticed.detection.is_active is not successful
    (seen,) = await store.recoveries.page(now=T0)
    assert seen.last_detection_id == noticed.detection.id
    assert other.detection.related_recovery_id == early.detection.related_recovery_id == 0


async def test_a_detection_does_not_claim_a_recovery_of_long_ago(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    late = await store.detections.register(detection(at=shifted(T0, 60)), active_seconds=HOUR)
    assert late.detection.related_recovery_id == 0


async def test_keys_of_all_kinds_survive_in_lists(store: Store) -> None:
    await store.recoveries.register(recovery("1:a"))
    raw = await store.database.read(lambda c: c.execute(RECOVERIES.select()).one().replicas)
    assert json.loads(raw) == [["r.example", 3306], ["::1", 3306]]
