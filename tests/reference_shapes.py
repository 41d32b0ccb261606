"""The objects of the HTTP API as its reference lists them (http-api.md 6), written down for tests.

A row per object: its fields in the reference's order, each with its kind. ``[X]`` is a list, ``X?`` may be
null, a capital names another object. Nothing here is taken from the code that is tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["OURS", "SHAPES", "misfits", "names_of"]

OURS = {
    "Instance": "LastCheckPartialSuccess:bool BinlogCoordinatesStaleSeconds:number LastCheckOutcome:str "
    "LastCheckError:str ReplicationChannels:[ReplicationChannel]",
    "HealthStatus": "Warnings:[str]",
}
"""What stands behind the reference's fields and is not of it: readers of the reference's do not see it."""

SHAPES = {
    "Key": "Hostname:str Port:port",
    "BinlogCoordinates": "LogFile:str LogPos:uint Type:0",
    "RelayCoordinates": "LogFile:str LogPos:uint Type:1",
    "NullInt64": "Int64:int Valid:bool",
    "NullBool": "Bool:bool Valid:bool",
    "Instance": """
        Key:Key InstanceAlias:str Uptime:uint ServerID:uint ServerUUID:str Version:str VersionComment:str
        FlavorName:str ReadOnly:bool Binlog_format:str BinlogRowImage:str LogBinEnabled:bool
        LogSlaveUpdatesEnabled:bool LogReplicationUpdatesEnabled:bool SelfBinlogCoordinates:BinlogCoordinates
        MasterKey:Key MasterUUID:str AncestryUUID:str IsDetachedMaster:bool Slave_SQL_Running:bool
        ReplicationSQLThreadRuning:bool Slave_IO_Running:bool ReplicationIOThreadRuning:bool
        ReplicationSQLThreadState:state ReplicationIOThreadState:state HasReplicationFilters:bool GTIDMode:str
        SupportsOracleGTID:bool UsingOracleGTID:bool UsingMariaDBGTID:bool UsingPseudoGTID:bool
        ReadBinlogCoordinates:BinlogCoordinates ExecBinlogCoordinates:BinlogCoordinates IsDetached:bool
        RelaylogCoordinates:RelayCoordinates LastSQLError:str LastIOError:str SecondsBehindMaster:NullInt64
        SQLDelay:uint ExecutedGtidSet:str GtidPurged:str GtidErrant:str SlaveLagSeconds:NullInt64
        ReplicationLagSeconds:NullInt64 SlaveHosts:[Key] Replicas:[Key] ClusterName:str
        SuggestedClusterAlias:str DataCenter:str Region:str PhysicalEnvironment:str ReplicationDepth:uint
        IsCoMaster:bool HasReplicationCredentials:bool ReplicationCredentialsAvailable:bool
        SemiSyncAvailable:bool SemiSyncPriority:uint SemiSyncMasterPluginNewVersion:bool
        SemiSyncReplicaPluginNewVersion:bool SemiSyncMasterEnabled:bool SemiSyncReplicaEnabled:bool
        SemiSyncMasterTimeout:uint SemiSyncMasterWaitForReplicaCount:uint SemiSyncMasterStatus:bool
        SemiSyncMasterClients:uint SemiSyncReplicaStatus:bool LastSeenTimestamp:time IsLastCheckValid:bool
        IsUpToDate:bool IsRecentlyChecked:bool SecondsSinceLastSeen:NullInt64 CountMySQLSnapshots:uint
        IsCandidate:bool PromotionRule:rule IsDowntimed:bool DowntimeReason:str DowntimeOwner:str
        DowntimeEndTimestamp:str ElapsedDowntime:int UnresolvedHostname:str AllowTLS:bool
        ReplicationSSLCAFile:str ReplicationSSLCAPath:str ReplicationSSLCert:str ReplicationSSLCipher:str
        ReplicationSSLCRLFile:str ReplicationSSLCRLPath:str ReplicationSSLKey:str ReplicationTLSVersion:str
        ReplicationTLSCiphersuites:str ReplicationSourcePublicKeyPath:str
        ReplicationSSLVerifyServerCert:NullBool ReplicationGetSourcePublicKey:NullBool Problems:[problem]
        LastDiscoveryLatency:uint ReplicationGroupName:str ReplicationGroupIsSinglePrimary:bool
        ReplicationGroupMemberState:str ReplicationGroupMemberRole:str ReplicationGroupMembers:[Key]
        ReplicationGroupPrimaryInstanceKey:Key QSP:{}
        """,
    "ReplicationChannel": """
        ChannelName:str MasterKey:Key MasterUUID:str ReplicationIOThreadState:state
        ReplicationSQLThreadState:state LastIOError:str LastSQLError:str
        ReadBinlogCoordinates:BinlogCoordinates ExecBinlogCoordinates:BinlogCoordinates
        SecondsBehindMaster:NullInt64 SQLDelay:uint UsingOracleGTID:bool UsingMariaDBGTID:bool
        HasReplicationFilters:bool AllowTLS:bool
        """,
    "ClusterInfo": """
        ClusterName:str ClusterAlias:str ClusterDomain:str CountInstances:uint HeuristicLag:0
        HasAutomatedMasterRecovery:bool HasAutomatedIntermediateMasterRecovery:bool
        """,
    "ReplicationAnalysis": """
        AnalyzedInstanceKey:Key AnalyzedInstanceMasterKey:Key ClusterDetails:ClusterInfo
        AnalyzedInstanceDataCenter:str AnalyzedInstanceRegion:str AnalyzedInstancePhysicalEnvironment:str
        AnalyzedInstanceBinlogCoordinates:BinlogCoordinates IsMaster:bool IsReplicationGroupMember:bool
        IsCoMaster:bool LastCheckValid:bool LastCheckPartialSuccess:bool CountReplicas:uint
        CountValidReplicas:uint CountValidReplicatingReplicas:uint
        CountReplicasFailingToConnectToMaster:uint CountDowntimedReplicas:uint ReplicationDepth:uint
        Replicas:[Key] SlaveHosts:[Key] IsFailingToConnectToMaster:bool Analysis:str Description:str
        StructureAnalysis:[str]? IsDowntimed:bool IsReplicasDowntimed:bool DowntimeEndTimestamp:str
        DowntimeRemainingSeconds:int IsBinlogServer:bool PseudoGTIDImmediateTopology:bool
        OracleGTIDImmediateTopology:bool MariaDBGTIDImmediateTopology:bool BinlogServerImmediateTopology:bool
        SemiSyncMasterEnabled:bool SemiSyncMasterStatus:bool SemiSyncMasterWaitForReplicaCount:uint
        SemiSyncMasterClients:uint CountSemiSyncReplicasEnabled:uint CountLoggingReplicas:uint
        CountStatementBasedLoggingReplicas:uint CountMixedBasedLoggingReplicas:uint
        CountRowBasedLoggingReplicas:uint CountDistinctMajorVersionsLoggingReplicas:uint
        CountDelayedReplicas:uint CountLaggingReplicas:uint IsActionableRecovery:false
        ProcessingNodeHostname:str ProcessingNodeToken:str CountAdditionalAgreeingNodes:0
        StartActivePeriod:time? SkippableDueToDowntime:bool GTIDMode:str MinReplicaGTIDMode:str
        MaxReplicaGTIDMode:str MaxReplicaGTIDErrant:str CommandHint:hint IsReadOnly:bool
        """,
    # Two columns of one table: as read from the audit of recoveries, and of detections.
    "Recovery": """
        Id:id UID:uid AnalysisEntry:ReplicationAnalysis SuccessorKey:Key SuccessorAlias:str
        SuccessorBinlogCoordinates:null IsActive:bool IsSuccessful:bool LostReplicas:[Key]
        ParticipatingInstanceKeys:[Key] AllErrors:[str] RecoveryStartTimestamp:time
        RecoveryEndTimestamp:computed ProcessingNodeHostname:host ProcessingNodeToken:token Acknowledged:bool
        AcknowledgedAt:optional AcknowledgedBy:str AcknowledgedComment:str LastDetectionId:uint
        RelatedRecoveryId:0 Type:empty RecoveryType:NotMasterRecovery
        """,
    "Detection": """
        Id:id UID:empty AnalysisEntry:ReplicationAnalysis SuccessorKey:null SuccessorAlias:empty
        SuccessorBinlogCoordinates:null IsActive:bool IsSuccessful:false LostReplicas:none
        ParticipatingInstanceKeys:none AllErrors:null RecoveryStartTimestamp:time RecoveryEndTimestamp:empty
        ProcessingNodeHostname:host ProcessingNodeToken:token Acknowledged:false AcknowledgedAt:empty
        AcknowledgedBy:empty AcknowledgedComment:empty LastDetectionId:0 RelatedRecoveryId:uint Type:empty
        RecoveryType:empty
        """,
    "Maintenance": "MaintenanceId:id Key:Key BeginTimestamp:time SecondsElapsed:uint IsActive:bool Owner:str "
    "Reason:str",
    "CandidateDatabaseInstance": "Hostname:host Port:port PromotionRule:rule LastSuggestedString:time "
    "PromotionRuleExpiry:time",
    "HostAttributes": "Hostname:host AttributeName:host AttributeValue:str SubmitTimestamp:time "
    "ExpireTimestamp:optional",
    "RecoveryStep": "Id:id RecoveryUID:uid AuditAt:time Message:host",
    "BlockedRecovery": "FailedInstanceKey:Key ClusterName:str Analysis:str LastBlockedTimestamp:time "
    "BlockingRecoveryId:id",
    "HealthStatus": """
        Healthy:bool Hostname:host Token:token IsActiveNode:bool ActiveNode:NodeHealth Error:null
        AvailableNodes:[NodeHealth] RaftLeader:empty RaftLeaderURI:empty RaftAdvertise:empty
        IsRaftLeader:false RaftHealthyMembers:null
        """,
    "NodeHealth": """
        Hostname:host Token:token AppVersion:host FirstSeenActive:time LastSeenActive:time ExtraInfo:str
        Command:str DBBackend:host LastReported:zero
        """,
    "RaftStatus": "RaftBind:host RaftAdvertise:host State:host Leader:str LeaderURI:str Healthy:bool "
    "IsPartOfQuorum:bool Peers:[host]",
    "Audit": "AuditId:id AuditTimestamp:time AuditType:host AuditInstanceKey:Key Message:str",
    "KVPair": "Key:str Value:str",
    "Changelog": "AnalyzedInstanceKey:Key Changelog:[change]",
    "InstanceCoordinates": "Key:Key Coordinates:BinlogCoordinates",
    "Resolved": "Object:str Expiration:int",
    "DiscoveryMetric": "Timestamp:moment Hostname:host Port:port BackendLatencySeconds:number "
    "InstanceLatencySeconds:number TotalLatencySeconds:number Err:str",
    "AggregatedDiscoveryMetrics": "FirstSeen:moment LastSeen:moment CountDistinctInstanceKeys:uint "
    "CountDistinctOkInstanceKeys:uint CountDistinctFailedInstanceKeys:uint FailedDiscoveries:uint "
    "SuccessfulDiscoveries:uint "
    + " ".join(
        f"{failed}{figure}{part}Seconds:number"
        for figure in ("Mean", "Max", "Median", "P95")
        for failed in ("", "Failed")
        for part in ("Total", "Backend", "Instance")
    ),
    "QueueMetric": "Active:uint Queued:uint",
    "AggregatedQueueMetrics": " ".join(
        f"{what}{figure}Entries:number"
        for what in ("Active", "Queued")
        for figure in ("Min", "Mean", "Median", "P95", "Max")
    ),
    "BackendMetric": "Timestamp:moment WaitLatency:uint ExecuteLatency:uint Err:str",
    "AggregatedBackendMetrics": "Count:uint "
    + " ".join(
        f"{figure}{what}:number"
        for what in ("LatencySeconds", "WaitSeconds")
        for figure in ("Max", "Mean", "Median", "P95")
    ),
    "WriteMetric": "Timestamp:moment Instances:uint WaitLatency:uint WriteLatency:uint",
    "AggregatedWriteMetrics": "InstanceWriteBufferSize:uint InstanceFlushIntervalMilliseconds:uint "
    "CountInstances:uint "
    + " ".join(
        f"{figure}{what}:number"
        for what in ("Instances", "WaitSeconds", "WriteSeconds")
        for figure in ("Max", "Mean", "Median", "P95")
    ),
    "Filters": "RecoverMasterClusterFilters:[str] RecoverIntermediateMasterClusterFilters:[str] "
    "RecoveryIgnoreHostnameFilters:[str]",
}

_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MOMENT = re.compile(r"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}|0001-01-01T00:00:00)Z")
_COMPUTED = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d")


def _whole(value: object, least: int = -(2**63)) -> bool:
    return type(value) is int and least <= value < 2**64


def _text(pattern: re.Pattern[str] | str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is(*wanted: object) -> Callable[[object], bool]:
    return lambda value: any(type(value) is type(one) and value == one for one in wanted)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "host": lambda value: isinstance(value, str) and value != "",  # any text, but one
    "bool": lambda value: isinstance(value, bool),
    "int": _whole,
    "uint": lambda value: _whole(value, 0),
    "id": lambda value: _whole(value, 1),
    "port": lambda value: _whole(value, 0) and value < 2**16,
    "number": lambda value: type(value) in (int, float),
    "state": _is(-1, 0, 1, 2),
    "rule": _is("must", "prefer", "neutral", "prefer_not", "must_not"),
    "hint": _is("force-master-failover", "force-master-takeover", "graceful-master-takeover", ""),
    "problem": _is(
        "last_check_invalid",
        "not_recently_checked",
        "not_replicating",
        "replication_lag",
        "errant_gtid",
        "group_replication_member_not_online",
        "duplicate_server_uuid",  # ours
    ),
    "token": _text("[0-9a-f]{64}"),
    "uid": _text("[0-9]{19}:[0-9a-f]{64}"),
    "time": _text(_TIME),
    "computed": _text(f"({_COMPUTED.pattern})?"),
    "optional": _text(f"({_TIME.pattern})?"),
    "moment": _text(_MOMENT),
    "change": _text(f"{_COMPUTED.pattern};[A-Za-z0-9]+,"),
    "zero": _is("0001-01-01T00:00:00Z"),
    "NotMasterRecovery": _is("NotMasterRecovery"),
    "empty": _is(""),
    "none": _is([]),
    "{}": _is({}),
    "null": _is(None),
    "false": _is(False),
    "true": _is(True),
    "0": _is(0),
    "1": _is(1),
}


def names_of(shape: str) -> list[str]:
    """The fields of an object, ours behind the reference's."""
    return [field.partition(":")[0] for field in _fields(shape)]


def misfits(value: Any, kind: str, path: str = "") -> list[str]:
    """Where a value is not of a kind, a line each: a field that is missing, unknown, of another type, or
    where another belongs."""
    if kind.endswith("?"):
        return [] if value is None or value == "" else misfits(value, kind[:-1], path)
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{path}: no list: {value!r}"]
        return [each for at, one in enumerate(value) for each in misfits(one, kind[1:-1], f"{path}[{at}]")]
    if kind.startswith("{") and len(kind) > 2:  # an object whose names are data
        if not isinstance(value, dict):
            return [f"{path}: no object: {value!r}"]
        return [each for name, one in value.items() for each in misfits(one, kind[1:-1], f"{path}.{name}")]
    if kind not in SHAPES:
        return [] if _KINDS[kind](value) else [f"{path}: {value!r} is not {kind}"]
    if not isinstance(value, dict):
        return [f"{path}: no object: {value!r}"]
    names = names_of(kind)
    found = [f"{path}.{name}: missing" for name in names if name not in value]
    found += [f"{path}.{name}: unknown to the reference" for name in value if name not in names]
    if not found and list(value) != names:
        found = [f"{path}: in another order: {' '.join(value)}"]
    for field in _fields(kind):
        name, _, inner = field.partition(":")
        if name in value:
            found += misfits(value[name], inner, f"{path}.{name}")
    return found


def _fields(shape: str) -> list[str]:
    return [*SHAPES[shape].split(), *OURS.get(shape, "").split()]
