"""What is remembered about failures and what was done about them: the values of the audit.

Values only: ``services.store`` keeps them, ``api/wire.py`` maps them to the names of the HTTP API
(``TopologyRecovery`` stands there for a recovery and for a detection), planning reads the journal.

Times are texts in UTC, ``2026-11-22T20:46:24Z``, or empty where the thing has not happened; they
sort as they read. An id is the number of its row and is 0 before it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.topology.coordinates import BinlogCoordinates
from services.topology.keys import NO_KEY, InstanceKey

__all__ = [
    "AnalysisEntry",
    "AuditEntry",
    "BlockedRecovery",
    "DeposedMaster",
    "FailureDetection",
    "JournalEntry",
    "JournalPhase",
    "Recovery",
    "RecoveryStep",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisEntry:
    """The part of an analysis that the audit keeps: who failed, how, and who hung on it."""

    analyzed_instance_key: InstanceKey
    analysis: str  # the code, DeadMaster
    cluster_name: str
    cluster_alias: str = ""  # as the API shows it: the alias, or the cluster's name
    cluster_id: str = ""  # survives the cluster's masters; what a recovery locks
    count_replicas: int = 0
    replicas: tuple[InstanceKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One attempt to repair a cluster, running while ``recovery_end_timestamp`` is empty."""

    uid: str  # "<unix ns>:<64 hex>"
    analysis_entry: AnalysisEntry
    recovery_start_timestamp: str
    term: int
    """The election under which it was begun; 0 where no election gave one."""
    id: int = 0
    processing_node_hostname: str = ""
    processing_node_token: str = ""
    type: str = ""  # MasterRecovery
    recovery_type: str = ""  # MasterRecoveryGTID
    last_detection_id: int = 0
    related_recovery_id: int = 0

    # how it ended
    recovery_end_timestamp: str = ""
    is_successful: bool = False
    successor_key: InstanceKey = NO_KEY
    successor_alias: str = ""
    successor_binlog_coordinates: BinlogCoordinates | None = None  # live only, never in the audit
    lost_replicas: tuple[InstanceKey, ...] = ()
    participating_instance_keys: tuple[InstanceKey, ...] = ()
    all_errors: tuple[str, ...] = ()

    # how long it stands in the way of the next
    blocked_until: str = ""
    """End of the block that a successful promotion puts on its cluster; empty: it puts none."""
    is_active: bool = False
    """When read: it runs, or its block lasts and nobody acknowledged it."""
    acknowledged: bool = False
    acknowledged_at: str = ""
    acknowledged_by: str = ""
    acknowledged_comment: str = ""

    @property
    def is_running(self) -> bool:
        return not self.recovery_end_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStep:
    """One decision or action of a recovery, in words, for people."""

    id: int = 0
    recovery_uid: str
    audit_at: str
    message: str


class JournalPhase(str, Enum):
    """Where an act stands. An INTENT without a later phase of the same step has an unknown outcome."""

    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One line of the journal of a plan's execution, for machines: a later term resumes from it."""

    id: int = 0
    recovery_uid: str
    term: int
    step_no: int
    kind: str
    instance: InstanceKey = NO_KEY
    phase: JournalPhase
    detail: str = ""  # JSON of the writer's own
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDetection:
    """A failure that was noticed. While active, no second one of this server and actionability is made."""

    id: int = 0
    analysis_entry: AnalysisEntry
    is_actionable: bool
    recovery_start_timestamp: str
    """When it was detected; the API shows it as ``StartActivePeriod`` too."""
    processing_node_hostname: str = ""
    processing_node_token: str = ""
    is_active: bool = False
    related_recovery_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedRecovery:
    """An attempt that was refused because another recovery of the cluster runs or blocks it."""

    failed_instance_key: InstanceKey
    cluster_name: str
    analysis: str
    last_blocked_timestamp: str
    blocking_recovery_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeposedMaster:
    """A master that was replaced while it could not be asked: it is fenced when it is seen again."""

    cluster_id: str
    key: InstanceKey
    deposed_at: str
    until: str
    """It is dialled each heartbeat up to then; it stays deposed until it rejoins."""
    term: int
    recovery_uid: str
    executed_gtid_set: str = ""
    """The last that was seen of it: what the successor lacks of this is a lower bound of the loss."""
    seen_again_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the general audit; ``instance`` is NO_KEY where no server is meant."""

    id: int = 0
    at: str
    type: str
    instance: InstanceKey = NO_KEY
    message: str = ""
