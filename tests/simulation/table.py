"""Members laid out on a table: nothing moves unless a test moves it. For schedules that chance misses.

``time_out(x)`` lets x's election time-out pass, and everybody else's clock with it, but nobody else looks at
it. What members send lies in ``post`` until it is delivered or thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from services.consensus.core import Raft
from services.consensus.messages import Entry, Message
from services.consensus.state import Hard, Role, Timing
from tests.simulation.checker import Checker
from tests.simulation.disk import Disk

__all__ = ["Letter", "Table"]


@dataclass(frozen=True, slots=True)
class Letter:
    sender: str
    to: str
    message: Message


class Table:
    """Members as founded, in term 1, which nobody led. Everything that is seen is checked."""

    def __init__(self, core: type[Raft], names: str = "abc") -> None:
        self.core = core
        self.timing = Timing()
        self.now = 100.0
        self.post: list[Letter] = []
        self.checker = Checker()
        self.names = names
        self.disks = {name: Disk() for name in names}
        self.state_at = dict.fromkeys(names, 0)
        self.raft: dict[str, Raft] = {}
        self.proposed: dict[tuple[str, int], Entry] = {}
        for name in names:
            self.disks[name].hard = Hard(1, None, 0)
            self.restart(name)
        self.now += self.timing.election_max  # what a restart forbids is over

    def restart(self, name: str) -> None:
        """With what its disk has. What it sent stays on its way."""
        self.raft[name] = self.core(
            name, self.names, self.disks[name].read(), self.now, random=Random(1), timing=self.timing
        )
        self.state_at[name] = self.raft[name].log.snapshot.index

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def tick(self, *names: str) -> None:
        for name in names:
            self.raft[name].tick(self.now)
            self.pump(name)

    def time_out(self, name: str) -> None:
        """It becomes a pre-candidate."""
        self.now = max(self.now, self.raft[name]._election_at)
        self.tick(name)

    def pump(self, name: str) -> None:
        raft = self.raft[name]
        while ready := raft.ready():
            self.disks[name].write(ready.persist)
            self.post += [Letter(name, envelope.to, envelope.message) for envelope in ready.messages]
            if ready.restore is not None:
                self.state_at[name] = ready.restore.index
                raft.applied(ready.restore.index)
            for entry in ready.apply:
                self.checker.apply(raft, entry, self.state_at[name])
                self.state_at[name] = entry.index
                raft.applied(entry.index)
                if self.proposed.get((name, entry.index)) == entry:
                    self.checker.acknowledge(entry)
        self.look()

    def look(self) -> None:
        """Whoever may act at this moment is noted, with its deadline."""
        for name, raft in self.raft.items():
            if raft.role is Role.LEADER:
                self.checker.led(raft)
                if held := raft.leadership(self.now):
                    applied = self.state_at[name]
                    self.checker.may_act(raft, at=self.now, until=held.deadline, applied=applied)

    def take(self, sender: str, to: str, kind: type[Message] | None = None) -> list[Letter]:
        """Pick up what lies there between two, to be delivered later or never."""
        taken = [
            letter
            for letter in self.post
            if (letter.sender, letter.to) == (sender, to)
            and (kind is None or isinstance(letter.message, kind))
        ]
        self.post = [letter for letter in self.post if letter not in taken]
        return taken

    def hand(self, letters: list[Letter]) -> None:
        for letter in letters:
            self.raft[letter.to].step(letter.sender, letter.message, self.now)
            self.pump(letter.to)

    def deliver(self, sender: str, to: str, kind: type[Message] | None = None) -> None:
        """All that lies there between the two at this moment."""
        self.hand(self.take(sender, to, kind))

    def exchange(self, *names: str) -> None:
        """Deliver what these send to each other, until they have no more to say. Time stands still."""
        for _ in range(100):
            letters = [letter for letter in self.post if letter.sender in names and letter.to in names]
            if not letters:
                return
            self.post = [letter for letter in self.post if letter not in letters]
            self.hand(letters)
        raise AssertionError("they never stop talking")

    def burn(self) -> None:
        """All that is on its way is lost."""
        self.post = []

    def elect(self, name: str, *voters: str) -> None:
        """Nobody but ``voters`` learns of it."""
        self.time_out(name)
        self.exchange(name, *voters)
        assert self.raft[name].role is Role.LEADER, f"{name} is {self.raft[name].role.value}"

    def beat(self, leader: str, *followers: str) -> None:
        """A heartbeat and its answers."""
        self.pass_time(self.timing.heartbeat)
        self.tick(leader)
        self.exchange(leader, *followers)

    def propose(self, name: str, command: bytes) -> Entry:
        entry = self.raft[name].propose(command)
        self.proposed[name, entry.index] = entry
        self.pump(name)
        return entry

    def may_act(self, name: str) -> bool:
        return self.raft[name].leadership(self.now) is not None

    def term(self, name: str) -> int:
        return self.raft[name].hard.term
