"""What the Leader tells the gateway of its seat."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Lead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who leads. ``deadline`` is on this host's CLOCK_BOOTTIME; 0: this node does not lead."""

    term: int = 0
    deadline: float = 0.0
    holder: str = ""
    error: str = ""
