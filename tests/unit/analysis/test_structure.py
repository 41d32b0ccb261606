"""Structure findings (failure-detection.md 3.3)."""

from __future__ import annotations

from typing import Any

import pytest

from services.analysis import AnalysisPolicy
from tests.unit.analysis.stories import CANNOT_CONNECT, LOST, SEMI_SYNC, finding, findings, server, structure

NOT_LOGGING = {"log_replica_updates_enabled": False}


def pair(one: dict[str, Any], other: dict[str, Any], **master: Any) -> dict[str, list[str]]:
    """Structure findings of a master with two replicas."""
    return structure(server("m", **master), server("a", "m", one), server("b", "m", other))


def test_no_replica_writes_a_binary_log() -> None:
    assert pair(NOT_LOGGING, {"log_bin_enabled": False}) == {"m": ["NoLoggingReplicasStructureWarning"]}
    assert pair(NOT_LOGGING, {}) == {}
    assert structure(server("m"), server("a", "m", NOT_LOGGING)) == {}


def test_nothing_to_fail_over_by() -> None:
    by_position = {"using_oracle_gtid": False}
    expected = {"m": ["NoFailoverSupportStructureWarning"]}
    assert pair(by_position, by_position) == expected
    assert pair(by_position, {}) == expected  # all valid replicas must use it
    assert pair({**by_position, **LOST}, {}) == {}  # a lost one does not count
    assert pair(by_position, by_position, using_pseudo_gtid=True) == {}
    assert structure(server("m"), server("a", "m", by_position)) == {}


def test_mariadb_gtid_and_binlog_servers_support_failover() -> None:
    mariadb = {"using_oracle_gtid": False, "using_mariadb_gtid": True}
    binlog_server = {"using_oracle_gtid": False, "version": "8.4-maxscale"}
    assert pair(mariadb, mariadb) == {}
    assert pair(binlog_server, binlog_server) == {}
    assert pair(mariadb, binlog_server) == {"m": ["NoFailoverSupportStructureWarning"]}


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        ("STATEMENT", "MIXED", "StatementAndMixedLoggingReplicasStructureWarning"),
        ("STATEMENT", "ROW", "StatementAndRowLoggingReplicasStructureWarning"),
        ("MIXED", "ROW", "MixedAndRowLoggingReplicasStructureWarning"),
    ],
)
def test_replicas_that_log_in_different_formats(one: str, other: str, code: str) -> None:
    assert pair({"binlog_format": one}, {"binlog_format": other}) == {"m": [code]}
    assert pair({"binlog_format": one, **NOT_LOGGING}, {"binlog_format": other}) == {}


def test_replicas_of_several_major_versions() -> None:
    expected = {"m": ["MultipleMajorVersionsLoggingReplicasStructureWarning"]}
    assert pair({"version": "8.0.40"}, {}) == expected
    assert pair({"version": "8.4.9-log"}, {}) == {}
    assert pair({"version": "8.0.40", **NOT_LOGGING}, {}) == {}


def test_gtid_modes_differ() -> None:
    expected = {"m": ["DifferentGTIDModesStructureWarning"]}
    assert pair({"gtid_mode": "ON_PERMISSIVE"}, {}) == expected
    assert pair({}, {}, gtid_mode="ON_PERMISSIVE") == expected
    assert structure(server("m"), server("i", "m"), server("a", "i", gtid_mode="OFF")) == {
        "i": ["DifferentGTIDModesStructureWarning"]
    }


def test_a_replica_with_errant_transactions() -> None:
    own = "00000000-0000-0000-0000-00000000000b"
    errant = {"server_uuid": own, "executed_gtid_set": f"{own}:1"}
    executed = {"executed_gtid_set": "00000000-0000-0000-0000-00000000000a:1"}
    assert pair(errant, {}, **executed) == {"m": ["ErrantGTIDStructureWarning"]}
    assert pair({**errant, "is_downtimed": True}, {}, **executed) == {}
    found = finding("m", server("m", **executed), server("a", "m", errant))
    assert found.max_replica_gtid_errant == f"{own}:1"


def test_a_read_only_master() -> None:
    expected = {"m": ["NoWriteableMasterStructureWarning"]}
    assert structure(server("m", read_only=True), server("a", "m")) == expected
    assert structure(server("m"), server("i", "m", read_only=True), server("a", "i")) == {}


@pytest.mark.parametrize(
    ("facts", "is_found"),
    [
        ({"semi_sync_master_status": False, "semi_sync_master_wait_count": 1}, True),
        ({"semi_sync_master_status": True, "semi_sync_master_wait_count": 1}, False),  # that is row 8
        ({"semi_sync_master_status": False, "semi_sync_master_wait_count": 0}, False),
        (
            {
                "semi_sync_master_status": False,
                "semi_sync_master_wait_count": 1,
                "semi_sync_master_enabled": False,
            },
            False,
        ),
        (
            {
                "semi_sync_master_status": False,
                "semi_sync_master_wait_count": 1,
                "semi_sync_master_clients": 1,
            },
            False,
        ),
    ],
)
def test_semi_sync_fell_back_for_want_of_replicas(facts: dict[str, Any], is_found: bool) -> None:
    found = structure(server("m", "", SEMI_SYNC, facts), server("a", "m"))
    assert found == ({"m": ["NotEnoughValidSemiSyncReplicasStructureWarning"]} if is_found else {})


def test_only_gtid_findings_speak_of_intermediate_masters() -> None:
    by_position = {"using_oracle_gtid": False, "log_bin_enabled": False}
    semi_sync = {"semi_sync_master_enabled": True, "semi_sync_master_wait_count": 1}

    def below(*replicas: dict[str, Any]) -> dict[str, list[str]]:
        lower = [server(f"r{number}", "i", facts) for number, facts in enumerate(replicas)]
        return structure(server("m"), server("i", "m", semi_sync), *lower)

    assert below(by_position, by_position) == {}
    assert below({"binlog_format": "STATEMENT"}, {"binlog_format": "MIXED"}, {"version": "8.0.40"}) == {}


def test_several_are_listed_in_the_order_of_the_reference() -> None:
    one = {"binlog_format": "MIXED", "version": "8.0.40", "gtid_mode": "OFF", "using_oracle_gtid": False}
    assert pair(one, {"using_oracle_gtid": False}, read_only=True) == {
        "m": [
            "NoFailoverSupportStructureWarning",
            "MixedAndRowLoggingReplicasStructureWarning",
            "MultipleMajorVersionsLoggingReplicasStructureWarning",
            "DifferentGTIDModesStructureWarning",
            "NoWriteableMasterStructureWarning",
        ]
    }


def test_they_stand_beside_a_problem_and_do_not_hide_it() -> None:
    (entry,) = findings(server("m", "", LOST, read_only=True))
    assert entry.analysis.value == entry.text == "DeadMasterWithoutReplicas"
    assert [code.value for code in entry.structure_analysis] == ["NoWriteableMasterStructureWarning"]
    (entry,) = findings(server("m", read_only=True), server("a", "m"))
    assert (entry.analysis.value, entry.text) == ("NoProblem", "NoWriteableMasterStructureWarning")


def test_a_privilege_that_a_recovery_would_need_is_named_where_there_is_to_be_one() -> None:
    lacking = "RELOAD: GRANT RELOAD ON *.* TO `o`@`%`"
    servers = server("m"), server("a", "m", lacking_privileges=lacking)
    assert structure(*servers) == {}
    policy = AnalysisPolicy(recovers_master=lambda name, _alias: name == "m:3306")
    (entry,) = findings(*servers, policy=policy)  # of a replica without replicas, too
    assert entry.analyzed_instance_key == servers[1].key
    assert [code.value for code in entry.structure_analysis] == ["MissingPrivilegesStructureWarning"]
    assert entry.text == "MissingPrivilegesStructureWarning"
    assert entry.description == f"a recovery would fail at a:3306: the account lacks {lacking}"
    assert entry.description in entry.reasons
    assert not entry.actionable


def test_a_missing_privilege_does_not_take_the_place_of_a_problem() -> None:
    lacking = {"lacking_privileges": "RELOAD: GRANT RELOAD ON *.* TO `o`@`%`"}
    policy = AnalysisPolicy(recovers_master=lambda *_: True)
    found = finding("m", server("m", "", LOST, lacking), server("a", "m", CANNOT_CONNECT), policy=policy)
    assert found.analysis.value == "DeadMaster"
    assert "RELOAD" not in found.description
    assert any("RELOAD" in reason for reason in found.reasons)
