"""A cluster under a virtual clock: network, disks, clocks and deaths are drawn from one seed.

Everything that a member is told goes through the same three steps as in the real shell: persisted after a
while, during which it goes on to receive; then sent and applied. A crash comes before or after the
transaction.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from services.consensus.core import Raft
from services.consensus.messages import Entry, Message
from services.consensus.state import LEARNER, NotLeadingError, Ready, Role, Timing
from tests.simulation.checker import BrokenPromiseError, Checker
from tests.simulation.disk import Disk

__all__ = ["Faults", "Member", "World"]

_COMPACT_AFTER = 20
_KEEP = 5


@dataclass(slots=True)
class Faults:
    """What the network and the disks do to everything; probabilities and seconds."""

    loss: float = 0.0
    double: float = 0.0
    late: float = 0.0  # a message takes up to LATE_SECONDS
    crash: float = 0.0  # at a transaction
    disk_seconds: float = 0.002


_LATE_SECONDS = 1.5


@dataclass(slots=True)
class Member:
    """One member: its disk lasts, ``raft`` is None while it is dead."""

    name: str
    rate: float  # its clock's
    offset: float
    disk: Disk = field(default_factory=Disk)
    raft: Raft | None = None
    life: int = 0
    paused_until: float = 0.0
    writing: bool = False
    timer_at: float = 0.0
    state_at: int = 0  # the last entry in its state
    proposed: dict[int, Entry] = field(default_factory=dict)
    newest_term: int = 0

    def clock(self, now: float) -> float:
        return self.offset + self.rate * now


class World:
    """``run(seconds)``; ``members`` by name. Commands are numbers, so that each is known again."""

    def __init__(
        self,
        seed: int,
        size: int = 3,
        *,
        core: type[Raft] = Raft,
        timing: Timing | None = None,
        clock_drift: float = 0.02,
    ) -> None:
        self.random = Random(seed)
        self.timing = timing or Timing(snapshot_retry=0.5)
        self.core = core
        self.now = 0.0
        self.faults = Faults()
        self.cut: set[tuple[str, str]] = set()
        self.checker = Checker()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._commands = itertools.count(1)
        names = [chr(ord("a") + number) for number in range(size)]
        self.members = {
            name: Member(
                name,
                rate=self.random.uniform(1 - clock_drift, 1 + clock_drift),
                offset=self.random.uniform(0, 1000),
            )
            for name in names
        }
        for name in names:
            self.start(name)

    # Time

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; less if ``until`` holds. Whether it did."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, what = heapq.heappop(self._events)
            what()
            if until():
                return True
        self.now = end
        return until()

    # Members

    def start(self, name: str) -> None:
        member = self.members[name]
        assert member.raft is None
        member.life += 1
        member.writing, member.proposed = False, {}
        raft = self.core(
            name,
            self.members,
            member.disk.read(),
            member.clock(self.now),
            random=Random(self.random.getrandbits(32)),
            timing=self.timing,
        )
        member.raft = raft
        member.state_at = raft.log.snapshot.index
        member.timer_at = self.now
        self._at_life(member, self.now, lambda: self._tick(member))

    def crash(self, name: str) -> None:
        member = self.members[name]
        member.raft = None
        member.life += 1

    def wipe(self, name: str) -> None:
        """Its disk is replaced."""
        self.crash(name)
        member = self.members[name]
        member.disk, member.newest_term = Disk(), 0

    def pause(self, name: str, seconds: float) -> None:
        self.members[name].paused_until = self.now + seconds

    def living(self) -> list[Raft]:
        return [member.raft for member in self.members.values() if member.raft is not None]

    def leaders(self) -> list[str]:
        return [raft.node_id for raft in self.living() if raft.role is Role.LEADER]

    def acting(self) -> str | None:
        """Who has the right to act now."""
        for member in self.members.values():
            if member.raft is not None and member.raft.leadership(member.clock(self.now)) is not None:
                return member.name
        return None

    def propose(self, name: str) -> Entry | None:
        member = self.members[name]
        if member.raft is None or self.now < member.paused_until:
            return None
        try:
            entry = member.raft.propose(str(next(self._commands)).encode())
        except NotLeadingError:
            return None
        member.proposed[entry.index] = entry
        self._pump(member)
        return entry

    def tell(self, name: str, what: Callable[[Raft, float], None]) -> None:
        """Ask something of a member that does not lead any more, perhaps."""
        member = self.members[name]
        if member.raft is not None and self.now >= member.paused_until:
            try:
                what(member.raft, member.clock(self.now))
            except NotLeadingError:
                return
            self._pump(member)

    def isolate(self, name: str) -> None:
        for other in self.members:
            self.cut |= {(name, other), (other, name)}

    def split(self, side: Iterable[str]) -> None:
        side = set(side)
        for one in side:
            for other in self.members.keys() - side:
                self.cut |= {(one, other), (other, one)}

    # What happens

    def _at_life(self, member: Member, when: float, what: Callable[[], None]) -> None:
        """Only if it is not dead by then; later, if it is paused."""
        life = member.life

        def happen() -> None:
            if member.life != life:
                return
            if self.now < member.paused_until:
                self.at(member.paused_until + self.random.uniform(0, 0.001), happen)
            else:
                what()

        self.at(when, happen)

    def _tick(self, member: Member) -> None:
        if member.raft is None or self.now < member.timer_at:
            return
        member.timer_at = float("inf")
        member.raft.tick(member.clock(self.now))
        self._pump(member)

    def _receive(self, sender: str, member: Member, message: Message) -> None:
        assert member.raft is not None
        member.raft.step(sender, message, member.clock(self.now))
        self._pump(member)

    def _pump(self, member: Member) -> None:
        raft = member.raft
        assert raft is not None
        self._look(member, raft)
        if not member.writing:
            ready = raft.ready()
            if ready:
                self._persist(member, ready)
        if member.raft is raft:
            self._set_timer(member, raft)

    def _set_timer(self, member: Member, raft: Raft) -> None:
        when = max(self.now, (raft.wake_at() - member.offset) / member.rate + 1e-6)
        if when < member.timer_at - 1e-9:
            member.timer_at = when
            self._at_life(member, when, lambda: self._tick(member))

    def _persist(self, member: Member, ready: Ready) -> None:
        if not ready.persist:
            self._finish(member, ready)
            return
        member.writing = True
        if self.random.random() < self.faults.crash:
            self.at(self.now + self.faults.disk_seconds / 2, lambda life=member.life: self._die(member, life))
        delay = self.random.uniform(0.5, 1.5) * self.faults.disk_seconds
        self._at_life(member, self.now + delay, lambda: self._written(member, ready))

    def _die(self, member: Member, life: int) -> None:
        if member.life == life and self.faults.crash:  # else all was healed meanwhile
            self.crash(member.name)

    def _written(self, member: Member, ready: Ready) -> None:
        member.disk.write(ready.persist)
        if self.random.random() < self.faults.crash:
            self.crash(member.name)
            return
        member.writing = False
        self._finish(member, ready)
        self._pump(member)

    def _finish(self, member: Member, ready: Ready) -> None:
        raft = member.raft
        assert raft is not None
        for envelope in ready.messages:
            self._send(member.name, envelope.to, envelope.message)
        if ready.restore is not None:
            member.state_at = ready.restore.index
            raft.applied(member.state_at)
        for entry in ready.apply:
            self.checker.apply(raft, entry, member.state_at)
            member.state_at = entry.index
            raft.applied(entry.index)
            if member.proposed.pop(entry.index, None) == entry:
                self.checker.acknowledge(entry)
        if member.state_at >= raft.log.snapshot.index + _COMPACT_AFTER:
            raft.compact(member.state_at, b"the state", keep=_KEEP)
        self._look(member, raft)

    def _send(self, sender: str, to: str, message: Message) -> None:
        if (sender, to) in self.cut or self.random.random() < self.faults.loss:
            return
        member = self.members[to]
        for _ in range(2 if self.random.random() < self.faults.double else 1):
            late = self.random.random() < self.faults.late
            delay = self.random.uniform(0.0005, _LATE_SECONDS if late else 0.005)
            self._deliver(sender, member, message, self.now + delay)

    def _deliver(self, sender: str, member: Member, message: Message, when: float) -> None:
        """To whichever life of the member there is by then: a late message may reach the next one."""

        def arrive() -> None:
            if member.raft is not None:
                self._at_life(member, self.now, lambda: self._receive(sender, member, message))

        self.at(when, arrive)

    def _look(self, member: Member, raft: Raft) -> None:
        if raft.hard.term < member.newest_term:
            raise BrokenPromiseError(
                f"{member.name} was in term {member.newest_term} and is in {raft.hard.term}"
            )
        if raft.role is Role.LEADER:
            self.checker.led(raft)
            clock = member.clock(self.now)
            held = raft.leadership(clock)
            if held is not None:
                until = self.now + (held.deadline - clock) / member.rate
                self.checker.may_act(raft, at=self.now, until=until, applied=member.state_at)
        member.newest_term = max(member.newest_term, member.disk.hard.term)

    def all_vote(self) -> bool:
        return all(member.disk.hard.votes_after != LEARNER for member in self.members.values())
