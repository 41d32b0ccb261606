"""What the keys about promotion do to a plan (configuration.md 11; recovery.md 4.2 to 4.6)."""

from __future__ import annotations

import pytest

from services.planning.candidates import PromotionPolicy
from services.planning.plan import StepKind, turning_point
from tests.unit.planning.stories import (
    LOSSLESS,
    acknowledging,
    key,
    master,
    plan_of,
    promotable,
    reasons,
    refusal_of,
    replica,
    steps,
    told,
)

LIMIT = PromotionPolicy(lag_limit_seconds=120)


# FailMasterPromotionOnLagMinutes


def test_a_replica_that_lags_by_the_limit_is_not_promoted() -> None:
    late, early = replica("a", replication_lag_seconds=120), replica("b", replication_lag_seconds=119)
    plan = plan_of(master(), late, early, policy=LIMIT)
    assert promotable(plan) == ["b"]
    assert "FailMasterPromotionOnLagMinutes: lagged by 120 s" in reasons(plan, "a")
    assert promotable(plan_of(master(), late, early)) == ["a", "b"], "no limit is set"


def test_where_all_lag_nobody_is_promoted_and_the_key_is_named() -> None:
    refusal = refusal_of(master(), replica("a", replication_lag_seconds=3600), policy=LIMIT)
    assert "FailMasterPromotionOnLagMinutes" in refusal.reason


def test_a_lag_is_that_of_the_moment_of_the_failure() -> None:
    """A heartbeat's lag grows while nobody writes: who waits for an hour does not lag by one."""
    waiting = replica("a", replication_lag_seconds=3605, checked_at=3699.0)
    assert plan_of(master(seen_at=99.0), waiting, policy=LIMIT).candidate == key("a")
    assert refusal_of(master(seen_at=0.0), waiting, policy=LIMIT), "nobody knows since when"


def test_a_lag_that_is_not_known_stands_against_nobody() -> None:
    assert plan_of(master(), replica("a", replication_lag_seconds=None), policy=LIMIT).candidate == key("a")


# PreventCrossDataCenterMasterFailover, PreventCrossRegionMasterFailover, promotion rules


@pytest.mark.parametrize(
    ("policy", "place", "named"),
    [
        (PromotionPolicy(prevent_cross_data_center=True), "data_center", "PreventCrossDataCenter"),
        (PromotionPolicy(prevent_cross_region=True), "region", "PreventCrossRegion"),
    ],
)
def test_who_stands_elsewhere_is_not_promoted_and_gives_what_only_it_has(
    policy: PromotionPolicy, place: str, named: str
) -> None:
    here, there = {place: "here"}, {place: "there"}
    near, far = replica("a", "m:1-5", **here), replica("b", "m:1-7", promotion_rule="prefer", **there)
    plan = plan_of(master(**here), near, far, policy=policy)
    assert plan.candidate == key("a")
    assert [step.source for step in steps(plan, StepKind.COVER)] == [key("b")]
    assert named in reasons(plan, "b")
    assert plan_of(master(**here), near, far).candidate == key("b")
    assert named in refusal_of(master(**here), far, policy=policy).reason


def test_who_is_preferred_elsewhere_goes_before_who_is_not_here() -> None:
    """recovery.md 4.5, step 5: any candidate goes before a neutral."""
    plan = plan_of(master(), replica("a"), replica("b", promotion_rule="prefer", data_center="there"))
    assert promotable(plan) == ["b", "a"]
    both = [
        replica(name, promotion_rule="prefer", data_center=at) for name, at in (("a", "there"), ("b", "here"))
    ]
    assert promotable(plan_of(master(), *both)) == ["b", "a"], "among the preferred the nearer one"


def test_who_is_not_preferred_is_promoted_only_if_nobody_else_can_be() -> None:
    reluctant = replica("a", "m:1-7", promotion_rule="prefer_not")
    assert plan_of(master(), reluctant, replica("b", data_center="there")).candidate == key("b")
    assert plan_of(master(), reluctant, replica("b", promotion_rule="must_not")).candidate == key("a")


# ApplyMySQLPromotionAfterMasterFailover, MasterFailoverDetachReplicaMasterHost


def test_a_promotion_that_is_not_applied_opens_nothing_and_deposes_all_the_same() -> None:
    policy = PromotionPolicy(apply_promotion=False)
    replicas = (acknowledging("a", "m:1-5", "m:4-6", promotion_rule="prefer"), acknowledging("b", "m:1-7"))
    plan = plan_of(master("m:1-7", **LOSSLESS), *replicas, policy=policy)
    assert told(plan) == [
        "drain a (m:4-6)",
        "cover a of b (m:1-7)",
        "dial-old-master m",
        "depose m of a",
        "repoint b of a",
    ]
    assert turning_point(plan.steps).kind is StepKind.DEPOSE
    assert not any(step.semi_sync_replica for step in plan.steps)
    assert "ApplyMySQLPromotionAfterMasterFailover is false" in " ".join(plan.notes)


def test_where_the_source_is_kept_it_can_be_detached() -> None:
    kept = PromotionPolicy(apply_promotion=False, detach_promoted=True)
    assert told(plan_of(master(), replica("a"), policy=kept))[-1] == "detach a of m"
    forgotten = plan_of(master(), replica("a"), policy=PromotionPolicy(detach_promoted=True))
    assert not steps(forgotten, StepKind.DETACH), "there is nothing left to detach"
    assert turning_point(forgotten.steps).kind is StepKind.OPEN
