"""Servers under several names, servers that are left out, servers that are not seen any more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.registry.registry import Registry, RegistryPolicy
from services.topology.channel import Channel
from services.topology.instance import CheckOutcome, Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy
from services.topology.places import PlacePatterns
from services.topology.tree import ClusterIdentity

ALIAS, OWN, REPLICA = (InstanceKey(name, 3306) for name in ("db-alias", "db-1", "db-2"))
UTC = "2026-11-22T20:46:24Z"


def seen(instance: Instance, *, own_key: InstanceKey | None = None, told: str = "") -> Observation:
    return Observation(
        key=instance.key,
        outcome=CheckOutcome.OK,
        instance=instance,
        own_key=own_key,
        told=frozenset(told.split()),
    )


def registry_with(*observations: Observation, policy: RegistryPolicy | None = None) -> Registry:
    registry = Registry(policy or RegistryPolicy())
    for observation in observations:
        registry.add(observation.key, 1.0, explicit=True)
        registry.observe([observation], now=1.0, utc=UTC)
    return registry


def test_a_server_is_known_under_its_own_name_and_found_under_the_other() -> None:
    registry = Registry(RegistryPolicy())
    registry.add(ALIAS, 1.0, explicit=True)
    changes = registry.observe([seen(Instance(key=ALIAS, server_id=7), own_key=OWN)], now=1.0, utc=UTC)
    assert changes.renamed == ((ALIAS, OWN),)
    assert list(registry.instances) == [OWN]
    assert registry.instances[OWN].server_id == 7
    assert registry.instances[OWN].also_known_as == (ALIAS,)
    assert registry.topology(1.0).named(ALIAS) == OWN
    assert not registry.add(ALIAS, 2.0, explicit=True), "it is known"
    late = registry.observe([seen(Instance(key=ALIAS), own_key=OWN)], now=2.0, utc=UTC)
    assert late.renamed == (), "what its probe still tells of the other name is dropped"


def test_replicas_that_name_the_alias_as_their_source_hang_on_the_server_whichever_is_seen_first() -> None:
    replica = seen(
        Instance(key=REPLICA, master_key=ALIAS, channels=(Channel(master_key=ALIAS),), replicas=(ALIAS,))
    )
    server = seen(Instance(key=ALIAS, replicas=(REPLICA,)), own_key=OWN)
    for order in ((replica, server), (server, replica)):
        registry = registry_with(*order)
        assert set(registry.instances) == {OWN, REPLICA}
        known = registry.instances[REPLICA]
        assert (known.master_key, known.replicas) == (OWN, (OWN,))
        assert known.channels[0].master_key == OWN
        assert [one.key for one in registry.topology(1.0).replicas_of(OWN)] == [REPLICA]


def test_two_names_that_were_found_apart_become_one_server() -> None:
    registry = registry_with(seen(Instance(key=OWN, server_id=1)), seen(Instance(key=ALIAS), own_key=OWN))
    assert list(registry.instances) == [OWN]


def test_what_was_registered_goes_with_the_server() -> None:
    registry = registry_with(seen(Instance(key=ALIAS)))
    registry.register(ALIAS, is_downtimed=True, downtime_owner="me")
    registry.observe([seen(Instance(key=ALIAS), own_key=OWN)], now=2.0, utc=UTC)
    assert registry.instances[OWN].downtime_owner == "me"


def test_a_deposed_master_keeps_its_name_until_it_has_rejoined() -> None:
    registry = registry_with(seen(Instance(key=ALIAS)))
    registry.set_identities([ClusterIdentity(id="c", master_key=REPLICA, deposed=frozenset({ALIAS}))])
    registry.observe([seen(Instance(key=ALIAS), own_key=OWN)], now=2.0, utc=UTC)
    assert list(registry.instances) == [ALIAS]


def test_names_survive_with_the_server_that_has_them() -> None:
    before = registry_with(seen(Instance(key=ALIAS), own_key=OWN))
    registry = Registry(RegistryPolicy())
    registry.restore([*before.instances.values(), Instance(key=ALIAS)])
    assert list(registry.instances) == [OWN], "what is left in a store of the other name counts no more"
    registry.add(REPLICA, 1.0)
    registry.observe([seen(Instance(key=REPLICA, master_key=ALIAS))], now=1.0, utc=UTC)
    assert registry.instances[REPLICA].master_key == OWN


def test_names_that_are_reset_are_learned_again() -> None:
    registry = registry_with(seen(Instance(key=ALIAS), own_key=OWN))
    registry.reset_names()
    assert registry.instances[OWN].also_known_as == ()
    assert registry.add(ALIAS, 2.0)
    registry.observe([seen(Instance(key=ALIAS), own_key=OWN)], now=2.0, utc=UTC)
    assert list(registry.instances) == [OWN]


def test_a_host_name_is_looked_up_before_the_server_is_taken_up() -> None:
    registry = Registry(RegistryPolicy(names=NamePolicy(method="cname")))
    assert not registry.add(ALIAS, 1.0, explicit=True)
    assert registry.names.wanted(1.0) == {"db-alias"}
    assert registry.named("db-alias", "db-1", 1.0) == {OWN}
    assert list(registry.instances) == [OWN]
    changes = registry.observe([seen(Instance(key=OWN, replicas=(REPLICA,)))], now=1.0, utc=UTC)
    assert changes.found == frozenset()
    assert registry.named("db-2", None, 1.0) == {REPLICA}, "a name that does not resolve stands for itself"


def test_a_server_that_was_taken_up_while_its_name_did_not_resolve_is_one_server_later() -> None:
    registry = Registry(RegistryPolicy(names=NamePolicy(method="cname")))
    registry.add(ALIAS, 1.0, explicit=True)
    assert registry.named("db-alias", None, 1.0) == {ALIAS}
    registry.observe([seen(Instance(key=ALIAS, server_id=7))], now=1.0, utc=UTC)
    registry.named("db-2", "db-2", 1.0)
    registry.add(REPLICA, 1.0)
    registry.observe([seen(Instance(key=REPLICA, master_key=ALIAS))], now=1.0, utc=UTC)
    assert registry.moved() == ()
    assert registry.named("db-alias", "db-1", 61.0) == frozenset()
    assert (registry.moved(), registry.moved()) == (((ALIAS, OWN),), ())
    assert set(registry.instances) == {OWN, REPLICA}
    assert (registry.instances[OWN].server_id, registry.instances[OWN].also_known_as) == (7, (ALIAS,))
    assert registry.instances[REPLICA].master_key == OWN


def test_filters_count_for_the_name_that_was_given_and_for_that_which_it_stands_for() -> None:
    for ignored in (ALIAS, OWN):
        policy = RegistryPolicy(
            names=NamePolicy(method="cname"), ignores_host=lambda key, i=ignored: key == i
        )  # type: ignore[misc]
        registry = Registry(policy)
        registry.add(ALIAS, 1.0, explicit=True)
        assert registry.named("db-alias", "db-1", 1.0) == frozenset()
        assert not registry.instances


# who is left out


def test_replicas_that_are_not_to_be_followed_are_not_listed_either() -> None:
    policy = RegistryPolicy(ignores_replica=lambda key: key == REPLICA)
    registry = registry_with(seen(Instance(key=OWN, replicas=(ALIAS, REPLICA))), policy=policy)
    assert registry.instances[OWN].replicas == (ALIAS,)
    assert set(registry.instances) == {OWN, ALIAS}
    known_as = RegistryPolicy(ignores_replica=lambda key: key == OWN)
    registry = registry_with(seen(Instance(key=ALIAS), own_key=OWN), policy=known_as)
    registry.add(REPLICA, 1.0)
    registry.observe([seen(Instance(key=REPLICA, replicas=(ALIAS,)))], now=1.0, utc=UTC)
    assert registry.instances[REPLICA].replicas == (), "nor under another name"


def test_a_known_server_that_is_left_out_from_now_on_is_shown_and_not_watched() -> None:
    registry = registry_with(
        seen(Instance(key=OWN, replicas=(REPLICA,))), seen(Instance(key=REPLICA, master_key=OWN))
    )
    assert set(registry.watched) == {OWN, REPLICA}
    late = 1.0 + 3600.0
    assert [one.analyzed_instance_key for one in registry.analysis(late)] == [OWN]
    registry.policy = replace(registry.policy, ignores_host=lambda key: key == OWN)
    assert registry.watched == (REPLICA,)
    assert registry.analysis(late) == (), "nobody looks: nothing is known to be wrong"
    assert OWN in registry.topology(2.0).instances
    registry.policy = RegistryPolicy()
    assert set(registry.watched) == {OWN, REPLICA}


def test_who_is_left_out_is_forgotten_in_time_though_nobody_looks() -> None:
    registry = Registry(RegistryPolicy(ignores_host=lambda key: key == ALIAS))
    registry.restore([Instance(key=ALIAS, last_seen_timestamp="2026-11-01T00:00:00Z")], 1.0)
    assert registry.long_unseen(602.0, "2026-11-20T00:00:00Z", 3600.0) == (ALIAS,)


def test_of_who_replicates_as_an_ignored_user_nothing_is_kept() -> None:
    policy = RegistryPolicy(ignores_user=lambda user: user == "cdc")
    registry = Registry(policy)
    registry.add(REPLICA, 1.0, explicit=True)
    changes = registry.observe([seen(Instance(key=REPLICA, replication_user="cdc"))], now=1.0, utc=UTC)
    assert changes.dropped == {REPLICA}
    assert changes.fresh == ()
    assert "DiscoveryIgnoreReplicationUsernameFilters" in changes.notes[0][1]
    assert not registry.instances
    assert not registry.add(REPLICA, 30.0)
    assert registry.add(REPLICA, 62.0), "met again later, it is looked at again"


def test_whether_that_is_logged_is_configured() -> None:
    registry = Registry(RegistryPolicy(ignores_user=bool, logs_ignored_users=False))
    registry.add(REPLICA, 1.0, explicit=True)
    assert registry.observe([seen(Instance(key=REPLICA, replication_user="x"))], now=1.0, utc=UTC).notes == ()


def test_the_sources_of_all_channels_are_found() -> None:
    channels = (Channel(name="a", master_key=OWN), Channel(name="b", master_key=ALIAS))
    registry = registry_with(seen(Instance(key=REPLICA, master_key=ALIAS, channels=channels)))
    assert set(registry.instances) == {OWN, ALIAS, REPLICA}


def test_who_is_not_seen_for_long_is_told() -> None:
    registry = registry_with(seen(Instance(key=OWN, replicas=(REPLICA,))))
    registry.restore([Instance(key=ALIAS, last_seen_timestamp="2026-11-01T00:00:00Z")], 1.0)
    limit, all_later = "2026-11-20T00:00:00Z", "2026-11-23T00:00:00Z"
    assert registry.long_unseen(9999.0, limit, 3600.0) == (), "a node that was away looks first"
    refused = [Observation(key=key, outcome=CheckOutcome.REFUSED, error="why") for key in (ALIAS, REPLICA)]
    registry.observe(refused, now=2.0, utc=UTC)
    assert registry.long_unseen(600.0, limit, 3600.0) == (), "not before it has been tried for a while"
    assert registry.long_unseen(602.0, limit, 3600.0) == (ALIAS,)
    assert registry.long_unseen(3700.0, limit, 3600.0) == (REPLICA, ALIAS), "and who was never seen"
    assert registry.long_unseen(3700.0, all_later, 3600.0) == (OWN, REPLICA, ALIAS)


# what queries tell

ASKED = RegistryPolicy(
    places=PlacePatterns(
        data_center=r"^(\w+)-",
        asked=frozenset({"data_center", "instance_alias", "detected_promotion_rule", "semi_sync_priority"}),
    )
)


def test_what_was_told_stays_until_something_else_is_told() -> None:
    told = "instance_alias semi_sync_priority"
    registry = registry_with(
        seen(Instance(key=OWN, instance_alias="one", semi_sync_priority=3), told=told), policy=ASKED
    )
    registry.observe([seen(Instance(key=OWN))], now=2.0, utc=UTC)
    assert (registry.instances[OWN].instance_alias, registry.instances[OWN].semi_sync_priority) == ("one", 3)
    registry.observe([seen(Instance(key=OWN), told=told)], now=3.0, utc=UTC)
    assert (registry.instances[OWN].instance_alias, registry.instances[OWN].semi_sync_priority) == ("", 0)


def test_a_place_that_a_query_takes_back_is_that_of_the_pattern_again() -> None:
    registry = registry_with(seen(Instance(key=OWN, data_center="west"), told="data_center"), policy=ASKED)
    assert registry.instances[OWN].data_center == "west"
    registry.observe([seen(Instance(key=OWN), told="data_center")], now=2.0, utc=UTC)
    assert registry.instances[OWN].data_center == "db"


def test_what_is_not_asked_any_more_is_forgotten() -> None:
    registry = registry_with(
        seen(Instance(key=OWN, instance_alias="one"), told="instance_alias"), policy=ASKED
    )
    registry.policy = replace(ASKED, places=PlacePatterns())
    assert registry.instances[OWN].instance_alias == ""


@pytest.mark.parametrize(("rule", "is_candidate"), [("prefer", True), ("must_not", False)])
def test_a_promotion_rule_that_a_query_tells_goes_before_a_registered_one(
    rule: str, is_candidate: bool
) -> None:
    registry = registry_with(
        seen(Instance(key=OWN, detected_promotion_rule=rule), told="detected_promotion_rule"), policy=ASKED
    )
    registry.register(OWN, promotion_rule="neutral", is_candidate=False)
    assert registry.instances[OWN].promotion_rule == rule
    assert registry.instances[OWN].is_candidate is is_candidate


def test_names_that_are_registered_for_a_host_are_claims_for_all_its_instances() -> None:
    second = InstanceKey("db-1", 3307)
    registry = registry_with(seen(Instance(key=OWN)), seen(Instance(key=second)), seen(Instance(key=REPLICA)))
    registry.claim({"db-alias": "db-1", "db-2": "db-1"})
    assert registry.names.doubtful(1.0) == {
        ALIAS: OWN,
        InstanceKey("db-alias", 3307): second,
        InstanceKey("db-2", 3307): second,
    }, "what is an instance itself is not said to be another"
