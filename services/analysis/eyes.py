"""A quorum of eyes: whether the members of a raft setup agree that a master is dead.

Each member that is asked dials the master, and its replicas, at that moment. What it saw counts so:

- *dead*: the connection to the master was refused or went unanswered, and one to a replica did not;
- *alive*: the master spoke, whatever it said;
- *blind*: it reached neither the master nor any replica: the trouble is between it and all of them;
- *unknown*: no answer in time, or one that says nothing of the master (its name does not resolve).

The master is dead if a strict majority of all members says so, those that are away included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from services.topology.instance import CheckOutcome

__all__ = ["Agreement", "Saw", "Sight", "judge"]


class Saw(Enum):
    DEAD = "dead"
    ALIVE = "alive"
    BLIND = "blind"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one member met when it dialled the master. ``reached`` of the ``dialled`` replicas answered.

    ``at``: UTC, when it was heard of.
    """

    outcome: CheckOutcome
    error: str = ""
    reached: int = 0
    dialled: int = 0
    at: str = ""

    @property
    def saw(self) -> Saw:
        if self.outcome.is_answer:
            return Saw.ALIVE
        if not self.outcome.is_silence:
            return Saw.UNKNOWN
        return Saw.BLIND if self.dialled and not self.reached else Saw.DEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """``is_open``: members that have not been heard could still make it a majority."""

    is_dead: bool
    is_open: bool
    facts: tuple[str, ...]
    """Who saw what, and when; one line for each member."""


def judge(members: Collection[str], sights: Mapping[str, Sight]) -> Agreement:
    """``sights`` by member, of those that were heard. Whoever is no member does not count."""
    everybody = sorted(set(members))
    heard = {member: sights[member] for member in everybody if member in sights}
    dead = sum(sight.saw is Saw.DEAD for sight in heard.values())
    majority = len(everybody) // 2 + 1
    is_dead = dead >= majority
    return Agreement(
        is_dead=is_dead,
        is_open=not is_dead and dead + len(everybody) - len(heard) >= majority,
        facts=tuple(f"{member} {_said(heard.get(member))}" for member in everybody),
    )


def _said(sight: Sight | None) -> str:
    if sight is None:
        return "did not answer"
    error = f" ({sight.error})" if sight.error else ""
    replicas = f"; it reached {sight.reached} of {sight.dialled} replicas" if sight.dialled else ""
    return f"says {sight.saw.value} at {sight.at}: {sight.outcome.value}{error}{replicas}"
