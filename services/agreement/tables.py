"""The agreed state as a whole: what a snapshot has, and what a log begins with.

Every table is agreed on but those listed as LOCAL. Of the servers that are known, only which they are: what
was observed of them stays where it was observed.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from services.store.rows import is_server, upsert
from services.store.schema import (
    AUDIT_LOG,
    BLOCKED_RECOVERIES,
    FAILURE_DETECTIONS,
    KNOWN_INSTANCES,
    LEASE,
    METADATA,
    NODES,
    RAFT_NUMBERS,
    RAFT_STATE,
    RECOVERIES,
    RECOVERY_JOURNAL,
    RECOVERY_STEPS,
    SHARED_SECRETS,
)
from services.topology.keys import InstanceKey

__all__ = ["LOCAL", "NUMBERED", "dump", "from_text", "pack", "replace_all", "to_text", "unpack"]

LOCAL = frozenset({KNOWN_INSTANCES.name, NODES.name, RAFT_STATE.name, SHARED_SECRETS.name})
"""Not agreed on: what this node observed, how far it has come; and what only nodes on one store have."""
_HISTORY = frozenset(
    one.name
    for one in (
        AUDIT_LOG,
        BLOCKED_RECOVERIES,
        FAILURE_DETECTIONS,
        RECOVERIES,
        RECOVERY_JOURNAL,
        RECOVERY_STEPS,
    )
)
NUMBERED: dict[str, Table] = {
    table.name: table
    for table in METADATA.sorted_tables
    if "id" in table.c and table.c.id.autoincrement is True
}
"""Tables whose rows are numbered: in raft the numbers come from RAFT_NUMBERS, the same on every member."""
_FORMAT = 1
_ROWS_IN_LINE = 200


def _agreed() -> list[Table]:
    """A table comes after those that it refers to."""
    return [table for table in METADATA.sorted_tables if table.name not in LOCAL]


def dump(connection: Connection, *, history: bool = True, lease: bool = True) -> dict[str, Any]:
    """All that is agreed on, without ``history`` only what still has an effect."""
    tables = {}
    for table in _agreed():
        left_out = (not history and table.name in _HISTORY) or (not lease and table is LEASE)
        if table is not RAFT_NUMBERS and not left_out:
            names = [column.name for column in table.columns]
            rows = [list(row) for row in connection.execute(select(table))]
            tables[table.name] = {"columns": names, "rows": rows}
    tables[RAFT_NUMBERS.name] = {"columns": ["name", "last"], "rows": _numbers(connection)}
    keys = select(KNOWN_INSTANCES.c.host, KNOWN_INSTANCES.c.port)
    return {
        "format": _FORMAT,
        "tables": tables,
        "known": [list(row) for row in connection.execute(keys)],
    }


def _numbers(connection: Connection) -> list[list[Any]]:
    """The last that was given of each kind, also where the rows are gone."""
    given = {row.name: row.last for row in connection.execute(select(RAFT_NUMBERS))}
    return [
        [name, max(given.get(name, 0), connection.execute(select(func.max(table.c.id))).scalar() or 0)]
        for name, table in NUMBERED.items()
    ]


def replace_all(connection: Connection, dumped: Mapping[str, Any]) -> None:
    """What is agreed on is this, and nothing else. What was observed of servers that are known stays."""
    if dumped["format"] != _FORMAT:
        raise ValueError(f"format {dumped['format']} of the agreed state is not known to this version")
    tables = dumped["tables"]
    for table in reversed(_agreed()):
        connection.execute(delete(table))
    for table in _agreed():
        found = tables.get(table.name)
        if found is not None and found["rows"]:
            rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
            connection.execute(insert(table), rows)
    _know(connection, dumped["known"])


def _know(connection: Connection, keys: Iterable[Iterable[Any]]) -> None:
    table = KNOWN_INSTANCES
    wanted = {(host, port) for host, port in keys}
    there = {(row.host, row.port) for row in connection.execute(select(table.c.host, table.c.port))}
    for host, port in there - wanted:
        connection.execute(delete(table).where(is_server(table, InstanceKey(host, port))))
    unseen = {"facts": "", "cluster_id": "", "last_seen": ""}
    upsert(connection, table, [{"host": host, "port": port, **unseen} for host, port in wanted - there])


def pack(dumped: Mapping[str, Any]) -> bytes:
    """In lines of some rows each: whoever shares the interpreter with this can go on in between."""
    head = {name: value for name, value in dumped.items() if name != "tables"}
    lines = [json.dumps(head)]
    for name, table in dumped["tables"].items():
        rows = table["rows"]
        for start in range(0, max(1, len(rows)), _ROWS_IN_LINE):
            lines.append(json.dumps([name, table["columns"], rows[start : start + _ROWS_IN_LINE]]))
    return zlib.compress("\n".join(lines).encode())


def unpack(data: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        head, *lines = zlib.decompress(data).decode().split("\n")
    except zlib.error as error:
        raise ValueError(f"the agreed state cannot be unpacked: {error}") from error
    tables: dict[str, dict[str, Any]] = {}
    for line in lines:
        name, columns, rows = json.loads(line)
        tables.setdefault(name, {"columns": columns, "rows": []})["rows"] += rows
    return {**json.loads(head), "tables": tables}


def to_text(data: bytes) -> str:
    return base64.b85encode(data).decode()


def from_text(text: str) -> bytes:
    return base64.b85decode(text)
