"""What whoever acts needs of an election, whichever it is: a lease in a store, or raft."""

from __future__ import annotations

from typing import Protocol

from services.election.election import Holder, Leadership

__all__ = ["Seat"]


class Seat(Protocol):
    """This process's seat. ``step`` and ``wait`` are called in turns, for ever, by one task."""

    @property
    def last_error(self) -> str:
        """Why it cannot lead now; empty if nothing is wrong."""
        ...

    def leadership(self) -> Leadership | None:
        """The right to act as of now, computed from the clock each time."""
        ...

    def current_holder(self) -> Holder | None:
        """Who leads, as far as this node knows."""
        ...

    async def step(self) -> None:
        """Do what is due. Bounded; raises nothing that is to be expected."""
        ...

    async def wait(self) -> None:
        """Until ``step`` is due, or what ``leadership`` says is to be told again."""
        ...

    def superseded(self, term: int, where: str) -> None:
        """A newer term than this one of ours acts at ``where``: stop acting, at once."""
        ...

    async def stand_down(self) -> None:
        """Stop acting; all elect, perhaps this one again."""
        ...

    async def release(self) -> None:
        """Stop acting, for good, so that another may at once. Bounded."""
        ...
