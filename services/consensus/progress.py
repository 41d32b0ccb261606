"""What a leader knows of one peer in its term: how far it is, and when it was asked what it answered last."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Progress", "nth_largest"]

_WINDOW_ENTRIES = 512


@dataclass(slots=True)
class Progress:
    """``match``: on the peer's disk and equal up to there. ``next_index``: what to send it next.

    A peer is *probed*, with one message at a time, until it has accepted one: then entries are sent ahead of
    its answers, up to a window.
    """

    next_index: int
    match: int = 0
    counts: bool = False  # until it says that it is a voter
    probing: bool = True
    waiting: bool = False
    asked_at: float = -math.inf  # when what it answered last was sent
    snapshot_at: float = -math.inf  # when a snapshot was sent that it has not answered
    sent: dict[int, float] = field(default_factory=dict)

    def send(self, seq: int, now: float, last_index: int, oldest: float) -> None:
        """A message with all up to ``last_index`` goes out. What went before ``oldest`` is forgotten."""
        while self.sent and next(iter(self.sent.values())) < oldest:
            del self.sent[next(iter(self.sent))]
        self.sent[seq] = now
        self.waiting = True
        if not self.probing:
            self.next_index = last_index + 1

    def answered(self, seq: int) -> None:
        """The lease counts from the sending of what was answered, not from the answer's receipt."""
        self.waiting = False
        self.asked_at = max(self.asked_at, self.sent.pop(seq, -math.inf))

    def accepted(self, index: int) -> None:
        self.match = max(self.match, index)
        self.next_index = max(self.next_index, self.match + 1)
        self.probing = False
        self.snapshot_at = -math.inf

    def refused(self, index: int) -> None:
        """``match`` may fall too: a peer that lost its disk has less than it had."""
        self.next_index = min(self.next_index, index + 1)
        self.match = min(self.match, index)
        self.probing = True

    def may_send_entries(self) -> bool:
        return not self.waiting if self.probing else self.next_index - self.match <= _WINDOW_ENTRIES


def nth_largest(values: list[float], n: int) -> float:
    return sorted(values, reverse=True)[n - 1]
