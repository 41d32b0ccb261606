"""What stands between a finding and an automatic recovery."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.analysis import AnalysisCode, AnalysisPolicy, analyze
from services.config import from_mapping
from services.execution import gates as module
from services.execution.gates import ClusterView, Gates
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import ClusterIdentity, TreePolicy, derive

MASTER, REPLICA = InstanceKey("db1", 3306), InstanceKey("db2", 3306)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def view_of(**changes: object) -> ClusterView:
    dead = Instance(
        key=MASTER,
        last_check_outcome=CheckOutcome.REFUSED,
        checked_at=99.0,
        seen_at=90.0,
        replicas=(REPLICA,),
    )
    replica = Instance(
        key=REPLICA,
        master_key=MASTER,
        using_oracle_gtid=True,
        receiver_state=ThreadState.OTHER,
        applier_state=ThreadState.RUNNING,
        last_io_errno=2003,
        last_check_outcome=CheckOutcome.OK,
        checked_at=99.0,
        seen_at=99.0,
    )
    identity = ClusterIdentity(id="c1", master_key=MASTER)
    replica = replace(replica, **changes)  # type: ignore[arg-type]
    topology = derive([dead, replica], [identity], TreePolicy(), 100.0)
    [cluster] = topology.clusters
    findings = tuple(
        f for f in analyze(topology, AnalysisPolicy(), 100.0) if f.analyzed_instance_key == MASTER
    )
    return ClusterView(cluster=cluster, instances=topology.instances_of(cluster), findings=findings)


def gates_with(**settings: object) -> Gates:
    values = {"BackendDB": "sqlite", "SQLite3DataFile": "/tmp/x.db", "RecoverMasterClusterFilters": ["*"]}
    loaded = from_mapping({**values, **settings})
    gates = Gates(lambda: loaded.settings)
    gates.recoveries_enabled = True
    return gates


def why_not(gates: Gates, view: ClusterView) -> str:
    return gates.why_not(view, view.findings[0])


def test_a_dead_master_of_a_cluster_that_the_filters_name_is_recovered(clock: Clock) -> None:
    assert why_not(gates_with(), view_of()) == ""


def test_without_filters_nothing_is_recovered(clock: Clock) -> None:
    assert "RecoverMasterClusterFilters" in why_not(gates_with(RecoverMasterClusterFilters=[]), view_of())


def test_disabled_recoveries_are_not_begun_nor_before_the_store_has_said(clock: Clock) -> None:
    gates = gates_with()
    gates.recoveries_enabled = False
    assert why_not(gates, view_of()) == "recoveries are globally disabled"


def test_a_cluster_without_identity_and_a_fragment_are_left_alone(clock: Clock) -> None:
    view = view_of()
    nameless = replace(view, cluster=replace(view.cluster, id=""))
    fragment = replace(view, cluster=replace(view.cluster, is_fragment=True))
    assert "identity" in why_not(gates_with(), nameless)
    assert "left behind" in why_not(gates_with(), fragment)


def later(view: ClusterView, at: float) -> ClusterView:
    """The same, seen again by checks that began ``at``."""
    instances = tuple(replace(instance, checked_at=at) for instance in view.instances)
    return replace(view, instances=instances)


def test_hold_down_counts_from_the_first_sight_of_this_failure(clock: Clock) -> None:
    gates = gates_with(FailureHoldDownMilliseconds=2000)
    assert "HoldDown" in why_not(gates, view_of())
    clock.now += 1.9
    assert "has not passed" in why_not(gates, later(view_of(), clock.now))
    gates.well({MASTER})
    clock.now += 0.2
    assert "has not passed" in why_not(gates, later(view_of(), clock.now))
    clock.now += 2.0
    assert why_not(gates, later(view_of(), clock.now)) == ""


def test_hold_down_without_a_time_does_not_ask_for_newer_evidence(clock: Clock) -> None:
    gates = gates_with()
    assert gates.held_for(view_of(), view_of().findings[0]) is None
    assert why_not(gates, view_of()) == ""


def test_hold_down_ends_with_evidence_from_after_it(clock: Clock) -> None:
    gates = gates_with(FailureHoldDownMilliseconds=2000)
    view = later(view_of(), clock.now)
    why_not(gates, view)
    assert gates.held_for(view, view.findings[0]) == 2.0
    clock.now += 2.0
    assert "nobody has looked since" in why_not(gates, view)
    assert gates.held_for(view, view.findings[0]) == 0.0
    master, replica = view.instances
    only_master = replace(view, instances=(replace(master, checked_at=clock.now), replica))
    only_replica = replace(view, instances=(master, replace(replica, checked_at=clock.now)))
    assert "nobody has looked since" in why_not(gates, only_master)
    assert "nobody has looked since" in why_not(gates, only_replica)
    assert why_not(gates, later(view, clock.now)) == ""


def test_hold_down_goes_on_when_the_code_changes_to_another_that_is_recovered(clock: Clock) -> None:
    gates = gates_with(FailureHoldDownMilliseconds=2000)
    why_not(gates, view_of())
    clock.now += 1.0
    other = replace(view_of().findings[0], analysis=AnalysisCode.DEAD_MASTER_AND_SOME_REPLICAS)
    assert "has not passed" in why_not(gates, replace(view_of(), findings=(other,)))
    clock.now += 1.0
    assert why_not(gates, later(view_of(), clock.now)) == ""


def test_hold_down_begins_anew_after_a_silence_in_which_the_failure_may_have_gone(clock: Clock) -> None:
    gates = gates_with(FailureHoldDownMilliseconds=20_000)
    for _ in range(4):
        why_not(gates, view_of())
        clock.now += 4.9
    assert "has not passed" in why_not(gates, view_of())
    clock.now += 5.1
    assert "has not passed" in why_not(gates, later(view_of(), clock.now))
    assert gates.held_for(view_of(), view_of().findings[0]) == 20.0


def test_hold_down_begins_anew_with_a_term_and_not_when_somebody_acknowledges(clock: Clock) -> None:
    gates = gates_with(FailureHoldDownMilliseconds=2000)
    why_not(gates, view_of())
    clock.now += 1.5
    gates.clear()
    assert gates.held_for(view_of(), view_of().findings[0]) == 0.5
    gates.begin_anew()
    assert gates.held_for(view_of(), view_of().findings[0]) is None
    why_not(gates, view_of())
    assert gates.held_for(view_of(), view_of().findings[0]) == 2.0


def test_hold_down_of_a_cluster_goes_before_that_of_all(clock: Clock) -> None:
    by_cluster = {"db1:3306": 500, "*": 9000}
    gates = gates_with(FailureHoldDownMilliseconds=2000, FailureHoldDownMillisecondsByCluster=by_cluster)
    why_not(gates, view_of())
    assert gates.held_for(view_of(), view_of().findings[0]) == 0.5


def test_what_is_downtimed_is_acted_upon_once_that_ends(clock: Clock) -> None:
    gates = gates_with(FailureHoldDownMilliseconds=2000)
    down = replace(view_of().findings[0], skippable_due_to_downtime=True)
    assert why_not(gates, replace(view_of(), findings=(down,))) == "it is downtimed"
    clock.now += 2.0
    assert why_not(gates, replace(later(view_of(), clock.now), findings=(down,))) == "it is downtimed"
    assert why_not(gates, later(view_of(), clock.now)) == "", "the failure has lasted meanwhile"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"is_downtimed": True}, "it is unknown, or downtimed"),
        ({"maintenance": "me: new disk"}, "it is under maintenance"),
    ],
)
def test_no_witness_is_asked_about_who_is_left_alone(changes: dict[str, object], reason: str) -> None:
    view = view_of()
    instances = [replace(one, **changes) if one.key == MASTER else one for one in view.instances]  # type: ignore[arg-type]
    assert gates_with().why_not_even_ask(replace(view, instances=tuple(instances))) == reason


def test_a_changed_configuration_decides_anew(clock: Clock) -> None:
    values = {"BackendDB": "sqlite", "SQLite3DataFile": "/tmp/x.db", "RecoverMasterClusterFilters": ["*"]}
    in_force = [from_mapping(values).settings]
    gates = Gates(lambda: in_force[-1])
    gates.recoveries_enabled = True
    gates.failed("c1")
    gates.refused(view_of())
    assert "a moment ago" in why_not(gates, view_of())
    in_force.append(from_mapping(values).settings)
    assert "a moment ago" in why_not(gates, view_of()), "read again, and nothing has changed"
    in_force.append(from_mapping({**values, "PromotionIgnoreHostnameFilters": ["db9"]}).settings)
    assert why_not(gates, view_of()) == ""
    in_force.append(from_mapping({**values, "RecoverMasterClusterFilters": ["alias=x"]}).settings)
    assert "RecoverMasterClusterFilters" in why_not(gates, view_of())


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        (["*"], True),
        (["db1:3306"], True),
        (["alias=shop"], True),
        (["alias=sho"], False),
        (["alias~=^sh"], True),
        (["alias~=^op"], False),
        (["shop"], True),
        (["^db1:"], True),
        (["db2"], False),
        (["other", "alias~=hop$"], True),
    ],
)
def test_cluster_filters_in_all_their_forms(clock: Clock, filters: list[str], matches: bool) -> None:
    view = view_of()
    shop = replace(view, cluster=replace(view.cluster, alias="shop"))
    why = why_not(gates_with(RecoverMasterClusterFilters=filters), shop)
    assert (why == "") is matches


def test_what_is_blocked_is_tried_when_the_block_ends(clock: Clock) -> None:
    gates = gates_with()
    for _ in range(4):
        gates.failed("c1")
    gates.failed("c1", within=3.0)
    clock.now += 2.99
    assert "a moment ago" in why_not(gates, view_of())
    clock.now += 0.01
    assert why_not(gates, view_of()) == ""


def test_failed_attempts_wait_1_2_4_seconds_up_to_the_longest(clock: Clock) -> None:
    gates = gates_with(RecoveryRetryMaxSeconds=3)
    for pause in (1.0, 2.0, 3.0, 3.0):
        gates.failed("c1")
        clock.now += pause - 0.01
        assert "a moment ago" in why_not(gates, view_of())
        clock.now += 0.01
        assert why_not(gates, view_of()) == ""
    gates.passed("c1")
    assert gates.failed("c1")
    clock.now += 1.0
    assert why_not(gates, view_of()) == ""


def test_a_refusal_stands_until_something_changes(clock: Clock) -> None:
    gates = gates_with()
    gates.failed("c1")
    gates.refused(view_of())
    clock.now += 1000.0
    assert "nothing has changed" in why_not(gates, view_of())
    assert why_not(gates, view_of(executed_gtid_set="more")) == ""


def test_servers_that_nobody_has_looked_at_are_awaited() -> None:
    view = replace(view_of(), unread=(REPLICA,))
    assert why_not(gates_with(), view) == f"nobody has looked at {REPLICA} yet"
