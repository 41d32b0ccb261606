"""What the Leader tells the gateways of its seat, and what its clock says on other hosts.

Deadlines are moments of the Leader's host (CLOCK_BOOTTIME). A gateway elsewhere asks for the time there and
takes it for that of the moment at which it asked: so a deadline ends somewhat early for it, and never late.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.election.clock import boot_id, boottime
from services.raft.view import RaftView

__all__ = ["Clock", "Lead", "LeaderClock", "clock_here"]

Clock = tuple[str, float]
"""Which boot of which host, and the seconds since it."""


def clock_here() -> Clock:
    return boot_id(), boottime()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who leads. ``deadline`` is on the CLOCK_BOOTTIME of the boot ``boot``; 0: this node does not lead."""

    term: int = 0
    deadline: float = 0.0
    boot: str = ""
    holder: str = ""
    error: str = ""
    uri: str = ""
    """Where other nodes reach the HTTP interface of whoever leads; empty if that is not known."""
    raft: RaftView | None = None
    """Of the raft member; None without raft."""


class LeaderClock:
    """The Leader's clock as seen from this host."""

    def __init__(self) -> None:
        self._boot, self._ahead_seconds = boot_id(), 0.0

    def measured(self, asked_at: float, told: Clock) -> None:
        """It was asked at ``asked_at`` of this host's clock, and told that afterwards."""
        boot, there = told
        self._boot, self._ahead_seconds = boot, 0.0 if boot == boot_id() else there - asked_at

    def here(self, lead: Lead) -> float:
        """The deadline on this host's clock, or somewhat before; 0 while that is not known."""
        return lead.deadline - self._ahead_seconds if lead.boot == self._boot else 0.0
