"""Who has a vote: founding, and how one that lost its disk gets its vote back.

Members are fixed: stable ids in the configuration of each. The rules:

1. One without anything on disk is a *learner*. It may have been a member and have forgotten what it promised,
   so it neither votes nor counts. It asks everybody (`Inquiry`); its nonce shows that an answer is younger
   than its start, hence than whatever it has forgotten.
2. *Founding.* If every other member has answered and none has seen a term, nobody ever was a candidate, so
   nothing can have been promised: it becomes a voter. Nobody is a candidate in the first term before it has
   heard of every member that it is a voter; so a cluster begins with all of them, and begins once.
3. *Coming back.* Otherwise every member must have answered, and it goes on from the highest of their terms:
   each vote and each entry it has forgotten belonged to a term of one of them. It takes the log of a leader
   of that or a later term, up to where that leader's log ended when it answered: there is each entry that can
   have been committed with a forgotten acknowledgement. Then it counts, and it votes in later terms only.

While a member is down for good, another that lost its disk stays a learner: it cannot know what it promised
the one that is silent. Replace the dead one's disk or take it from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.consensus.messages import InquiryReply
from services.consensus.state import LEARNER, Hard

__all__ = ["Acquaintance", "majority", "membership_error"]


def majority(members: int) -> int:
    return members // 2 + 1


class Acquaintance:
    """What the others have said since this member started, and what follows for its vote."""

    def __init__(self, nonce: int, peers: Iterable[str]) -> None:
        self.nonce = nonce
        self._peers = frozenset(peers)
        self._replies: dict[str, InquiryReply] = {}

    def heard(self, peer: str, reply: InquiryReply) -> None:
        if reply.nonce == self.nonce:
            self._replies[peer] = reply

    @property
    def silent(self) -> frozenset[str]:
        """Who has not answered yet."""
        return self._peers - self._replies.keys()

    def all_are_voters(self) -> bool:
        """A voter without a term may be a candidate."""
        return not self.silent and all(
            reply.votes_after != LEARNER or reply.term > 0 for reply in self._replies.values()
        )

    def votes_after(self, hard: Hard, leader: str | None, verified: int) -> int:
        """As before, or by rules 2 and 3. The log agrees with ``leader``'s up to ``verified``."""
        if hard.votes_after != LEARNER or self.silent:
            return hard.votes_after
        newest = max((reply.term for reply in self._replies.values()), default=0)
        if newest == hard.term == 0:
            return 0
        told = self._replies.get(leader or "")
        if told is None or not told.leads or told.term != hard.term or newest > hard.term:
            return LEARNER
        return hard.term if verified >= told.last_index else LEARNER


def membership_error(before: frozenset[str], now: frozenset[str]) -> str:
    """Why a member may not restart with other members than it ran with; empty if it may.

    While members restart one after another, some follow the old list and some the new. Those new to it are
    learners, so both must find their majorities among the old ones, and any two of these must meet.
    """
    common = len(before & now)
    if not before or before == now:
        return ""
    if majority(len(now)) > common:
        return (
            f"of the {len(now)} members now configured only {common} were members before, which is no "
            "majority: they could never elect a leader"
        )
    if majority(len(now)) + majority(len(before)) <= len(before):
        return (
            f"a majority of the {len(now)} members now configured and one of the {len(before)} before need "
            "not have a member in common, so that both could elect a leader"
        )
    return ""
