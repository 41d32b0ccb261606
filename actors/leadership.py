"""What the Leader tells the gateway of its seat."""

from __future__ import annotations

from dataclasses import dataclass

from services.raft.view import RaftView

__all__ = ["Lead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who leads. ``deadline`` is on this host's CLOCK_BOOTTIME; 0: this node does not lead."""

    term: int = 0
    deadline: float = 0.0
    holder: str = ""
    error: str = ""
    uri: str = ""
    """Where other nodes reach the HTTP interface of whoever leads; empty if that is not known."""
    raft: RaftView | None = None
    """Of the raft member; None without raft."""
