"""The objects of the API as types (http-api.md 6): what is written is checked against them, and
``/api/openapi.json`` describes them.

Names and spelling are the reference's. What stands in ``api.wire`` as a table gets its type from that.
"""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

__all__ = [
    "AggregatedBackendMetrics",
    "AggregatedDiscoveryMetrics",
    "AggregatedQueueMetrics",
    "AggregatedWriteMetrics",
    "Analysis",
    "Audit",
    "BackendMetric",
    "BinlogCoordinates",
    "BlockedTopologyRecovery",
    "CandidateDatabaseInstance",
    "Changelog",
    "ClusterInfo",
    "DiscoveryMetric",
    "Event",
    "Filters",
    "HealthStatus",
    "HostAttributes",
    "Key",
    "Maintenance",
    "NodeHealth",
    "Nothing",
    "NullBool",
    "NullInt64",
    "PromotionRule",
    "QueueMetric",
    "RaftStatus",
    "ReplicationChannel",
    "Resolved",
    "TopologyRecovery",
    "TopologyRecoveryStep",
    "WriteMetric",
]

PromotionRule = Literal["must", "prefer", "neutral", "prefer_not", "must_not"]


class Key(TypedDict):
    Hostname: str
    Port: int


class BinlogCoordinates(TypedDict):
    LogFile: str
    LogPos: int
    Type: Literal[0, 1]


class NullInt64(TypedDict):
    Int64: int
    Valid: bool


class NullBool(TypedDict):
    Bool: bool
    Valid: bool


class Nothing(TypedDict):
    """Always ``{}``."""


class ReplicationChannel(TypedDict):
    """Ours."""

    ChannelName: str
    MasterKey: Key
    MasterUUID: str
    ReplicationIOThreadState: int
    ReplicationSQLThreadState: int
    LastIOError: str
    LastSQLError: str
    ReadBinlogCoordinates: BinlogCoordinates
    ExecBinlogCoordinates: BinlogCoordinates
    SecondsBehindMaster: NullInt64
    SQLDelay: int
    UsingOracleGTID: bool
    UsingMariaDBGTID: bool
    HasReplicationFilters: bool
    AllowTLS: bool


class ClusterInfo(TypedDict):
    ClusterName: str
    ClusterAlias: str
    ClusterDomain: str
    CountInstances: int
    HeuristicLag: int
    HasAutomatedMasterRecovery: bool
    HasAutomatedIntermediateMasterRecovery: bool


Analysis = dict[str, Any]
"""``ReplicationAnalysis``: a table of ``api.wire``, which says what is in it."""


class TopologyRecovery(TypedDict):
    """A recovery, or a detection: see http-api.md 6.6 for what each fills in."""

    Id: int
    UID: str
    AnalysisEntry: Analysis
    SuccessorKey: Key | None
    SuccessorAlias: str
    SuccessorBinlogCoordinates: BinlogCoordinates | None
    IsActive: bool
    IsSuccessful: bool
    LostReplicas: list[Key]
    ParticipatingInstanceKeys: list[Key]
    AllErrors: list[str] | None
    RecoveryStartTimestamp: str
    RecoveryEndTimestamp: str
    ProcessingNodeHostname: str
    ProcessingNodeToken: str
    Acknowledged: bool
    AcknowledgedAt: str
    AcknowledgedBy: str
    AcknowledgedComment: str
    LastDetectionId: int
    RelatedRecoveryId: int
    Type: str
    RecoveryType: str


class TopologyRecoveryStep(TypedDict):
    Id: int
    RecoveryUID: str
    AuditAt: str
    Message: str


class BlockedTopologyRecovery(TypedDict):
    FailedInstanceKey: Key
    ClusterName: str
    Analysis: str
    LastBlockedTimestamp: str
    BlockingRecoveryId: int


class Audit(TypedDict):
    AuditId: int
    AuditTimestamp: str
    AuditType: str
    AuditInstanceKey: Key
    Message: str


class CandidateDatabaseInstance(TypedDict):
    Hostname: str
    Port: int
    PromotionRule: str
    LastSuggestedString: str
    PromotionRuleExpiry: str


class Maintenance(TypedDict):
    MaintenanceId: int
    Key: Key
    BeginTimestamp: str
    SecondsElapsed: int
    IsActive: bool
    Owner: str
    Reason: str


class HostAttributes(TypedDict):
    Hostname: str
    AttributeName: str
    AttributeValue: str
    SubmitTimestamp: str
    ExpireTimestamp: str


class Resolved(TypedDict):
    Object: str
    Expiration: int


class Changelog(TypedDict):
    """Each line is ``time;code,``, oldest first."""

    AnalyzedInstanceKey: Key
    Changelog: list[str]


class Filters(TypedDict):
    RecoverMasterClusterFilters: list[str]
    RecoverIntermediateMasterClusterFilters: list[str]
    RecoveryIgnoreHostnameFilters: list[str]


class NodeHealth(TypedDict):
    Hostname: str
    Token: str
    AppVersion: str
    FirstSeenActive: str
    LastSeenActive: str
    ExtraInfo: str
    Command: str
    DBBackend: str
    LastReported: str


class NodeError(TypedDict):
    Message: str


class HealthStatus(TypedDict):
    Healthy: bool
    Hostname: str
    Token: str
    IsActiveNode: bool
    ActiveNode: NodeHealth
    Error: NodeError | None
    AvailableNodes: list[NodeHealth]
    RaftLeader: str
    RaftLeaderURI: str
    RaftAdvertise: str
    IsRaftLeader: bool
    RaftHealthyMembers: list[str] | None
    Warnings: list[str]


class RaftStatus(TypedDict):
    RaftBind: str
    RaftAdvertise: str
    State: str
    Leader: str
    LeaderURI: str
    Healthy: bool
    IsPartOfQuorum: bool
    Peers: list[str]


class Event(TypedDict):
    Seq: int
    At: str
    Kind: str
    Instance: Key
    Cluster: str
    Message: str


# internal metrics (6.10)


class DiscoveryMetric(TypedDict):
    Timestamp: str
    Hostname: str
    Port: int
    BackendLatencySeconds: float
    InstanceLatencySeconds: float
    TotalLatencySeconds: float
    Err: str


class AggregatedDiscoveryMetrics(TypedDict):
    FirstSeen: str
    LastSeen: str
    CountDistinctInstanceKeys: int
    CountDistinctOkInstanceKeys: int
    CountDistinctFailedInstanceKeys: int
    FailedDiscoveries: int
    SuccessfulDiscoveries: int
    MeanTotalSeconds: float
    MeanBackendSeconds: float
    MeanInstanceSeconds: float
    FailedMeanTotalSeconds: float
    FailedMeanBackendSeconds: float
    FailedMeanInstanceSeconds: float
    MaxTotalSeconds: float
    MaxBackendSeconds: float
    MaxInstanceSeconds: float
    FailedMaxTotalSeconds: float
    FailedMaxBackendSeconds: float
    FailedMaxInstanceSeconds: float
    MedianTotalSeconds: float
    MedianBackendSeconds: float
    MedianInstanceSeconds: float
    FailedMedianTotalSeconds: float
    FailedMedianBackendSeconds: float
    FailedMedianInstanceSeconds: float
    P95TotalSeconds: float
    P95BackendSeconds: float
    P95InstanceSeconds: float
    FailedP95TotalSeconds: float
    FailedP95BackendSeconds: float
    FailedP95InstanceSeconds: float


class QueueMetric(TypedDict):
    Active: int
    Queued: int


class AggregatedQueueMetrics(TypedDict):
    ActiveMinEntries: float
    ActiveMeanEntries: float
    ActiveMedianEntries: float
    ActiveP95Entries: float
    ActiveMaxEntries: float
    QueuedMinEntries: float
    QueuedMeanEntries: float
    QueuedMedianEntries: float
    QueuedP95Entries: float
    QueuedMaxEntries: float


class BackendMetric(TypedDict):
    """Latencies in nanoseconds."""

    Timestamp: str
    WaitLatency: int
    ExecuteLatency: int
    Err: str


class AggregatedBackendMetrics(TypedDict):
    Count: int
    MaxLatencySeconds: float
    MeanLatencySeconds: float
    MedianLatencySeconds: float
    P95LatencySeconds: float
    MaxWaitSeconds: float
    MeanWaitSeconds: float
    MedianWaitSeconds: float
    P95WaitSeconds: float


class WriteMetric(TypedDict):
    """Latencies in nanoseconds."""

    Timestamp: str
    Instances: int
    WaitLatency: int
    WriteLatency: int


class AggregatedWriteMetrics(TypedDict):
    InstanceWriteBufferSize: int
    InstanceFlushIntervalMilliseconds: int
    CountInstances: int
    MaxInstances: float
    MeanInstances: float
    MedianInstances: float
    P95Instances: float
    MaxWaitSeconds: float
    MeanWaitSeconds: float
    MedianWaitSeconds: float
    P95WaitSeconds: float
    MaxWriteSeconds: float
    MeanWriteSeconds: float
    MedianWriteSeconds: float
    P95WriteSeconds: float
