"""Alembic's way to speak MySQL: a statement whose effect is there already counts as done.

DDL commits by itself there, so that a migration which stopped halfway, or ran on two servers of a cluster at
once, is gone through again from its start. What changes rows in a migration must bear that too.
"""

from __future__ import annotations

from typing import Any

from alembic.ddl.mysql import MySQLImpl
from sqlalchemy.exc import DBAPIError

from services.store.mysql_errors import number_of

__all__ = ["ResumingImpl"]

_DONE_ALREADY = frozenset({1050, 1060, 1061, 1091})  # table, column or index is there, or is gone


class ResumingImpl(MySQLImpl):
    __dialect__ = "mysql"  # defining it puts it in the place of alembic's own

    def _exec(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._exec(*arguments, **options)
        except DBAPIError as error:
            if number_of(error.orig) not in _DONE_ALREADY:
                raise
            return None
