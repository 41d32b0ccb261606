"""What members say to each other, and what they agree on. Values only; each carries its sender's term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "EMPTY_SNAPSHOT",
    "Append",
    "Entry",
    "Envelope",
    "Inquiry",
    "InquiryReply",
    "Install",
    "Message",
    "Reply",
    "Snapshot",
    "TimeoutNow",
    "Vote",
    "VoteReply",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of the log. ``command`` is None for the entry with which a leader begins its term."""

    index: int
    term: int
    command: bytes | None

    @property
    def size_bytes(self) -> int:
        return len(self.command or b"") + 32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after the entry at ``index``, instead of all entries up to it."""

    index: int
    term: int
    data: bytes


EMPTY_SNAPSHOT = Snapshot(0, 0, b"")


@dataclass(frozen=True, slots=True)
class Vote:
    """A candidate asks for a vote in ``term``.

    With ``pre`` it only asks whether it would get one: nobody's state changes. With ``transfer`` the leader
    of the term before told it to, having given up its lease: who heard that leader just now may vote too.
    """

    term: int
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply:
    """``term`` is the voter's own, ``for_term`` the one that was asked about."""

    term: int
    for_term: int
    granted: bool
    pre: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """The entries after ``previous_index``, and how far the leader has committed. Empty: a heartbeat."""

    term: int
    seq: int
    previous_index: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int


@dataclass(frozen=True, slots=True)
class Install:
    """A snapshot, for who is behind what the leader's log still has."""

    term: int
    seq: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to Append and Install ``seq``.

    Accepted: the log is on disk and the leader's up to ``index``. Not: it may be the leader's up to there.
    ``counts``: it is a voter; what a learner holds and when it answered is not to be counted.
    """

    term: int
    seq: int
    accepted: bool
    index: int
    counts: bool


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader hands over: be a candidate at once."""

    term: int


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One who has no vote yet asks everybody who they are. ``nonce`` is of this life of the asker."""

    nonce: int


@dataclass(frozen=True, slots=True)
class InquiryReply:
    """``votes_after`` as in `Hard`; ``last_index`` is the end of the log of one who ``leads`` in ``term``."""

    nonce: int
    term: int
    votes_after: int
    leads: bool
    last_index: int


Message: TypeAlias = Vote | VoteReply | Append | Install | Reply | TimeoutNow | Inquiry | InquiryReply


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and the stable id of the member it is for."""

    to: str
    message: Message
