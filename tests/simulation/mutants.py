"""The core with one rule missing each: what the tests of the core must notice."""

from __future__ import annotations

import math
from dataclasses import replace

from services.consensus.core import Raft
from services.consensus.leading import Leading
from services.consensus.messages import Append, Entry, Vote
from services.consensus.progress import Progress
from services.consensus.state import Ready

__all__ = [
    "CommitsByCountingOlderTerms",
    "CommitsUnverifiedLog",
    "CommitsWithoutLooking",
    "ForgetsLog",
    "ForgetsVote",
    "LeaseFromReceipt",
    "NoGraceAfterRestart",
    "NoLogCheckInVote",
    "NoStickyFollowers",
]


class ForgetsVote(Raft):
    """The vote is not persisted; the term is."""

    def ready(self) -> Ready:
        ready = super().ready()
        hard = ready.persist.hard
        if hard is None:
            return ready
        return replace(ready, persist=replace(ready.persist, hard=replace(hard, voted_for=None)))


class ForgetsLog(Raft):
    """The log is not persisted."""

    def ready(self) -> Ready:
        ready = super().ready()
        return replace(ready, persist=replace(ready.persist, replace_from=None, entries=()))


class CommitsByCountingOlderTerms(Raft):
    """An entry of any term that a majority has counts as committed."""

    def _advance_commit(self, leading: Leading) -> None:
        index = leading.held_by_majority(self.log.last_index)
        if index > self.commit_index:
            self.commit_index = index
            leading.tell_commit()


class CommitsUnverifiedLog(Raft):
    """A follower commits as far as its own log goes."""

    def _commit_as_told(self, commit: int, verified: int) -> None:
        self.commit_index = max(self.commit_index, min(commit, self.log.last_index))


class CommitsWithoutLooking(Raft):
    """The same before it has even compared its log, as PySyncObj 0.3.17 does."""

    def _on_append(self, sender: str, append: Append) -> None:
        if append.term >= self.hard.term:
            self.commit_index = max(self.commit_index, min(append.commit, self.log.last_index))
        super()._on_append(sender, append)


class NoGraceAfterRestart(Raft):
    """Who restarts has heard nobody."""

    def _heard_before_start(self, now: float) -> float:
        return -math.inf


class NoLogCheckInVote(Raft):
    """The vote goes to whoever asks first; the pre-vote looks at the log."""

    def _is_up_to_date(self, vote: Vote) -> bool:
        return not vote.pre or super()._is_up_to_date(vote)


class NoStickyFollowers(Raft):
    """Votes are given while a leader is heard."""

    def _hears_a_leader(self) -> bool:
        return False


class _CountsFromReceipt(Leading):
    def _note_asked(self, peer: Progress, seq: int, now: float) -> None:
        peer.answered(seq)
        peer.asked_at = now


class LeaseFromReceipt(Raft):
    """The lease counts from when the answer came."""

    def _lead(self, first: Entry) -> Leading:
        return _CountsFromReceipt(first, self.peers, quorum=self.quorum, now=self._now, timing=self.timing)
