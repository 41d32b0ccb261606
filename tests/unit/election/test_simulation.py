"""Many elections under virtual clocks and a seed, with all that can go wrong between seat and store.

The seats are the real ones; the store is a real database in memory, behind a wire that delays, loses
replies, loses requests, and delivers requests long after it was given up. Each seat's clock runs at
its own speed. After every event: at most one leads, terms grow, each term has one leader ever.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Engine, StaticPool, create_engine

from services.election.election import LeaseElection
from services.store.errors import StoreTimeoutError, StoreUnavailableError
from services.store.schema import METADATA

T = TypeVar("T")

LENGTH, RENEW = 3.0, 1.0
EVENTS = 6000
SPEEDS = (0.97, 1.0, 1.03)  # 1.1 covers clocks that differ by less than a tenth


class Pause:
    def __await__(self) -> Generator[None, None, None]:
        yield


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.engine: Engine = create_engine("sqlite://", poolclass=StaticPool)
        METADATA.create_all(self.engine)
        self.late: list[Callable[[Connection], object]] = []
        self.seats = [Seat(self, n, speed, holds_node_lock=False) for n, speed in enumerate(SPEEDS)]
        self.leader_of: dict[int, Seat] = {}
        self.changes = 0

    def apply(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    def event(self) -> None:
        self.now += self.random.choice((0.0, 0.001, 0.02, 0.1, 0.3))
        if self.late and self.random.random() < 0.05:
            self.apply(self.late.pop(self.random.randrange(len(self.late))))
        n = self.random.randrange(len(self.seats))
        if self.random.random() < 0.001:  # it dies, and is started again by who holds the node's lock
            self.seats[n].task.close()
            self.seats[n] = Seat(self, n, self.seats[n].speed, holds_node_lock=True)
        self.seats[n].go_on()
        self.check()

    def check(self) -> None:
        leading = [(seat, held) for seat in self.seats if (held := seat.election.leadership()) is not None]
        assert len(leading) <= 1, f"two lead at {self.now}: {leading}"
        for seat, held in leading:
            if held.term not in self.leader_of:
                assert held.term > max(self.leader_of, default=0), "a term fell"
                self.leader_of[held.term] = seat
            assert self.leader_of[held.term] is seat, f"term {held.term} had two leaders"
            assert held.term == max(self.leader_of), "a former leader leads again in its old term"


class Seat:
    """A process: it steps, sleeps, is paused for a while now and then, and releases sometimes."""

    def __init__(self, world: World, n: int, speed: float, *, holds_node_lock: bool) -> None:
        self.world = world
        self.speed = speed
        self.paused_until = 0.0
        self.election = LeaseElection(
            self,  # type: ignore[arg-type]
            f"node{n}",
            length=LENGTH,
            renew=RENEW,
            holds_node_lock=holds_node_lock,
            clock=lambda: world.now * speed,
        )
        self.task: Coroutine[Any, Any, None] = self._live()

    def go_on(self) -> None:
        if self.world.random.random() < 0.01:
            self.paused_until = self.world.now + self.world.random.uniform(0, 3 * LENGTH)
        if self.world.now >= self.paused_until:
            self.task.send(None)

    async def _live(self) -> None:
        while True:
            await self.election.step()
            if self.world.random.random() < 0.01:
                await self.election.release()
            due = self.world.now + RENEW * self.world.random.uniform(0.5, 1.2)
            while self.world.now < due:
                await Pause()

    async def read(self, work: Callable[[Connection], T], *, limit_seconds: float) -> T:
        await Pause()
        found = self.world.apply(work)
        await Pause()
        return found

    async def write(self, work: Callable[[Connection], T], *, limit_seconds: float) -> T:
        await Pause()
        fate = self.world.random.random()
        if fate < 0.04:
            raise StoreUnavailableError("the request was lost")
        if fate < 0.08:
            self.world.late.append(work)
            raise StoreTimeoutError("no answer; the request arrives later")
        done = self.world.apply(work)
        await Pause()
        if fate < 0.16:
            raise StoreTimeoutError("the answer was lost")
        return done


@pytest.mark.parametrize("seed", range(15))
def test_at_most_one_leads_whatever_happens(seed: int) -> None:
    world = World(seed)
    for _ in range(EVENTS):
        world.event()
    assert len(world.leader_of) > 5, "there were elections at all"
    for seat in world.seats:
        seat.task.close()
    world.engine.dispose()
