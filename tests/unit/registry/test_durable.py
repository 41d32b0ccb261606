"""What of the topology survives, on a real store; two nodes of which one acts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.registry.durable import Durable
from services.registry.facts import facts_to_json
from services.registry.registry import Registry, RegistryPolicy
from services.store.clusters import ClusterRecord
from services.store.instances import KnownInstance
from services.store.mysql import GUARD_TABLE
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, Observation, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry, DeposedMaster
from services.topology.registrations import CandidateRule, Downtime
from tests.backends import empty_backend
from tests.servers import StandaloneServer, wait_until_async

OLD, NEW, OTHER = (InstanceKey(f"db{n}", 3306) for n in (1, 2, 3))
UTC = "2026-11-22T20:46:24Z"
CLUSTER = "a" * 32


def master(key: InstanceKey = OLD) -> Instance:
    return Instance(
        key=key,
        version="9.7.4",
        semi_sync_master_enabled=True,
        semi_sync_master_status=True,
        semi_sync_master_timeout_ms=2**63,
        semi_sync_master_wait_count=1,
        semi_sync_master_wait_point="AFTER_SYNC",
    )


def replica(key: InstanceKey, of: InstanceKey = OLD) -> Instance:
    return Instance(
        key=key,
        version="9.7.4",
        master_key=of,
        read_only=True,
        receiver_state=ThreadState.RUNNING,
        applier_state=ThreadState.RUNNING,
        read_coordinates=BinlogCoordinates("binlog.000001", 4),
        using_oracle_gtid=True,
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "orchestray.db")
    yield opened
    await opened.close()


def node(store: Store, *, acts: bool = False) -> tuple[Registry, Durable]:
    registry = Registry(RegistryPolicy())
    durable = Durable(store, registry, lambda *_: None)
    durable.acts = acts
    return registry, durable


def see(registry: Registry, *instances: Instance, now: float = 1.0) -> None:
    for instance in instances:
        registry.add(instance.key, now, explicit=True)
    seen = [Observation(key=one.key, outcome=CheckOutcome.OK, instance=one) for one in instances]
    registry.observe(seen, now=now, utc=UTC)


async def keep(store: Store, *instances: Instance) -> None:
    known = [KnownInstance(key=one.key, facts=facts_to_json(one)) for one in instances]
    await store.instances.upsert_many(known)


async def test_reports_of_two_servers_at_once_give_their_cluster_one_identity(store: Store) -> None:
    registry, durable = node(store, acts=True)
    see(registry, master(), replica(NEW))
    snapshot = registry.topology(1.0)
    await asyncio.gather(*(durable.identify(snapshot) for _ in range(4)))
    assert [record.master_key for record in await store.clusters.load()] == [OLD]


async def test_one_that_does_not_act_gives_no_identity(store: Store) -> None:
    registry, durable = node(store)
    see(registry, master())
    await durable.identify(registry.topology(1.0))
    assert await store.clusters.load() == ()


async def test_one_that_does_not_act_follows_what_the_other_finds_and_forgets(store: Store) -> None:
    registry, durable = node(store)
    see(registry, master())  # found by itself, not in the store
    assert await durable.synchronise() is False
    await keep(store, replica(NEW), replica(OTHER))
    assert await durable.synchronise() is True
    assert set(registry.instances) == {OLD, NEW, OTHER}
    await store.instances.forget([OTHER])
    assert await durable.synchronise() is True
    assert set(registry.instances) == {OLD, NEW}
    assert await durable.synchronise() is False


async def test_a_cluster_without_servers_is_forgotten_with_its_alias(store: Store) -> None:
    registry, durable = node(store, acts=True)
    see(registry, master(), replica(NEW))
    await durable.identify(registry.topology(1.0))
    (record,) = await store.clusters.load()
    await store.clusters.set_alias(record.id, "shop", AuditEntry(at=UTC, type="set-cluster-alias"))
    await durable.synchronise()
    await durable.forget_emptied(10.0, 60.0)
    registry.forget([OLD], 10.0)  # its replica is left
    await durable.forget_emptied(99.0, 60.0)
    assert [one.alias for one in await store.clusters.load()] == ["shop"]
    registry.forget([NEW], 100.0)
    await durable.forget_emptied(100.0, 60.0)
    durable.acts = False
    await durable.forget_emptied(130.0, 60.0)
    durable.acts = True
    await durable.forget_emptied(140.0, 60.0)
    await durable.forget_emptied(199.0, 60.0)
    assert len(await store.clusters.load()) == 1, "counted from when this node acts"
    await durable.forget_emptied(200.0, 60.0)
    assert await store.clusters.load() == ()
    assert "cluster shop is forgotten" in (await store.audit.page())[0].message
    see(registry, master(), now=201.0)
    assert registry.topology(201.0).clusters[0].alias == str(OLD)


async def test_a_server_under_its_own_name_takes_its_cluster_and_what_was_registered_along(
    store: Store,
) -> None:
    registry, durable = node(store, acts=True)
    see(registry, master())
    await durable.identify(registry.topology(1.0))
    await keep(store, master())
    downtime = Downtime(key=OLD, owner="me", reason="why", begins_at=UTC, ends_at="2099-01-01T00:00:00Z")
    await store.registrations.begin_downtime(downtime)
    named = Observation(key=OLD, outcome=CheckOutcome.OK, instance=master(), own_key=NEW)
    (renamed,) = registry.observe([named], now=2.0, utc=UTC).renamed
    await durable.renamed(*renamed)
    await durable.synchronise()
    assert registry.instances[NEW].downtime_owner == "me"
    assert [record.master_key for record in await store.clusters.load()] == [NEW]
    assert [cluster.master_key for cluster in registry.topology(3.0).clusters] == [NEW]
    assert registry.topology(3.0).clusters[0].id == (await store.clusters.load())[0].id
    assert OLD not in {known.key for known in await store.instances.load_all()}
    audit = [entry.message for entry in await store.audit.page()]
    assert f"{OLD} is {NEW}, and known as that from now on" in audit


async def test_a_store_that_went_back_makes_nobody_forget(mysql_server: StandaloneServer) -> None:
    """The second server of a pair, which has not got all: what it lacks was not forgotten by anybody."""
    backend = empty_backend(mysql_server)
    store = await Store.open(backend)
    try:
        said: list[str] = []
        registry = Registry(RegistryPolicy())
        durable = Durable(store, registry, lambda kind, text, *_: said.append(f"{kind}: {text}"))
        see(registry, master(), replica(NEW))
        durable.acts = True
        await durable.identify(registry.topology(1.0))
        (identity,) = await store.clusters.load()
        await keep(store, master(), replica(NEW))
        for _ in range(30):
            await keep(store, replica(OTHER))
        durable.acts = False
        await durable.synchronise()
        assert set(registry.instances) == {OLD, NEW, OTHER}
        mysql_server.execute(
            *(f"DELETE FROM {backend.database}.{table}" for table in ("known_instances", "clusters")),
            f"UPDATE {backend.database}.{GUARD_TABLE} SET writes = 5",
        )
        await durable.synchronise()
        assert set(registry.instances) == {OLD, NEW, OTHER}
        assert [one for one in said if one.startswith("store: ")] != []

        durable.acts = True  # this one comes to act: all of it is written there
        await durable.identify(registry.topology(1.0))
        assert [record.master_key for record in await store.clusters.load()] == [identity.master_key]
        durable._behind.start()
        durable.note(registry.instances.values())
        await wait_until_async(lambda: _known(store, {OLD, NEW, OTHER}), 10)
        await durable._behind.close()

        durable.acts = False  # and what is forgotten from now on is forgotten
        await durable.synchronise()
        await store.instances.forget([OTHER])
        await durable.synchronise()
        assert set(registry.instances) == {OLD, NEW}
    finally:
        await store.close()


async def _known(store: Store, keys: set[InstanceKey]) -> bool:
    return {one.key for one in await store.instances.load_all()} == keys


async def test_one_that_acts_keeps_what_it_knows(store: Store) -> None:
    registry, durable = node(store, acts=True)
    see(registry, master())
    await keep(store, replica(NEW))
    assert await durable.synchronise() is False
    assert set(registry.instances) == {OLD}


async def test_what_any_node_is_told_of_is_known_to_the_one_that_acts(store: Store) -> None:
    registry, durable = node(store, acts=True)
    _, told = node(store)
    await durable.synchronise()
    told.seed([OLD, NEW])
    await told.synchronise()
    assert await durable.synchronise() is True
    assert set(registry.instances) == {OLD, NEW}
    assert await durable.synchronise() is False


async def test_a_seed_of_another_node_that_was_forgotten_stays_forgotten(store: Store) -> None:
    registry, durable = node(store, acts=True)
    _, told = node(store)
    told.seed([OLD])
    await told.synchronise()
    await durable.synchronise()
    registry.forget([OLD], time.monotonic())
    assert await durable.synchronise() is False, "the store has it yet"
    await durable.forget([OLD])
    await told.synchronise()
    assert await durable.synchronise() is False
    assert await store.instances.load_all() == ()


async def test_a_store_that_takes_no_new_servers_is_read_and_gets_the_seeds_later(store: Store) -> None:
    registry, told = node(store)
    await keep(store, replica(NEW))
    told.seed([OLD])
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON known_instances BEGIN SELECT RAISE(ABORT, 'read-only'); END"
    )
    await store.database.write(lambda c: c.exec_driver_sql(refuse))
    assert await told.synchronise() is True
    assert set(registry.instances) == {NEW}
    await store.database.write(lambda c: c.exec_driver_sql("DROP TRIGGER refuse"))
    await told.synchronise()
    assert {known.key for known in await store.instances.load_all()} == {OLD, NEW}


async def test_a_promotion_is_not_undone_by_a_synchronisation_that_read_before_it(store: Store) -> None:
    registry, durable = node(store)
    see(registry, master(), replica(NEW))
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=OLD))
    await durable.synchronise()

    candidates = store.registrations.candidates

    async def candidates_and_meanwhile_a_promotion(now: str) -> object:
        durable.promoted(CLUSTER, OLD, NEW)
        return await candidates(now)

    store.registrations.candidates = candidates_and_meanwhile_a_promotion  # type: ignore[method-assign, assignment]
    await durable.synchronise()
    identity = registry.identity(CLUSTER)
    assert identity is not None
    assert identity.master_key == NEW
    assert identity.deposed == {OLD}


async def test_a_promoted_server_that_nobody_has_read_since_is_the_master(store: Store) -> None:
    registry, durable = node(store)
    see(registry, master(), replica(NEW), replica(OTHER))
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=OLD))
    await durable.synchronise()
    durable.promoted(CLUSTER, OLD, NEW)
    see(registry, replica(OTHER, of=NEW), now=2.0)
    cluster = registry.topology(2.0).cluster_of(NEW)
    assert cluster is not None
    assert (cluster.id, cluster.master_key, cluster.is_fragment) == (CLUSTER, NEW, False)
    assert OTHER in cluster.instance_keys
    promoted = registry.instances[NEW]
    assert promoted.master_key == NO_KEY
    assert not promoted.read_only
    # What the old one promised, the new one does (rule 11).
    assert promoted.semi_sync_unbroken
    assert promoted.semi_sync_master_wait_count == 1


async def test_a_restart_knows_the_new_master_though_its_facts_are_older_than_its_promotion(
    store: Store,
) -> None:
    await keep(store, master(), replica(NEW), replace(replica(OTHER), master_key=NEW))
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=OLD))
    deposed = DeposedMaster(
        cluster_id=CLUSTER, key=OLD, deposed_at=UTC, until="2100-01-01T00:00:00Z", term=1, recovery_uid="1:a"
    )
    await store.clusters.promote(CLUSTER, expected=OLD, master=NEW, at=UTC, term=1, deposed=deposed)
    registry, durable = node(store)
    await durable.load()
    cluster = registry.topology(1.0).cluster_of(OTHER)
    assert cluster is not None
    assert cluster.master_key == NEW
    assert registry.instances[NEW].master_key == NO_KEY
    await durable.close()


async def test_facts_that_are_newer_than_a_promotion_stand(store: Store) -> None:
    """Somebody has pointed the promoted server to a third one since."""
    await keep(store, master(), replica(NEW, of=OTHER), master(OTHER))
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=OLD))
    deposed = DeposedMaster(
        cluster_id=CLUSTER, key=OLD, deposed_at=UTC, until="2100-01-01T00:00:00Z", term=1, recovery_uid="1:a"
    )
    await store.clusters.promote(CLUSTER, expected=OLD, master=NEW, at=UTC, term=1, deposed=deposed)
    registry, durable = node(store)
    await durable.load()
    assert registry.instances[NEW].master_key == OTHER
    await durable.close()


async def test_a_promotion_rule_and_a_downtime_end_on_time_without_another_look_into_the_store(
    store: Store,
) -> None:
    """CandidateInstanceExpireMinutes after it was registered a rule is neutral, and shown so."""
    registry, durable = node(store)
    see(registry, master(), replica(NEW))
    now = utc_now()
    await store.registrations.register_candidate(
        CandidateRule(key=NEW, promotion_rule="must_not", last_suggested=now, expires_at=shifted(now, 60))
    )
    await store.registrations.begin_downtime(
        Downtime(key=OLD, owner="dba", reason="upgrade", begins_at=now, ends_at=shifted(now, 120))
    )
    await durable.synchronise()
    assert registry.instances[NEW].promotion_rule == "must_not"
    assert registry.instances[OLD].is_downtimed
    durable.expire(shifted(now, 60))
    assert registry.instances[NEW].promotion_rule == "neutral"
    assert registry.instances[OLD].is_downtimed
    durable.expire(shifted(now, 120))
    assert not registry.instances[OLD].is_downtimed
    assert registry.instances[OLD].downtime_reason == ""


async def test_who_was_lost_and_replicates_again_is_not_downtimed_any_more(store: Store) -> None:
    registry, durable = node(store)
    now = time.monotonic()
    see(registry, master(), replica(NEW), replica(OTHER), now=now)
    long_ago = shifted(utc_now(), -61)
    for key, reason in ((NEW, "lost-in-recovery"), (OTHER, "upgrade")):
        downtime = Downtime(
            key=key, owner="n", reason=reason, begins_at=long_ago, ends_at=shifted(long_ago, 365 * 86400)
        )
        await store.registrations.begin_downtime(downtime)
    await durable.synchronise()
    assert registry.instances[NEW].is_downtimed, "another node acts, and does that"
    durable.acts = True
    await durable.synchronise()
    assert not registry.instances[NEW].is_downtimed
    assert [one.key for one in await store.registrations.downtimes(utc_now())] == [OTHER]
