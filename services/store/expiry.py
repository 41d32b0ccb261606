"""The end of registrations that last for a time only: one table of them, used inside a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, or_, select

from services.store.audit import note_in
from services.store.rows import key_of
from services.store.schema import (
    DOWNTIMES,
    HOSTNAME_UNRESOLVES,
    MAINTENANCES,
    POOL_MEMBERS,
    PROMOTION_RULES,
)
from services.topology.keys import NO_KEY
from services.topology.records import AuditEntry

__all__ = ["expire_in", "is_any_over"]


@dataclass(frozen=True, slots=True)
class _Lasting:
    """``said`` tells of a row in the audit; rows that say the same of the same server are told once."""

    table: Table
    end: str
    audit_type: str
    said: Callable[[Any], str]
    of_server: bool = True


_LASTING = (
    _Lasting(PROMOTION_RULES, "expires_at", "expire-candidate", lambda row: str(row.promotion_rule)),
    _Lasting(
        DOWNTIMES, "ends_at", "expire-downtime", lambda row: f"owner: {row.owner}, reason: {row.reason}"
    ),
    _Lasting(
        MAINTENANCES,
        "ends_at",
        "expire-maintenance",
        lambda row: f"maintenance {row.id}, owner: {row.owner}, reason: {row.reason}",
    ),
    _Lasting(
        HOSTNAME_UNRESOLVES,
        "expires_at",
        "expire-hostname-unresolve",
        lambda row: f"{row.host} is not known as {row.unresolved_host} any more",
        of_server=False,
    ),
    _Lasting(POOL_MEMBERS, "expires_at", "expire-pool", lambda row: f"pool {row.pool}", of_server=False),
)


def is_any_over(connection: Connection, now: str) -> bool:
    over = or_(*(exists().where(one.table.c[one.end] <= now) for one in _LASTING))
    return connection.execute(select(1).where(over)).scalar() is not None


def expire_in(connection: Connection, now: str) -> int:
    """Remove what is over at ``now``; returns how many entries the audit got."""
    entries: Counter[AuditEntry] = Counter()
    for one in _LASTING:
        past = one.table.c[one.end] <= now
        for row in connection.execute(select(one.table).where(past).order_by(*one.table.primary_key)):
            key = key_of(row) if one.of_server else NO_KEY
            entries[AuditEntry(at=now, type=one.audit_type, instance=key, message=one.said(row))] += 1
        connection.execute(delete(one.table).where(past))
    note_in(connection, list(entries))
    return len(entries)
