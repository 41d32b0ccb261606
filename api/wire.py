"""Instances and analyses in the JSON of the HTTP API (http-api.md 6.3 to 6.5), and instances back from it.

Both shapes are tables: a row per field, in the order of the reference. Names are the reference's, its
misspellings included. Five fields at the end of an instance are ours: the analysis needs
``LastCheckPartialSuccess`` and ``BinlogCoordinatesStaleSeconds``, which files carry; people need
``LastCheckOutcome`` and ``LastCheckError``, which tell how a check failed, and ``ReplicationChannels``: the
reference's fields speak of one channel only.

From the same tables come the JSON as text (``instance_text``), which long lists are made of, and the types
that ``/api/openapi.json`` describes.

Reading is tolerant of what is missing: a field that is absent or null has its default, and the historic
name of a field counts where the modern one is absent. It is not tolerant of wrong types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import TypedDict

from api import wire_types
from api.wire_channels import CHANNELS, STATE_NUMBERS
from api.wire_kinds import (
    COMPUTED_TIME,
    COORDINATES,
    FLAG,
    KEY,
    KEYS,
    LONG_TEXT,
    NOTHING,
    NULLABLE_FLAG,
    NULLABLE_WHOLE,
    NUMBER,
    QUOTED,
    RELAY_COORDINATES,
    STORED_TIME,
    TEXT,
    TEXTS,
    WHOLE,
    Kind,
    MisfitError,
    dumps,
    key_to_wire,
)
from api.wire_rows import Always, Compiled
from api.wire_rows import Field as _Field
from api.wire_rows import Shown as _Shown
from services.analysis.report import ClusterDetails, ReplicationAnalysis
from services.topology.instance import Instance, ThreadState

__all__ = [
    "ANALYSIS_TYPE",
    "INSTANCE_JSON",
    "INSTANCE_TYPE",
    "WireError",
    "analysis_to_wire",
    "dumps",
    "instance_from_wire",
    "instance_text",
    "instance_to_wire",
    "key_to_wire",
]

_VALUE_SHOWN = 60  # characters of an offending value in a message


class WireError(ValueError):
    """A JSON value is not an instance; the message names which one, the field and the value."""


def instance_to_wire(instance: Instance) -> dict[str, Any]:
    """All fields of ``Instance`` in the order of http-api.md 6.3, then ours."""
    return {row.name: row.value(instance) for row in _INSTANCE}


def instance_text(instance: Instance) -> str:
    """The JSON of `instance_to_wire`, in a seventh of the time."""
    return INSTANCE_JSON.filled(INSTANCE_JSON.staying(instance), instance)


def analysis_to_wire(analysis: ReplicationAnalysis) -> dict[str, Any]:
    """All fields of ``ReplicationAnalysis`` in the order of http-api.md 6.5; nothing of ours."""
    return {row.name: row.value(analysis) for row in _ANALYSIS}


def instance_from_wire(value: object, index: int | None = None) -> Instance:
    """Read one instance; ``index`` is its place in a list, for messages. Raises WireError.

    The error numbers of threads, the GTID set retrieved and how the last check ended are not in the JSON:
    they are unknown in the result.
    """
    which = "instance" if index is None else f"instance {index}"
    if not isinstance(value, dict):
        raise WireError(f"{which}: expected an object, found {_shown(value)}")
    key = _read("Key", KEY, value.get("Key"), which) if value.get("Key") is not None else None
    if key is None or not key.names_a_server:
        raise WireError(f"{which}: Key: expected a hostname and a port, found {_shown(value.get('Key'))}")
    which = f"{which} ({key})"
    found: dict[str, Any] = {}
    for row in _READ:
        member = value.get(row.name)
        if member is not None and row.attribute not in found:
            found[row.attribute] = _read(row.name, row.kind, member, which)
    found.setdefault("last_check_partial_success", found.get("is_last_check_valid", False))
    found.setdefault("replication_lag_seconds", found.get("seconds_behind_master"))
    is_replica = "master_key" in found and found["master_key"].names_a_server
    for attribute, names in _THREADS:
        found[attribute] = _thread_state(value, names, is_replica, which)
    return Instance(**found)


# Rows

_STATES = {number: state for state, number in STATE_NUMBERS.items()}


def _read_state(value: Any) -> ThreadState:
    number = WHOLE.read(value)
    if number not in _STATES:
        raise MisfitError("-1, 0, 1 or 2", value)
    return _STATES[number]


_STATE = Kind(
    STATE_NUMBERS.__getitem__,
    _read_state,
    Literal[-1, 0, 1, 2],
    {state: str(number) for state, number in STATE_NUMBERS.items()}.__getitem__,
)
_RULE = Kind(TEXT.write, TEXT.read, wire_types.PromotionRule, TEXT.text)
_DETAILS = Kind(lambda details: _details(details), TEXT.read, wire_types.ClusterInfo, dumps)  # noqa: PLW0108
_CODES = Kind(TEXT.write, TEXT.read, list[str] | None, dumps)


@dataclass(frozen=True, slots=True)
class _ThreadNames:
    running: str
    historic_running: str
    state: str


_RECEIVER = _ThreadNames("ReplicationIOThreadRuning", "Slave_IO_Running", "ReplicationIOThreadState")
_APPLIER = _ThreadNames("ReplicationSQLThreadRuning", "Slave_SQL_Running", "ReplicationSQLThreadState")
_THREADS = (("receiver_state", _RECEIVER), ("applier_state", _APPLIER))


def _receives(instance: Instance) -> bool:
    return instance.receiver_state is ThreadState.RUNNING


def _applies(instance: Instance) -> bool:
    return instance.applier_state is ThreadState.RUNNING


_always = Always

_INSTANCE: tuple[_Field | _Shown, ...] = (
    _Field("Key", KEY, "key"),
    _Field("InstanceAlias", TEXT, "instance_alias"),
    _Field("Uptime", WHOLE, "uptime_seconds"),
    _Field("ServerID", WHOLE, "server_id"),
    _Field("ServerUUID", TEXT, "server_uuid"),
    _Field("Version", TEXT, "version"),
    _Field("VersionComment", TEXT, "version_comment"),
    _Field("FlavorName", TEXT, "flavor"),
    _Field("ReadOnly", FLAG, "read_only"),
    _Field("Binlog_format", TEXT, "binlog_format"),
    _Field("BinlogRowImage", TEXT, "binlog_row_image"),
    _Field("LogBinEnabled", FLAG, "log_bin_enabled"),
    _Field("LogSlaveUpdatesEnabled", FLAG, "log_replica_updates_enabled", is_historic=True),
    _Field("LogReplicationUpdatesEnabled", FLAG, "log_replica_updates_enabled"),
    _Field("SelfBinlogCoordinates", COORDINATES, "self_coordinates"),
    _Field("MasterKey", KEY, "master_key"),
    _Field("MasterUUID", TEXT, "master_uuid"),
    _Field("AncestryUUID", LONG_TEXT, "ancestry_uuid"),
    _Shown("IsDetachedMaster", lambda i: i.master_key.is_detached, FLAG),
    _Shown("Slave_SQL_Running", _applies, FLAG),
    _Shown("ReplicationSQLThreadRuning", _applies, FLAG),
    _Shown("Slave_IO_Running", _receives, FLAG),
    _Shown("ReplicationIOThreadRuning", _receives, FLAG),
    _Shown("ReplicationSQLThreadState", lambda i: i.applier_state, _STATE),
    _Shown("ReplicationIOThreadState", lambda i: i.receiver_state, _STATE),
    _Field("HasReplicationFilters", FLAG, "has_replication_filters"),
    _Field("GTIDMode", TEXT, "gtid_mode"),
    _Shown("SupportsOracleGTID", lambda i: i.supports_oracle_gtid, FLAG),
    _Field("UsingOracleGTID", FLAG, "using_oracle_gtid"),
    _Field("UsingMariaDBGTID", FLAG, "using_mariadb_gtid"),
    _Field("UsingPseudoGTID", FLAG, "using_pseudo_gtid"),
    _Field("ReadBinlogCoordinates", COORDINATES, "read_coordinates"),
    _Field("ExecBinlogCoordinates", COORDINATES, "exec_coordinates"),
    _Shown("IsDetached", lambda i: i.exec_coordinates.is_detached, FLAG),
    _Field("RelaylogCoordinates", RELAY_COORDINATES, "relaylog_coordinates"),
    _Field("LastSQLError", QUOTED, "last_sql_error"),
    _Field("LastIOError", QUOTED, "last_io_error"),
    _Field("SecondsBehindMaster", NULLABLE_WHOLE, "seconds_behind_master"),
    _Field("SQLDelay", WHOLE, "sql_delay_seconds"),
    _Field("ExecutedGtidSet", LONG_TEXT, "executed_gtid_set"),
    _Field("GtidPurged", LONG_TEXT, "gtid_purged"),
    _Field("GtidErrant", LONG_TEXT, "gtid_errant"),
    _Field("SlaveLagSeconds", NULLABLE_WHOLE, "replication_lag_seconds", is_historic=True),
    _Field("ReplicationLagSeconds", NULLABLE_WHOLE, "replication_lag_seconds"),
    _Field("SlaveHosts", KEYS, "replicas", is_historic=True),
    _Field("Replicas", KEYS, "replicas"),
    _Field("ClusterName", TEXT, "cluster_name"),
    _Field("SuggestedClusterAlias", TEXT, "suggested_cluster_alias"),
    _Field("DataCenter", TEXT, "data_center"),
    _Field("Region", TEXT, "region"),
    _Field("PhysicalEnvironment", TEXT, "physical_environment"),
    _Field("ReplicationDepth", WHOLE, "replication_depth"),
    _Field("IsCoMaster", FLAG, "is_co_master"),
    _Field("HasReplicationCredentials", FLAG, "has_replication_credentials"),
    _Field("ReplicationCredentialsAvailable", FLAG, "replication_credentials_available"),
    _Field("SemiSyncAvailable", FLAG, "semi_sync_available"),
    _Field("SemiSyncPriority", WHOLE, "semi_sync_priority"),
    _Field("SemiSyncMasterPluginNewVersion", FLAG, "semi_sync_master_new_names"),
    _Field("SemiSyncReplicaPluginNewVersion", FLAG, "semi_sync_replica_new_names"),
    _Field("SemiSyncMasterEnabled", FLAG, "semi_sync_master_enabled"),
    _Field("SemiSyncReplicaEnabled", FLAG, "semi_sync_replica_enabled"),
    _Field("SemiSyncMasterTimeout", WHOLE, "semi_sync_master_timeout_ms"),
    _Field("SemiSyncMasterWaitForReplicaCount", WHOLE, "semi_sync_master_wait_count"),
    _Field("SemiSyncMasterStatus", FLAG, "semi_sync_master_status"),
    _Field("SemiSyncMasterClients", WHOLE, "semi_sync_master_clients"),
    _Field("SemiSyncReplicaStatus", FLAG, "semi_sync_replica_status"),
    _Field("LastSeenTimestamp", STORED_TIME, "last_seen_timestamp"),
    _Field("IsLastCheckValid", FLAG, "is_last_check_valid"),
    _Field("IsUpToDate", FLAG, "is_up_to_date"),
    _Field("IsRecentlyChecked", FLAG, "is_recently_checked"),
    _Field("SecondsSinceLastSeen", NULLABLE_WHOLE, "seconds_since_last_seen"),
    _Shown("CountMySQLSnapshots", _always(0), WHOLE),  # host agents report these
    _Field("IsCandidate", FLAG, "is_candidate"),
    _Field("PromotionRule", _RULE, "promotion_rule"),
    _Field("IsDowntimed", FLAG, "is_downtimed"),
    _Field("DowntimeReason", LONG_TEXT, "downtime_reason"),
    _Field("DowntimeOwner", TEXT, "downtime_owner"),
    _Field("DowntimeEndTimestamp", COMPUTED_TIME, "downtime_end_timestamp"),
    _Field("ElapsedDowntime", WHOLE, "elapsed_downtime_ns"),
    _Field("UnresolvedHostname", TEXT, "unresolved_hostname"),
    _Field("AllowTLS", FLAG, "allow_tls"),
    _Shown("ReplicationSSLCAFile", lambda i: i.replication_tls.ca_file, TEXT),
    _Shown("ReplicationSSLCAPath", lambda i: i.replication_tls.ca_path, TEXT),
    _Shown("ReplicationSSLCert", lambda i: i.replication_tls.certificate, TEXT),
    _Shown("ReplicationSSLCipher", lambda i: i.replication_tls.cipher, TEXT),
    _Shown("ReplicationSSLCRLFile", lambda i: i.replication_tls.crl_file, TEXT),
    _Shown("ReplicationSSLCRLPath", lambda i: i.replication_tls.crl_path, TEXT),
    _Shown("ReplicationSSLKey", lambda i: i.replication_tls.private_key, TEXT),  # a path, not the key
    _Shown("ReplicationTLSVersion", lambda i: i.replication_tls.tls_version, TEXT),
    _Shown("ReplicationTLSCiphersuites", lambda i: i.replication_tls.tls_ciphersuites, TEXT),
    _Shown("ReplicationSourcePublicKeyPath", lambda i: i.replication_tls.source_public_key_path, TEXT),
    _Shown(
        "ReplicationSSLVerifyServerCert",
        lambda i: i.replication_tls.verify_server_certificate,
        NULLABLE_FLAG,
    ),
    _Field("ReplicationGetSourcePublicKey", NULLABLE_FLAG, "replication_get_source_public_key"),
    _Shown("Problems", lambda i: i.problems, TEXTS),
    _Field("LastDiscoveryLatency", WHOLE, "last_discovery_latency_ns"),
    _Field("ReplicationGroupName", TEXT, "replication_group_name"),
    _Field("ReplicationGroupIsSinglePrimary", FLAG, "replication_group_is_single_primary"),
    _Field("ReplicationGroupMemberState", TEXT, "replication_group_member_state"),
    _Field("ReplicationGroupMemberRole", TEXT, "replication_group_member_role"),
    _Field("ReplicationGroupMembers", KEYS, "replication_group_members"),
    _Field("ReplicationGroupPrimaryInstanceKey", KEY, "replication_group_primary_key"),
    _Shown("QSP", _always({}), NOTHING),
    _Field("LastCheckPartialSuccess", FLAG, "last_check_partial_success"),
    _Field("BinlogCoordinatesStaleSeconds", NUMBER, "binlog_coordinates_stale_seconds"),
    _Shown("LastCheckOutcome", lambda instance: instance.last_check_outcome.value, TEXT),
    _Shown("LastCheckError", lambda instance: instance.last_check_error, LONG_TEXT),
    _Shown("ReplicationChannels", lambda instance: instance.channels, CHANNELS),
)

_READ = tuple(sorted((row for row in _INSTANCE if isinstance(row, _Field)), key=lambda row: row.is_historic))


def _details(details: ClusterDetails) -> wire_types.ClusterInfo:
    return {
        "ClusterName": details.cluster_name,
        "ClusterAlias": details.cluster_alias,
        "ClusterDomain": details.cluster_domain,
        "CountInstances": details.count_instances,
        "HeuristicLag": details.heuristic_lag,
        "HasAutomatedMasterRecovery": details.has_automated_master_recovery,
        "HasAutomatedIntermediateMasterRecovery": details.has_automated_intermediate_master_recovery,
    }


_ANALYSIS: tuple[_Field | _Shown, ...] = (
    _Field("AnalyzedInstanceKey", KEY, "analyzed_instance_key"),
    _Field("AnalyzedInstanceMasterKey", KEY, "analyzed_instance_master_key"),
    _Shown("ClusterDetails", lambda a: a.cluster_details, _DETAILS),
    _Field("AnalyzedInstanceDataCenter", TEXT, "analyzed_instance_data_center"),
    _Field("AnalyzedInstanceRegion", TEXT, "analyzed_instance_region"),
    _Field("AnalyzedInstancePhysicalEnvironment", TEXT, "analyzed_instance_physical_environment"),
    _Field("AnalyzedInstanceBinlogCoordinates", COORDINATES, "analyzed_instance_binlog_coordinates"),
    _Field("IsMaster", FLAG, "is_master"),
    _Field("IsReplicationGroupMember", FLAG, "is_replication_group_member"),
    _Field("IsCoMaster", FLAG, "is_co_master"),
    _Field("LastCheckValid", FLAG, "last_check_valid"),
    _Field("LastCheckPartialSuccess", FLAG, "last_check_partial_success"),
    _Field("CountReplicas", WHOLE, "count_replicas"),
    _Field("CountValidReplicas", WHOLE, "count_valid_replicas"),
    _Field("CountValidReplicatingReplicas", WHOLE, "count_valid_replicating_replicas"),
    _Field("CountReplicasFailingToConnectToMaster", WHOLE, "count_replicas_failing_to_connect_to_master"),
    _Field("CountDowntimedReplicas", WHOLE, "count_downtimed_replicas"),
    _Field("ReplicationDepth", WHOLE, "replication_depth"),
    _Field("Replicas", KEYS, "replicas"),
    _Field("SlaveHosts", KEYS, "replicas"),
    _Field("IsFailingToConnectToMaster", FLAG, "is_failing_to_connect_to_master"),
    _Shown("Analysis", lambda a: a.analysis.value, TEXT),
    _Field("Description", TEXT, "description"),
    _Shown("StructureAnalysis", lambda a: [code.value for code in a.structure_analysis] or None, _CODES),
    _Field("IsDowntimed", FLAG, "is_downtimed"),
    _Field("IsReplicasDowntimed", FLAG, "is_replicas_downtimed"),
    _Field("DowntimeEndTimestamp", COMPUTED_TIME, "downtime_end_timestamp"),
    _Field("DowntimeRemainingSeconds", WHOLE, "downtime_remaining_seconds"),
    _Field("IsBinlogServer", FLAG, "is_binlog_server"),
    _Field("PseudoGTIDImmediateTopology", FLAG, "pseudo_gtid_immediate_topology"),
    _Field("OracleGTIDImmediateTopology", FLAG, "oracle_gtid_immediate_topology"),
    _Field("MariaDBGTIDImmediateTopology", FLAG, "mariadb_gtid_immediate_topology"),
    _Field("BinlogServerImmediateTopology", FLAG, "binlog_server_immediate_topology"),
    _Field("SemiSyncMasterEnabled", FLAG, "semi_sync_master_enabled"),
    _Field("SemiSyncMasterStatus", FLAG, "semi_sync_master_status"),
    _Field("SemiSyncMasterWaitForReplicaCount", WHOLE, "semi_sync_master_wait_for_replica_count"),
    _Field("SemiSyncMasterClients", WHOLE, "semi_sync_master_clients"),
    _Field("CountSemiSyncReplicasEnabled", WHOLE, "count_semi_sync_replicas_enabled"),
    _Field("CountLoggingReplicas", WHOLE, "count_logging_replicas"),
    _Field("CountStatementBasedLoggingReplicas", WHOLE, "count_statement_based_logging_replicas"),
    _Field("CountMixedBasedLoggingReplicas", WHOLE, "count_mixed_based_logging_replicas"),
    _Field("CountRowBasedLoggingReplicas", WHOLE, "count_row_based_logging_replicas"),
    _Field(
        "CountDistinctMajorVersionsLoggingReplicas", WHOLE, "count_distinct_major_versions_logging_replicas"
    ),
    _Field("CountDelayedReplicas", WHOLE, "count_delayed_replicas"),
    _Field("CountLaggingReplicas", WHOLE, "count_lagging_replicas"),
    _Field("IsActionableRecovery", FLAG, "is_actionable_recovery"),
    _Field("ProcessingNodeHostname", TEXT, "processing_node_hostname"),
    _Field("ProcessingNodeToken", TEXT, "processing_node_token"),
    _Field("CountAdditionalAgreeingNodes", WHOLE, "count_additional_agreeing_nodes"),
    _Field("StartActivePeriod", TEXT, "start_active_period"),
    _Field("SkippableDueToDowntime", FLAG, "skippable_due_to_downtime"),
    _Field("GTIDMode", TEXT, "gtid_mode"),
    _Field("MinReplicaGTIDMode", TEXT, "min_replica_gtid_mode"),
    _Field("MaxReplicaGTIDMode", TEXT, "max_replica_gtid_mode"),
    _Field("MaxReplicaGTIDErrant", TEXT, "max_replica_gtid_errant"),
    _Field("CommandHint", TEXT, "command_hint"),
    _Field("IsReadOnly", FLAG, "is_read_only"),
)

INSTANCE_JSON = Compiled(
    _INSTANCE, moving=("ElapsedDowntime", "SecondsSinceLastSeen", "BinlogCoordinatesStaleSeconds")
)
"""These are told anew by each snapshot, whether the server was looked at meanwhile or not."""

# ``Instance`` and ``ReplicationAnalysis`` as types
INSTANCE_TYPE = TypedDict("Instance", {row.name: row.kind.type for row in _INSTANCE})  # type: ignore[misc]
ANALYSIS_TYPE = TypedDict(  # type: ignore[misc]
    "ReplicationAnalysis", {row.name: row.kind.type for row in _ANALYSIS}
)


# Reading


def _read(name: str, kind: Kind, value: object, which: str) -> Any:
    try:
        return kind.read(value)
    except MisfitError as error:
        raise WireError(
            f"{which}: {name}{error.path}: expected {error.expected}, found {_shown(error.value)}"
        ) from None


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _VALUE_SHOWN else text[:_VALUE_SHOWN] + "…"


def _thread_state(raw: Mapping[str, Any], names: _ThreadNames, is_replica: bool, which: str) -> ThreadState:
    """The state of a thread, told by a flag, a number, or both.

    The reference counts by the flag, so where the two contradict each other the flag decides.
    """
    is_running: bool | None = None
    for name in (names.running, names.historic_running):
        if is_running is None and raw.get(name) is not None:
            is_running = _read(name, FLAG, raw[name], which)
    told = raw.get(names.state)
    state = ThreadState.STOPPED if is_replica else ThreadState.NO_THREAD
    if told is not None:
        state = _read(names.state, _STATE, told, which)
    if is_running is None:
        return state
    if is_running:
        return ThreadState.RUNNING
    return ThreadState.STOPPED if state is ThreadState.RUNNING else state
