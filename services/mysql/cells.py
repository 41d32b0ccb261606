"""Values of result cells, whatever the server's version shows them as."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.mysql.connection import Row

__all__ = ["flag", "in_one_line", "named_values", "text"]


def text(value: Any) -> str:
    return "" if value is None else str(value)


def in_one_line(value: Any) -> str:
    """A GTID set as MySQL breaks it into lines."""
    return text(value).replace("\n", "")


def flag(value: Any) -> bool:
    return str(value).upper() in ("1", "ON", "YES")


def named_values(rows: Iterable[Row]) -> dict[str, str]:
    """Of SHOW VARIABLES or SHOW STATUS; names in small letters."""
    return {str(row["Variable_name"]).lower(): str(row["Value"]) for row in rows}
