"""Python values to the JSON of the API: recoveries, clusters, the node (http-api.md 6).

Field names are the reference's, mixed styles and all. See ``api.wire`` for instances and analyses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from api import wire_types
from api.wire import analysis_to_wire, key_to_wire
from api.wire_kinds import COMPUTED_TIME
from services.analysis import AnalysisCode, ClusterDetails, Emergency, RecoveryKind, ReplicationAnalysis
from services.config import Settings, cluster_matches
from services.node_view import NodeIdentity, NodeStatus
from services.topology.coordinates import NO_COORDINATES
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import (
    AnalysisEntry,
    AuditEntry,
    BlockedRecovery,
    FailureDetection,
    Recovery,
    RecoveryStep,
)
from services.topology.tree import Cluster

__all__ = [
    "audit_to_wire",
    "blocked_to_wire",
    "changelog_to_wire",
    "cluster_to_wire",
    "detection_to_wire",
    "recovery_to_wire",
    "status_to_wire",
    "step_to_wire",
]

_NEVER = "0001-01-01T00:00:00Z"


def _keys(keys: Iterable[InstanceKey]) -> list[wire_types.Key]:
    return [key_to_wire(key) for key in sorted(keys)]


def cluster_to_wire(cluster: Cluster, settings: Settings) -> wire_types.ClusterInfo:
    """``ClusterInfo`` (6.4)."""
    filters = (
        settings.RecoverMasterClusterFilters,
        settings.RecoverIntermediateMasterClusterFilters,
    )
    # A fragment is never recovered automatically, whatever the filters say.
    masters, intermediate_masters = (
        not cluster.is_fragment and cluster_matches(names, cluster.name, cluster.alias) for names in filters
    )
    return {
        "ClusterName": cluster.name,
        "ClusterAlias": cluster.alias,
        "ClusterDomain": cluster.domain,
        "CountInstances": len(cluster.instance_keys),
        "HeuristicLag": 0,
        "HasAutomatedMasterRecovery": masters,
        "HasAutomatedIntermediateMasterRecovery": intermediate_masters,
    }


def recovery_to_wire(recovery: Recovery) -> wire_types.TopologyRecovery:
    """``TopologyRecovery`` as it is read from the audit (6.6)."""
    return {
        "Id": recovery.id,
        "UID": recovery.uid,
        "AnalysisEntry": _entry_to_wire(recovery.analysis_entry),
        "SuccessorKey": key_to_wire(recovery.successor_key),
        "SuccessorAlias": recovery.successor_alias,
        "SuccessorBinlogCoordinates": None,
        "IsActive": recovery.is_active,
        "IsSuccessful": recovery.is_successful,
        "LostReplicas": _keys(recovery.lost_replicas),
        "ParticipatingInstanceKeys": _keys(recovery.participating_instance_keys),
        "AllErrors": list(recovery.all_errors) or [""],  # of none, the reference's split makes one
        "RecoveryStartTimestamp": recovery.recovery_start_timestamp,
        "RecoveryEndTimestamp": COMPUTED_TIME.write(recovery.recovery_end_timestamp),
        "ProcessingNodeHostname": recovery.processing_node_hostname,
        "ProcessingNodeToken": recovery.processing_node_token,
        "Acknowledged": recovery.acknowledged,
        "AcknowledgedAt": recovery.acknowledged_at,
        "AcknowledgedBy": recovery.acknowledged_by,
        "AcknowledgedComment": recovery.acknowledged_comment,
        "LastDetectionId": recovery.last_detection_id,
        "RelatedRecoveryId": 0,
        "Type": "",
        "RecoveryType": "NotMasterRecovery",
    }


def detection_to_wire(detection: FailureDetection) -> wire_types.TopologyRecovery:
    """``TopologyRecovery`` as the audit of detections has it (6.6)."""
    start = detection.recovery_start_timestamp
    return {
        "Id": detection.id,
        "UID": "",
        "AnalysisEntry": _entry_to_wire(detection.analysis_entry) | {"StartActivePeriod": start},
        "SuccessorKey": None,
        "SuccessorAlias": "",
        "SuccessorBinlogCoordinates": None,
        "IsActive": detection.is_active,
        "IsSuccessful": False,
        "LostReplicas": [],
        "ParticipatingInstanceKeys": [],
        "AllErrors": None,
        "RecoveryStartTimestamp": start,
        "RecoveryEndTimestamp": "",
        "ProcessingNodeHostname": detection.processing_node_hostname,
        "ProcessingNodeToken": detection.processing_node_token,
        "Acknowledged": False,
        "AcknowledgedAt": "",
        "AcknowledgedBy": "",
        "AcknowledgedComment": "",
        "LastDetectionId": 0,
        "RelatedRecoveryId": detection.related_recovery_id,
        "Type": "",
        "RecoveryType": "",
    }


def step_to_wire(step: RecoveryStep) -> wire_types.TopologyRecoveryStep:
    return {
        "Id": step.id,
        "RecoveryUID": step.recovery_uid,
        "AuditAt": step.audit_at,
        "Message": step.message,
    }


def blocked_to_wire(attempt: BlockedRecovery) -> wire_types.BlockedTopologyRecovery:
    return {
        "FailedInstanceKey": key_to_wire(attempt.failed_instance_key),
        "ClusterName": attempt.cluster_name,
        "Analysis": attempt.analysis,
        "LastBlockedTimestamp": attempt.last_blocked_timestamp,
        "BlockingRecoveryId": attempt.blocking_recovery_id,
    }


def audit_to_wire(entry: AuditEntry) -> wire_types.Audit:
    return {
        "AuditId": entry.id,
        "AuditTimestamp": entry.at,
        "AuditType": entry.type,
        "AuditInstanceKey": key_to_wire(entry.instance),
        "Message": entry.message,
    }


def changelog_to_wire(key: InstanceKey, lines: Iterable[tuple[str, str]]) -> wire_types.Changelog:
    """``lines``: time and code, oldest first."""
    said = [f"{COMPUTED_TIME.write(at)};{code}," for at, code in lines]
    return {"AnalyzedInstanceKey": key_to_wire(key), "Changelog": said}


def status_to_wire(status: NodeStatus, configuration_warnings: Sequence[str]) -> wire_types.HealthStatus:
    """``HealthStatus`` (6.8), and ``Warnings``, which is ours: what an operator should look at."""
    raft = status.raft
    return {
        "Healthy": status.healthy,
        "Hostname": status.hostname,
        "Token": status.token,
        "IsActiveNode": status.is_leader,
        "ActiveNode": _node_to_wire(status.active_node),
        "Error": {"Message": status.error} if status.error else None,
        "AvailableNodes": [_node_to_wire(node) for node in status.available_nodes],
        "RaftLeader": raft.leader if raft else "",
        "RaftLeaderURI": raft.leader_uri if raft else "",
        "RaftAdvertise": raft.advertise if raft else "",
        "IsRaftLeader": raft is not None and status.is_leader,
        "RaftHealthyMembers": list(raft.reached) if raft and status.is_leader else None,
        "Warnings": list(dict.fromkeys([*configuration_warnings, *status.warnings])),
    }


def _node_to_wire(node: NodeIdentity) -> wire_types.NodeHealth:
    return {
        "Hostname": node.hostname,
        "Token": node.token,
        "AppVersion": node.app_version,
        "FirstSeenActive": node.first_seen_active,
        "LastSeenActive": node.last_seen_active,
        "ExtraInfo": "",
        "Command": "",
        "DBBackend": node.db_backend,
        "LastReported": _NEVER,
    }


def _entry_to_wire(entry: AnalysisEntry) -> wire_types.Analysis:
    """A ``ReplicationAnalysis`` of which only that is filled in which the audit keeps."""
    details = replace(
        _BLANK.cluster_details, cluster_name=entry.cluster_name, cluster_alias=entry.cluster_alias
    )
    kept = replace(
        _BLANK,
        analyzed_instance_key=entry.analyzed_instance_key,
        cluster_details=details,
        count_replicas=entry.count_replicas,
        replicas=tuple(sorted(entry.replicas)),
    )
    return analysis_to_wire(kept) | {"Analysis": entry.analysis}


_BLANK = ReplicationAnalysis(
    analyzed_instance_key=NO_KEY,
    analyzed_instance_master_key=NO_KEY,
    cluster_details=ClusterDetails(cluster_name="", cluster_alias="", cluster_domain=""),
    analyzed_instance_data_center="",
    analyzed_instance_region="",
    analyzed_instance_physical_environment="",
    analyzed_instance_binlog_coordinates=NO_COORDINATES,
    is_master=False,
    is_replication_group_member=False,
    is_co_master=False,
    last_check_valid=False,
    last_check_partial_success=False,
    count_replicas=0,
    count_valid_replicas=0,
    count_valid_replicating_replicas=0,
    count_replicas_failing_to_connect_to_master=0,
    count_downtimed_replicas=0,
    replication_depth=0,
    replicas=(),
    is_failing_to_connect_to_master=False,
    analysis=AnalysisCode.NO_PROBLEM,
    description="",
    structure_analysis=(),
    is_downtimed=False,
    is_replicas_downtimed=False,
    downtime_end_timestamp="",
    downtime_remaining_seconds=0,
    is_binlog_server=False,
    pseudo_gtid_immediate_topology=False,
    oracle_gtid_immediate_topology=False,
    mariadb_gtid_immediate_topology=False,
    binlog_server_immediate_topology=False,
    semi_sync_master_enabled=False,
    semi_sync_master_status=False,
    semi_sync_master_wait_for_replica_count=0,
    semi_sync_master_clients=0,
    count_semi_sync_replicas_enabled=0,
    count_logging_replicas=0,
    count_statement_based_logging_replicas=0,
    count_mixed_based_logging_replicas=0,
    count_row_based_logging_replicas=0,
    count_distinct_major_versions_logging_replicas=0,
    count_delayed_replicas=0,
    count_lagging_replicas=0,
    skippable_due_to_downtime=False,
    gtid_mode="",
    min_replica_gtid_mode="",
    max_replica_gtid_mode="",
    max_replica_gtid_errant="",
    is_read_only=False,
    actionable=False,
    reasons=(),
    emergency=Emergency.NONE,
    is_detected=False,
    recovery=RecoveryKind.NONE,
)
"""Nothing is known of the server."""
