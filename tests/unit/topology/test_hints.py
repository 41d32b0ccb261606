"""What is meant by a hint: http-api.md 1."""

from __future__ import annotations

import pytest

from services.topology.coordinates import BinlogCoordinates
from services.topology.hints import cluster_by_alias, complete_key, resolve_cluster
from services.topology.instance import CheckOutcome, Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.tree import ClusterIdentity, Topology, TreePolicy, derive


def server(host: str, port: int = 3306, *, of: InstanceKey = NO_KEY, alias: str = "") -> Instance:
    return Instance(
        key=InstanceKey(host, port),
        master_key=of,
        read_coordinates=BinlogCoordinates("bin.000001", 4),
        suggested_cluster_alias=alias,
        last_check_outcome=CheckOutcome.OK,
        checked_at=1.0,
        seen_at=1.0,
    )


def topology(*instances: Instance, identities: tuple[ClusterIdentity, ...] = ()) -> Topology:
    return derive(instances, identities, TreePolicy(), now=1.0)


ORDERS_MASTER = InstanceKey("orders-1.example.com", 3306)
USERS_MASTER = InstanceKey("users-1.example.com", 3307)
FLEET = topology(
    server("orders-1.example.com", alias="orders"),
    server("orders-2.example.com", of=ORDERS_MASTER),
    server("users-1.example.com", 3307),
    server("10.0.0.11"),
    identities=(
        ClusterIdentity(id="c-orders", master_key=ORDERS_MASTER),
        ClusterIdentity(id="c-users", master_key=USERS_MASTER, alias="users-2"),
    ),
)


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        ("orders-1.example.com:3306", "orders-1.example.com:3306"),  # exact name
        ("orders", "orders-1.example.com:3306"),  # exact alias
        ("c-users", "users-1.example.com:3307"),  # id
        ("orders-2.example.com:3306", "orders-1.example.com:3306"),  # exact member
        ("orders-2.example.com", "orders-1.example.com:3306"),  # default port
        ("rders-2", "orders-1.example.com:3306"),  # fuzzy member
        ("USERS-1:3307", "users-1.example.com:3307"),
        ("10.0.0.11", "10.0.0.11:3306"),
    ],
)
def test_a_hint_finds_its_cluster(hint: str, name: str) -> None:
    cluster = resolve_cluster(FLEET, hint)
    assert cluster is not None
    assert cluster.name == name


@pytest.mark.parametrize(
    "hint",
    [
        "",
        "orders-",  # two servers could be meant
        "users-1",  # wrong port
        "10.0.0.1",  # part of an address is no part of a name
        "nowhere",
        "orders-1.example.com:x",
        ":3306",
    ],
)
def test_a_hint_that_means_nothing_or_too_much_finds_nothing(hint: str) -> None:
    assert resolve_cluster(FLEET, hint) is None


def test_the_default_port_is_that_of_the_configuration() -> None:
    cluster = resolve_cluster(FLEET, "users-1.example.com", default_port=3307)
    assert cluster is not None
    assert cluster.name == "users-1.example.com:3307"


def test_an_alias_goes_before_part_of_a_host_name() -> None:
    """``users-2`` is an alias of one cluster; it must not be completed to anything else."""
    fleet = topology(
        server("users-2.example.com"),
        server("other.example.com"),
        identities=(
            ClusterIdentity(id="x", master_key=InstanceKey("other.example.com", 3306), alias="users-2"),
        ),
    )
    cluster = resolve_cluster(fleet, "users-2")
    assert cluster is not None
    assert cluster.name == "other.example.com:3306"


def test_the_id_means_the_cluster_not_the_fragment_that_stayed_behind() -> None:
    old, new = InstanceKey("a", 3306), InstanceKey("b", 3306)
    fleet = topology(
        server("a"),
        server("b"),
        identities=(ClusterIdentity(id="c", master_key=new, deposed=frozenset({old})),),
    )
    assert [cluster.is_fragment for cluster in fleet.clusters] == [True, False]
    found = resolve_cluster(fleet, "c")
    assert found is not None
    assert found.master_key == new


def test_alias_lookup_is_exact() -> None:
    assert cluster_by_alias(FLEET, "orders") is not None
    assert cluster_by_alias(FLEET, "order") is None
    assert cluster_by_alias(FLEET, "") is None


def test_a_key_is_completed_where_one_server_can_be_meant() -> None:
    def completed(host: str, port: int = 3306) -> InstanceKey:
        return complete_key(FLEET, InstanceKey(host, port))

    assert completed("orders-2") == InstanceKey("orders-2.example.com", 3306)
    assert completed("orders") == InstanceKey("orders", 3306)  # two
    assert completed("orders-2", 3307) == InstanceKey("orders-2", 3307)  # another port
    assert completed("10.0.0.1") == InstanceKey("10.0.0.1", 3306)  # an address
    assert completed("") == InstanceKey("", 3306)


def test_an_exact_name_that_is_part_of_others_stays_itself() -> None:
    fleet = topology(server("db1"), server("db10"))
    assert complete_key(fleet, InstanceKey("db1", 3306)) == InstanceKey("db1", 3306)
