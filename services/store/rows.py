"""What the parts of the store share: values to columns and back, upserts, the fence.

All of it runs inside a transaction of ``engine.Database``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, false, select
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import Insert

from services.store.errors import StaleTermError
from services.store.schema import LEASE
from services.topology.keys import InstanceKey

__all__ = [
    "PAGE_SIZE",
    "fence",
    "has_id",
    "is_server",
    "key_columns",
    "key_of",
    "pack_keys",
    "paged",
    "unpack_keys",
    "upsert",
    "upsert_statement",
]

PAGE_SIZE = 20
"""Rows of a page of an audit, as the API has them."""
_LARGEST = 2**63 - 1  # that a database takes


def key_columns(key: InstanceKey) -> dict[str, Any]:
    return {"host": key.hostname, "port": key.port}


def key_of(row: Any) -> InstanceKey:
    return InstanceKey(row.host, row.port)


def is_server(table: Table, key: InstanceKey) -> ColumnElement[bool]:
    """The condition that a row of ``table`` is about ``key``."""
    return and_(table.c.host == key.hostname, table.c.port == key.port)


def has_id(table: Table, number: int) -> ColumnElement[bool]:
    return table.c.id == number if 0 <= number <= _LARGEST else false()


def paged(table: Table, page: int) -> Select[Any]:
    """Page ``page``, from 0, of the rows of ``table``, newest first."""
    offset = min(max(page, 0) * PAGE_SIZE, _LARGEST)
    return select(table).order_by(table.c.id.desc()).limit(PAGE_SIZE).offset(offset)


def pack_keys(keys: Iterable[InstanceKey]) -> str:
    return json.dumps([[key.hostname, key.port] for key in keys], separators=(",", ":"))


def unpack_keys(text: str) -> tuple[InstanceKey, ...]:
    return tuple(InstanceKey(host, port) for host, port in json.loads(text))


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write whole rows: new ones, and over those with the same primary key."""
    if rows:
        connection.execute(upsert_statement(table, connection.dialect.name), list(rows))


def upsert_statement(table: Table, dialect: str) -> Insert:
    """The one statement that has no common form; ``dialect`` is SQLAlchemy's name of the database."""
    values = [column.name for column in table.columns if not column.primary_key]
    if dialect == "sqlite":
        sqlite = sqlite_insert(table)
        return sqlite.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={name: sqlite.excluded[name] for name in values}
        )
    mysql = mysql_insert(table)
    return mysql.on_duplicate_key_update({name: mysql.inserted[name] for name in values})


def fence(connection: Connection, term: int) -> None:
    """Refuse a change in the name of a term when a newer one was elected. Raises StaleTermError.

    The lease row stays as it is until this transaction ends: a taker waits for it. In raft the row is what
    the newest leader proposed (``agreement.founding``). Without one any term passes.
    """
    newest = connection.execute(select(LEASE.c.term).with_for_update(read=True)).scalar()
    if newest is not None and newest > term:
        raise StaleTermError(term, newest)
