"""What a member keeps, what it hands to its shell, and the times it lives by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.consensus.messages import EMPTY_SNAPSHOT, Entry, Envelope, Snapshot

__all__ = [
    "LEARNER",
    "ConsensusError",
    "Hard",
    "Leadership",
    "NotLeadingError",
    "Persist",
    "Ready",
    "Role",
    "Stored",
    "Timing",
]

LEARNER = -1


class ConsensusError(Exception):
    """What cannot be, if every member keeps the rules: this one must stop rather than go on."""


class NotLeadingError(Exception):
    """Only a leader does this, and this member does not lead, or is handing over. Nothing was done."""


class Role(str, Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, the same on all members. ``drift`` bounds how much two clocks differ in speed."""

    heartbeat: float = 0.08
    election_min: float = 0.4
    election_max: float = 0.8
    drift: float = 0.1
    snapshot_retry: float = 3.0

    def __post_init__(self) -> None:
        if not (0 < 2 * self.heartbeat < self.election_min < self.election_max and 0 <= self.drift < 0.5):
            raise ValueError(
                f"two heartbeats of {self.heartbeat:g} s must fit into the shortest election time-out, "
                f"{self.election_min:g} s, that into the longest, {self.election_max:g} s, and the drift of "
                f"clocks, {self.drift:g}, must be less than a half"
            )

    @property
    def lease(self) -> float:
        """How long a follower's answer is worth, on the leader's clock, from when it was asked."""
        return self.election_min * (1 - self.drift)


@dataclass(frozen=True, slots=True)
class Hard:
    """What is never forgotten. Votes count only in terms after ``votes_after``; LEARNER: never yet."""

    term: int = 0
    voted_for: str | None = None
    votes_after: int = LEARNER


@dataclass(frozen=True, slots=True)
class Stored:
    """What a member finds on its disk. The log begins after (``base_index``, ``base_term``)."""

    hard: Hard = Hard()
    snapshot: Snapshot = EMPTY_SNAPSHOT
    base_index: int = 0
    base_term: int = 0
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Persist:
    """One transaction. None: unchanged. All from ``replace_from`` on is ``entries`` now, and nothing else."""

    hard: Hard | None = None
    snapshot: Snapshot | None = None
    base: tuple[int, int] | None = None  # entries up to this index go
    replace_from: int | None = None
    entries: tuple[Entry, ...] = ()

    def __bool__(self) -> bool:
        return not (
            self.hard is None and self.snapshot is None and self.base is None and self.replace_from is None
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """What is to be done, in this order: persist, then send, restore and apply."""

    persist: Persist
    messages: tuple[Envelope, ...] = ()
    restore: Snapshot | None = None
    apply: tuple[Entry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.persist or self.messages or self.restore is not None or self.apply)


@dataclass(frozen=True, slots=True)
class Leadership:
    """The right to act. ``deadline`` is on the clock that was handed in: no act may outlive it."""

    term: int
    deadline: float
