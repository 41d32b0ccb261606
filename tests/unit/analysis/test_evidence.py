"""When a finding may be acted upon: the live refinements (design, "When a master is dead")."""

from __future__ import annotations

from typing import Any

import pytest

from services.analysis import AnalysisPolicy
from services.analysis.facts import NETWORK_ERRNOS
from services.topology.instance import CheckOutcome, ThreadState
from services.topology.tree import ClusterIdentity
from tests.unit.analysis.stories import (
    APPLIER_STOPPED,
    CANNOT_CONNECT,
    DENIED,
    LOST,
    NOW,
    RECEIVER_STOPPED,
    codes,
    finding,
    key,
    server,
)

SILENCES = [outcome for outcome in CheckOutcome if outcome.is_silence]
ERRORS = [outcome for outcome in CheckOutcome if outcome.is_answer and outcome is not CheckOutcome.OK]


# A fresh connection that is refused or goes unanswered, and a receiver in a network error


@pytest.mark.parametrize("outcome", SILENCES)
def test_a_silent_master_with_a_receiver_in_a_network_error_may_be_replaced(outcome: CheckOutcome) -> None:
    master = server("m", "", LOST, last_check_outcome=outcome, last_check_error="nobody listens")
    entry = finding("m", master, server("a", "m", CANNOT_CONNECT), server("b", "m", RECEIVER_STOPPED))
    assert entry.actionable
    assert entry.reasons == (
        f"m:3306: last check {outcome.value}: nobody listens",
        "replicas: 2, valid 2, replicating 0, failing to connect 1",
        "receiver in a network error (2003): a:3306",
    )


@pytest.mark.parametrize("outcome", [CheckOutcome.UNRESOLVED, CheckOutcome.NOT_MYSQL])
def test_other_failures_of_a_check_are_no_evidence(outcome: CheckOutcome) -> None:
    master = server("m", "", LOST, last_check_outcome=outcome)
    entry = finding("m", master, server("a", "m", CANNOT_CONNECT))
    assert entry.analysis.value == "DeadMaster"
    assert not entry.actionable
    assert entry.reasons[-1] == (
        "not acted upon: a connection that is refused or goes unanswered was not seen"
        f" (last check: {outcome.value})"
    )


@pytest.mark.parametrize("errno", sorted(NETWORK_ERRNOS))
def test_network_errors_are_evidence(errno: int) -> None:
    replica = server("a", "m", CANNOT_CONNECT, last_io_errno=errno)
    assert finding("m", server("m", "", LOST), replica).actionable


@pytest.mark.parametrize("errno", [0, 1040, 1045, 1129, 1130, 1236, 2026, 3159])
def test_a_receiver_that_was_answered_is_evidence_of_nothing(errno: int) -> None:
    entry = finding("m", server("m", "", LOST), server("a", "m", CANNOT_CONNECT, last_io_errno=errno))
    assert entry.analysis.value == "DeadMaster"
    assert not entry.actionable
    assert "not acted upon: no replica seen since has its receiver in a network error" in entry.reasons[-1]


@pytest.mark.parametrize("misfortune", [RECEIVER_STOPPED, APPLIER_STOPPED])
def test_replication_that_somebody_stopped_is_evidence_of_nothing(misfortune: dict[str, Any]) -> None:
    entry = finding("m", server("m", "", LOST), server("a", "m", misfortune), server("b", "m", misfortune))
    assert entry.analysis.value == "DeadMaster"
    assert not entry.actionable


def test_a_text_counts_only_where_no_number_is_known() -> None:
    text = {
        "last_io_error": "error connecting to master 'repl@m:3306'",
        "receiver_state": ThreadState.STOPPED,
    }
    lost = server("m", "", LOST)
    assert finding("m", lost, server("a", "m", text, last_io_errno=None)).actionable
    assert not finding("m", lost, server("a", "m", text, last_io_errno=0)).actionable


def test_a_view_from_before_the_master_was_last_seen_is_no_evidence() -> None:
    master = server("m", "", LOST, seen_at=NOW - 10)
    stale = server("a", "m", CANNOT_CONNECT, checked_at=NOW - 11, seen_at=NOW - 11)
    entry = finding("m", master, stale)
    assert entry.analysis.value == "DeadMaster"  # the code is the reference's all the same
    assert entry.count_replicas_failing_to_connect_to_master == 1
    assert not entry.actionable
    fresh = server("a", "m", CANNOT_CONNECT, checked_at=NOW - 10, seen_at=NOW - 10)
    assert finding("m", master, fresh).actionable


def test_a_replica_that_is_lost_itself_is_no_evidence() -> None:
    lost = {**CANNOT_CONNECT, **LOST}
    entry = finding("m", server("m", "", LOST), server("a", "m", lost), server("b", "m", RECEIVER_STOPPED))
    assert entry.analysis.value == "DeadMasterAndSomeReplicas"
    assert not entry.actionable
    assert finding(
        "m", server("m", "", LOST), server("a", "m", lost), server("b", "m", CANNOT_CONNECT)
    ).actionable


def test_a_receiver_that_receives_means_alive_though_its_applier_is_stopped() -> None:
    servers = (server("m", "", LOST), server("a", "m", CANNOT_CONNECT), server("b", "m", APPLIER_STOPPED))
    entry = finding("m", *servers)
    assert entry.analysis.value == "DeadMaster"
    assert not entry.actionable
    assert entry.reasons[-1] == "not acted upon: b:3306 still receives"


def test_a_failed_witness_stands_for_receivers_that_still_believe() -> None:
    servers = (server("m", "", LOST), server("a", "m", RECEIVER_STOPPED), server("b", "m", APPLIER_STOPPED))
    assert not finding("m", *servers).actionable
    entry = finding("m", *servers, failed_witnesses={key("m")})
    assert entry.actionable
    assert "a witness, a replica whose receiver was restarted, could not connect" in entry.reasons
    assert not finding("m", *servers, failed_witnesses={key("x")}).actionable


def test_a_failed_witness_alone_is_not_enough() -> None:
    servers = (server("m", "", DENIED), server("a", "m", RECEIVER_STOPPED))
    assert not finding("m", *servers, failed_witnesses={key("m")}).actionable


# Any answer means alive


@pytest.mark.parametrize("outcome", ERRORS)
@pytest.mark.parametrize(
    "replicas", [[], [CANNOT_CONNECT], [RECEIVER_STOPPED, LOST], [LOST], [{"replication_lag_seconds": 99}]]
)
def test_a_master_that_answers_with_an_error_is_unreachable_not_dead(
    outcome: CheckOutcome, replicas: list[dict[str, Any]]
) -> None:
    master = server(
        "m", "", DENIED, last_check_outcome=outcome, last_check_error="(1040) Too many connections"
    )
    servers = (master, *(server(f"r{number}", "m", facts) for number, facts in enumerate(replicas)))
    entry = finding("m", *servers)
    assert entry.analysis.value == "UnreachableMaster"
    assert not entry.actionable
    assert entry.reasons[0] == f"m:3306: last check {outcome.value}: (1040) Too many connections"
    assert "alive" in entry.description


def test_an_answer_does_not_make_noise_about_a_master_with_happy_replicas() -> None:
    failed = server("m", "", DENIED, last_check_outcome=CheckOutcome.FAILED, last_check_partial_success=True)
    assert codes(failed, server("a", "m")) == {}


def test_a_co_master_that_answers_with_an_error_is_unreachable_not_dead() -> None:
    lower = (server("c", "m", RECEIVER_STOPPED), server("r", "m", CANNOT_CONNECT))
    assert codes(server("m", "c", DENIED), *lower)["m"] == "UnreachableCoMaster"
    lost = (server("c", "m", LOST), server("r", "m", LOST))
    assert codes(server("m", "c", DENIED), *lost)["m"] == "UnreachableCoMaster"


@pytest.mark.parametrize("replicas", [[CANNOT_CONNECT], [RECEIVER_STOPPED], [LOST], [RECEIVER_STOPPED, LOST]])
def test_an_intermediate_master_that_answers_with_an_error_is_unreachable_not_dead(
    replicas: list[dict[str, Any]],
) -> None:
    lower = [server(f"r{number}", "i", facts) for number, facts in enumerate(replicas)]
    assert codes(server("m"), server("n", "m"), server("i", "m", DENIED), *lower) == {
        "i": "UnreachableIntermediateMaster"
    }


def test_a_group_member_that_answers_keeps_its_code_and_is_left_alone() -> None:
    group = {"replication_group_name": "g", "replication_group_member_state": "ONLINE"}
    primary = server("p", "", DENIED, group, replication_group_member_role="PRIMARY")
    entry = finding("p", primary, server("a", "p", CANNOT_CONNECT))
    assert entry.analysis.value == "DeadReplicationGroupMemberWithReplicas"
    assert not entry.actionable
    assert "not acted upon: the server answers" in entry.reasons


# Failing to connect: by number where it is known


@pytest.mark.parametrize(
    ("facts", "is_failing"),
    [
        ({"last_io_errno": 2003}, True),
        ({"last_io_errno": 1045}, True),
        ({"last_io_errno": 1045, "receiver_state": ThreadState.STOPPED}, True),
        ({"last_io_errno": 4031}, True),  # it is trying, whatever went wrong
        ({"last_io_errno": 1236, "receiver_state": ThreadState.STOPPED}, False),
        ({"last_io_errno": 0}, False),
        ({"last_io_errno": 2003, **APPLIER_STOPPED}, False),
        ({"last_io_errno": None}, True),
        ({"last_io_errno": None, "last_io_error": "ERROR x\ny CONNECTING to SOURCE 'm'"}, True),
        ({"last_io_errno": None, "last_io_error": "Fatal error 1236 from source"}, False),
    ],
)
def test_failing_to_connect(facts: dict[str, Any], is_failing: bool) -> None:
    entry = finding("m", server("m", "", LOST), server("a", "m", {**CANNOT_CONNECT, **facts}))
    assert entry.count_replicas_failing_to_connect_to_master == int(is_failing)


# Other problems


def test_an_intermediate_master_that_we_see_needs_a_receiver_that_does_not() -> None:
    def found(errno: int) -> Any:
        replicas = [server(name, "i", CANNOT_CONNECT, last_io_errno=errno) for name in "ab"]
        seen = {"checked_at": NOW - 2, "seen_at": NOW - 2}
        return finding("i", server("m"), server("n", "m"), server("i", "m", seen), *replicas)

    for errno, actionable in ((2003, True), (1045, False)):
        entry = found(errno)
        assert entry.analysis.value == "AllIntermediateMasterReplicasFailingToConnectOrDead"
        assert entry.actionable is actionable


def test_what_its_own_condition_proves_may_be_acted_upon() -> None:
    policy = AnalysisPolicy(recover_non_writeable_master=True)
    assert finding("m", server("m", read_only=True), server("a", "m"), policy=policy).actionable


def test_what_asks_for_nothing_is_not_actionable_and_gives_no_excuse() -> None:
    entry = finding("m", server("m", "", LOST), server("a", "m"))
    assert entry.analysis.value == "UnreachableMaster"
    assert not entry.actionable
    assert not any(reason.startswith("not acted upon") for reason in entry.reasons)


def test_nothing_in_a_fragment_is_acted_upon() -> None:
    identity = ClusterIdentity(id="one", master_key=key("new"), deposed=frozenset({key("m")}))
    servers = (server("new"), server("m", "", LOST), server("a", "m", CANNOT_CONNECT))
    assert finding("m", *servers).actionable
    entry = finding("m", *servers, identities=(identity,))
    assert not entry.actionable
    assert entry.cluster_details.is_fragment
    assert "left behind" in entry.reasons[-1]


def test_a_failure_under_maintenance_is_shown_and_not_acted_upon() -> None:
    servers = (server("m", "", LOST, maintenance="me: new disk"), server("a", "m", CANNOT_CONNECT))
    entry = finding("m", *servers)
    assert entry.analysis.value == "DeadMaster"
    assert (entry.actionable, entry.is_detected) == (False, False)
    assert entry.reasons[-1] == "not acted upon: it is under maintenance (me: new disk)"
    replica = server("a", "m", CANNOT_CONNECT, maintenance="me: new disk")
    assert finding("m", server("m", "", LOST), replica).actionable, "it is not about the replica"


def test_reasons_name_a_few_replicas_of_many() -> None:
    replicas = [server(f"r{number:02}", "m", CANNOT_CONNECT) for number in range(40)]
    reasons = finding("m", server("m", "", LOST), *replicas).reasons
    assert reasons[-1].endswith("r03:3306, r04:3306 and 35 more")


def test_a_failed_witness_refutes_receivers_that_run() -> None:
    """A hung master: all its replicas go on believing in it."""
    silent = {**LOST, "last_check_outcome": CheckOutcome.SILENT}
    servers = (server("m", "", silent), server("a", "m"), server("b", "m"))
    entry = finding("m", *servers)
    assert (entry.analysis.value, entry.actionable) == ("UnreachableMaster", False)
    entry = finding("m", *servers, failed_witnesses={key("m")})
    assert (entry.analysis.value, entry.actionable) == ("DeadMaster", True)
    assert entry.count_valid_replicating_replicas == 2, "what was seen is told as it was seen"
    alive = finding(
        "m", server("m", ""), server("a", "m"), failed_witnesses={key("m")}, include_no_problem=True
    )
    assert not alive.actionable
