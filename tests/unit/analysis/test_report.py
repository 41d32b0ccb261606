"""What is reported, in which order, with which facts (failure-detection.md 2.3, 3.4)."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from services.analysis import AnalysisPolicy
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome
from services.topology.tree import ClusterIdentity
from tests.unit.analysis.stories import (
    CANNOT_CONNECT,
    LOST,
    NOW,
    RECEIVER_STOPPED,
    codes,
    finding,
    findings,
    key,
    server,
)


def listed(*servers: Any, **how: Any) -> list[str]:
    return [entry.analyzed_instance_key.hostname for entry in findings(*servers, **how)]


def test_only_servers_with_something_to_tell_are_listed() -> None:
    servers = (server("m"), server("a", "m"), server("b", "a"))
    assert listed(*servers) == []
    assert listed(*servers, include_no_problem=True) == ["m", "a"]


def test_servers_without_replicas_are_left_out_unless_they_look_faulty() -> None:
    servers = (server("m"), server("a", "m"), server("b", "m", LOST), server("c", "m", CANNOT_CONNECT))
    assert listed(*servers, include_no_problem=True) == ["m", "b", "c"]
    everything = AnalysisPolicy(reduce_analysis_count=False)
    assert listed(*servers, include_no_problem=True, policy=everything) == ["m", "a", "b", "c"]


def test_reduction_drops_a_lone_master_however_its_semi_sync_is() -> None:
    lone = server(
        "m", semi_sync_master_enabled=True, semi_sync_master_status=True, semi_sync_master_wait_count=1
    )
    assert codes(lone) == {}
    assert codes(lone, policy=AnalysisPolicy(reduce_analysis_count=False)) == {
        "m": "LockedSemiSyncMasterHypothesis"
    }


def test_ignored_hosts_are_dropped() -> None:
    policy = AnalysisPolicy(ignores_hostname=lambda hostname: hostname == "m")
    assert listed(server("m", "", LOST), server("n", "", LOST), policy=policy) == ["n"]


def test_order_masters_then_tops_then_by_number_of_replicas() -> None:
    servers = (
        server("z", "", LOST),
        server("y", "", LOST),
        server("y1", "y"),
        server("x", "", LOST),
        server("x1", "x", RECEIVER_STOPPED),
        server("x2", "x1", RECEIVER_STOPPED),
        server("x3", "x1", RECEIVER_STOPPED),
        server("c", "d"),
        server("d", "c", RECEIVER_STOPPED),
    )
    assert listed(*servers) == ["x", "y", "z", "c", "x1"]


def test_downtime_of_the_server_itself_makes_it_skippable() -> None:
    entry = finding("m", server("m", "", LOST, is_downtimed=True), server("a", "m", RECEIVER_STOPPED))
    assert (entry.is_downtimed, entry.skippable_due_to_downtime, entry.is_replicas_downtimed) == (
        True,
        True,
        False,
    )


@pytest.mark.parametrize(
    ("code", "m", "i", "replicas"),
    [
        ("AllMasterReplicasNotReplicating", {}, None, [RECEIVER_STOPPED, RECEIVER_STOPPED]),
        ("AllMasterReplicasNotReplicatingOrDead", {}, None, [RECEIVER_STOPPED, LOST]),
        ("MasterSingleReplicaDead", {}, None, [LOST]),
        ("DeadIntermediateMasterWithSingleReplica", {}, LOST, [RECEIVER_STOPPED]),
        ("DeadIntermediateMasterWithSingleReplicaFailingToConnect", {}, LOST, [CANNOT_CONNECT]),
        ("DeadIntermediateMasterAndReplicas", {}, LOST, [LOST, LOST]),
        ("DeadIntermediateMasterAndSomeReplicas", {}, LOST, [LOST, RECEIVER_STOPPED]),
        ("AllIntermediateMasterReplicasFailingToConnectOrDead", {}, {}, [CANNOT_CONNECT, LOST]),
        ("AllIntermediateMasterReplicasNotReplicating", {}, {}, [RECEIVER_STOPPED]),
    ],
)
def test_codes_that_are_skippable_while_all_replicas_are_downtimed(
    code: str, m: dict[str, Any], i: dict[str, Any] | None, replicas: list[dict[str, Any]]
) -> None:
    upper = [server("m", "", m)] + ([] if i is None else [server("i", "m", i), server("n", "m")])
    source = "m" if i is None else "i"
    for downtimed in (len(replicas), len(replicas) - 1):
        lower = [
            server(f"r{number}", source, facts, is_downtimed=number < downtimed)
            for number, facts in enumerate(replicas)
        ]
        entry = finding(source, *upper, *lower)
        assert entry.analysis.value == code
        assert entry.count_downtimed_replicas == downtimed
        all_are = downtimed == len(replicas)
        assert (entry.is_replicas_downtimed, entry.skippable_due_to_downtime) == (all_are, all_are)


def test_co_masters_are_skippable_while_all_their_replicas_are_downtimed() -> None:
    stopped = {**RECEIVER_STOPPED, "is_downtimed": True}
    entry = finding("m", server("m", "c"), server("c", "m", stopped), server("r", "m", stopped))
    assert entry.analysis.value == "AllCoMasterReplicasNotReplicating"
    assert entry.skippable_due_to_downtime


def test_a_dead_master_is_not_skipped_for_its_replicas_downtime() -> None:
    replica = server("a", "m", RECEIVER_STOPPED, is_downtimed=True)
    assert not finding("m", server("m", "", LOST), replica).skippable_due_to_downtime


@pytest.mark.parametrize("end", ["2026-11-22T20:46:24Z", "2026-11-22 20:46:24"])
def test_the_rest_of_a_downtime_is_told_with_the_references_sign(end: str) -> None:
    lost = server("m", "", LOST, is_downtimed=True, downtime_end_timestamp=end)
    ends_at = 1795380384  # 2026-11-22 20:46:24 UTC
    assert finding("m", lost, unix_now=ends_at - 60.0).downtime_remaining_seconds == -60
    assert finding("m", lost, unix_now=ends_at + 60.0).downtime_remaining_seconds == 60
    assert finding("m", lost).downtime_remaining_seconds == 0
    assert finding("m", server("m", "", LOST), unix_now=ends_at).downtime_remaining_seconds == 0


def test_counts_and_facts() -> None:
    master = server(
        "m",
        "",
        LOST,
        data_center="dc1",
        region="r1",
        physical_environment="prod",
        self_coordinates=BinlogCoordinates("mysql-bin.000007", 99),
        semi_sync_master_clients=2,
    )
    replicas = (
        server("a", "m", semi_sync_replica_enabled=True, binlog_format="STATEMENT"),
        server("b", "m", CANNOT_CONNECT, sql_delay_seconds=5, binlog_format="MIXED", gtid_mode="OFF"),
        server("c", "m", LOST, replication_lag_seconds=99, is_downtimed=True, version="8.0.1"),
    )
    entry = finding("m", master, *replicas)
    assert entry.replicas == (key("a"), key("b"), key("c"))
    assert (
        entry.count_replicas,
        entry.count_valid_replicas,
        entry.count_valid_replicating_replicas,
        entry.count_replicas_failing_to_connect_to_master,
        entry.count_downtimed_replicas,
        entry.count_lagging_replicas,
        entry.count_delayed_replicas,
        entry.count_semi_sync_replicas_enabled,
    ) == (3, 2, 1, 1, 1, 1, 1, 1)
    assert (
        entry.count_logging_replicas,
        entry.count_statement_based_logging_replicas,
        entry.count_mixed_based_logging_replicas,
        entry.count_row_based_logging_replicas,
        entry.count_distinct_major_versions_logging_replicas,
    ) == (3, 1, 1, 1, 2)
    assert (entry.gtid_mode, entry.min_replica_gtid_mode, entry.max_replica_gtid_mode) == ("ON", "OFF", "ON")
    assert entry.oracle_gtid_immediate_topology
    assert (entry.analyzed_instance_data_center, entry.analyzed_instance_region) == ("dc1", "r1")
    assert entry.analyzed_instance_physical_environment == "prod"
    assert entry.analyzed_instance_binlog_coordinates == BinlogCoordinates("mysql-bin.000007", 99)
    assert entry.semi_sync_master_clients == 2
    assert (entry.is_master, entry.last_check_valid, entry.last_check_partial_success) == (True, False, False)


def test_the_cluster_is_told_with_its_automation() -> None:
    identity = ClusterIdentity(id="one", master_key=key("m"), alias="shop")
    policy = AnalysisPolicy(
        recovers_master=lambda name, alias: (name, alias) == ("m:3306", "shop"),
        processing_node_hostname="node1",
        processing_node_token="abc",
    )
    entry = finding("m", server("m", "", LOST), identities=(identity,), policy=policy)
    details = entry.cluster_details
    assert (details.cluster_name, details.cluster_alias, details.cluster_id) == ("m:3306", "shop", "one")
    assert details.cluster_domain == "m:3306"
    assert details.has_automated_master_recovery
    assert not details.has_automated_intermediate_master_recovery
    assert (entry.processing_node_hostname, entry.processing_node_token) == ("node1", "abc")


def test_a_server_that_was_never_checked_is_neither_analysed_nor_counted() -> None:
    never = {"last_check_outcome": CheckOutcome.UNKNOWN, "checked_at": 0.0, "seen_at": 0.0}
    assert findings(server("m", "", never)) == ()
    servers = (server("m", "", LOST), server("a", "m", never), server("b", "m", CANNOT_CONNECT))
    entry = finding("m", *servers)
    assert (entry.analysis.value, entry.replicas) == ("DeadMaster", (key("b"),))


def test_a_server_of_which_no_check_ends_any_more_is_not_valid() -> None:
    policy = AnalysisPolicy(instance_poll_seconds=5, reasonable_instance_check_seconds=1)
    servers = [server("a", "m", RECEIVER_STOPPED), server("b", "m", RECEIVER_STOPPED)]
    for seconds_ago, code in ((11, "AllMasterReplicasNotReplicating"), (12, "DeadMaster")):
        entry = finding("m", server("m", checked_at=NOW - seconds_ago), *servers, policy=policy)
        assert entry.analysis.value == code
        assert not entry.actionable


def test_an_entry_travels_between_processes() -> None:
    entry = finding("m", server("m", "", LOST))
    assert pickle.loads(pickle.dumps(entry)) == entry
