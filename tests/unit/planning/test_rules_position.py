"""Recovery without GTID, as stories: only what is mapped exactly is re-pointed."""

from __future__ import annotations

from typing import Any

from services.planning.candidates import PromotionPolicy
from services.planning.master_recovery import Frozen, plan_drain
from services.planning.plan import Plan, StepKind
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import Instance
from tests.unit.planning.stories import (
    LOSSLESS,
    decide,
    key,
    master,
    one,
    plan_of,
    promotable,
    refusal_of,
    steps,
)
from tests.unit.planning.stories import replica as gtid_replica


def at(text: str) -> BinlogCoordinates:
    return BinlogCoordinates.parse(text)


def replica(name: str, executed: str = "binlog.000003:500", read: str = "", **facts: Any) -> Instance:
    """``self_coordinates``: where its own binary log ends."""
    usual = {
        "using_oracle_gtid": False,
        "gtid_mode": "OFF",
        "exec_coordinates": at(executed),
        "read_coordinates": at(read or executed),
        "self_coordinates": at(f"{name}.000001:777"),
    }
    return gtid_replica(name, "", "", **{**usual, **facts})


def drained(*names: str, **more: Any) -> PromotionPolicy:
    return PromotionPolicy(drained=frozenset(key(name) for name in names), **more)


def test_everybody_is_drained_before_anything_is_compared() -> None:
    frozen = Frozen(cluster_id="c", failed=master(), reachable=(replica("a"), replica("b")), unreachable=())
    plan = plan_drain(frozen, first_step=100)
    assert plan is not None
    assert [(step.kind, step.by_position, step.required) for step in plan.steps] == [
        (StepKind.DRAIN, True, False)
    ] * 2
    by_gtid = Frozen(cluster_id="c", failed=master(), reachable=(gtid_replica("a"),), unreachable=())
    assert plan_drain(by_gtid, first_step=100) is None


def test_rule_2_the_most_advanced_is_promoted_and_its_equals_begin_where_its_log_ends() -> None:
    ahead, equal = replica("b", "binlog.000004:200"), replica("c", "binlog.000004:200")
    plan = plan_of(master(), replica("a"), ahead, equal, policy=drained("a", "b", "c"))
    assert plan.candidate == key("b")
    repoint = one(plan, StepKind.REPOINT)
    assert (repoint.instance, repoint.source, repoint.place) == (key("c"), key("b"), "b.000001:777")
    assert set(plan.lost) == {key("a")}
    assert "up to binlog.000003:500" in plan.lost[key("a")]
    checks = [step.place for step in steps(plan, StepKind.VERIFY)]
    assert checks == ["b.000001:777", ""]
    before, opening = steps(plan, StepKind.VERIFY)[0], one(plan, StepKind.OPEN)
    assert before.stage < opening.stage
    assert steps(plan, StepKind.COVER) == []
    assert one(plan, StepKind.DIAL_OLD_MASTER).by_position


def test_files_are_ordered_by_number() -> None:
    plan = plan_of(
        master(),
        replica("a", "binlog.999999:500"),
        replica("b", "binlog.1000000:4"),
        policy=drained("a", "b"),
    )
    assert plan.candidate == key("b")


def test_rule_1_what_is_left_after_draining_is_no_whole_transaction() -> None:
    torn = replica("a", "binlog.000003:500", "binlog.000003:900")
    plan = plan_of(master(), torn, replica("b"), policy=drained("a", "b"))
    assert plan.lost == {}
    assert steps(plan, StepKind.DRAIN) == []


def test_rule_1_one_that_could_not_execute_what_it_retrieved_holds_it_all_the_same() -> None:
    stuck = replica("a", "binlog.000003:500", "binlog.000003:900")
    policy = drained("b", undrainable=frozenset({key("a")}))
    refused = refusal_of(master(), stuck, replica("b"), policy=policy)
    assert (refused.rule, promotable(refused)) == ("rule 2", [])
    behind = refusal_of(master(), stuck, replica("b", "binlog.000003:899"), policy=policy)
    assert promotable(behind) == []
    plan = plan_of(master(), stuck, replica("b", "binlog.000003:900"), policy=policy)
    assert (plan.candidate, set(plan.lost)) == (key("b"), {key("a")})


def test_rule_2_what_the_most_advanced_may_not_be_promoted_with_is_not_given_up() -> None:
    ahead = replica("a", "binlog.000003:900", promotion_rule="must_not")
    assert refusal_of(master(), ahead, replica("b"), policy=drained("a", "b")).rule == "rule 2"


def test_rule_3_and_11_hold_without_gtid() -> None:
    gone = replica("b", semi_sync_replica_enabled=True)
    lossless = master(**LOSSLESS)
    assert refusal_of(lossless, replica("a"), gone=[gone], policy=drained("a")).rule == "rule 3"
    assert steps(plan_of(lossless, replica("a"), policy=drained("a")), StepKind.SEMI_SYNC_SOURCE)


def test_rule_10_places_of_different_logs_cannot_be_compared() -> None:
    refused = refusal_of(master(), replica("a", "other.000009:4"), replica("b"), policy=drained("a", "b"))
    assert promotable(refused) == []


def test_rule_10_the_loss_is_told_as_far_as_it_is_known() -> None:
    failed = master(self_coordinates=at("binlog.000003:900"))
    refused = refusal_of(failed, replica("a", promotion_rule="must_not"), policy=drained("a"))
    assert "from binlog.000003:500 up to binlog.000003:900" in refused.loss


def test_one_by_gtid_among_others_is_the_only_candidate() -> None:
    decided = decide(master(), replica("a"), gtid_replica("b"))
    assert isinstance(decided, Plan)
    assert decided.candidate == key("b")
