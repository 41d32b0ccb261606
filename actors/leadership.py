"""What the Leader tells the gateways of its seat, and what its clock says on other hosts.

Deadlines are moments of the Leader's host (CLOCK_BOOTTIME). A gateway elsewhere asks for the time there and
takes it for that of the moment at which it asked: so a deadline ends somewhat early for it, and never late.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.election.clock import boot_id, boottime
from services.election.election import Holder, Leadership
from services.election.registration import Registration
from services.election.seat import Seat
from services.raft.view import RaftView
from services.store.nodes import NodeRow
from services.topology.keys import InstanceKey

__all__ = ["Clock", "ElectionMandate", "Lead", "LeaderClock", "clock_here", "lead_of"]

Clock = tuple[str, float]
"""Which boot of which host, and the seconds since it."""


def clock_here() -> Clock:
    return boot_id(), boottime()


class ElectionMandate:
    """The right to act under one term of this seat."""

    def __init__(self, election: Seat, setup: str, term: int) -> None:
        self._election = election
        self._setup = setup
        self._term = term

    @property
    def setup(self) -> str:
        return self._setup

    @property
    def term(self) -> int:
        return self._term

    def remaining_seconds(self) -> float:
        held = self._election.leadership()
        return held.deadline - boottime() if held is not None and held.term == self._term else 0.0

    def superseded(self, where: InstanceKey) -> None:
        self._election.superseded(self._term, str(where))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who leads. ``deadline`` is on the CLOCK_BOOTTIME of the boot ``boot``; 0: this node does not lead."""

    term: int = 0
    deadline: float = 0.0
    boot: str = ""
    holder: str = ""
    holder_term: int = 0
    """Of whoever holds the lease or leads the raft members, as far as this node knows."""
    error: str = ""
    uri: str = ""
    """Where other nodes reach the HTTP interface of whoever leads; empty if that is not known."""
    raft: RaftView | None = None
    """Of the raft member; None without raft."""
    holder_row: NodeRow | None = None
    """What the holder of a lease in a shared store wrote of itself."""
    others: tuple[NodeRow, ...] = ()
    """The other nodes on a shared store that live."""


def lead_of(
    held: Leadership | None,
    holder: Holder | None,
    raft: RaftView | None,
    registration: Registration | None,
    error: str,
) -> Lead:
    """What a seat knows now. ``registration`` is there where the lease is in a store."""
    node_id = holder.node_id if holder else ""
    row = registration.row_of(node_id) if registration else None
    uri = raft.leader_uri if raft else row.uri if row else ""
    return Lead(
        term=held.term if held else 0,
        deadline=held.deadline if held else 0.0,
        boot=boot_id(),
        holder=node_id,
        holder_term=holder.term if holder else 0,
        error=error or (registration.last_error if registration else ""),
        uri=uri,
        raft=raft,
        holder_row=row,
        others=registration.others() if registration else (),
    )


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
