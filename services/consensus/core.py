"""Raft without clock, socket or disk: ``tick``, ``step``, ``propose``, and ``ready`` for what follows from
them.

The contract with the shell. Calls come one at a time, each with the time of one clock that is never set back.
Then the shell takes ``ready()`` and

1. persists ``persist`` in one transaction. It may go on to call ``tick``, ``step`` and ``propose`` meanwhile,
   but takes the next ``ready`` only after that. If it fails, this object is discarded, with all that it
   wanted sent;
2. sends ``messages``, which may be lost, doubled, delayed and reordered;
3. restores ``restore``, then applies ``apply`` in order, and calls ``applied``.

The rules, beside those of the raft paper:

* *Pre-vote.* Nobody raises its term before a majority has said that it would vote for it.
* *Sticky followers.* Who has heard a leader within the shortest election time-out refuses every vote. After a
  restart a member counts as having just heard one, and so does a leader that steps down.
* *Check-quorum.* A leader that no majority has answered for the longest election time-out steps down.
* *Lease.* What a majority has answered, the leader itself included, makes it lead until ``Timing.lease``
  after the oldest of these answers was *asked for*. It is shorter than the shortest election time-out by what
  clocks may drift, and counted from before the followers began to be sticky: so none of them votes before it
  has ended. ``leadership`` computes it when asked, and gives none before the leader has applied the first
  entry of its term.
* *Handing over.* The lease is given up first, for the rest of the term; the successor is told when the last
  deadline that may have been given out has passed.
* *Commit.* By counting only entries of the own term. A follower's commit goes no further than what this same
  message has shown to be the leader's log.
* Members without a vote: see ``membership``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from random import Random

from services.consensus.leading import Leading
from services.consensus.log import Log
from services.consensus.membership import Acquaintance, majority
from services.consensus.messages import (
    Append,
    Entry,
    Envelope,
    Inquiry,
    InquiryReply,
    Install,
    Message,
    Reply,
    Snapshot,
    TimeoutNow,
    Vote,
    VoteReply,
)
from services.consensus.state import (
    LEARNER,
    ConsensusError,
    Hard,
    Leadership,
    NotLeadingError,
    Persist,
    Ready,
    Role,
    Stored,
    Timing,
)

__all__ = ["Raft"]


class Raft:
    """One member. ``stored`` is what its disk has; ``random`` spreads the time-outs and makes its nonce."""

    def __init__(
        self,
        node_id: str,
        members: Iterable[str],
        stored: Stored,
        now: float,
        *,
        random: Random,
        timing: Timing | None = None,
    ) -> None:
        everybody = frozenset(members)
        if node_id not in everybody:
            raise ValueError(f"{node_id} is not among the members {', '.join(sorted(everybody))}")
        self.node_id = node_id
        self.peers = tuple(sorted(everybody - {node_id}))
        self.quorum = majority(len(everybody))
        self.timing = timing or Timing()
        self.log = Log(stored)
        self.hard = stored.hard
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.commit_index = self.applied_index = self.log.snapshot.index
        self.acquaintance = Acquaintance(random.getrandbits(63), self.peers)
        self._random = random
        self._now = now
        self._saved_hard = stored.hard
        self._outbox: list[Envelope] = []
        self._handed_out = self.commit_index  # to be applied
        self._restore: Snapshot | None = None
        self._verified = 0  # our log is the current leader's up to here
        self._votes: set[str] = set()
        self._leading: Leading | None = None
        self._inquire_at = now
        self._heard_at = self._heard_before_start(now)
        self._election_at = self._next_election()

    # What the shell calls

    def tick(self, now: float) -> None:
        """Time has passed. Due at ``wake_at``; more often does no harm."""
        self._advance(now)
        if self._leading is not None:
            self._tick_as_leader(self._leading)
            return
        if self._must_inquire() and self._now >= self._inquire_at:
            self._inquire_at = self._now + self.timing.heartbeat
            for peer in self.peers:
                self._send(peer, Inquiry(self.acquaintance.nonce))
            self._consider_vote()
        if self._now >= self._election_at:
            self._election_at = self._next_election()
            self._campaign()

    def step(self, sender: str, message: Message, now: float) -> None:
        """A message came from the member ``sender``, whom the shell has authenticated."""
        self._advance(now)
        if sender not in self.peers:
            return
        match message:
            case Append():
                self._on_append(sender, message)
            case Reply():
                self._on_reply(sender, message)
            case Vote():
                self._on_vote(sender, message)
            case VoteReply():
                self._on_vote_reply(sender, message)
            case Install():
                self._on_install(sender, message)
            case TimeoutNow():
                self._on_timeout_now(sender, message)
            case Inquiry():
                self._send(sender, self._about_me(message))
            case InquiryReply():
                self._on_inquiry_reply(sender, message)

    def propose(self, command: bytes) -> Entry:
        """Append a command. It is agreed on when ``apply`` brings the entry with this index and this term."""
        if self._leading is None or self._leading.successor is not None:
            raise NotLeadingError
        entry = self.log.append(self.hard.term, command)
        self._advance_commit(self._leading)
        return entry

    def ready(self) -> Ready:
        """What is to be done. Once given it is not given again."""
        if self._leading is not None:
            self._outbox += self._leading.outgoing(self.log, self.commit_index, self._now)
        hard = self.hard if self.hard != self._saved_hard else None
        self._saved_hard = self.hard
        log = self.log.unsaved()
        persist = Persist(hard, log.snapshot, log.base, log.replace_from, log.entries)
        apply: tuple[Entry, ...] = ()
        if self.commit_index > self._handed_out:
            apply = self.log.between(self._handed_out + 1, self.commit_index)
            self._handed_out = self.commit_index
        messages, restore = tuple(self._outbox), self._restore
        self._outbox, self._restore = [], None
        return Ready(persist, messages, restore, apply)

    def applied(self, index: int) -> None:
        """The state machine has everything up to ``index``."""
        self.applied_index = max(self.applied_index, index)

    def compact(self, index: int, data: bytes, *, keep: int) -> None:
        """``data`` is the state after the applied entry ``index``; ``keep`` entries before it stay."""
        term = self.log.term_at(index)
        if index <= self.log.snapshot.index or term is None or index > self.applied_index:
            return
        self.log.compact(Snapshot(index, term, data), keep)

    def leadership(self, now: float) -> Leadership | None:
        """The right to act as of ``now``; None if there is none."""
        leading = self._leading
        if leading is None or leading.successor is not None or self.applied_index < leading.first_index:
            return None
        deadline = leading.contact(now) + self.timing.lease
        return Leadership(self.hard.term, deadline) if now < deadline else None

    def transfer(self, successor: str, now: float) -> None:
        """Hand over to ``successor``: acting ends now, for this term. If it does not take over, step down."""
        self._advance(now)
        if self._leading is None or successor not in self.peers:
            raise NotLeadingError
        self._leading.hand_over(successor, now)

    def step_down(self, now: float) -> None:
        """Stop leading, and let the others elect. May win again."""
        self._advance(now)
        if self._leading is None:
            raise NotLeadingError
        self._become_follower(self.hard.term)

    def stand_back(self, now: float) -> None:
        """Do not ask for votes for now: called again and again by who could not act as a leader."""
        self._advance(now)
        if self._leading is None:
            self._election_at = self._next_election()

    def matches(self) -> dict[str, int]:
        """A leader: up to where each peer is known to have the log."""
        return {} if self._leading is None else self._leading.matches()

    def wake_at(self) -> float:
        """When ``tick`` is due."""
        if self._leading is not None:
            return self._leading.heartbeat_at
        return min(self._election_at, self._inquire_at if self._must_inquire() else math.inf)

    @property
    def is_learner(self) -> bool:
        return self.hard.votes_after == LEARNER

    # Terms and roles

    def _advance(self, now: float) -> None:
        self._now = max(self._now, now)

    def _heard_before_start(self, now: float) -> float:
        """It may have answered a leader just before it died, and that leader counts on it."""
        return now

    def _next_election(self) -> float:
        return self._now + self._random.uniform(self.timing.election_min, self.timing.election_max)

    def _send(self, to: str, message: Message) -> None:
        self._outbox.append(Envelope(to, message))

    def _hears_a_leader(self) -> bool:
        """Then it does not vote. A leader hears itself while a majority answers it."""
        heard = self._heard_at if self._leading is None else self._leading.contact_or_start(self._now)
        return self._now - heard < self.timing.election_min

    def _may_campaign(self) -> bool:
        """In the first term only when all are founded, see ``membership``."""
        return not self.is_learner and (self.hard.term > 0 or self.acquaintance.all_are_voters())

    def _become_follower(self, term: int, leader: str | None = None) -> None:
        if self._leading is not None:
            # Deadlines that it gave out count on it as on any other member of the majority.
            self._heard_at = self._now
            self._leading = None
            self._election_at = self._next_election()
        self.role = Role.FOLLOWER
        if term > self.hard.term:
            self.hard = Hard(term, None, self.hard.votes_after)
            self._verified = 0
        self.leader = leader

    def _campaign(self, *, transfer: bool = False) -> None:
        """Ask for pre-votes; or, at the leader's word, for votes."""
        self.leader = None
        if not self._may_campaign():
            return
        self.role = Role.CANDIDATE if transfer else Role.PRE_CANDIDATE
        term = self.hard.term + 1
        if transfer:
            self.hard = Hard(term, self.node_id, self.hard.votes_after)
        self._votes = {self.node_id}
        vote = Vote(term, self.log.last_index, self.log.last_term, pre=not transfer, transfer=transfer)
        for peer in self.peers:
            self._send(peer, vote)
        self._count_votes()

    def _count_votes(self) -> None:
        if len(self._votes) < self.quorum:
            return
        if self.role is Role.CANDIDATE:
            self._become_leader()
            return
        self.role = Role.CANDIDATE
        self.hard = Hard(self.hard.term + 1, self.node_id, self.hard.votes_after)
        self._votes = {self.node_id}
        for peer in self.peers:
            self._send(peer, Vote(self.hard.term, self.log.last_index, self.log.last_term))
        if len(self._votes) >= self.quorum:
            self._become_leader()

    def _become_leader(self) -> None:
        self.role, self.leader = Role.LEADER, self.node_id
        first = self.log.append(self.hard.term, None)
        self._leading = self._lead(first)
        self._advance_commit(self._leading)

    def _lead(self, first: Entry) -> Leading:
        return Leading(first, self.peers, quorum=self.quorum, now=self._now, timing=self.timing)

    # Votes

    def _on_vote(self, sender: str, vote: Vote) -> None:
        if vote.term >= self.hard.term and not vote.transfer and self._hears_a_leader():
            return  # not even its term is taken over
        if vote.term > self.hard.term and not vote.pre:
            self._become_follower(vote.term)
        granted = self._votes_in(vote, sender) and self._is_up_to_date(vote)
        if granted and not vote.pre:
            self.hard = Hard(self.hard.term, sender, self.hard.votes_after)
            self._election_at = self._next_election()
        self._send(sender, VoteReply(self.hard.term, vote.term, granted, vote.pre))

    def _votes_in(self, vote: Vote, sender: str) -> bool:
        """Whether it has a vote to give in that term; a pre-vote is about a term to come."""
        if self.is_learner or vote.term <= self.hard.votes_after:
            return False
        if vote.pre:
            return vote.term > self.hard.term
        return vote.term == self.hard.term and self.hard.voted_for in (None, sender)

    def _is_up_to_date(self, vote: Vote) -> bool:
        return (vote.last_term, vote.last_index) >= (self.log.last_term, self.log.last_index)

    def _on_vote_reply(self, sender: str, reply: VoteReply) -> None:
        if reply.term > self.hard.term:
            self._become_follower(reply.term)
            return
        asked = self.role is (Role.PRE_CANDIDATE if reply.pre else Role.CANDIDATE)
        if asked and reply.granted and reply.for_term == self.hard.term + reply.pre:
            self._votes.add(sender)
            self._count_votes()

    def _on_timeout_now(self, sender: str, message: TimeoutNow) -> None:
        if message.term == self.hard.term and self.leader == sender and not self.is_learner:
            self._election_at = self._next_election()
            self._campaign(transfer=True)

    # Following

    def _follow(self, sender: str, term: int) -> bool:
        """A leader speaks. False if its term is past."""
        if term < self.hard.term:
            return False
        if term == self.hard.term and self._leading is not None:
            raise ConsensusError(f"{sender} leads in term {term}, and so does this member")
        self._become_follower(term, sender)
        self._heard_at = self._now
        self._election_at = self._next_election()
        return True

    def _on_append(self, sender: str, append: Append) -> None:
        if not self._follow(sender, append.term):
            self._reply(sender, append.seq, accepted=False, index=self.log.last_index)
            return
        verified = append.previous_index + len(append.entries)
        if append.previous_index < self.commit_index:
            # What is committed is in every leader's log; it may not be in ours any more.
            new = tuple(entry for entry in append.entries if entry.index > self.commit_index)
            verified = max(verified, self.commit_index)
        elif self.log.term_at(append.previous_index) == append.previous_term:
            new = append.entries
        else:
            agrees = self.log.conflict_before(append.previous_index, self.commit_index)
            self._reply(sender, append.seq, accepted=False, index=agrees)
            return
        self.log.merge(new, self.commit_index)
        self._accept(sender, append.seq, verified, append.commit)

    def _on_install(self, sender: str, install: Install) -> None:
        if not self._follow(sender, install.term):
            self._reply(sender, install.seq, accepted=False, index=self.log.last_index)
            return
        snapshot = install.snapshot
        if snapshot.index > self.commit_index:
            self.log.install(snapshot)
            self.commit_index = self._handed_out = snapshot.index
            self._restore = snapshot
        self._accept(sender, install.seq, max(snapshot.index, self.commit_index), snapshot.index)

    def _accept(self, sender: str, seq: int, verified: int, commit: int) -> None:
        """Our log is the leader's up to ``verified``: only so far can its commit be ours."""
        self._verified = max(self._verified, verified)
        self._commit_as_told(commit, verified)
        self._consider_vote()
        self._reply(sender, seq, accepted=True, index=verified)

    def _commit_as_told(self, commit: int, verified: int) -> None:
        self.commit_index = max(self.commit_index, min(commit, verified))

    def _reply(self, sender: str, seq: int, *, accepted: bool, index: int) -> None:
        self._send(sender, Reply(self.hard.term, seq, accepted, index, not self.is_learner))

    # Leading

    def _tick_as_leader(self, leading: Leading) -> None:
        if self._now - leading.contact_or_start(self._now) >= self.timing.election_max:
            self._become_follower(self.hard.term)
            return
        if leading.handing_over_failed(self._now):
            self._become_follower(self.hard.term)
            return
        leading.tick(self._now)

    def _on_reply(self, sender: str, reply: Reply) -> None:
        if reply.term > self.hard.term:
            self._become_follower(reply.term)
            return
        if self._leading is None or reply.term < self.hard.term:
            return  # a late answer to what it was
        if reply.accepted and reply.index > self.log.last_index:
            raise ConsensusError(f"{sender} has entry {reply.index} of this leader, who has not written it")
        self._leading.answered(sender, reply, self._now)
        self._advance_commit(self._leading)
        if self._leading.successor_is_due(sender, self.log.last_index, self._now):
            self._send(sender, TimeoutNow(self.hard.term))

    def _advance_commit(self, leading: Leading) -> None:
        """An entry of an older term may be replaced although a majority has it (figure 8 of the paper)."""
        index = leading.held_by_majority(self.log.last_index)
        if index > self.commit_index and self.log.term_at(index) == self.hard.term:
            self.commit_index = index
            leading.tell_commit()

    # Members without a vote

    def _must_inquire(self) -> bool:
        return self.is_learner or self.hard.term == 0

    def _about_me(self, inquiry: Inquiry) -> InquiryReply:
        leads = self._leading is not None
        return InquiryReply(inquiry.nonce, self.hard.term, self.hard.votes_after, leads, self.log.last_index)

    def _on_inquiry_reply(self, sender: str, reply: InquiryReply) -> None:
        self.acquaintance.heard(sender, reply)
        if self.is_learner and reply.nonce == self.acquaintance.nonce and reply.term > self.hard.term:
            self._become_follower(reply.term)
        self._consider_vote()

    def _consider_vote(self) -> None:
        after = self.acquaintance.votes_after(self.hard, self.leader, self._verified)
        if after != self.hard.votes_after:
            self.hard = Hard(self.hard.term, self.hard.voted_for, after)
