"""One leader in its term: what it knows of its peers, what it sends them, how long it may act."""

from __future__ import annotations

import math
from collections.abc import Iterable

from services.consensus.log import Log
from services.consensus.messages import Append, Entry, Envelope, Install, Reply
from services.consensus.progress import Progress, nth_largest
from services.consensus.state import Timing

__all__ = ["Leading"]

_ENTRIES_MAX = 64
_BYTES_MAX = 256 * 1024
_MESSAGES_MAX = 4  # to one peer at once


class Leading:
    """``first`` is the entry with which it began its term."""

    def __init__(
        self, first: Entry, peers: Iterable[str], *, quorum: int, now: float, timing: Timing
    ) -> None:
        self.first_index = first.index
        self.heartbeat_at = now
        self.successor: str | None = None
        self._term = first.term
        self._progress = {peer: Progress(next_index=first.index) for peer in peers}
        self._quorum = quorum
        self._timing = timing
        self._started = now
        self._seq = 0
        self._beat: set[str] = set(self._progress)  # who is to be sent something, be it empty
        self._handed_over_at = math.inf

    # How long, and how far

    def contact(self, now: float) -> float:
        """When the oldest was asked of the answers that make a majority, together with itself now."""
        asked = [peer.asked_at if peer.counts else -math.inf for peer in self._progress.values()]
        return nth_largest([now, *asked], self._quorum)

    def contact_or_start(self, now: float) -> float:
        """The same, when nobody can have answered yet; for check-quorum, never for the lease."""
        return max(self.contact(now), self._started)

    def held_by_majority(self, own_last: int) -> int:
        held = [peer.match if peer.counts else 0 for peer in self._progress.values()]
        return int(nth_largest([own_last, *held], self._quorum))

    def answered(self, sender: str, reply: Reply, now: float) -> None:
        peer = self._progress[sender]
        peer.counts = reply.counts
        self._note_asked(peer, reply.seq, now)
        if reply.accepted:
            peer.accepted(reply.index)
        else:
            peer.refused(reply.index)

    def matches(self) -> dict[str, int]:
        """Up to where each peer is known to have the log."""
        return {name: peer.match for name, peer in self._progress.items()}

    def _note_asked(self, peer: Progress, seq: int, now: float) -> None:
        peer.answered(seq)

    # Sending

    def tick(self, now: float) -> None:
        if now >= self.heartbeat_at:
            self.heartbeat_at = now + self._timing.heartbeat
            self.tell_commit()

    def tell_commit(self) -> None:
        self._beat.update(self._progress)

    def outgoing(self, log: Log, commit: int, now: float) -> list[Envelope]:
        envelopes = []
        for name, peer in self._progress.items():
            beat = name in self._beat
            for _ in range(_MESSAGES_MAX):
                message = self._next(peer, log, commit, now, beat=beat)
                if message is None:
                    break
                envelopes.append(Envelope(name, message))
                beat = False
        self._beat.clear()
        return envelopes

    def _next(
        self, peer: Progress, log: Log, commit: int, now: float, *, beat: bool
    ) -> Append | Install | None:
        if peer.next_index <= log.base_index:
            return self._without_entries(peer, log, commit, now, beat=beat)
        batch = (
            log.batch(peer.next_index, _ENTRIES_MAX, _BYTES_MAX) if peer.may_send_entries() or beat else ()
        )
        if not batch and not beat:
            return None
        previous = peer.next_index - 1
        term = log.term_at(previous)
        assert term is not None, "it begins after the base of the log"
        seq = self._sending(peer, batch[-1].index if batch else previous, now)
        return Append(self._term, seq, previous, term, batch, commit)

    def _without_entries(
        self, peer: Progress, log: Log, commit: int, now: float, *, beat: bool
    ) -> Append | Install | None:
        """The entries it lacks are gone. Heartbeats go on while the snapshot is on its way."""
        if now >= peer.snapshot_at + self._timing.snapshot_retry:
            peer.snapshot_at = now
            return Install(self._term, self._sending(peer, peer.next_index - 1, now), log.snapshot)
        if not beat:
            return None
        seq = self._sending(peer, peer.next_index - 1, now)
        return Append(self._term, seq, log.base_index, log.base_term, (), commit)

    def _sending(self, peer: Progress, last_index: int, now: float) -> int:
        self._seq += 1
        peer.send(self._seq, now, last_index, now - self._timing.lease)
        return self._seq

    # Handing over

    def hand_over(self, successor: str, now: float) -> None:
        if self.successor is None:
            self.successor, self._handed_over_at = successor, now

    def successor_is_due(self, sender: str, last_index: int, now: float) -> bool:
        """It has everything, and no deadline that was given out before still runs."""
        if sender != self.successor or now < self._handed_over_at + self._timing.lease:
            return False
        return self._progress[sender].match == last_index

    def handing_over_failed(self, now: float) -> bool:
        return now >= self._handed_over_at + self._timing.lease + self._timing.election_max
