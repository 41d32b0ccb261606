"""One seed's story: a cluster is founded, suffers, is healed, and must then be well."""

from __future__ import annotations

from services.consensus.core import Raft
from services.consensus.state import Timing
from tests.simulation.checker import BrokenPromiseError
from tests.simulation.world import Faults, World

__all__ = ["Chaos", "story"]

_SUFFERING_SECONDS = 12.0
_HEALING_SECONDS = 10.0


class Chaos:
    """Draws what happens next from the world's seed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.over = False
        self._random = world.random
        self._names = list(world.members)
        world.at(0.3, self._happen)
        world.at(0.3, self._propose)

    def _happen(self) -> None:
        if self.over:
            return
        deeds = (
            self._weather, self._cut_some, self._isolate, self._split, self._mend, self._pause, self._crash,
            self._crash_leader, self._pause_leader, self._wipe, self._hand_over, self._step_down,
        )  # fmt: skip
        weights = (2, 3, 2, 2, 5, 2, 2, 2, 2, 1, 1, 1)
        self._random.choices(deeds, weights)[0]()
        self.world.at(self.world.now + self._random.uniform(0.05, 0.9), self._happen)

    def _propose(self) -> None:
        """To everybody who believes to lead, so that a deposed one is asked as well."""
        if self.over:
            return
        for name in self.world.leaders():
            self.world.propose(name)
        self.world.at(self.world.now + self._random.uniform(0.01, 0.12), self._propose)

    def _any(self) -> str:
        return self._random.choice(self._names)

    def _leader(self) -> str:
        return self._random.choice(self.world.leaders() or self._names)

    def _weather(self) -> None:
        some = self._random.choice
        self.world.faults = Faults(
            loss=some((0.0, 0.0, 0.05, 0.3)),
            double=some((0.0, 0.1, 0.3)),
            late=some((0.0, 0.02, 0.2)),
            crash=some((0.0, 0.0, 0.002, 0.01)),
            disk_seconds=some((0.0005, 0.002, 0.03, 0.15)),
        )
        self._revive_all_later()

    def _cut_some(self) -> None:
        for _ in range(self._random.randint(1, 4)):
            self.world.cut.add((self._any(), self._any()))

    def _isolate(self) -> None:
        self.world.isolate(self._random.choice([self._any(), self._leader()]))

    def _split(self) -> None:
        self.world.split(self._random.sample(self._names, len(self._names) // 2))

    def _mend(self) -> None:
        self.world.cut.clear()

    def _pause(self) -> None:
        self.world.pause(self._any(), self._random.uniform(0.01, 2.5))

    def _pause_leader(self) -> None:
        self.world.pause(self._leader(), self._random.uniform(0.1, 1.5))

    def _crash(self) -> None:
        self.world.crash(self._any())
        self._revive_all_later()

    def _crash_leader(self) -> None:
        self.world.crash(self._leader())
        self._revive_all_later()

    def _wipe(self) -> None:
        """Not a second disk before the first is a voter's again: no raft survives the loss of a majority."""
        if len(self._names) > 1 and self.world.all_vote():
            self.world.wipe(self._any())
            self._revive_all_later()

    def _hand_over(self) -> None:
        successor = self._any()
        self.world.tell(self._leader(), lambda raft, now: raft.transfer(successor, now))

    def _step_down(self) -> None:
        self.world.tell(self._leader(), lambda raft, now: raft.step_down(now))

    def _revive_all_later(self) -> None:
        for name in self._names:
            when = self.world.now + self._random.choice((0.0, 0.02, 0.3, 1.5))
            self.world.at(when, lambda name=name: self._revive(name))

    def _revive(self, name: str) -> None:
        if self.world.members[name].raft is None:
            self.world.start(name)

    def heal(self) -> None:
        self.over = True
        self.world.faults = Faults()
        self.world.cut.clear()
        for member in self.world.members.values():
            member.paused_until = 0.0
            self._revive(member.name)


def story(seed: int, core: type[Raft] = Raft, timing: Timing | None = None) -> World:
    """Raises `BrokenPromiseError`, or what the core raised, if a promise was broken."""
    world = World(seed, size=(3, 3, 5, 1)[seed % 4], core=core, timing=timing)
    chaos = Chaos(world)
    for _ in range(12):
        world.run(_SUFFERING_SECONDS / 12)
        world.checker.logs_match(world.living())
    chaos.heal()
    _must_be_well(world)
    world.checker.logs_match(world.living())
    world.checker.held_by(world.living())
    return world


def _must_be_well(world: World) -> None:
    """A command is agreed on, everybody gets it, and everybody has a vote."""
    deadline = world.now + _HEALING_SECONDS
    if not world.run(_HEALING_SECONDS, until=lambda: world.acting() is not None):
        raise BrokenPromiseError("nobody may act although all is healed")
    last = world.propose(world.acting() or "")

    def is_well() -> bool:
        nonlocal last
        acting = world.acting()
        if acting is not None and (last is None or world.checker.leaders.get(last.term) != acting):
            last = world.propose(acting)
        return (
            last is not None
            and world.all_vote()
            and all(raft.applied_index >= last.index for raft in world.living())
        )

    if not world.run(deadline - world.now, until=is_well):
        raise BrokenPromiseError(
            "not well although all is healed: "
            + ", ".join(
                f"{raft.node_id} {raft.role.value} term {raft.hard.term} applied {raft.applied_index} "
                f"of {raft.log.last_index} votes after {raft.hard.votes_after}"
                for raft in world.living()
            )
        )
