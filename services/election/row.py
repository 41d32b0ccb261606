"""The lease's row in the store: read it, change it if it is still what was read."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.election.lease import Lease
from services.store.schema import LEASE

__all__ = ["NAME", "read", "replace"]

NAME = "leader"


def read(connection: Connection) -> Lease | None:
    row = connection.execute(select(LEASE).where(LEASE.c.name == NAME)).one_or_none()
    return None if row is None else Lease(row.node_id, row.term, row.counter, row.length_ms)


def replace(connection: Connection, expected: Lease | None, lease: Lease) -> bool:
    """Compare and set. False, and nothing done, if the row is not ``expected`` any more."""
    columns = {
        "node_id": lease.node_id,
        "term": lease.term,
        "counter": lease.counter,
        "length_ms": lease.length_ms,
    }
    if expected is None:
        try:
            connection.execute(insert(LEASE).values(name=NAME, **columns))
        except IntegrityError:
            return False
        return True
    unchanged = (LEASE.c.term == expected.term, LEASE.c.counter == expected.counter)
    statement = update(LEASE).where(LEASE.c.name == NAME, *unchanged).values(columns)
    return connection.execute(statement).rowcount == 1
