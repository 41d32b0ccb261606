"""The replication trees that are derived from a snapshot."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.tree import ClusterIdentity, Topology, TreePolicy, derive, roots_without_identity

NOW = 1000.0
POLICY = TreePolicy()


def key(name: str) -> InstanceKey:
    return InstanceKey(name, 3306)


def server(name: str, source: str = "", **facts: Any) -> Instance:
    """A healthy server that was checked a second ago; a replica of ``source`` if one is named."""
    replication: dict[str, Any] = {}
    if source:
        replication = {
            "master_key": key(source),
            "receiver_state": ThreadState.RUNNING,
            "applier_state": ThreadState.RUNNING,
            "read_coordinates": BinlogCoordinates("mysql-bin.000001", 4),
            "replication_lag_seconds": 0,
        }
    healthy: dict[str, Any] = {
        "last_check_outcome": CheckOutcome.OK,
        "checked_at": NOW - 1,
        "seen_at": NOW - 1,
        "server_uuid": uuid(name),
    }
    return Instance(key=key(name), **{**healthy, **replication, **facts})


def uuid(name: str) -> str:
    return f"{sum(map(ord, name)):08x}-0000-0000-0000-000000000000"


def tree(*instances: Instance, identities: tuple[ClusterIdentity, ...] = ()) -> Topology:
    return derive(instances, identities, POLICY, NOW)


def shape(topology: Topology) -> dict[str, tuple[str, int]]:
    """Name of each server -> name of its cluster's top, depth."""
    return {
        found.key.hostname: (found.cluster_name.partition(":")[0], found.replication_depth)
        for found in topology.instances.values()
    }


# Places


def test_a_tree_is_placed_at_once_however_deep() -> None:
    chain = [server("s0")] + [server(f"s{depth}", f"s{depth - 1}") for depth in range(1, 30)]
    topology = tree(*reversed(chain))
    assert shape(topology) == {f"s{depth}": ("s0", depth) for depth in range(30)}
    assert [cluster.master_key for cluster in topology.clusters] == [key("s0")]


def test_a_server_without_source_row_is_the_top_of_its_own_cluster() -> None:
    topology = tree(server("a"), server("b", "nobody-knows"), server("c", "b"))
    assert shape(topology) == {"a": ("a", 0), "b": ("b", 0), "c": ("b", 1)}


def test_replicas_of_one_unknown_master_are_one_cluster_named_after_it() -> None:
    topology = tree(server("b", "dead"), server("c", "dead"), server("d", "c"), server("e", "other"))
    assert shape(topology) == {"b": ("dead", 0), "c": ("dead", 0), "d": ("dead", 1), "e": ("e", 0)}
    cluster = topology.cluster_by_name("dead:3306")
    assert cluster is not None
    assert cluster.master_key == key("dead")
    assert cluster.instance_keys == (key("b"), key("c"), key("d"))


def test_a_detached_or_reset_replica_is_nobodys_replica() -> None:
    detached = replace(server("b", "a"), master_key=InstanceKey("//a", 3306))
    reset = replace(server("c", "a"), master_key=InstanceKey("_", 3306))
    other = replace(server("d", "a"), master_key=InstanceKey("//a", 3306))
    topology = tree(server("a"), detached, reset, other)
    assert shape(topology) == {name: (name, 0) for name in "abcd"}
    assert topology.replicas_of(InstanceKey("//a", 3306)) == ()


def test_co_masters_are_named_after_the_smaller_key_and_flagged() -> None:
    topology = tree(server("m2", "m1"), server("m1", "m2"), server("r", "m2"))
    assert shape(topology) == {"m1": ("m1", 0), "m2": ("m1", 1), "r": ("m1", 2)}
    assert {k.hostname for k, found in topology.instances.items() if found.is_co_master} == {"m1", "m2"}


def test_co_masters_keep_the_name_that_they_had() -> None:
    before = [replace(found, cluster_name="m2:3306") for found in (server("m1", "m2"), server("m2", "m1"))]
    assert shape(tree(*before)) == {"m1": ("m2", 1), "m2": ("m2", 0)}


def test_co_masters_are_named_after_the_master_of_their_identity() -> None:
    ring = (server("m1", "m2", cluster_name="m1:3306"), server("m2", "m1"))
    topology = tree(*ring, identities=(ClusterIdentity(id="one", master_key=key("m2")),))
    assert shape(topology) == {"m1": ("m2", 1), "m2": ("m2", 0)}


@pytest.mark.parametrize("size", [1, 3, 7])
def test_rings_end_and_stay_the_same(size: int) -> None:
    ring = [server(f"m{i}", f"m{(i + 1) % size}") for i in range(size)]
    topology = tree(*ring, server("r", f"m{size - 1}"))
    depths = {found.key.hostname: found.replication_depth for found in topology.instances.values()}
    assert depths["m0"] == 0
    assert all(found.cluster_name == "m0:3306" for found in topology.instances.values())
    assert depths["r"] == depths[f"m{size - 1}"] + 1
    assert not any(found.is_co_master for found in topology.instances.values())
    assert shape(derive(topology.instances.values(), (), POLICY, NOW)) == shape(topology)


def test_a_member_that_was_expelled_stands_below_the_primary_that_the_others_see() -> None:
    group: dict[str, Any] = {"replication_group_name": "g"}
    primary = server(
        "p", replication_group_member_role="PRIMARY", replication_group_member_state="ONLINE", **group
    )
    lost = server("l", replication_group_member_state="ERROR", **group)
    topology = tree(primary, lost)
    assert shape(topology) == {"p": ("p", 0), "l": ("p", 1)}
    assert topology.instances[key("l")].replication_group_primary_key == key("p")
    assert shape(tree(lost)) == {"l": ("l", 0)}, "nobody knows a primary"


def test_a_group_secondary_stands_below_its_primary() -> None:
    group: dict[str, Any] = {"replication_group_name": "g", "replication_group_member_state": "ONLINE"}
    primary = server("p", replication_group_member_role="PRIMARY", **group)
    secondary = server(
        "s", replication_group_member_role="SECONDARY", replication_group_primary_key=key("p"), **group
    )
    topology = tree(secondary, primary, server("r", "s"))
    assert shape(topology) == {"p": ("p", 0), "s": ("p", 1), "r": ("p", 2)}
    assert topology.instances[key("s")].ancestry_uuid == f"{uuid('p')},g,{uuid('s')},g"


def test_lookups() -> None:
    topology = tree(server("a"), server("c", "a"), server("b", "a"), server("z"))
    assert [found.key.hostname for found in topology.replicas_of(key("a"))] == ["b", "c"]
    assert topology.replicas_of(NO_KEY) == ()
    cluster = topology.cluster_of(key("c"))
    assert cluster is not None
    assert cluster.name == "a:3306"
    assert [found.key.hostname for found in topology.instances_of(cluster)] == ["a", "b", "c"]
    assert topology.cluster_of(key("nobody")) is None
    assert topology.cluster_by_name("b:3306") is None


def test_a_topology_travels_between_processes() -> None:
    topology = tree(server("a"), server("b", "a"))
    copy = pickle.loads(pickle.dumps(topology))
    assert copy == topology
    assert copy.replicas_of(key("a")) == topology.replicas_of(key("a"))


# Identity


def test_a_new_cluster_asks_for_an_identity_once() -> None:
    servers = (server("a"), server("b", "a"), server("x", "dead"), server("y", "dead"))
    first = tree(*servers)
    assert roots_without_identity(first) == (key("a"), key("dead"))
    identities = tuple(ClusterIdentity(id=f"id-{k}", master_key=k) for k in roots_without_identity(first))
    second = tree(*servers, identities=identities)
    assert roots_without_identity(second) == ()
    assert second.instances[key("b")].cluster_id == "id-a:3306"
    assert second.instances[key("y")].cluster_id == "id-dead:3306"


def test_the_identity_goes_with_the_promoted_master_and_what_stays_behind_is_a_fragment() -> None:
    identity = ClusterIdentity(id="one", master_key=key("new"), deposed=frozenset({key("old")}))
    topology = tree(
        server("new"), server("r", "new"), server("old"), server("lost", "old"), identities=(identity,)
    )
    whole, fragment = topology.clusters
    assert (whole.name, whole.id, whole.is_fragment) == ("new:3306", "one", False)
    assert (fragment.name, fragment.id, fragment.is_fragment) == ("old:3306", "one", True)
    assert roots_without_identity(topology) == ()


def test_replicas_left_behind_under_a_forgotten_deposed_master_are_a_fragment() -> None:
    identity = ClusterIdentity(id="one", master_key=key("new"), deposed=frozenset({key("old")}))
    topology = tree(server("new"), server("x", "old"), server("y", "old"), identities=(identity,))
    assert [cluster.is_fragment for cluster in topology.clusters] == [False, True]


def test_a_deposed_master_that_rejoined_is_a_replica_as_any_other() -> None:
    identity = ClusterIdentity(id="one", master_key=key("new"), deposed=frozenset({key("old")}))
    topology = tree(server("new"), server("old", "new"), identities=(identity,))
    assert [(cluster.name, cluster.is_fragment) for cluster in topology.clusters] == [("new:3306", False)]


def test_a_master_that_was_put_below_another_takes_its_identity_along() -> None:
    identity = ClusterIdentity(id="one", master_key=key("m"))
    topology = tree(server("above"), server("m", "above"), identities=(identity,))
    assert [(cluster.name, cluster.id) for cluster in topology.clusters] == [("above:3306", "one")]


def test_below_a_deposed_master_even_the_promoted_one_is_in_a_fragment() -> None:
    identity = ClusterIdentity(id="one", master_key=key("new"), deposed=frozenset({key("old")}))
    topology = tree(server("old"), server("new", "old"), identities=(identity,))
    assert [(cluster.id, cluster.is_fragment) for cluster in topology.clusters] == [("one", True)]


# Alias


def test_the_alias_is_the_name_until_a_server_suggests_one() -> None:
    assert tree(server("a")).clusters[0].alias == "a:3306"
    assert tree(server("a"), server("b", "a", suggested_cluster_alias="shop")).clusters[0].alias == "shop"


def test_an_alias_that_a_person_gave_goes_first() -> None:
    identity = ClusterIdentity(id="one", master_key=key("a"), alias="till", domain="till.example")
    cluster = tree(server("a", suggested_cluster_alias="shop"), identities=(identity,)).clusters[0]
    assert (cluster.alias, cluster.domain) == ("till", "till.example")


@pytest.mark.parametrize(
    "worse",
    [
        {"last_check_outcome": CheckOutcome.REFUSED},
        {"read_only": True},
        {"is_downtimed": True, "downtime_reason": "lost-in-recovery"},
    ],
)
def test_a_contested_alias_goes_to_the_better_server(worse: dict[str, Any]) -> None:
    topology = tree(
        server("a", suggested_cluster_alias="shop", **worse), server("b", suggested_cluster_alias="shop")
    )
    assert {cluster.name: cluster.alias for cluster in topology.clusters} == {
        "a:3306": "a:3306",
        "b:3306": "shop",
    }


def test_a_fragment_does_not_take_the_alias_of_its_cluster() -> None:
    identity = ClusterIdentity(id="one", master_key=key("new"), deposed=frozenset({key("old")}))
    old = [server("old", suggested_cluster_alias="shop"), server("lost", "old")]
    new = server("new", suggested_cluster_alias="shop", read_only=True)
    topology = tree(*old, new, identities=(identity,))
    assert {cluster.name: cluster.alias for cluster in topology.clusters} == {
        "new:3306": "shop",
        "old:3306": "old:3306",
    }


# Ancestry and errant transactions


def test_ancestry_lists_the_uuids_from_the_top() -> None:
    topology = tree(server("a"), server("b", "a"), server("c", "b"))
    assert topology.instances[key("c")].ancestry_uuid == ",".join(map(uuid, "abc"))


def test_ancestry_of_co_masters_is_source_and_self() -> None:
    topology = tree(server("a", "b"), server("b", "a"))
    assert topology.instances[key("a")].ancestry_uuid == f"{uuid('b')},{uuid('a')}"
    assert topology.instances[key("b")].ancestry_uuid == f"{uuid('a')},{uuid('b')}"


def errant(*instances: Instance) -> dict[str, str]:
    found = tree(*instances).instances.values()
    return {each.key.hostname: each.gtid_errant for each in found if each.gtid_errant}


def test_own_writes_of_a_plain_replica_are_errant() -> None:
    master = server("a", executed_gtid_set=f"{uuid('a')}:1-10")
    replica = server("b", "a", executed_gtid_set=f"{uuid('a')}:1-12,{uuid('b')}:1-2")
    assert errant(master, replica) == {"b": f"{uuid('b')}:1-2"}


def test_writes_of_a_former_master_that_the_source_has_are_not_errant() -> None:
    master = server("a", executed_gtid_set=f"{uuid('a')}:1-10,{uuid('b')}:1-5")
    replica = server("b", "a", executed_gtid_set=f"{uuid('a')}:1-10,{uuid('b')}:1-5")
    assert errant(master, replica) == {}


def test_transactions_of_a_stranger_are_errant() -> None:
    master = server("a", executed_gtid_set=f"{uuid('a')}:1-10")
    replica = server("b", "a", executed_gtid_set=f"{uuid('a')}:1-10,{uuid('x')}:7")
    assert errant(master, replica) == {"b": f"{uuid('x')}:7"}


def test_own_writes_of_a_co_master_are_not_errant() -> None:
    first = server("a", "b", executed_gtid_set=f"{uuid('a')}:1-9")
    second = server("b", "a", executed_gtid_set=f"{uuid('a')}:1-8,{uuid('b')}:1-5")
    assert errant(first, second) == {}


@pytest.mark.parametrize("executed", ["", "0-1-100", "not a set"])
def test_what_does_not_read_as_a_gtid_set_gives_no_errant_transactions(executed: str) -> None:
    assert (
        errant(server("a", executed_gtid_set=f"{uuid('a')}:1"), server("b", "a", executed_gtid_set=executed))
        == {}
    )
    assert (
        errant(server("a", executed_gtid_set=executed), server("b", "a", executed_gtid_set=f"{uuid('b')}:1"))
        == {}
    )


# Health


@pytest.mark.parametrize(
    ("seconds_ago", "up_to_date", "recently"),
    [(0, True, True), (5.9, True, True), (6, False, True), (25.9, False, True), (26, False, False)],
)
def test_freshness(seconds_ago: float, up_to_date: bool, recently: bool) -> None:
    found = tree(server("a", checked_at=NOW - seconds_ago, seen_at=NOW - 40)).instances[key("a")]
    assert (found.is_up_to_date, found.is_recently_checked) == (up_to_date, recently)
    assert found.seconds_since_last_seen == 40


def test_a_server_that_was_never_checked_is_neither_valid_nor_fresh() -> None:
    found = tree(Instance(key=key("a"))).instances[key("a")]
    assert not (found.is_last_check_valid or found.is_up_to_date or found.is_recently_checked)
    assert found.seconds_since_last_seen is None


@pytest.mark.parametrize("outcome", [outcome for outcome in CheckOutcome if outcome is not CheckOutcome.OK])
def test_only_a_check_that_succeeded_is_valid(outcome: CheckOutcome) -> None:
    assert tree(server("a")).instances[key("a")].is_last_check_valid
    assert not tree(server("a", last_check_outcome=outcome)).instances[key("a")].is_last_check_valid


@pytest.mark.parametrize(
    ("facts", "problems"),
    [
        ({}, ()),
        ({"last_check_outcome": CheckOutcome.REFUSED, "checked_at": 1.0}, ("last_check_invalid",)),
        ({"checked_at": 1.0, "receiver_state": ThreadState.STOPPED}, ("not_recently_checked",)),
        ({"receiver_state": ThreadState.STOPPED, "replication_lag_seconds": 99}, ("not_replicating",)),
        ({"receiver_state": ThreadState.OTHER}, ("not_replicating",)),
        ({"replication_lag_seconds": 10}, ()),
        ({"replication_lag_seconds": 11}, ("replication_lag",)),
        ({"replication_lag_seconds": 600, "sql_delay_seconds": 600}, ()),
        ({"replication_lag_seconds": 0, "sql_delay_seconds": 600}, ("replication_lag",)),
        ({"replication_lag_seconds": None, "sql_delay_seconds": 600}, ()),
        (
            {"replication_group_name": "g", "replication_group_member_state": "RECOVERING"},
            ("group_replication_member_not_online",),
        ),
    ],
)
def test_problems(facts: dict[str, Any], problems: tuple[str, ...]) -> None:
    assert tree(server("a"), server("b", "a", **facts)).instances[key("b")].problems == problems


def test_errant_transactions_are_a_problem_beside_others() -> None:
    master = server("a", executed_gtid_set=f"{uuid('a')}:1")
    replica = server("b", "a", executed_gtid_set=f"{uuid('b')}:1", replication_lag_seconds=60)
    assert tree(master, replica).instances[key("b")].problems == ("replication_lag", "errant_gtid")


# What queries and the configuration suggest


def aliases(topology: Topology) -> dict[str, str]:
    return {found.key.hostname: found.suggested_cluster_alias for found in topology.instances.values()}


def test_a_suggested_alias_is_that_of_the_source_whatever_a_replica_was_told() -> None:
    topology = tree(
        server("a", suggested_cluster_alias="shop"),
        server("b", "a", suggested_cluster_alias="other"),
        server("c", "b"),
        server("z", suggested_cluster_alias="z"),
    )
    assert aliases(topology) == {"a": "shop", "b": "shop", "c": "shop", "z": "z"}
    assert [cluster.alias for cluster in topology.clusters] == ["shop", "z"]


def test_an_alias_that_a_person_gave_is_suggested_by_all_of_the_cluster() -> None:
    identity = ClusterIdentity(id="one", master_key=key("a"), alias="till")
    topology = tree(server("a", suggested_cluster_alias="shop"), server("b", "a"), identities=(identity,))
    assert aliases(topology) == {"a": "till", "b": "till"}


def test_a_clusters_name_tells_its_alias_where_nothing_else_does() -> None:
    policy = TreePolicy(aliases_by_name=(("^a", "by-name"), ("^b", "never")))
    servers = (server("a1"), server("r1", "a1"), server("a2", suggested_cluster_alias="told"), server("x"))
    topology = derive(servers, (), policy, NOW)
    assert aliases(topology) == {"a1": "by-name", "r1": "by-name", "a2": "told", "x": ""}
    assert {cluster.name: cluster.alias for cluster in topology.clusters} == {
        "a1:3306": "by-name",
        "a2:3306": "told",
        "x:3306": "x:3306",
    }


def test_the_domain_is_that_which_the_master_was_told_unless_a_person_gave_one() -> None:
    servers = (
        server("a", detected_cluster_domain="a.example"),
        server("b", "a", detected_cluster_domain="b"),
    )
    assert tree(*servers).clusters[0].domain == "a.example"
    identity = ClusterIdentity(id="one", master_key=key("a"), domain="given.example")
    assert tree(*servers, identities=(identity,)).clusters[0].domain == "given.example"


def test_two_endpoints_with_one_uuid_are_two_servers_and_a_problem() -> None:
    topology = tree(server("a"), server("b", "a"), server("c", "a", server_uuid=uuid("b")))
    assert len(topology.instances) == 3
    problems = {found.key.hostname: found.problems for found in topology.instances.values()}
    assert problems == {"a": (), "b": ("duplicate_server_uuid",), "c": ("duplicate_server_uuid",)}
