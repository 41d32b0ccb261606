"""The words of the analysis: codes as the HTTP API gives them, and what each can ask for."""

from __future__ import annotations

from enum import Enum

__all__ = ["AnalysisCode", "Emergency", "Evidence", "RecoveryKind"]


class AnalysisCode(str, Enum):
    """What is wrong with a server (failure-detection.md 3). The value is the API's text."""

    NO_PROBLEM = "NoProblem"

    DEAD_MASTER_WITHOUT_REPLICAS = "DeadMasterWithoutReplicas"
    DEAD_MASTER = "DeadMaster"
    DEAD_MASTER_AND_REPLICAS = "DeadMasterAndReplicas"
    DEAD_MASTER_AND_SOME_REPLICAS = "DeadMasterAndSomeReplicas"
    DISPUTED_MASTER = "DisputedMaster"  # ours: dead to this node, and not to a majority of the raft members
    UNREACHABLE_MASTER_WITH_LAGGING_REPLICAS = "UnreachableMasterWithLaggingReplicas"
    UNREACHABLE_MASTER = "UnreachableMaster"
    LOCKED_SEMI_SYNC_MASTER = "LockedSemiSyncMaster"
    LOCKED_SEMI_SYNC_MASTER_HYPOTHESIS = "LockedSemiSyncMasterHypothesis"
    MASTER_WITH_TOO_MANY_SEMI_SYNC_REPLICAS = "MasterWithTooManySemiSyncReplicas"
    MASTER_SINGLE_REPLICA_NOT_REPLICATING = "MasterSingleReplicaNotReplicating"
    MASTER_SINGLE_REPLICA_DEAD = "MasterSingleReplicaDead"
    ALL_MASTER_REPLICAS_NOT_REPLICATING = "AllMasterReplicasNotReplicating"
    ALL_MASTER_REPLICAS_NOT_REPLICATING_OR_DEAD = "AllMasterReplicasNotReplicatingOrDead"

    DEAD_CO_MASTER = "DeadCoMaster"
    DEAD_CO_MASTER_AND_SOME_REPLICAS = "DeadCoMasterAndSomeReplicas"
    UNREACHABLE_CO_MASTER = "UnreachableCoMaster"
    ALL_CO_MASTER_REPLICAS_NOT_REPLICATING = "AllCoMasterReplicasNotReplicating"

    DEAD_INTERMEDIATE_MASTER_WITH_SINGLE_REPLICA_FAILING_TO_CONNECT = (
        "DeadIntermediateMasterWithSingleReplicaFailingToConnect"
    )
    DEAD_INTERMEDIATE_MASTER_WITH_SINGLE_REPLICA = "DeadIntermediateMasterWithSingleReplica"
    DEAD_INTERMEDIATE_MASTER = "DeadIntermediateMaster"
    DEAD_INTERMEDIATE_MASTER_AND_SOME_REPLICAS = "DeadIntermediateMasterAndSomeReplicas"
    DEAD_INTERMEDIATE_MASTER_AND_REPLICAS = "DeadIntermediateMasterAndReplicas"
    UNREACHABLE_INTERMEDIATE_MASTER_WITH_LAGGING_REPLICAS = "UnreachableIntermediateMasterWithLaggingReplicas"
    UNREACHABLE_INTERMEDIATE_MASTER = "UnreachableIntermediateMaster"
    ALL_INTERMEDIATE_MASTER_REPLICAS_FAILING_TO_CONNECT_OR_DEAD = (
        "AllIntermediateMasterReplicasFailingToConnectOrDead"
    )
    ALL_INTERMEDIATE_MASTER_REPLICAS_NOT_REPLICATING = "AllIntermediateMasterReplicasNotReplicating"

    BINLOG_SERVER_FAILING_TO_CONNECT_TO_MASTER = "BinlogServerFailingToConnectToMaster"
    FIRST_TIER_REPLICA_FAILING_TO_CONNECT_TO_MASTER = "FirstTierReplicaFailingToConnectToMaster"
    DEAD_REPLICATION_GROUP_MEMBER_WITH_REPLICAS = "DeadReplicationGroupMemberWithReplicas"

    # structure findings
    NO_LOGGING_REPLICAS = "NoLoggingReplicasStructureWarning"
    NO_FAILOVER_SUPPORT = "NoFailoverSupportStructureWarning"
    STATEMENT_AND_MIXED_LOGGING_REPLICAS = "StatementAndMixedLoggingReplicasStructureWarning"
    STATEMENT_AND_ROW_LOGGING_REPLICAS = "StatementAndRowLoggingReplicasStructureWarning"
    MIXED_AND_ROW_LOGGING_REPLICAS = "MixedAndRowLoggingReplicasStructureWarning"
    MULTIPLE_MAJOR_VERSIONS_LOGGING_REPLICAS = "MultipleMajorVersionsLoggingReplicasStructureWarning"
    DIFFERENT_GTID_MODES = "DifferentGTIDModesStructureWarning"
    ERRANT_GTID = "ErrantGTIDStructureWarning"
    NO_WRITEABLE_MASTER = "NoWriteableMasterStructureWarning"  # a finding proper, if it is to be mended
    NOT_ENOUGH_VALID_SEMI_SYNC_REPLICAS = "NotEnoughValidSemiSyncReplicasStructureWarning"
    MISSING_PRIVILEGES = "MissingPrivilegesStructureWarning"  # ours

    def __str__(self) -> str:
        return self.value


class Emergency(Enum):
    """What is looked at again, or shaken, as soon as a problem is seen (failure-detection.md 4, 5)."""

    NONE = "none"
    REREAD_MASTER = "re-read the analysed server"
    REREAD_MASTER_AND_REPLICAS = "re-read the analysed server and all its replicas"
    REREAD_SOURCE = "re-read the source of the analysed server"
    RECORD_COORDINATES = "re-read the analysed server and record its binary log coordinates"
    RESTART_RECEIVERS = "restart the receivers of all replicas"


class RecoveryKind(Enum):
    """Which recovery a problem asks for."""

    NONE = "none"
    DEAD_MASTER = "dead master"
    DEAD_CO_MASTER = "dead co-master"
    DEAD_INTERMEDIATE_MASTER = "dead intermediate master"
    DEAD_GROUP_MEMBER = "dead group member"
    LOCKED_SEMI_SYNC = "too few semi-sync replicas"
    EXACT_SEMI_SYNC = "too many semi-sync replicas"
    SET_WRITEABLE = "read-only master"


class Evidence(Enum):
    """What must be seen, beyond the condition of a problem, before anything is done about it."""

    CONDITION = "the condition itself"
    RECEIVERS = "a receiver in a network error"
    DEATH = "silence of the server itself, and a receiver in a network error or a failed witness"
