"""What must hold in every run of the simulator, whatever it did to the members."""

from __future__ import annotations

from collections.abc import Iterable

from services.consensus.core import Raft
from services.consensus.messages import Entry

__all__ = ["BrokenPromiseError", "Checker"]


class BrokenPromiseError(AssertionError):
    """A promise of raft is broken."""


class Checker:
    """Sees everything at once, on the one true clock that no member has.

    * one leader in each term, and terms of leaders never fall for who may act;
    * a new leader has every entry that was committed in an earlier term (leader completeness);
    * the same entry is applied at an index everywhere (state machine safety), in order and without gaps;
    * what was acknowledged is in the state of whoever may act afterwards (linearizable);
    * no two have the right to act at one moment, whether their processes live or not: a deadline that was
      given out stays out;
    * logs that agree on an entry agree on all before it.
    """

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.applied: list[Entry] = []
        self._committed_in: list[int] = []  # a term: that of who applied it first, or one before
        self.acknowledged: list[Entry] = []
        self.lease: tuple[float, int, str] = (-1.0, 0, "")  # until, term, holder: the newest

    def led(self, node: Raft) -> None:
        """To be told as soon as it is elected."""
        term = node.hard.term
        if self.leaders.get(term) == node.node_id:
            return
        known = self.leaders.setdefault(term, node.node_id)
        if known != node.node_id:
            raise BrokenPromiseError(f"two leaders in term {term}: {known} and {node.node_id}")
        first = node.log.base_index
        for entry, committed_in in zip(self.applied[first:], self._committed_in[first:], strict=True):
            if committed_in < term and node.log.term_at(entry.index) != entry.term:
                raise BrokenPromiseError(f"leader {node.node_id} of term {term} lacks the committed {entry}")

    def may_act(self, node: Raft, *, at: float, until: float, applied: int) -> None:
        held_until, term, holder = self.lease
        own = node.hard.term
        if (holder, term) != (node.node_id, own):
            if at < held_until:
                raise BrokenPromiseError(
                    f"{node.node_id} may act in term {own} from {at:.3f}, "
                    f"{holder} in term {term} until {held_until:.3f}"
                )
            if own <= term:
                raise BrokenPromiseError(f"{node.node_id} may act in term {own} after term {term}")
        self.lease = (max(until, held_until), own, node.node_id)
        if self.acknowledged and applied < self.acknowledged[-1].index:
            raise BrokenPromiseError(f"{node.node_id} acts without the acknowledged {self.acknowledged[-1]}")

    def apply(self, node: Raft, entry: Entry, after: int) -> None:
        who = node.node_id
        if entry.index != after + 1:
            raise BrokenPromiseError(f"{who} applies {entry} after {after}")
        if entry.index <= len(self.applied):
            if self.applied[entry.index - 1] != entry:
                raise BrokenPromiseError(f"{who} applies {entry}, others {self.applied[entry.index - 1]}")
            return
        self.applied.append(entry)
        self._committed_in.append(node.hard.term)

    def acknowledge(self, entry: Entry) -> None:
        if not self.acknowledged or entry.index > self.acknowledged[-1].index:
            self.acknowledged.append(entry)

    def logs_match(self, nodes: Iterable[Raft]) -> None:
        logs = [(node.node_id, node.log) for node in nodes]
        for position, (one, log) in enumerate(logs):
            for other, its_log in logs[position + 1 :]:
                first = max(log.base_index, its_log.base_index) + 1
                agreed = False
                for index in range(min(log.last_index, its_log.last_index), first - 1, -1):
                    same_term = log.term_at(index) == its_log.term_at(index)
                    same = same_term and log.between(index, index) == its_log.between(index, index)
                    if (agreed or same_term) and not same:
                        raise BrokenPromiseError(
                            f"the logs of {one} and {other} differ at {index} before an equal entry"
                        )
                    agreed = agreed or same

    def held_by(self, nodes: Iterable[Raft]) -> None:
        """At the end: everybody has all that was acknowledged."""
        for entry in self.acknowledged:
            if self.applied[entry.index - 1] != entry:
                raise BrokenPromiseError(f"the acknowledged {entry} was not committed")
        for node in nodes:
            if self.acknowledged and node.applied_index < self.acknowledged[-1].index:
                raise BrokenPromiseError(f"{node.node_id} lacks {self.acknowledged[-1]}")
