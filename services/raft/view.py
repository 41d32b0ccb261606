"""A raft member as its node shows it: the values of the ``raft-…`` routes (http-api.md 5.12, 6.9)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CANDIDATE", "FOLLOWER", "LEADER", "SHUTDOWN", "RaftView"]

LEADER, FOLLOWER, CANDIDATE, SHUTDOWN = "Leader", "Follower", "Candidate", "Shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftView:
    """Members are named by their entries in ``RaftNodes``, with a port.

    ``state``: a member that leads without the right to act (it has just been elected, or lost its quorum),
    and one that hears no leader, is a candidate; one that takes no part is shut down.
    """

    bind: str
    advertise: str
    state: str = SHUTDOWN
    leader: str = ""
    leader_uri: str = ""
    peers: tuple[str, ...] = ()
    """All members."""
    reached: tuple[str, ...] = ()
    """Those that are connected both ways, this one among them."""
    term: int = 0
    applied_index: int = 0
    note: str = ""
    """What an operator should know, where it is no fault."""

    @property
    def is_part_of_quorum(self) -> bool:
        return bool(self.leader) and self.state in (LEADER, FOLLOWER)
