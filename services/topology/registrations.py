"""What people register about servers, pools and clusters: values only. ``services.store`` keeps them.

Times are texts in UTC, ``2026-11-22T20:46:24Z``; what is over at its end is as if it had never been.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.topology.keys import InstanceKey

__all__ = [
    "CandidateRule",
    "Downtime",
    "HostAttribute",
    "HostnameUnresolve",
    "InstanceTag",
    "Maintenance",
    "PoolMember",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRule:
    """A registered promotion rule of a server."""

    key: InstanceKey
    promotion_rule: str  # must, prefer, neutral, prefer_not, must_not
    last_suggested: str
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """A server that is to be left alone until ``ends_at``."""

    key: InstanceKey
    owner: str
    reason: str
    begins_at: str
    ends_at: str

    @property
    def said(self) -> str:
        """As the audit tells of its beginning."""
        return f"owner: {self.owner}, reason: {self.reason}, until {self.ends_at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Somebody works on a server, and nobody else is to. ``id`` is 0 before it is kept."""

    id: int = 0
    key: InstanceKey
    owner: str
    reason: str
    begins_at: str
    ends_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceTag:
    """A word about a server, with a value or without. A server has each name once."""

    key: InstanceKey
    name: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """A server in a pool, of which the whole content is registered at once."""

    pool: str
    key: InstanceKey
    registered_at: str
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostnameUnresolve:
    """The name by which replicas are to know a host, in place of the one that it resolves to."""

    hostname: str
    unresolved_hostname: str
    registered_at: str
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAttribute:
    """A named value of a host, which nothing but its readers understands."""

    hostname: str
    name: str
    value: str
    submitted_at: str
