"""Control replicas of an online schema change: two of each data centre and level (discovery.md 10)."""

from __future__ import annotations

from services.topology.control_replicas import control_replicas
from services.topology.instance import CheckOutcome, Instance
from services.topology.keys import InstanceKey
from tests.unit.api.memory_node import master, replica, snapshot


def key(name: str) -> InstanceKey:
    return InstanceKey(name, 3306)


def names(*instances: Instance, ignored: str = "") -> list[str]:
    topology = snapshot(instances)
    found = control_replicas(topology.instances.values(), lambda key: key.hostname == ignored)
    return [one.key.hostname for one in found]


def below(name: str, of: str, replicas: str = "", **facts: object) -> Instance:
    return replica(key(name), key(of), replicas=tuple(map(key, replicas.split())), **facts)


TOP = master(key("m"))


def test_two_of_each_data_centre_the_most_lagging_first() -> None:
    first = [
        below(f"a{lag}", "m", data_center="a", replication_lag_seconds=lag, seconds_behind_master=lag)
        for lag in (1, 5, 3)
    ]
    others = [below("b1", "m", data_center="b"), below("b2", "m", data_center="b")]
    assert names(TOP, *first, *others) == ["a5", "a3", "b1", "b2"]


def test_those_with_replicas_go_first_and_two_of_theirs_are_taken() -> None:
    tree = [
        below("r1", "m"), below("r2", "m", "x y z"), below("r3", "m"),
        below("x", "r2"), below("y", "r2"), below("z", "r2", "deep"), below("deep", "z"),
    ]  # fmt: skip
    assert names(TOP, *tree) == ["r2", "r1", "z", "x", "deep"]


def test_what_is_not_valid_or_ignored_is_left_out() -> None:
    dead = below("dead", "m", last_check_outcome=CheckOutcome.REFUSED)
    assert names(TOP, dead, below("r1", "m"), below("r2", "m"), ignored="r1") == ["r2"]
    assert names(TOP) == []
