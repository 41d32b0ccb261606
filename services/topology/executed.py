"""Texts of what servers have executed, read in the flavour's way."""

from __future__ import annotations

from services.topology.gtid import GtidSet
from services.topology.mariadb_gtid import MariadbGtidSet
from services.topology.transactions import TransactionSet

__all__ = ["transactions_in"]


def transactions_in(text: str, *, mariadb: bool) -> TransactionSet:
    """A GTID set of MySQL, or a state or position of MariaDB. Raises GtidSyntaxError."""
    return MariadbGtidSet.parse(text) if mariadb else GtidSet.parse(text)
