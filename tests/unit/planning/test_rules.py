"""The rules of recovery (design, "The rules of recovery") as far as planning decides them."""

from __future__ import annotations

import pytest

from services.planning.candidates import PromotionPolicy
from services.planning.master_recovery import Frozen, estimate, lossless_settings, plan_freeze, plan_promotion
from services.planning.plan import Plan, Refusal, SemiSync, StepKind
from services.topology.channel import Channel
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import NO_KEY
from tests.unit.planning.stories import (
    LOSSLESS,
    UUIDS,
    acknowledging,
    decide,
    key,
    master,
    one,
    plan_of,
    promotable,
    reasons,
    refusal_of,
    replica,
    shown,
    steps,
    told,
    transactions,
)


def test_the_whole_plan_as_a_story() -> None:
    """b has what only its relay log holds; a must be promoted: it gets that from b first."""
    plan = plan_of(
        master("m:1-7", **LOSSLESS),
        acknowledging("a", "m:1-5", "m:4-6", promotion_rule="must"),
        acknowledging("b", "m:1-6", "m:5-8"),
        acknowledging("c", "m:1-6", "m:5-6"),
    )
    assert told(plan) == [
        "drain a (m:4-6), drain b (m:5-8)",
        "cover a of b (m:1-8)",
        "dial-old-master m, semi-sync-source a",
        "open a",
        "depose m of a, repoint b of a, repoint c of a",
        "forget-source a",
        "verify a",
    ]
    assert [step.number for step in plan.steps] == list(range(100, 111))
    assert (plan.cluster_id, plan.failed, plan.candidate) == ("c", key("m"), key("a"))
    assert dict(plan.lost) == {}


# Rule 1: an acknowledged transaction may exist only in a relay log


def test_rule_1_what_the_candidate_retrieved_is_executed_before_anything_else() -> None:
    plan = plan_of(master("m:1-5"), replica("a", "m:1-5", "m:3-9"))
    drain = one(plan, StepKind.DRAIN)
    assert (drain.instance, shown(drain.gtid_set), drain.required) == (key("a"), "m:3-9", True)
    assert drain.stage < min(step.stage for step in plan.steps if step is not drain)


def test_rule_1_nothing_is_drained_where_the_relay_log_is_empty() -> None:
    assert steps(plan_of(master(), replica("a", "m:1-5", "m:1-5")), StepKind.DRAIN) == []


def test_rule_1_one_that_does_not_drain_makes_way_for_one_that_holds_as_much() -> None:
    policy = PromotionPolicy(undrainable=frozenset({key("a")}))
    plan = plan_of(master(), replica("a", "m:1-5", "m:6"), replica("b", "m:1-5", "m:6"), policy=policy)
    assert plan.candidate == key("b")
    assert [step.instance for step in steps(plan, StepKind.DRAIN)] == [key("b")]
    assert "its applier makes no progress" in reasons(plan, "a")


def test_rule_1_what_only_an_applier_that_stands_still_has_is_a_reason_to_refuse() -> None:
    policy = PromotionPolicy(undrainable=frozenset({key("a")}))
    refusal = refusal_of(master(), replica("a", "m:1-5", "m:6"), replica("b", "m:1-5"), policy=policy)
    assert refusal.rule == "rule 2"
    assert "others hold transactions that it cannot get from them" in reasons(refusal, "b")


def test_rule_1_one_that_does_not_drain_still_gives_what_it_has_executed() -> None:
    policy = PromotionPolicy(undrainable=frozenset({key("a")}))
    plan = plan_of(master(), replica("a", "m:1-6", "m:7"), replica("b", "m:1-5", "m:7"), policy=policy)
    cover = one(plan, StepKind.COVER)
    assert (cover.instance, cover.source, shown(cover.gtid_set)) == (key("b"), key("a"), "m:1-6")
    assert [step.instance for step in steps(plan, StepKind.DRAIN)] == [key("b")]


def test_rule_1_what_a_restart_threw_away_and_nobody_else_has_is_refused() -> None:
    """It may have been acknowledged: it was retrieved when the replica was last seen."""
    was, now = replica("a", "m:1-5", "m:1-9"), replica("a", "m:1-5", "m:1-5")

    def decided(*others: Instance, forced: bool = False) -> Plan | Refusal:
        frozen = Frozen(
            cluster_id="c",
            failed=master(),
            reachable=(now, *others),
            unreachable=(),
            seen=(was,),
            forced=forced,
        )
        return plan_promotion(frozen, PromotionPolicy())

    refused = decided(replica("b", "m:1-8"))
    assert isinstance(refused, Refusal)
    assert refused.rule == "rule 1"
    assert shown(refused.reason) == "a:3306 had retrieved m:9 and has it no more, nor has anybody else"
    assert isinstance(decided(replica("b", "m:1-9")), Plan)
    assert isinstance(decided(replica("b", "m:1-8"), forced=True), Plan)


# Rule 2: candidates are compared by set inclusion of retrieved and executed, without errant transactions


def test_rule_2_the_one_that_holds_more_is_promoted() -> None:
    assert plan_of(master(), replica("a", "m:1-5"), replica("b", "m:1-6")).candidate == key("b")


def test_rule_2_what_is_retrieved_counts_as_much_as_what_is_executed() -> None:
    assert plan_of(master(), replica("a", "m:1-6"), replica("b", "m:1-4", "m:5-7")).candidate == key("b")


def test_rule_2_sets_are_compared_and_not_numbers_of_transactions() -> None:
    """b's hundred transactions of its own do not make it better than a, which has one more of m's."""
    plan = plan_of(master(), replica("a", "m:1-6"), replica("b", "m:1-5 b:1-100"))
    assert plan.candidate == key("a")


def test_rule_2_of_two_equal_ones_that_with_errant_transactions_comes_after() -> None:
    plan = plan_of(master(), replica("a", "m:1-5 a:1-3"), replica("b", "m:1-5"))
    assert plan.candidate == key("b")
    assert promotable(plan) == ["b", "a"]
    assert "has errant transactions" in reasons(plan, "a")
    (ranked,) = (ranked for ranked in plan.ranking if ranked.key == key("a"))
    assert shown(ranked.errant) == "a:1-3"


def test_rule_2_errant_transactions_are_not_sought_by_others() -> None:
    assert steps(plan_of(master(), replica("a", "m:1-5 a:1-3"), replica("b")), StepKind.COVER) == []


def test_rule_2_what_the_master_numbered_is_never_errant() -> None:
    """It was executed by one replica alone and the master was last seen before: it is the master's own."""
    plan = plan_of(master("m:1-5"), replica("a", "m:1-5"), replica("b", "m:1-6"))
    assert plan.candidate == key("b")
    assert all(not ranked.errant for ranked in plan.ranking)


def test_rule_2_a_master_that_was_never_seen_alive_is_known_by_its_replicas() -> None:
    never = master("", server_uuid="", seen_at=0.0)
    plan = plan_of(never, replica("a", "m:1-5"), replica("b", "m:1-7"))
    assert plan.candidate == key("b")
    assert all(not ranked.errant for ranked in plan.ranking)


def test_rule_2_what_an_earlier_master_numbered_is_not_errant() -> None:
    plan = plan_of(master("x:1-9 m:1-5"), replica("a", "x:1-9 m:1-5"), replica("b", "x:1-9 m:1-5"))
    assert all(not ranked.errant for ranked in plan.ranking)


def test_rule_2_what_two_replicas_have_is_not_errant_of_either() -> None:
    """Whoever numbered it: both would have to lose it."""
    plan = plan_of(master(), replica("a", "m:1-5 x:1"), replica("b", "m:1-5 x:1"), replica("c", "m:1-5"))
    assert plan.candidate == key("a")
    assert all(not ranked.errant for ranked in plan.ranking)
    assert "catches up 1 transactions" in reasons(plan, "c")


@pytest.mark.parametrize(
    ("facts", "policy", "why"),
    [
        ({"promotion_rule": "must_not"}, PromotionPolicy(), "promotion rule must_not"),
        ({}, PromotionPolicy(ignores=lambda k: k == key("b")), "matches PromotionIgnoreHostnameFilters"),
        (
            {"data_center": "there"},
            PromotionPolicy(prevent_cross_data_center=True),
            "PreventCrossDataCenterMasterFailover",
        ),
        ({"region": "far"}, PromotionPolicy(prevent_cross_region=True), "PreventCrossRegionMasterFailover"),
        ({}, PromotionPolicy(unfit={key("b"): "it could not be prepared"}), "it could not be prepared"),
        ({"has_replication_filters": True}, PromotionPolicy(), "has replication filters"),
        ({"channels": (Channel(name="east"), Channel(name="west"))}, PromotionPolicy(), "several sources"),
    ],
)  # fmt: skip
def test_rule_2_one_that_may_not_be_promoted_and_holds_more_gives_it_first(
    facts: dict[str, object], policy: PromotionPolicy, why: str
) -> None:
    plan = plan_of(master(), replica("a", "m:1-5"), replica("b", "m:1-5", "m:6-8", **facts), policy=policy)
    assert plan.candidate == key("a")
    assert why in reasons(plan, "b")
    assert promotable(plan) == ["a"]
    assert told(plan)[:2] == ["drain b (m:6-8)", "cover a of b (m:1-8)"]
    assert one(plan, StepKind.COVER).stage < one(plan, StepKind.OPEN).stage


def test_rule_2_a_delayed_replica_is_not_promoted() -> None:
    plan = plan_of(master(), replica("a", "m:1-5"), replica("b", "m:1-5", sql_delay_seconds=3600))
    assert plan.candidate == key("a")
    assert "is delayed by 3600 s" in reasons(plan, "b")


def test_rule_2_a_delayed_replica_that_holds_more_gives_it_first() -> None:
    delayed = replica("b", "m:1-3", "m:4-9", sql_delay_seconds=3600)
    plan = plan_of(master(), replica("a", "m:1-8"), delayed)
    assert told(plan)[:2] == ["drain b (m:4-9)", "cover a of b (m:1-9)"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"log_bin_enabled": False}, "has no binary log"),
        ({"log_replica_updates_enabled": False}, "does not log what it replicates"),
    ],
)
def test_rule_2_what_cannot_be_had_from_its_only_holder_is_a_reason_to_refuse(
    facts: dict[str, object], why: str
) -> None:
    refusal = refusal_of(master(), replica("a", "m:1-5"), replica("b", "m:1-6", **facts))
    assert refusal.rule == "rule 2"
    assert why in reasons(refusal, "b")
    assert "others hold transactions that it cannot get from them" in reasons(refusal, "a")


def test_rule_2_a_holder_that_purged_it_cannot_give_it() -> None:
    purged = replica("b", "m:1-6", promotion_rule="must_not", gtid_purged=transactions("m:1-6"))
    refusal = refusal_of(master(), replica("a", "m:1-5"), purged)
    assert "others hold transactions that it cannot get from them" in reasons(refusal, "a")


def test_rule_2_a_holder_refuses_who_lacks_any_of_what_it_purged() -> None:
    """b still has m:6 in its binary log, but purged errant b:1: it answers a with error 1236."""
    holder = replica("b", "m:1-6 b:1", promotion_rule="must_not", gtid_purged=transactions("m:1-5 b:1"))
    refusal_of(master(), replica("a", "m:1-5"), holder)


def test_rule_2_what_was_purged_by_one_holder_may_come_from_another_first() -> None:
    """d has all, but purged m:6; c has that. So a reads from c, and then from d."""
    plan = plan_of(
        master(),
        replica("a", "m:1-5", promotion_rule="must"),
        replica("c", "m:1-6"),
        replica("d", "m:1-8", promotion_rule="must_not", gtid_purged=transactions("m:1-6")),
    )
    assert plan.candidate == key("a")
    assert told(plan)[:2] == ["cover a of c (m:1-6)", "cover a of d (m:1-8)"]


def test_rule_2_nobody_is_covered_from_a_newer_server() -> None:
    """c and b hold the same; only c speaks a version that a can read."""
    plan = plan_of(
        master(),
        replica("a", "m:1-5", promotion_rule="must", version="8.4.3"),
        replica("b", "m:1-7", version="9.7.0", promotion_rule="must_not"),
        replica("c", "m:1-7", version="8.4.3", promotion_rule="must_not"),
    )
    assert told(plan)[0] == "cover a of c (m:1-7)"
    assert [step.source for step in steps(plan, StepKind.COVER)] == [key("c")]


def test_rule_2_of_incomparable_holders_the_candidate_gets_what_each_has() -> None:
    """Neither b nor c holds what the other does; the candidate ends with both."""
    plan = plan_of(
        master("x:1-3 m:1-5"),
        replica("a", "m:1-5", promotion_rule="prefer"),
        replica("b", "m:1-7", "x:1"),
        replica("c", "m:1-6", "x:1-2"),
    )
    assert plan.candidate == key("a")
    covers = [(step.source.hostname, shown(step.gtid_set)) for step in steps(plan, StepKind.COVER)]
    assert covers == [("b", "m:1-7 x:1"), ("c", "m:1-6 x:1-2")]
    stages = [step.stage for step in steps(plan, StepKind.COVER)]
    assert len(set(stages)) == 2, "from one after the other"


def test_rule_2_promotion_rules_order_those_that_hold_as_much() -> None:
    rules = {"a": "prefer_not", "b": "neutral", "c": "prefer", "d": "must"}
    plan = plan_of(master(), *(replica(name, promotion_rule=rule) for name, rule in rules.items()))
    assert promotable(plan) == ["d", "c", "b", "a"]


def test_rule_2_the_one_that_somebody_named_goes_before_rules_but_not_before_data() -> None:
    policy = PromotionPolicy(designated=key("a"))
    plan = plan_of(
        master(), replica("a", "m:1-5"), replica("b", "m:1-6", promotion_rule="must"), policy=policy
    )
    assert plan.candidate == key("a")
    assert one(plan, StepKind.COVER).source == key("b")


def test_rule_2_equals_are_told_apart_by_where_they_are_and_by_who_can_follow() -> None:
    near = plan_of(master(), replica("a", data_center="there"), replica("b", data_center="here"))
    assert near.candidate == key("b")
    followed = plan_of(master(), replica("a", version="9.7.0"), replica("b", version="8.4.3"))
    assert followed.candidate == key("b"), "an older server cannot replicate from a newer one"
    readable = plan_of(
        master(), replica("a", "m:1-5", gtid_purged=transactions("m:1-5")), replica("b", "m:1-5"),
        replica("c", "m:1-4", "m:5"),
    )  # fmt: skip
    assert readable.candidate == key("b"), "a has purged what c would ask for"


def test_rule_2_nobody_may_be_promoted() -> None:
    refusal = refusal_of(
        master("m:1-9"), replica("a", promotion_rule="must_not"), replica("b", log_bin_enabled=False)
    )
    assert refusal.rule == "rule 2"
    assert "a:3306: promotion rule must_not" in refusal.reason
    assert "b:3306: has no binary log" in refusal.reason
    assert shown(refusal.loss).endswith("m:6-9")


def test_rule_2_nobody_is_there() -> None:
    assert "none can be reached" in refusal_of(master(), gone=[replica("a")]).reason


# Rule 3: nothing is promoted while transactions can still be acknowledged elsewhere


def test_rule_3_an_unreachable_acknowledging_replica_is_a_reason_to_refuse() -> None:
    refusal = refusal_of(
        master("m:1-6", **LOSSLESS), acknowledging("a", "m:1-5"), gone=[acknowledging("b", "m:1-5")]
    )
    assert refusal.rule == "rule 3"
    assert "b:3306 may hold or still acknowledge" in refusal.reason
    assert "bring them back, or force" in refusal.reason
    assert "at least 1 transactions" in refusal.loss
    assert "2026-11-23T08:00:00Z" in refusal.loss, "the age of the bound"
    assert shown(refusal.loss).endswith("m:6")
    assert refusal.loss in str(refusal)


def test_rule_3_a_loss_that_cannot_be_told_is_not_called_none() -> None:
    refusal = refusal_of(master("m:1-5", **LOSSLESS), acknowledging("a"), gone=[acknowledging("b")])
    assert "what it executed since is not known" in refusal.loss
    unknown = refusal_of(master("", **LOSSLESS), acknowledging("a"), gone=[acknowledging("b")])
    assert "is not known" in unknown.loss


def test_rule_3_with_a_wait_count_of_two_one_unreachable_is_not_enough() -> None:
    two = {**LOSSLESS, "semi_sync_master_wait_count": 2}
    assert isinstance(
        decide(master(**two), acknowledging("a"), acknowledging("b"), gone=[acknowledging("c")]), Plan
    )
    refusal = refusal_of(master(**two), acknowledging("a"), gone=[acknowledging("b"), acknowledging("c")])
    assert "b:3306, c:3306" in refusal.reason
    assert "wait count 2" in refusal.reason


def test_rule_3_one_that_does_not_acknowledge_blocks_nothing() -> None:
    plan = plan_of(master(**LOSSLESS), acknowledging("a"), gone=[replica("b")])
    assert plan.candidate == key("a")
    assert dict(plan.lost) == {key("b"): "could not be reached"}


def test_rule_3_one_whose_setting_was_switched_off_while_it_acknowledged_still_does() -> None:
    still = replica("b", semi_sync_replica_enabled=False, semi_sync_replica_status=True)
    assert refusal_of(master(**LOSSLESS), acknowledging("a"), gone=[still]).rule == "rule 3"


def test_rule_3_one_that_was_never_seen_may_acknowledge() -> None:
    assert (
        refusal_of(master(**LOSSLESS), acknowledging("a"), gone=[replica("b", seen_at=0.0)]).rule == "rule 3"
    )


def test_rule_3_acknowledging_replicas_that_nobody_knows_count() -> None:
    """The master counted two; one is known. c does not acknowledge, so it is not the other one."""
    two = {**LOSSLESS, "semi_sync_master_clients": 2}
    as_read = {"seen_at": 0.0}  # what was read after the freeze carries no times
    refusal = refusal_of(master(**two), acknowledging("a", **as_read), replica("c", **as_read))
    assert "1 semi-sync replica(s) of the master that are not known here" in refusal.reason
    assert isinstance(decide(master(**two), acknowledging("a"), acknowledging("c")), Plan)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"semi_sync_master_enabled": False}, "rpl_semi_sync_source_enabled is OFF"),
        ({"semi_sync_master_wait_point": "AFTER_COMMIT"}, "rpl_semi_sync_source_wait_point is AFTER_COMMIT"),
        ({"semi_sync_master_timeout_ms": 10_000}, "rpl_semi_sync_source_timeout is 10000 ms"),
        ({"semi_sync_master_wait_no_replica": False}, "rpl_semi_sync_source_wait_no_replica is OFF"),
        ({"semi_sync_master_status": False}, "Rpl_semi_sync_source_status was OFF"),
        ({"semi_sync_unbroken": False}, "not in force at every observation"),
    ],
)
def test_rule_3_anything_less_than_lossless_names_the_setting_and_blocks_nothing(
    setting: dict[str, object], complaint: str
) -> None:
    failed = master(**{**LOSSLESS, **setting})
    assert complaint in lossless_settings(failed)
    plan = plan_of(failed, acknowledging("a"), gone=[acknowledging("b")])
    assert dict(plan.lost) == {key("b"): "could not be reached"}


def test_rule_3_lossless_is_lossless() -> None:
    assert lossless_settings(master(**LOSSLESS)) == ""


def test_rule_3_an_operator_who_forces_it_accepts_the_loss() -> None:
    plan = plan_of(master("m:1-6", **LOSSLESS), acknowledging("a"), gone=[acknowledging("b")], forced=True)
    assert plan.candidate == key("a")
    assert key("b") in plan.lost


def test_rule_3_the_freeze_stops_every_receiver_and_survives_those_that_cannot_be_reached() -> None:
    stopped = replica("b", receiver_state=ThreadState.STOPPED)
    running = replica("a", receiver_state=ThreadState.OTHER)
    plan = plan_freeze("c", master(), [stopped, running])
    assert told(plan) == ["stop-receiver a, stop-receiver b"]
    assert [step.required for step in plan.steps] == [False, False]
    assert [step.undo for step in plan.steps] == ["start the receiver", ""]
    assert plan.candidate == NO_KEY


# Rule 6: every change carries the cluster's expected master


@pytest.mark.parametrize(
    ("facts", "how"),
    [
        ({"master_key": key("x")}, "b:3306 replicates from x:3306"),
        ({"master_key": NO_KEY, "using_oracle_gtid": False}, "b:3306 is no replica any more"),
    ],
)
def test_rule_6_a_replica_that_somebody_else_moved_is_a_reason_to_refuse(
    facts: dict[str, object], how: str
) -> None:
    """Somebody promoted b by hand a moment ago: promoting a would make a second master."""
    refusal = refusal_of(master(), replica("a"), replica("b", **facts))
    assert refusal.rule == "rule 6"
    assert how in refusal.reason


# Rule 9: the others are re-pointed only after the candidate is promoted


def test_rule_9_others_follow_after_the_opening_and_none_is_left_unmentioned() -> None:
    plan = plan_of(master(), replica("a"), replica("b"), replica("c"), gone=[replica("d")])
    opening = one(plan, StepKind.OPEN)
    repoints = steps(plan, StepKind.REPOINT)
    assert {step.instance for step in repoints} == {key("b"), key("c")}
    assert all(step.stage > opening.stage and step.source == plan.candidate for step in repoints)
    assert all(not step.required for step in repoints), "one that fails does not keep the others"
    assert {step.instance for step in repoints} | set(plan.lost) | {plan.candidate} == {
        key(name) for name in "abcd"
    }


def test_rule_9_what_an_abort_undoes_is_said_in_every_step_before_the_opening() -> None:
    plan = plan_of(master(**LOSSLESS), acknowledging("a", promotion_rule="must"), acknowledging("b", "m:1-6"))
    opening = one(plan, StepKind.OPEN)
    silent = {step.kind for step in plan.steps if step.stage < opening.stage and not step.undo}
    assert silent <= {StepKind.DRAIN}, "draining takes nothing away"


# Rule 10: where a rule cannot be proven to hold, nothing is done


def test_rule_10_what_cannot_be_decided_yet_is_refused() -> None:
    mixed = refusal_of(master(), replica("a", version="10.11.6-MariaDB", using_mariadb_gtid=True))
    assert mixed.rule == "rule 10"
    mariadb = refusal_of(master(version="10.11.6-MariaDB"), replica("a"))
    assert mariadb.rule == "rule 10"


def test_rule_10_one_without_gtid_among_others_is_not_promoted() -> None:
    plan = plan_of(master(), replica("a", using_oracle_gtid=False), replica("b"))
    assert plan.candidate == key("b")
    assert "does not replicate by GTID" in reasons(plan, "a")


def test_rule_10_sets_that_cannot_be_read_are_not_trusted() -> None:
    plan = plan_of(master(), replica("a", executed_gtid_set="0-1-100"), replica("b"))
    assert plan.candidate == key("b")
    assert "GTID sets cannot be read" in reasons(plan, "a")


def test_rule_10_two_endpoints_with_one_server_uuid_are_not_promoted() -> None:
    plan = plan_of(
        master(), replica("a", server_uuid=UUIDS["x"]), replica("b", server_uuid=UUIDS["x"]), replica("c")
    )
    assert promotable(plan) == ["c"]
    assert "same server_uuid" in reasons(plan, "a")


def test_rule_10_an_endpoint_whose_double_cannot_be_reached_is_not_promoted_either() -> None:
    double = replica("b", server_uuid=UUIDS["a"])
    assert "same server_uuid" in refusal_of(master(), replica("a"), gone=[double]).reason


# Rule 11: semi-sync as on the failed master, before the new one is opened


def test_rule_11_the_settings_are_carried_and_set_before_the_opening() -> None:
    settings = {
        "semi_sync_master_enabled": True,
        "semi_sync_master_wait_point": "AFTER_COMMIT",
        "semi_sync_master_wait_count": 2,
        "semi_sync_master_timeout_ms": 1234,
        "semi_sync_master_wait_no_replica": False,
    }
    plan = plan_of(master(**settings), acknowledging("a"), acknowledging("b"), acknowledging("c"))
    step = one(plan, StepKind.SEMI_SYNC_SOURCE)
    assert step.semi_sync == SemiSync(
        wait_point="AFTER_COMMIT", wait_count=2, timeout_ms=1234, wait_no_replica=False
    )
    assert step.instance == plan.candidate
    assert step.required
    assert step.stage < one(plan, StepKind.OPEN).stage
    assert [s.semi_sync_replica for s in steps(plan, StepKind.REPOINT)] == [True, True]
    assert plan.notes == ()


def test_rule_11_a_master_without_semi_sync_is_followed_by_one_without() -> None:
    plan = plan_of(master(), acknowledging("a"), acknowledging("b"))
    assert steps(plan, StepKind.SEMI_SYNC_SOURCE) == []
    assert [step.semi_sync_replica for step in steps(plan, StepKind.REPOINT)] == [False]


def test_rule_11_when_the_only_acknowledging_replica_is_promoted_another_takes_its_place() -> None:
    """Otherwise the first write on the new master waits for ever."""
    plan = plan_of(
        master(**LOSSLESS),
        acknowledging("a", promotion_rule="must"),
        replica("b", sql_delay_seconds=60),
        replica("c"),
        replica("d", semi_sync_available=False),
    )
    assert {s.instance: s.semi_sync_replica for s in steps(plan, StepKind.REPOINT)} == {
        key("b"): False, key("c"): True, key("d"): False,
    }  # fmt: skip
    assert plan.notes == ()


def test_rule_11_it_is_not_switched_on_where_there_are_several_sources() -> None:
    """The receivers of the others, that are asynchronous, would break."""
    several = replica("b", channels=(Channel(name="east"), Channel(name="west")))
    plan = plan_of(master(**LOSSLESS), acknowledging("a", promotion_rule="must"), several, replica("c"))
    assert {s.instance: s.semi_sync_replica for s in steps(plan, StepKind.REPOINT)} == {
        key("b"): False, key("c"): True,
    }  # fmt: skip


def test_rule_11_when_nobody_is_left_to_acknowledge_that_is_said() -> None:
    plan = plan_of(master(**LOSSLESS), acknowledging("a"))
    (note,) = plan.notes
    assert "writes on a:3306 will wait for 1 acknowledgement" in note
    assert "rpl_semi_sync_source_wait_for_replica_count" in note


# Several sources


EAST_AND_WEST = (Channel(name="east"), Channel(name="west"))


def test_what_replicas_have_from_another_source_is_not_brought_to_the_new_master() -> None:
    """Two that share one. What only they have of the failed master is."""
    plan = plan_of(
        master("m:1-4"),
        replica("a", "m:1-4", promotion_rule="must"),
        replica("b", "m:1-5 x:1-9", "m:1-5", channels=EAST_AND_WEST),
        replica("c", "m:1-4 x:1-9", "m:1-4", channels=EAST_AND_WEST),
    )
    assert plan.candidate == key("a")
    (cover,) = steps(plan, StepKind.COVER)
    assert cover.source == key("b")
    assert shown(cover.gtid_set) == "m:1-5"
    plan = plan_of(master(), replica("a", promotion_rule="must"), *(
        replica(name, "m:1-5 x:1-9", channels=EAST_AND_WEST) for name in "bc"
    ))  # fmt: skip
    assert steps(plan, StepKind.COVER) == []


# Rule 12: the failed master is dialled once more before the opening, and deposed after it


def test_rule_12_the_failed_master_is_dialled_before_and_deposed_after_the_opening() -> None:
    plan = plan_of(master(), replica("a"))
    dial, opening, depose = (
        one(plan, kind) for kind in (StepKind.DIAL_OLD_MASTER, StepKind.OPEN, StepKind.DEPOSE)
    )
    assert dial.stage < opening.stage < depose.stage
    assert dial.instance == depose.instance == key("m")
    assert depose.source == key("a")
    assert dial.required
    assert depose.required


def test_rule_12_the_dial_knows_what_the_candidate_will_have_by_then() -> None:
    """Only what the old master has beyond this stands against the promotion."""
    plan = plan_of(
        master(), replica("a", "m:1-4", "m:5", promotion_rule="must"), replica("b", "m:1-5", "m:6-7")
    )
    assert shown(one(plan, StepKind.DIAL_OLD_MASTER).gtid_set) == "m:1-7"


# What would happen if the master died now


def test_estimate_ranks_everybody_on_what_is_known() -> None:
    late = replica("c", is_last_check_valid=False, last_check_outcome=CheckOutcome.SILENT)
    decided = estimate("c", master(), [replica("a"), replica("b", "m:1-6"), late], PromotionPolicy())
    assert isinstance(decided, Plan)
    assert decided.candidate == key("b")
    assert dict(decided.lost) == {key("c"): "could not be reached"}


def test_estimate_says_when_it_would_be_refused() -> None:
    late = acknowledging("b", is_last_check_valid=False)
    decided = estimate("c", master(**LOSSLESS), [acknowledging("a"), late], PromotionPolicy())
    assert isinstance(decided, Refusal)
    assert decided.rule == "rule 3"
