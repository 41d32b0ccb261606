"""From the keys of discovery and classification to what probes and the registry do."""

from __future__ import annotations

import pytest

from services.config import from_mapping
from services.mysql.watcher import WatchPolicy
from services.policies import registry_policy, watch_policy
from services.registry.registry import RegistryPolicy
from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy

BASE: dict[str, object] = {"BackendDB": "sqlite", "SQLite3DataFile": "x"}
QUERIES = {
    "DetectDataCenterQuery": "data_center",
    "DetectRegionQuery": "region",
    "DetectPhysicalEnvironmentQuery": "physical_environment",
    "DetectInstanceAliasQuery": "instance_alias",
    "DetectClusterAliasQuery": "suggested_cluster_alias",
    "DetectClusterDomainQuery": "detected_cluster_domain",
    "DetectPromotionRuleQuery": "detected_promotion_rule",
    "DetectSemiSyncEnforcedQuery": "semi_sync_priority",
    "DetectPseudoGTIDQuery": "using_pseudo_gtid",
}


def policies(**keys: object) -> tuple[WatchPolicy, RegistryPolicy]:
    settings = from_mapping({**BASE, **keys}).settings
    return watch_policy(settings), registry_policy(settings)


@pytest.mark.parametrize(("key", "field"), QUERIES.items())
def test_a_query_tells_its_field_and_no_other(key: str, field: str) -> None:
    watch, registry = policies(**{key: "SELECT 1"})
    assert watch.queries.classes == {field: "SELECT 1"}
    assert registry.places.asked == {field}
    assert not policies()[0].queries


@pytest.mark.parametrize("key", ["ReplicationLagQuery", "SlaveLagQuery"])
def test_the_lag_is_asked_at_each_poll(key: str) -> None:
    watch, registry = policies(**{key: "SELECT 7"})
    assert (watch.queries.replication_lag_seconds, watch.queries.classes) == ("SELECT 7", {})
    assert registry.places.asked == frozenset()


def test_patterns_and_aliases() -> None:
    _, registry = policies(
        DataCenterPattern="^(a)", RegionPattern="^(b)", PhysicalEnvironmentPattern="^(c)",
        ClusterNameToAlias={"^db1": "one"},
    )  # fmt: skip
    places = registry.places
    assert (places.data_center, places.region, places.physical_environment) == ("^(a)", "^(b)", "^(c)")
    assert registry.tree.aliases_by_name == (("^db1", "one"),)


def test_names() -> None:
    watch, registry = policies(
        HostnameResolveMethod="cname", MySQLHostnameResolveMethod="@@report_host",
        RejectHostnameResolvePattern="^bad", ExpiryHostnameResolvesMinutes=5,
    )  # fmt: skip
    expected = NamePolicy(method="cname", own_method="@@report_host", reject="^bad", expiry_seconds=300.0)
    assert watch.names == registry.names == expected
    assert policies()[0].names == NamePolicy(method="default", own_method="@@hostname")


def test_who_is_left_out() -> None:
    watch, registry = policies(
        DiscoveryIgnoreHostnameFilters=["^a"],
        DiscoveryIgnoreReplicaHostnameFilters=["10.0.0.1"],
        DiscoveryIgnoreMasterHostnameFilters=[":3307$"],
        DiscoveryIgnoreReplicationUsernameFilters=["^cdc"],
        EnableDiscoveryFiltersLogs=False,
    )
    assert registry.ignores_host(InstanceKey("a1", 1))
    assert registry.ignores_replica(InstanceKey("10.0.0.1", 1))
    assert not registry.ignores_replica(InstanceKey("10.0.0.11", 1))
    assert registry.ignores_master(InstanceKey("b", 3307))
    for ignores in (registry.ignores_user, watch.discovery.ignores_user):
        assert (ignores("cdc1"), ignores("repl"), ignores("")) == (True, False, False)
    assert not registry.logs_ignored_users


def test_how_replicas_are_found_and_dead_servers_dialled() -> None:
    watch, _ = policies(
        DiscoverByShowSlaveHosts=True,
        ReplicationCredentialsQuery="SELECT 'u', 'p'",
        DeadInstancePollSecondsMultiplyFactor=1.5,
        DeadInstancePollSecondsMax=60,
        DeadInstanceDiscoveryMaxConcurrency=3,
    )
    assert (watch.discovery.registered_first, watch.discovery.has_credentials) == (True, True)
    assert (watch.dead_factor, watch.dead_max, watch.dead_at_once) == (1.5, 60.0, 3)
