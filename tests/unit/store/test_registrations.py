"""Instances, promotion rules, downtime, the switch for recoveries, audit and purge."""

from __future__ import annotations

import pytest

from services.store import times
from services.store.backend import Backend
from services.store.instances import KnownInstance
from services.store.recoveries import Outcome
from services.store.store import Store
from services.store.times import shifted
from services.topology.records import AuditEntry
from services.topology.registrations import CandidateRule, Downtime
from tests.unit.store.samples import MASTER, OTHER, REPLICA, T0, detection, entry, recovery

DAY = 86_400


async def test_instances_are_remembered_with_their_newest_facts(backend: Backend) -> None:
    store = await Store.open(backend)
    await store.instances.upsert_many([KnownInstance(MASTER, "1"), KnownInstance(REPLICA, "1")])
    newest = KnownInstance(MASTER, '{"é": "☃"}', "c1", T0)
    await store.instances.upsert_many([newest, KnownInstance(OTHER, "1")])
    await store.close()
    store = await Store.open(backend)
    assert await store.instances.load_all() == (
        KnownInstance(OTHER, "1"),
        newest,
        KnownInstance(REPLICA, "1"),
    )
    await store.instances.forget([MASTER, OTHER])
    assert await store.instances.load_all() == (KnownInstance(REPLICA, "1"),)
    await store.instances.forget([MASTER])
    await store.instances.forget([])
    await store.instances.upsert_many([])
    await store.close()


async def test_a_promotion_rule_lasts_until_it_expires(store: Store) -> None:
    rule = CandidateRule(key=MASTER, promotion_rule="prefer", last_suggested=T0, expires_at=shifted(T0, 3600))
    await store.registrations.register_candidate(rule)
    assert await store.registrations.candidates(shifted(T0, 3599)) == (rule,)
    assert await store.registrations.candidates(shifted(T0, 3600)) == ()
    renewed = CandidateRule(
        key=MASTER, promotion_rule="must_not", last_suggested=T0, expires_at=shifted(T0, 7200)
    )
    await store.registrations.register_candidate(renewed)
    assert await store.registrations.candidates(shifted(T0, 3600)) == (renewed,)


async def test_a_downtime_lasts_from_its_begin_to_its_end(store: Store) -> None:
    planned = Downtime(
        key=MASTER, owner="me", reason="disk", begins_at=shifted(T0, 10), ends_at=shifted(T0, 20)
    )
    await store.registrations.begin_downtime(planned)
    listed = [await store.registrations.downtimes(shifted(T0, second)) for second in (9, 10, 19, 20)]
    assert listed == [(), (planned,), (planned,), ()]
    assert await store.registrations.end_downtime(MASTER)
    assert not await store.registrations.end_downtime(MASTER)
    assert await store.registrations.downtimes(shifted(T0, 10)) == ()


async def test_recoveries_are_enabled_until_somebody_disables_them(backend: Backend) -> None:
    store = await Store.open(backend)
    assert await store.registrations.recoveries_enabled()
    await store.registrations.disable_recoveries()
    await store.registrations.disable_recoveries()
    await store.close()
    store = await Store.open(backend)
    assert not await store.registrations.recoveries_enabled()
    await store.registrations.enable_recoveries()
    assert await store.registrations.recoveries_enabled()
    await store.close()


async def test_the_audit_is_listed_newest_first_by_page_and_instance(store: Store) -> None:
    for n in range(22):
        key = MASTER if n % 2 else REPLICA
        await store.audit.add(AuditEntry(at=T0, type="forget", instance=key, message=f"{n}"))
    first, second = [await store.audit.page(page=n) for n in (0, 1)]
    assert [one.message for one in (*first, *second)] == [f"{n}" for n in reversed(range(22))]
    assert len(first) == 20
    assert first[0] == AuditEntry(id=22, at=T0, type="forget", instance=MASTER, message="21")
    assert [one.message for one in await store.audit.page(instance=REPLICA)] == [
        f"{n}" for n in range(20, -1, -2)
    ]


async def test_purging_removes_what_is_old_and_nothing_that_still_counts(store: Store) -> None:
    end = Outcome(is_successful=True, successor_key=REPLICA)
    for n, block_seconds in enumerate((0, 100 * DAY)):
        about = entry(cluster_id=f"ended{n}", failed=OTHER)
        await store.recoveries.register(recovery(f"{n}:x", about=about))
        await store.journal.add_step(f"{n}:x", "step", at=T0)
        await store.recoveries.resolve(f"{n}:x", end, at=T0, term=1, block_seconds=block_seconds)
    await store.recoveries.register(recovery("2:running", about=entry(cluster_id="running")))
    await store.detections.register(detection(), active_seconds=60)
    await store.detections.register(detection(about=entry(failed=REPLICA)), active_seconds=100 * DAY)
    await store.audit.add(AuditEntry(at=T0, type="x"))
    await store.audit.add(AuditEntry(at=shifted(T0, 8 * DAY), type="y"))

    assert await store.audit.purge(shifted(T0, 7 * DAY), days=7) == 0, "not old enough"
    now = shifted(T0, 7 * DAY + 1)
    assert await store.audit.purge(now, days=7) == 3

    assert [one.uid for one in await store.recoveries.page(now=now)] == ["2:running", "1:x"]
    assert await store.journal.steps("0:x") == (), "steps go with their recovery"
    assert len(await store.journal.steps("1:x")) == 1
    assert [one.analysis_entry.analyzed_instance_key for one in await store.detections.page(now=now)] == [
        REPLICA
    ]
    assert [one.type for one in await store.audit.page()] == ["y"]


async def test_an_id_is_never_given_twice(store: Store) -> None:
    await store.audit.add(AuditEntry(at=T0, type="x"))
    (first,) = await store.audit.page()
    await store.audit.purge(shifted(T0, 9 * DAY), days=7)
    await store.audit.add(AuditEntry(at=T0, type="y"))
    (second,) = await store.audit.page()
    assert second.id > first.id


def test_times_sort_as_they_read() -> None:
    assert shifted(T0, 0.1) == "2026-11-22T20:00:01Z", "up: an end never comes early"
    assert shifted(T0, -1) == "2026-11-22T19:59:59Z"
    assert times.checked(T0) == T0
    assert times.checked(times.utc_now()) <= times.utc_now()
    for text in ("2026-11-22 20:00:00", "", "2026-11-22T20:00:00+01:00"):
        with pytest.raises(ValueError, match="is not a time in UTC such as"):
            times.checked(text)
