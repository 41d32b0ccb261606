"""What reports change about the live topology."""

from __future__ import annotations

from dataclasses import replace

from services.registry.facts import facts_from_json, facts_to_json, lasting_facts
from services.registry.registry import Registry, RegistryPolicy
from services.topology.channel import Channel, ChannelTls
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, Observation, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import ClusterIdentity

MASTER, REPLICA, LEAF = (InstanceKey(f"db{n}", 3306) for n in (1, 2, 3))
UTC = "2026-11-22T20:46:24Z"


def master(**facts: object) -> Observation:
    return ok(Instance(key=MASTER, replicas=(REPLICA,), **facts))  # type: ignore[arg-type]


def replica(**facts: object) -> Observation:
    values = {"receiver_state": ThreadState.RUNNING, "applier_state": ThreadState.RUNNING, **facts}
    return ok(Instance(key=REPLICA, master_key=MASTER, replicas=(LEAF,), **values))  # type: ignore[arg-type]


def ok(instance: Instance) -> Observation:
    return Observation(key=instance.key, outcome=CheckOutcome.OK, instance=instance)


def failed(key: InstanceKey, outcome: CheckOutcome = CheckOutcome.REFUSED) -> Observation:
    return Observation(key=key, outcome=outcome, error="why")


def registry_with(*observations: Observation, policy: RegistryPolicy | None = None) -> Registry:
    registry = Registry(policy or RegistryPolicy())
    for observation in observations:
        registry.add(observation.key, 1.0, explicit=True)
    registry.observe(observations, now=1.0, utc=UTC)
    return registry


def test_from_any_server_its_source_and_its_replicas_are_found() -> None:
    registry = Registry(RegistryPolicy())
    registry.add(REPLICA, 1.0, explicit=True)
    changes = registry.observe([replica()], now=1.0, utc=UTC)
    assert changes.found == {MASTER, LEAF}
    assert set(registry.instances) == {MASTER, REPLICA, LEAF}


def test_filters_keep_servers_out_even_if_they_are_named() -> None:
    policy = RegistryPolicy(ignores_host=lambda key: key == LEAF, ignores_master=lambda key: key == MASTER)
    registry = registry_with(replica(), policy=policy)
    assert set(registry.instances) == {REPLICA}
    assert not registry.add(LEAF, 1.0, explicit=True)


def test_a_report_about_a_server_that_is_not_known_any_more_is_dropped() -> None:
    registry = registry_with(master(), replica())
    registry.forget([REPLICA], 2.0)
    changes = registry.observe([replica()], now=3.0, utc=UTC)
    assert REPLICA not in registry.instances
    assert not changes.significant


def test_a_forgotten_server_is_not_found_again_for_three_polls_but_by_name() -> None:
    registry = registry_with(master(), replica())
    registry.forget([REPLICA], 100.0)
    registry.observe([master()], now=114.0, utc=UTC)
    assert REPLICA not in registry.instances
    assert registry.add(REPLICA, 114.0, explicit=True)
    registry.forget([REPLICA], 200.0)
    registry.observe([master()], now=216.0, utc=UTC)
    assert REPLICA in registry.instances


def test_a_server_that_falls_silent_has_its_neighbours_looked_at_once() -> None:
    registry = registry_with(master(), replica())
    assert registry.observe([failed(MASTER)], now=2.0, utc=UTC).look_at == {REPLICA}
    assert registry.observe([failed(MASTER)], now=3.0, utc=UTC).look_at == frozenset()


def test_a_receiver_that_stops_has_its_source_looked_at() -> None:
    registry = registry_with(master(), replica())
    stopped = replica(receiver_state=ThreadState.OTHER, last_io_errno=2003)
    assert registry.observe([stopped], now=2.0, utc=UTC).look_at == {MASTER}


def test_a_receiver_that_stops_because_its_source_is_known_to_be_silent_is_no_reason_to_look() -> None:
    registry = registry_with(master(), replica())
    registry.observe([failed(MASTER)], now=2.0, utc=UTC)
    stopped = replica(receiver_state=ThreadState.OTHER, last_io_errno=2003)
    assert MASTER not in registry.observe([stopped], now=3.0, utc=UTC).look_at


def test_the_dead_master_is_found_by_the_analysis() -> None:
    registry = registry_with(master(), replica())
    registry.observe([failed(MASTER)], now=2.0, utc=UTC)
    broken = replica(receiver_state=ThreadState.OTHER, last_io_errno=2003, last_io_error="error connecting")
    registry.observe([broken], now=2.1, utc=UTC)
    [finding] = [f for f in registry.analysis(2.2) if f.analyzed_instance_key == MASTER]
    assert (finding.analysis, finding.actionable) == ("DeadMaster", True)


def test_people_are_told_who_a_server_is_when_it_fails_and_when_it_is_back() -> None:
    registry = Registry(RegistryPolicy())
    registry.add(MASTER, 1.0, explicit=True)

    def told(observation: Observation, now: float) -> list[str]:
        return [text for _, text in registry.observe([observation], now=now, utc=UTC).notes]

    assert told(master(version="9.7.4", flavor="MySQL"), 1.0) == ["db1:3306: MySQL 9.7.4, master, writable"]
    assert told(master(), 2.0) == []
    assert told(failed(MASTER), 3.0) == ["db1:3306: why"]
    assert told(failed(MASTER), 4.0) == []
    assert told(master(), 5.0) == ["db1:3306: answers again"]


def test_facts_survive_the_store() -> None:
    instance = Instance(
        key=REPLICA,
        master_key=MASTER,
        replicas=(LEAF,),
        receiver_state=ThreadState.OTHER,
        last_io_errno=2003,
        self_coordinates=BinlogCoordinates("b.000007", 4711),
        executed_gtid_set="6f0a2b1c-0000-0000-0000-000000000001:1-5",
        promotion_rule="prefer",
        channels=(Channel(name="west", master_key=MASTER, tls=ChannelTls(ca_file="/ca.pem")),),
        replication_tls=ChannelTls(ca_file="/ca.pem", verify_server_certificate=True),
    )
    assert facts_from_json(facts_to_json(instance)) == instance


def test_facts_of_another_version_of_the_program_are_read_as_far_as_they_go() -> None:
    text = facts_to_json(Instance(key=REPLICA, version="9.7.4")).replace(
        '"version"', '"invented":1,"version"'
    )
    assert facts_from_json(text).version == "9.7.4"


def test_what_only_moves_is_not_news_for_the_store() -> None:
    instance = Instance(key=REPLICA, uptime_seconds=5, executed_gtid_set="x", read_only=True)
    assert lasting_facts(instance) == lasting_facts(
        replace(instance, uptime_seconds=9, executed_gtid_set="y")
    )
    assert lasting_facts(instance) != lasting_facts(replace(instance, read_only=False))


def test_servers_of_a_cluster_that_nobody_has_looked_at_are_awaited_for_a_while() -> None:
    """A restart knows them from the store, as they once were."""
    registry = Registry(RegistryPolicy())
    old, stale = InstanceKey("db4", 3306), InstanceKey("db5", 3306)
    registry.restore(
        [
            Instance(key=MASTER),
            Instance(key=REPLICA, master_key=MASTER, using_oracle_gtid=True),
            Instance(key=LEAF),
            Instance(key=old),
            Instance(key=stale, master_key=old, using_oracle_gtid=True),  # was re-pointed since
        ]
    )
    registry.set_identities([ClusterIdentity(id="c", master_key=MASTER, deposed=frozenset({old}))])
    cluster = registry.topology(100.0).cluster_of(MASTER)
    assert cluster is not None
    assert registry.unread(cluster, 100.0) == (MASTER, REPLICA, old, stale)
    registry.observe([master(), failed(old)], now=101.0, utc=UTC)
    assert registry.unread(cluster, 101.0) == (REPLICA, stale)
    # A replica that the master tells of, and that nobody has asked of whom it is one.
    registry.observe([ok(Instance(key=MASTER, replicas=(REPLICA, LEAF)))], now=102.0, utc=UTC)
    assert registry.unread(cluster, 102.0) == (REPLICA, LEAF, stale)
    assert registry.unread(cluster, 116.0) == (LEAF,), "it is awaited since 102"
    assert registry.unread(cluster, 118.0) == ()


def test_missing_privileges_are_told_once_and_when_they_are_mended() -> None:
    registry = registry_with(replica())
    lacking = "RELOAD: GRANT RELOAD ON *.* TO `o`@`%`"

    def notes(**facts: object) -> list[str]:
        return [text for _, text in registry.observe([replica(**facts)], now=2.0, utc=UTC).notes]

    would_fail = f"db2:3306: a recovery would fail there: the account lacks {lacking}"
    assert notes(lacking_privileges=lacking) == [would_fail]
    assert notes(lacking_privileges=lacking) == []
    assert notes() == ["db2:3306: the account has all privileges now"]
    assert notes() == []


def test_a_failed_witness_speaks_against_its_master_until_that_answers_or_time_has_passed() -> None:
    registry = registry_with(master(), replica())
    registry.observe([failed(MASTER, CheckOutcome.SILENT)], now=2.0, utc=UTC)
    registry.witnessed(MASTER, 3.0)
    assert registry.is_witnessed(MASTER, 3.1)
    assert registry.is_witnessed(MASTER, 32.0)
    assert not registry.is_witnessed(MASTER, 33.1)
    assert not registry.is_witnessed(REPLICA, 3.1)
    registry.observe([master()], now=4.0, utc=UTC)
    assert not registry.is_witnessed(MASTER, 4.1)
