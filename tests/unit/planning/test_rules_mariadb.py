"""The rules of recovery where MariaDB's states and positions decide, as stories; numbers are the rules'.

Server ``m`` is number 1, ``a`` 2, ``b`` 3, ``c`` 4. What is not said: ``m`` has 0-1-5, and so has everybody.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.planning.candidates import assess
from services.planning.master_recovery import estimate, lossless_settings
from services.planning.plan import Plan, Refusal, StepKind
from services.topology.channel import Channel
from services.topology.instance import Instance, ThreadState
from services.topology.mariadb_gtid import MariadbGtidSet
from tests.unit.planning.stories import (
    LOSSLESS,
    NEVER_POLICY,
    decide,
    key,
    one,
    plan_of,
    promotable,
    reasons,
    refusal_of,
    steps,
)
from tests.unit.planning.stories import master as mysql_master
from tests.unit.planning.stories import replica as mysql_replica

_NUMBERS = {"m": 1, "a": 2, "b": 3, "c": 4}
_MARIADB: dict[str, Any] = {
    "version": "10.11.18-MariaDB-log",
    "flavor": "MariaDB",
    "server_uuid": "",
    "gtid_mode": "",
    "super_read_only": False,
}


def master(state: str = "0-1-5", **facts: Any) -> Instance:
    return mysql_master("", **{**_MARIADB, "server_id": 1, "gtid_binlog_state": state, **facts})


def replica(name: str, executed: str = "0-1-5", received: str = "", **facts: Any) -> Instance:
    """Read after its receiver was stopped; ``executed`` is its binary log's state."""
    usual = {
        "server_id": _NUMBERS[name],
        "master_uuid": "No",
        "master_server_id": 1,
        "using_oracle_gtid": False,
        "using_mariadb_gtid": True,
        "gtid_binlog_state": executed,
        "gtid_slave_pos": executed.split(",", maxsplit=1)[0],
        "gtid_io_pos": received or executed.split(",", maxsplit=1)[0],
    }
    return mysql_replica(name, "", "", **{**_MARIADB, **usual, **facts})


# Rule 1


def test_rule_1_what_a_relay_log_holds_is_drained_first() -> None:
    plan = plan_of(master("0-1-9"), replica("a", "0-1-5", "0-1-9"), replica("b", "0-1-5", "0-1-8"))
    assert plan.candidate == key("a")
    assert one(plan, StepKind.DRAIN).gtid_set == "0-1-9"
    assert "execute the 4 transactions" in one(plan, StepKind.DRAIN).what


def test_rule_1_one_that_a_start_would_empty_is_not_promoted_and_what_it_alone_holds_is_not_given_up() -> (
    None
):
    trapped = replica("a", "0-1-5", "0-1-9", applier_state=ThreadState.STOPPED)
    refused = refusal_of(master("0-1-9"), trapped, replica("b"), replica("c"))
    assert "a start would throw its relay log away" in reasons(refused, "a")
    assert "others hold transactions that it cannot get from them" in reasons(refused, "b")
    assert promotable(refused) == []


def test_rule_1_one_that_a_start_would_empty_of_what_others_have_is_no_hindrance() -> None:
    trapped = replica("a", "0-1-5", "0-1-9", applier_state=ThreadState.STOPPED)
    plan = plan_of(master("0-1-9"), trapped, replica("b", "0-1-9"))
    assert plan.candidate == key("b")
    assert [step.instance for step in steps(plan, StepKind.REPOINT)] == [key("a")]
    assert steps(plan, StepKind.DRAIN) == []


def test_rule_1_with_nothing_left_in_its_relay_log_both_threads_may_be_stopped() -> None:
    assert plan_of(master(), replica("a", applier_state=ThreadState.STOPPED)).candidate == key("a")


# Rule 2


def test_rule_2_states_are_compared_by_domain_and_server() -> None:
    plan = plan_of(master("0-1-9,1-1-4"), replica("a", "0-1-9,1-1-3"), replica("b", "0-1-9,1-1-4"))
    assert plan.candidate == key("b")


def test_rule_2_of_two_of_which_each_has_something_one_gets_the_rest_from_the_other() -> None:
    plan = plan_of(master("0-1-9,1-1-4"), replica("a", "0-1-9,1-1-3"), replica("b", "0-1-8,1-1-4"))
    cover = one(plan, StepKind.COVER)
    assert (plan.candidate, cover.source) == (key("a"), key("b"))
    assert cover.gtid_set == "0-1-8,1-1-4"


def test_rule_2_what_one_wrote_itself_is_errant() -> None:
    plan = plan_of(master(), replica("a", "0-1-5,0-2-6"), replica("b"))
    assert plan.candidate == key("b")
    assert "errant transactions 0-2-6" in reasons(plan, "a")


def test_what_a_replica_has_from_another_source_is_not_brought_to_the_new_master() -> None:
    """Started anew, a receiver has all domains in its position."""
    several = (Channel(name=""), Channel(name="aside"))
    facts = {"gtid_slave_pos": "0-1-5,7-9-3", "channels": several}
    plan = plan_of(
        master(), replica("a", promotion_rule="must"), replica("b", "0-1-5,7-9-3", "0-1-5,7-9-3", **facts)
    )
    assert plan.candidate == key("a")
    assert steps(plan, StepKind.COVER) == []


def test_rule_2_a_former_masters_transactions_are_not_errant() -> None:
    plan = plan_of(master("0-2-3,0-1-5"), replica("a", "0-1-5,0-2-3"), replica("b", "0-1-5,0-2-3"))
    assert plan.candidate == key("a")
    assert "errant" not in reasons(plan, "a")


def test_rule_2_a_position_in_the_masters_history_tells_what_a_reset_binary_log_does_not() -> None:
    """Made from a backup: its binary log begins after the former master's transactions."""
    restored = replica("a", "0-1-9", promotion_rule="must")
    plan = plan_of(master("0-2-3,0-1-9"), restored, replica("b", "0-1-9,0-2-3"))
    assert plan.candidate == key("a")
    assert steps(plan, StepKind.COVER) == []


def test_rule_2_a_position_that_the_master_did_not_know_tells_nothing_more() -> None:
    """Never seen alive: nobody can tell whether ``a`` has 0-4-3. It is not taken for granted."""
    restored = replica("a", "0-1-9", promotion_rule="must")
    plan = plan_of(Instance(key=key("m")), restored, replica("b", "0-1-9,0-4-3"))
    assert "errant transactions 0-4-3" in reasons(plan, "b")


def test_rule_2_one_whose_source_refused_it_may_be_of_another_history() -> None:
    refused = refusal_of(master("0-1-2"), replica("a", "0-1-9", last_io_errno=1236), replica("b", "0-1-2"))
    assert refused.rule == "rule 10"
    assert "whether it is of the same history cannot be told" in refused.reason


def test_rule_2_one_that_was_refused_long_ago_and_is_merely_behind_is_no_hindrance() -> None:
    plan = plan_of(master("0-1-9"), replica("a", "0-1-3", last_io_errno=1236), replica("b", "0-1-9"))
    assert plan.candidate == key("b")
    assert promotable(plan) == ["b"]


def test_rule_2_what_a_relay_log_holds_cannot_be_told_without_gtid() -> None:
    from services.topology.coordinates import BinlogCoordinates

    facts = {"using_mariadb_gtid": False, "read_coordinates": BinlogCoordinates("binlog.1", 900)}
    behind = replica("a", exec_coordinates=BinlogCoordinates("binlog.1", 500), **facts)
    refused = refusal_of(master(), behind, replica("b"))
    assert (refused.rule, "what its relay log holds" in refused.reason) == ("rule 10", True)
    plan = plan_of(
        master(), replica("a", exec_coordinates=BinlogCoordinates("binlog.1", 900), **facts), replica("b")
    )
    assert plan.candidate == key("b")
    assert plan_of(master(), behind, replica("b"), forced=True).candidate == key("b")


def test_rule_2_a_text_that_is_no_state_is_refused() -> None:
    assert refusal_of(master(), replica("a", gtid_slave_pos="nonsense"), replica("b")).rule == "rule 10"


def test_rule_2_without_log_slave_updates_nobody_can_follow_it() -> None:
    silent = replica("a", "", "0-1-5", gtid_slave_pos="0-1-5", log_replica_updates_enabled=False)
    plan = plan_of(master(), silent, replica("b"))
    assert plan.candidate == key("b")
    assert "errant" not in reasons(plan, "a")


# Rule 3 and 11


def test_rule_3_settings_are_called_as_mariadb_calls_them() -> None:
    assert lossless_settings(master(**LOSSLESS)) == ""
    complaint = lossless_settings(master(**{**LOSSLESS, "semi_sync_master_timeout_ms": 10000}))
    assert complaint == "rpl_semi_sync_master_timeout is 10000 ms, not its maximum"


def test_rule_3_without_a_wait_count_one_acknowledgement_counts() -> None:
    lossless = {**LOSSLESS, "semi_sync_master_wait_count": 0}
    gone = replica("b", semi_sync_replica_enabled=True)
    assert refusal_of(master(**lossless), replica("a"), gone=[gone]).rule == "rule 3"
    semi_sync = one(plan_of(master(**lossless), replica("a")), StepKind.SEMI_SYNC_SOURCE).semi_sync
    assert semi_sync is not None
    assert semi_sync.wait_count == 1


# Rule 10


def test_rule_10_the_loss_is_never_more_than_the_truth() -> None:
    refused = refusal_of(master("0-1-9,0-2-4"), replica("a", "0-1-7,0-2-4", promotion_rule="must_not"))
    assert "at least 2 transactions" in refused.loss
    assert "0-1-8..9" in refused.loss


def test_mysql_and_mariadb_do_not_mix() -> None:
    assert "cannot be compared" in refusal_of(mysql_master(), replica("a")).reason
    assert "cannot be compared" in refusal_of(master(), replica("a"), mysql_replica("b")).reason


def test_what_would_happen_if_it_died_now() -> None:
    running = replica("a", receiver_state=ThreadState.RUNNING, applier_state=ThreadState.STOPPED)
    assert isinstance(estimate("c", master(), [running], NEVER_POLICY), Plan)


# Whatever the states are


_states = st.tuples(st.integers(1, 6), st.integers(0, 4), st.integers(0, 6))


@given(
    st.lists(st.tuples(_states, st.integers(0, 3), st.booleans()), min_size=1, max_size=3), st.integers(1, 6)
)
@settings(max_examples=200, deadline=None)
def test_a_plan_ends_with_all_that_any_reachable_replica_holds(
    shapes: list[tuple[tuple[int, int, int], int, bool]], last: int
) -> None:
    reachable = []
    for name, ((number, other, own), received, stopped) in zip("abc", shapes, strict=False):
        state = f"0-1-{number},1-1-{other}" + (f",2-{_NUMBERS[name]}-{own}" if own else "")
        slave_pos = f"0-1-{number},1-1-{other}"
        applier = ThreadState.STOPPED if stopped else ThreadState.RUNNING
        reachable.append(
            replica(
                name,
                state,
                f"0-1-{number + received},1-1-{other}",
                gtid_slave_pos=slave_pos,
                applier_state=applier,
            )
        )
    failed = master(f"0-1-{last}")
    decided = decide(failed, *reachable)
    candidates = {candidate.key: candidate for candidate in assess(failed, reachable, NEVER_POLICY)}
    if isinstance(decided, Refusal):
        assert any(not candidate.drainable for candidate in candidates.values()), decided
        return
    has = candidates[decided.candidate].executed
    for step in decided.steps:
        if step.kind is StepKind.DRAIN:
            assert candidates[step.instance].drainable
        if step.kind in (StepKind.DRAIN, StepKind.COVER) and step.instance == decided.candidate:
            has = has | MariadbGtidSet.parse(step.gtid_set)
    assert all(candidate.holds <= has for candidate in candidates.values())
