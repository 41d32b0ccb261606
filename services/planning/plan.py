"""Plans and refusals: values that can be shown, journalled and executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from services.topology.keys import NO_KEY, InstanceKey

__all__ = ["Plan", "Ranked", "Refusal", "SemiSync", "Step", "StepKind", "turning_point"]


class StepKind(str, Enum):
    """What a step does to its instance. The executor has one action for each."""

    STOP_RECEIVER = "stop-receiver"
    DRAIN = "drain"
    COVER = "cover"
    DIAL_OLD_MASTER = "dial-old-master"
    SEMI_SYNC_SOURCE = "semi-sync-source"
    FENCE = "fence"
    DEPOSE = "depose"
    OPEN = "open"
    DETACH = "detach"
    FORGET_SOURCE = "forget-source"
    REPOINT = "repoint"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class SemiSync:
    """Source-side settings of semi-synchronous replication, carried from the failed master (rule 11)."""

    wait_point: str
    wait_count: int
    timeout_ms: int
    wait_no_replica: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One act on one instance. Steps of one ``stage`` run side by side, stages one after another."""

    number: int
    stage: int
    kind: StepKind
    instance: InstanceKey
    source: InstanceKey = NO_KEY
    """COVER, REPOINT: whom to replicate from; DETACH: from whom; DEPOSE, FENCE: the candidate."""
    source_name: str = ""
    """COVER, REPOINT: the host by which it is to know the source, if that is registered; else its own."""
    gtid_set: str = ""
    """DRAIN, COVER: what must have been executed afterwards; DIAL_OLD_MASTER: what the candidate has then."""
    by_position: bool = False
    """Without GTID. DRAIN: all that is complete in the relay log; DIAL_OLD_MASTER: no set to compare with."""
    place: str = ""
    """Without GTID, ``file:position``. REPOINT: where to begin; VERIFY: where its own binary log ends."""
    semi_sync: SemiSync | None = None  # SEMI_SYNC_SOURCE
    semi_sync_replica: bool = False  # REPOINT: the replica side goes on
    may_hang: bool = False
    """STOP_RECEIVER: the source does not answer, so the receiver may hang in its connect."""
    required: bool = True
    """False: its failure is recorded and the plan goes on (a replica that is lost)."""
    what: str = ""  # in words, for the audit
    undo: str = ""  # in words, what an abort does about it

    @property
    def title(self) -> str:
        return f"{self.kind.value} {self.instance}"


def turning_point(steps: Sequence[Step]) -> Step:
    """The last step before which all can be undone: the opening or, where nothing is opened, the deposal."""
    openings = [step for step in steps if step.kind is StepKind.OPEN]
    return (openings or [step for step in steps if step.kind is StepKind.DEPOSE])[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One replica as a candidate: whether it may be promoted, and every reason that counted."""

    key: InstanceKey
    promotable: bool
    reasons: tuple[str, ...]
    missing: str = ""  # transactions that others hold and it does not
    errant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done, in order, and why this candidate."""

    cluster_id: str
    failed: InstanceKey
    candidate: InstanceKey
    steps: tuple[Step, ...]
    ranking: tuple[Ranked, ...] = ()
    lost: Mapping[InstanceKey, str] = field(default_factory=dict)  # who is left behind, and why
    notes: tuple[str, ...] = ()  # what a person should know about how things will be


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Nothing is done (rule 10): why, and what a forced promotion would lose."""

    rule: str
    reason: str
    ranking: tuple[Ranked, ...] = ()
    loss: str = ""
    """A lower bound in words: what the failed master was last seen to have and no replica has."""

    def __str__(self) -> str:
        return f"refused ({self.rule}): {self.reason}" + (f"; {self.loss}" if self.loss else "")
