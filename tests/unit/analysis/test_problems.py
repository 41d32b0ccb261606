"""A story for each row of the table of problems (failure-detection.md 3.1, 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from services.analysis import PROBLEMS, AnalysisCode, AnalysisPolicy, Emergency, RecoveryKind
from services.topology.instance import ThreadState
from services.topology.keys import InstanceKey
from tests.unit.analysis.stories import (
    APPLIER_STOPPED,
    CANNOT_CONNECT,
    LOST,
    OK,
    RECEIVER_STOPPED,
    SEMI_SYNC,
    codes,
    finding,
    findings,
    key,
    server,
)

LAGGING = {"replication_lag_seconds": 11}
PARTIAL = {**LOST, "last_check_partial_success": True}


def test_a_healthy_topology_has_no_findings() -> None:
    assert findings(server("m"), server("a", "m"), server("b", "m"), server("c", "b")) == ()


# Masters


def test_1_a_lost_master_without_replicas() -> None:
    assert codes(server("m", "", LOST)) == {"m": "DeadMasterWithoutReplicas"}


@pytest.mark.parametrize("misfortune", [RECEIVER_STOPPED, APPLIER_STOPPED, CANNOT_CONNECT])
def test_2_a_lost_master_none_of_whose_replicas_replicates(misfortune: dict[str, Any]) -> None:
    servers = (server("m", "", LOST), server("a", "m", misfortune), server("b", "m", misfortune))
    assert codes(*servers)["m"] == "DeadMaster"


def test_2_partial_success_of_the_check_makes_no_difference_to_a_dead_master() -> None:
    assert codes(server("m", "", PARTIAL), server("a", "m", RECEIVER_STOPPED)) == {"m": "DeadMaster"}


def test_2_a_replica_that_is_connecting_does_not_replicate() -> None:
    connecting = server("a", "m", receiver_state=ThreadState.OTHER)
    assert codes(server("m", "", LOST), connecting) == {"m": "DeadMaster"}


def test_3_a_lost_master_all_of_whose_replicas_are_lost() -> None:
    assert codes(server("m", "", LOST), server("a", "m", LOST), server("b", "m", LOST))["m"] == (
        "DeadMasterAndReplicas"
    )


def test_4_a_lost_master_some_of_whose_replicas_are_lost() -> None:
    servers = (server("m", "", LOST), server("a", "m", LOST), server("b", "m", RECEIVER_STOPPED))
    assert codes(*servers)["m"] == "DeadMasterAndSomeReplicas"


def test_5_a_lost_master_whose_replicas_all_lag() -> None:
    servers = (server("m", "", LOST), server("a", "m", LAGGING), server("b", "m", LAGGING))
    assert codes(*servers) == {"m": "UnreachableMasterWithLaggingReplicas"}


def test_5_lag_must_be_above_the_threshold_and_known() -> None:
    for lag_seconds in (10, None):
        replica = server("a", "m", replication_lag_seconds=lag_seconds)
        assert codes(server("m", "", LOST), replica) == {"m": "UnreachableMaster"}


def test_5_replicas_that_all_are_delayed_on_purpose_do_not_count_as_lagging() -> None:
    delayed = {"replication_lag_seconds": 600, "sql_delay_seconds": 600}
    master, one, other = server("m", "", LOST), server("a", "m", delayed), server("b", "m", LAGGING)
    assert codes(master, one) == {"m": "UnreachableMaster"}
    assert codes(master, one, other) == {"m": "UnreachableMasterWithLaggingReplicas"}


def test_6_a_lost_master_with_a_replica_that_replicates() -> None:
    servers = (
        server("m", "", LOST),
        server("a", "m"),
        server("b", "m", RECEIVER_STOPPED),
        server("c", "m", LOST),
    )
    assert codes(*servers)["m"] == "UnreachableMaster"


def test_7_a_master_that_answers_in_part_while_a_replica_cannot_connect() -> None:
    servers = (server("m", "", PARTIAL), server("a", "m"), server("b", "m", CANNOT_CONNECT))
    assert codes(*servers)["m"] == "UnreachableMaster"


def test_7_a_master_that_answers_in_part_and_has_happy_replicas_is_left_in_peace() -> None:
    assert codes(server("m", "", PARTIAL), server("a", "m"), server("b", "m", RECEIVER_STOPPED)) == {}


def test_8_a_semi_sync_master_with_too_few_clients() -> None:
    master = server("m", "", SEMI_SYNC, semi_sync_master_wait_count=2, semi_sync_master_clients=1)
    assert codes(master, server("a", "m")) == {"m": "LockedSemiSyncMasterHypothesis"}


@pytest.mark.parametrize(
    ("stale_seconds", "locked_after", "code"),
    [
        (10.0, 0, "LockedSemiSyncMasterHypothesis"),
        (10.5, 0, "LockedSemiSyncMaster"),  # as ReasonableReplicationLagSeconds
        (10.5, 30, "LockedSemiSyncMasterHypothesis"),
        (30.5, 30, "LockedSemiSyncMaster"),
    ],
)
def test_8_it_is_locked_once_its_coordinates_stood_still(
    stale_seconds: float, locked_after: int, code: str
) -> None:
    facts = {"semi_sync_master_wait_count": 1, "binlog_coordinates_stale_seconds": stale_seconds}
    policy = AnalysisPolicy(reasonable_locked_semi_sync_master_seconds=locked_after)
    assert codes(server("m", "", SEMI_SYNC, facts), server("a", "m"), policy=policy) == {"m": code}


def test_8_does_not_ask_whether_the_check_was_valid() -> None:
    facts = {**PARTIAL, **SEMI_SYNC, "semi_sync_master_wait_count": 1}
    assert codes(server("m", "", facts), server("a", "m")) == {"m": "LockedSemiSyncMasterHypothesis"}


@pytest.mark.parametrize(
    "facts",
    [
        {"semi_sync_master_wait_count": 0},
        {"semi_sync_master_wait_count": 1, "semi_sync_master_clients": 1},
        {"semi_sync_master_wait_count": 1, "semi_sync_master_status": False},
        {"semi_sync_master_wait_count": 1, "semi_sync_master_enabled": False},
    ],
)
def test_8_not_locked(facts: dict[str, Any]) -> None:
    assert codes(server("m", "", {**SEMI_SYNC, **facts}), server("a", "m")) == {}


def test_9_too_many_semi_sync_replicas_if_the_number_is_to_be_exact() -> None:
    master = server("m", "", SEMI_SYNC, semi_sync_master_wait_count=1, semi_sync_master_clients=2)
    exact = AnalysisPolicy(enforce_exact_semi_sync=True)
    assert codes(master, server("a", "m"), policy=exact) == {"m": "MasterWithTooManySemiSyncReplicas"}
    assert codes(master, server("a", "m")) == {}


def test_10_a_read_only_master_is_a_problem_if_it_is_to_be_mended() -> None:
    master, mended = server("m", read_only=True), AnalysisPolicy(recover_non_writeable_master=True)
    code = "NoWriteableMasterStructureWarning"
    assert codes(master, server("a", "m"), policy=mended) == {"m": code}
    assert codes(master, server("a", "m")) == {}
    stopped = codes(master, server("a", "m", RECEIVER_STOPPED), policy=mended)
    assert stopped == {"m": "MasterSingleReplicaNotReplicating"}


def test_11_the_only_replica_does_not_replicate() -> None:
    assert codes(server("m"), server("a", "m", APPLIER_STOPPED)) == {"m": "MasterSingleReplicaNotReplicating"}


def test_12_the_only_replica_is_lost() -> None:
    assert codes(server("m"), server("a", "m", LOST)) == {"m": "MasterSingleReplicaDead"}


def test_13_no_replica_replicates() -> None:
    servers = (server("m"), server("a", "m", APPLIER_STOPPED), server("b", "m", RECEIVER_STOPPED))
    assert codes(*servers) == {"m": "AllMasterReplicasNotReplicating"}


def test_14_no_replica_replicates_and_some_are_lost() -> None:
    servers = (server("m"), server("a", "m", LOST), server("b", "m", RECEIVER_STOPPED))
    assert codes(*servers) == {"m": "AllMasterReplicasNotReplicatingOrDead"}


def test_a_master_all_of_whose_several_replicas_are_lost_matches_nothing() -> None:
    assert codes(server("m"), server("a", "m", LOST), server("b", "m", LOST)) == {}


def test_one_stopped_replica_among_several_is_no_failure() -> None:
    assert codes(server("m"), server("a", "m", RECEIVER_STOPPED), server("b", "m")) == {}


def test_a_detached_or_reset_server_is_a_master() -> None:
    for hostname in ("//m", "_"):
        detached = server("a", "m", LOST, master_key=InstanceKey(hostname, 3306))
        assert codes(detached) == {"a": "DeadMasterWithoutReplicas"}


# Co-masters: c and m replicate from each other, r from m


def co_masters(*m: dict[str, Any], c: dict[str, Any] = OK, r: dict[str, Any] = OK) -> dict[str, str]:
    return codes(server("m", "c", *m), server("c", "m", c), server("r", "m", r))


def test_15_a_lost_co_master_none_of_whose_replicas_replicates() -> None:
    assert co_masters(LOST, c=RECEIVER_STOPPED, r=RECEIVER_STOPPED)["m"] == "DeadCoMaster"


def test_16_a_lost_co_master_some_of_whose_replicas_are_lost() -> None:
    assert co_masters(LOST, c=RECEIVER_STOPPED, r=LOST)["m"] == "DeadCoMasterAndSomeReplicas"


def test_17_a_lost_co_master_with_a_replica_that_replicates() -> None:
    assert co_masters(LOST, r=RECEIVER_STOPPED)["m"] == "UnreachableCoMaster"


def test_17_partial_success_of_a_co_master_is_left_in_peace() -> None:
    assert "m" not in co_masters(PARTIAL)


def test_18_a_co_master_none_of_whose_replicas_replicates() -> None:
    assert co_masters(c=RECEIVER_STOPPED, r=RECEIVER_STOPPED) == {"m": "AllCoMasterReplicasNotReplicating"}


def test_a_co_master_that_is_lost_with_all_its_replicas_falls_through_to_row_23() -> None:
    assert co_masters(LOST, c=LOST, r=LOST)["m"] == "DeadIntermediateMasterAndReplicas"


def test_a_server_whose_replica_is_flagged_co_master_is_one() -> None:
    # As in the middle of a change: what the two say of each other is of different moments.
    entry = finding("m", server("m", "c", LOST), server("c", "m", RECEIVER_STOPPED))
    assert entry.is_co_master
    assert not entry.is_master


# Intermediate masters: i below m, with replicas a and b


def below_intermediate(*servers: Any) -> dict[str, str]:
    return codes(server("m"), server("n", "m"), *servers)


def test_19_a_lost_intermediate_master_whose_only_replica_cannot_connect() -> None:
    assert below_intermediate(server("i", "m", LOST), server("a", "i", CANNOT_CONNECT)) == {
        "i": "DeadIntermediateMasterWithSingleReplicaFailingToConnect"
    }


def test_20_a_lost_intermediate_master_whose_only_replica_does_not_replicate() -> None:
    for misfortune in (RECEIVER_STOPPED, {**CANNOT_CONNECT, **APPLIER_STOPPED}):
        assert below_intermediate(server("i", "m", LOST), server("a", "i", misfortune)) == {
            "i": "DeadIntermediateMasterWithSingleReplica"
        }


def test_21_a_lost_intermediate_master_none_of_whose_replicas_replicates() -> None:
    replicas = (server("a", "i", RECEIVER_STOPPED), server("b", "i", CANNOT_CONNECT))
    assert below_intermediate(server("i", "m", LOST), *replicas) == {"i": "DeadIntermediateMaster"}


def test_22_a_lost_intermediate_master_some_of_whose_replicas_are_lost() -> None:
    replicas = (server("a", "i", RECEIVER_STOPPED), server("b", "i", LOST))
    assert below_intermediate(server("i", "m", LOST), *replicas) == {
        "i": "DeadIntermediateMasterAndSomeReplicas"
    }


def test_23_a_lost_intermediate_master_all_of_whose_replicas_are_lost() -> None:
    assert below_intermediate(server("i", "m", LOST), server("a", "i", LOST)) == {
        "i": "DeadIntermediateMasterAndReplicas"
    }


def test_24_a_lost_intermediate_master_whose_replicas_all_lag() -> None:
    assert below_intermediate(server("i", "m", LOST), server("a", "i", LAGGING)) == {
        "i": "UnreachableIntermediateMasterWithLaggingReplicas"
    }


def test_25_a_lost_intermediate_master_with_a_replica_that_replicates() -> None:
    assert below_intermediate(server("i", "m", LOST), server("a", "i"), server("b", "i", CANNOT_CONNECT)) == {
        "i": "UnreachableIntermediateMaster"
    }
    assert below_intermediate(server("i", "m", PARTIAL), server("a", "i")) == {}


def test_26_an_intermediate_master_to_which_no_replica_can_connect() -> None:
    for other in (CANNOT_CONNECT, LOST):
        assert below_intermediate(
            server("i", "m"), server("a", "i", CANNOT_CONNECT), server("b", "i", other)
        ) == {"i": "AllIntermediateMasterReplicasFailingToConnectOrDead"}


def test_27_an_intermediate_master_none_of_whose_replicas_replicates() -> None:
    expected = {"i": "AllIntermediateMasterReplicasNotReplicating"}
    assert below_intermediate(server("i", "m"), server("a", "i", RECEIVER_STOPPED)) == expected
    assert below_intermediate(server("i", "m"), server("a", "i", CANNOT_CONNECT)) == expected
    pair = (server("a", "i", CANNOT_CONNECT), server("b", "i", RECEIVER_STOPPED))
    assert below_intermediate(server("i", "m"), *pair) == expected


def test_27_not_if_all_replicas_are_lost() -> None:
    assert below_intermediate(server("i", "m"), server("a", "i", LOST)) == {}


# Replicas


def test_28_a_binlog_server_that_cannot_connect() -> None:
    binlog_server = server("a", "m", CANNOT_CONNECT, version="2.5.1-maxscale")
    assert codes(server("m"), server("n", "m"), binlog_server) == {
        "a": "BinlogServerFailingToConnectToMaster"
    }


def test_29_a_direct_replica_that_cannot_connect() -> None:
    assert codes(server("m"), server("n", "m"), server("a", "m", CANNOT_CONNECT)) == {
        "a": "FirstTierReplicaFailingToConnectToMaster"
    }


def test_29_not_one_further_down() -> None:
    assert below_intermediate(server("i", "m"), server("j", "i"), server("a", "i", CANNOT_CONNECT)) == {}


def test_death_of_a_leaf_is_no_failure() -> None:
    assert codes(server("m"), server("a", "m"), server("b", "m", LOST)) == {}


# Members of a replication group


def member(name: str, role: str, *misfortunes: dict[str, Any], source: str = "") -> Any:
    group = {"replication_group_name": "g", "replication_group_member_state": "ONLINE"}
    facts = {"replication_group_member_role": role, "replication_group_primary_key": key("p")}
    return server(name, source, group, facts, *misfortunes)


@pytest.mark.parametrize("role", ["PRIMARY", "SECONDARY"])
def test_a_lost_member_none_of_whose_replicas_replicates(role: str) -> None:
    servers = (member("p", role, LOST), server("a", "p", RECEIVER_STOPPED))
    assert codes(*servers) == {"p": "DeadReplicationGroupMemberWithReplicas"}
    assert finding("p", *servers).is_master == (role == "PRIMARY")


def test_no_other_problem_is_found_in_members() -> None:
    assert codes(member("p", "PRIMARY", LOST), member("s", "SECONDARY", LOST)) == {}
    assert codes(member("p", "PRIMARY"), server("a", "p", RECEIVER_STOPPED)) == {}
    assert codes(member("p", "PRIMARY", LOST), server("a", "p")) == {}


def test_a_member_that_is_offline_is_analysed_as_any_other_server() -> None:
    offline = member("p", "PRIMARY", LOST, {"replication_group_member_state": "OFFLINE"})
    assert codes(offline, server("a", "p", RECEIVER_STOPPED)) == {"p": "DeadMaster"}


# What the rows set in motion (failure-detection.md 4)


def test_codes_of_the_table_are_in_the_order_of_the_reference() -> None:
    listed = [row.code for row in PROBLEMS]
    declared = list(AnalysisCode)
    at_7 = listed.index(AnalysisCode.UNREACHABLE_MASTER) + 1
    assert listed[at_7] is AnalysisCode.UNREACHABLE_MASTER
    rest = [
        code for code in listed[:at_7] + listed[at_7 + 1 :] if code is not AnalysisCode.NO_WRITEABLE_MASTER
    ]
    assert rest == [code for code in declared if code in rest]
    assert len(listed) == 30  # 29 rows, one of which has two codes


@pytest.mark.parametrize(
    ("code", "emergency", "is_detected", "recovery"),
    [
        ("DeadMasterWithoutReplicas", Emergency.NONE, False, RecoveryKind.NONE),
        ("DeadMaster", Emergency.NONE, True, RecoveryKind.DEAD_MASTER),
        ("DeadMasterAndReplicas", Emergency.REREAD_SOURCE, True, RecoveryKind.NONE),
        ("DeadMasterAndSomeReplicas", Emergency.NONE, True, RecoveryKind.DEAD_MASTER),
        ("UnreachableMasterWithLaggingReplicas", Emergency.RESTART_RECEIVERS, True, RecoveryKind.NONE),
        ("UnreachableMaster", Emergency.REREAD_MASTER_AND_REPLICAS, True, RecoveryKind.NONE),
        ("LockedSemiSyncMaster", Emergency.NONE, True, RecoveryKind.LOCKED_SEMI_SYNC),
        ("LockedSemiSyncMasterHypothesis", Emergency.RECORD_COORDINATES, False, RecoveryKind.NONE),
        ("MasterWithTooManySemiSyncReplicas", Emergency.NONE, True, RecoveryKind.EXACT_SEMI_SYNC),
        ("NoWriteableMasterStructureWarning", Emergency.NONE, True, RecoveryKind.SET_WRITEABLE),
        ("MasterSingleReplicaNotReplicating", Emergency.NONE, False, RecoveryKind.NONE),
        ("MasterSingleReplicaDead", Emergency.NONE, False, RecoveryKind.NONE),
        ("AllMasterReplicasNotReplicating", Emergency.REREAD_MASTER, True, RecoveryKind.NONE),
        ("AllMasterReplicasNotReplicatingOrDead", Emergency.REREAD_MASTER, True, RecoveryKind.NONE),
        ("DeadCoMaster", Emergency.NONE, True, RecoveryKind.DEAD_CO_MASTER),
        ("DeadCoMasterAndSomeReplicas", Emergency.NONE, True, RecoveryKind.DEAD_CO_MASTER),
        ("UnreachableCoMaster", Emergency.NONE, False, RecoveryKind.NONE),
        ("AllCoMasterReplicasNotReplicating", Emergency.NONE, False, RecoveryKind.NONE),
        (
            "DeadIntermediateMasterWithSingleReplicaFailingToConnect",
            Emergency.NONE,
            True,
            RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        ),
        ("DeadIntermediateMasterWithSingleReplica", Emergency.NONE, False, RecoveryKind.NONE),
        ("DeadIntermediateMaster", Emergency.NONE, True, RecoveryKind.DEAD_INTERMEDIATE_MASTER),
        (
            "DeadIntermediateMasterAndSomeReplicas",
            Emergency.NONE,
            True,
            RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        ),
        ("DeadIntermediateMasterAndReplicas", Emergency.NONE, True, RecoveryKind.NONE),
        (
            "UnreachableIntermediateMasterWithLaggingReplicas",
            Emergency.RESTART_RECEIVERS,
            True,
            RecoveryKind.NONE,
        ),
        ("UnreachableIntermediateMaster", Emergency.NONE, False, RecoveryKind.NONE),
        (
            "AllIntermediateMasterReplicasFailingToConnectOrDead",
            Emergency.NONE,
            True,
            RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        ),
        ("AllIntermediateMasterReplicasNotReplicating", Emergency.NONE, False, RecoveryKind.NONE),
        ("BinlogServerFailingToConnectToMaster", Emergency.NONE, False, RecoveryKind.NONE),
        ("FirstTierReplicaFailingToConnectToMaster", Emergency.REREAD_SOURCE, False, RecoveryKind.NONE),
    ],
)
def test_what_a_code_sets_in_motion(
    code: str, emergency: Emergency, is_detected: bool, recovery: RecoveryKind
) -> None:
    rows = [row for row in PROBLEMS if row.code.value == code]
    assert rows
    for row in rows:
        assert (row.emergency, row.is_detected, row.recovery) == (emergency, is_detected, recovery)
        assert row.description
