"""Instances, all that people register, the switch for recoveries, audit and purge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.store import times
from services.store.backend import Backend
from services.store.clusters import ClusterRecord
from services.store.instances import KnownInstance
from services.store.recoveries import Outcome
from services.store.store import Store
from services.store.times import shifted
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry
from services.topology.registrations import (
    CandidateRule,
    Downtime,
    HostAttribute,
    HostnameUnresolve,
    InstanceTag,
    Maintenance,
)
from services.topology.tags import TagTerm
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


def _entry(kind: str = "x") -> AuditEntry:
    return AuditEntry(at=T0, type=kind, instance=MASTER, message="é")


async def _audited(store: Store) -> list[tuple[str, InstanceKey, str]]:
    """What the audit has, oldest first."""
    return [(one.type, one.instance, one.message) for one in reversed(await store.audit.page())]


async def test_one_maintenance_of_a_server_at_a_time(store: Store) -> None:
    wanted = Maintenance(key=MASTER, owner="me", reason="é" * 4000, begins_at=T0, ends_at=shifted(T0, 600))
    registrations = store.registrations
    first = await registrations.begin_maintenance(wanted, _entry("begin"))
    assert first > 0
    again = replace(wanted, owner="you", begins_at=shifted(T0, 599))
    assert await registrations.begin_maintenance(again, _entry("refused")) == 0
    assert await registrations.begin_maintenance(replace(wanted, key=OTHER)) > first
    oldest, _ = await registrations.maintenances(T0)
    assert (oldest.id, oldest.owner) == (first, "me")
    assert [one.key for one in await registrations.maintenances(shifted(T0, 600))] == []
    # one that is over and not removed yet is in nobody's way
    later = replace(wanted, begins_at=shifted(T0, 600), ends_at=shifted(T0, 1200))
    second = await registrations.begin_maintenance(later, _entry("begin"))
    assert second > first
    assert not await registrations.end_maintenance(MASTER, _entry("end"), number=first)
    assert await registrations.end_maintenance(MASTER, _entry("end"), number=second)
    assert not await registrations.end_maintenance(MASTER, _entry("end"))
    assert [one.key for one in await registrations.maintenances(T0)] == [OTHER]
    assert [kind for kind, _, _ in await _audited(store)] == ["begin", "begin", "end"]


async def test_what_is_over_is_removed_and_told_in_the_audit(store: Store) -> None:
    registrations, end = store.registrations, shifted(T0, 60)
    assert not await registrations.is_any_over(shifted(T0, 10**8))
    for key, until in ((MASTER, end), (REPLICA, shifted(T0, 61))):
        await registrations.begin_downtime(
            Downtime(key=key, owner="me", reason="disk", begins_at=T0, ends_at=until)
        )
        await registrations.begin_maintenance(
            Maintenance(key=key, owner="me", reason="disk", begins_at=T0, ends_at=until)
        )
        await registrations.register_candidate(
            CandidateRule(key=key, promotion_rule="prefer", last_suggested=T0, expires_at=until)
        )
        await registrations.register_unresolve(
            HostnameUnresolve(
                hostname=key.hostname, unresolved_hostname="v.example", registered_at=T0, expires_at=until
            )
        )
    await store.pools.submit("web", [MASTER, REPLICA], at=T0, expires_at=end)
    number = (await registrations.maintenances(T0))[0].id
    assert not await registrations.is_any_over(shifted(T0, 59))
    assert await registrations.expire(shifted(T0, 59)) == 0
    assert await registrations.is_any_over(end)
    assert await registrations.expire(end) == 5
    assert not await registrations.is_any_over(end)
    assert await _audited(store) == [
        ("expire-candidate", MASTER, "prefer"),
        ("expire-downtime", MASTER, "owner: me, reason: disk"),
        ("expire-maintenance", MASTER, f"maintenance {number}, owner: me, reason: disk"),
        ("expire-hostname-unresolve", NO_KEY, "m.example is not known as v.example any more"),
        ("expire-pool", NO_KEY, "pool web"),
    ]
    assert [one.key for one in await registrations.downtimes(T0)] == [REPLICA]
    assert [one.key for one in await registrations.maintenances(T0)] == [REPLICA]
    assert [one.key for one in await registrations.candidates(T0)] == [REPLICA]
    assert [one.hostname for one in await registrations.unresolves(T0)] == ["r.example"]
    assert await store.pools.members(T0) == ()


async def test_a_host_has_one_unresolved_name(store: Store) -> None:
    registrations = store.registrations
    name = HostnameUnresolve(
        hostname="m.example", unresolved_hostname="v1", registered_at=T0, expires_at=shifted(T0, 60)
    )
    await registrations.register_unresolve(name, _entry())
    newer = replace(name, unresolved_hostname="v2")
    await registrations.register_unresolve(newer, _entry())
    assert await registrations.unresolves(shifted(T0, 59)) == (newer,)
    assert await registrations.unresolves(shifted(T0, 60)) == ()
    assert await registrations.deregister_unresolve("m.example", _entry())
    assert not await registrations.deregister_unresolve("m.example", _entry())
    assert len(await _audited(store)) == 3


async def test_tags_are_kept_by_server_and_name(backend: Backend) -> None:
    store = await Store.open(backend)
    for key, name, value in (
        (MASTER, "role", "a"), (MASTER, "role", "b"), (MASTER, "Role", ""), (REPLICA, "role", "b "),
        (OTHER, "rôle", "b"), (OTHER, "x" * 128, "y" * 255),
    ):  # fmt: skip
        await store.tags.put(InstanceTag(key=key, name=name, value=value), _entry("put"))
    await store.close()
    store = await Store.open(backend)
    assert [(tag.name, tag.value) for tag in await store.tags.tags(MASTER)] == [("Role", ""), ("role", "b")]
    assert [tag.key for tag in await store.tags.tags()] == [OTHER, OTHER, MASTER, MASTER, REPLICA]
    assert await store.tags.remove(TagTerm("role", "a"), audit=_entry("untag")) == ()
    # as bytes, whatever the database says of blanks and case
    assert await store.tags.remove(TagTerm("role", "b"), audit=_entry("untag")) == (MASTER,)
    assert await store.tags.remove(TagTerm("role"), key=MASTER, audit=_entry("untag")) == ()
    assert await store.tags.remove(TagTerm("role"), key=REPLICA, audit=_entry("untag")) == (REPLICA,)
    assert [tag.name for tag in await store.tags.tags()] == ["rôle", "x" * 128, "Role"]
    assert [one[:2] for one in await _audited(store) if one[0] == "untag"] == [
        ("untag", MASTER),
        ("untag", REPLICA),
    ]
    await store.close()


async def test_a_pool_is_replaced_as_a_whole(store: Store) -> None:
    until = {"at": T0, "expires_at": shifted(T0, 60)}
    await store.pools.submit("web", [REPLICA, MASTER, MASTER], **until, audit=_entry())
    await store.pools.submit("batch", [OTHER], **until)
    assert [(one.pool, one.key) for one in await store.pools.members(T0)] == [
        ("batch", OTHER),
        ("web", MASTER),
        ("web", REPLICA),
    ]
    await store.pools.submit("web", [OTHER], at=T0, expires_at=shifted(T0, 90))
    assert [one.key for one in await store.pools.members(T0, "web")] == [OTHER]
    assert [one.pool for one in await store.pools.members(shifted(T0, 60))] == ["web"]
    await store.pools.submit("web", [], **until)
    assert await store.pools.members(T0, "web") == ()
    assert len(await _audited(store)) == 1


async def test_attributes_of_hosts(store: Store) -> None:
    for host, value in (("a", "1"), ("b", "2"), ("a", "3")):
        attribute = HostAttribute(hostname=host, name="rack", value=value, submitted_at=T0)
        await store.attributes.put(attribute, _entry())
    assert [(one.hostname, one.value) for one in await store.attributes.named("rack")] == [
        ("a", "3"),
        ("b", "2"),
    ]
    assert await store.attributes.named("shelf") == ()


async def test_an_alias_given_by_a_person_stays_with_the_cluster(store: Store) -> None:
    await store.clusters.create(ClusterRecord(id="c1", master_key=MASTER, domain="d"))
    assert await store.clusters.set_alias("c1", "böse", _entry())
    assert await store.clusters.set_alias("c1", "böse", _entry()), "also when it is so already"
    assert not await store.clusters.set_alias("c2", "x", _entry())
    await store.clusters.promote("c1", expected=MASTER, master=REPLICA, at=T0, term=1)
    (record,) = await store.clusters.load()
    assert (record.master_key, record.alias, record.domain) == (REPLICA, "böse", "d")
    assert len(await _audited(store)) == 2


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
    assert first[0].id >= 22
    assert first[0] == AuditEntry(id=first[0].id, at=T0, type="forget", instance=MASTER, message="21")
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
