"""The database as the state machine sees it: how far the log was applied is written with what it did.

So a command has its effect once, whatever comes between. The store's methods are the same as everywhere; what
differs is that a number of a row is not the database's own, which would count failed attempts too, but taken
from RAFT_NUMBERS: the same on every member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Insert, Table, delete, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError

from services.agreement.tables import NUMBERED
from services.store.engine import CALL_LIMIT_SECONDS, Database
from services.store.errors import StoreRefusedError, StoreUnusableError
from services.store.rows import upsert
from services.store.schema import RAFT_NUMBERS, RAFT_STATE

__all__ = ["AnothersStoreError", "AppliedBeforeError", "ApplyingDatabase", "leave_raft", "place_in"]

T = TypeVar("T")


class AppliedBeforeError(Exception):
    """The command has had its effect: an attempt of which that was not known had reached its end."""


class AnothersStoreError(StoreUnusableError):
    """Two members on one store would apply everything twice."""

    def __init__(self, path: str, owner: str, member: str) -> None:
        super().__init__(
            f"the store {path} is the one of raft member {owner}, and this is {member}: give each member a "
            "database or file of its own. It may be empty: it is then filled by the other members"
        )


class ApplyingDatabase(Database):
    """``begin`` with each entry; then one write at most is made, which moves ``applied_index`` to it."""

    def __init__(self, database: Database, member: str) -> None:
        super().__init__(database.path, read_only=False)
        self._database = database
        self._member = member
        self._index = 0
        self.is_written = True

    @property
    def last_error(self) -> str:
        return self._database.last_error

    def begin(self, index: int) -> None:
        self._index, self.is_written = index, False

    async def read(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        return await self._database.read(work, limit_seconds=limit_seconds)

    async def write(self, work: Callable[[Connection], T], *, limit_seconds: float = CALL_LIMIT_SECONDS) -> T:
        """Raises AppliedBeforeError, StoreError, or what ``work`` raises; then nothing was written."""
        assert not self.is_written, "a command that is agreed on is one transaction"

        def with_index(connection: Connection) -> T:
            self._advance(connection)
            try:
                return work(cast(Connection, _Numbering(connection)))
            except (IntegrityError, DataError, OverflowError) as error:  # the rows themselves: alike on all
                said = getattr(error, "orig", error)
                raise StoreRefusedError(f"the store {self.path} cannot keep that: {said}") from error

        result = await self._database.write(with_index, limit_seconds=limit_seconds)
        self.is_written = True
        return result

    async def close(self) -> None:
        """It is another's."""

    def _advance(self, connection: Connection) -> None:
        applied, _ = place_in(connection, self.path, self._member)
        if applied >= self._index:
            raise AppliedBeforeError
        connection.execute(update(RAFT_STATE).values(applied_index=self._index))


def place_in(connection: Connection, path: str, member: str) -> tuple[int, str]:
    """Up to which entry this member's store has the log, and which log. Raises AnothersStoreError."""
    row = connection.execute(select(RAFT_STATE)).one_or_none()
    if row is None:
        connection.execute(insert(RAFT_STATE).values(one=1, member=member, log_id="", applied_index=0))
        return 0, ""
    if row.member != member:
        raise AnothersStoreError(path, row.member, member)
    return row.applied_index, row.log_id


async def leave_raft(database: Database) -> None:
    """Without raft the store goes ways of its own: should it return, its log makes it anew."""
    await database.write(lambda connection: connection.execute(delete(RAFT_STATE)))


class _Numbering:
    """A connection on which rows of numbered tables get their numbers from RAFT_NUMBERS."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        table = statement.table if isinstance(statement, Insert) else None
        if isinstance(statement, Insert) and isinstance(table, Table) and table.name in NUMBERED:
            return self._insert(statement, table.name, parameters)
        return self._connection.execute(statement, parameters)

    def _insert(self, statement: Insert, name: str, rows: Sequence[Mapping[str, Any]] | None) -> Any:
        if rows and "id" in rows[0]:  # a whole state, which has its numbers
            return self._connection.execute(statement, rows)
        count = 1 if rows is None else len(rows)
        last = self._connection.execute(
            select(RAFT_NUMBERS.c.last).where(RAFT_NUMBERS.c.name == name)
        ).scalar()
        first = (last or 0) + 1
        if rows is None:
            result = self._connection.execute(statement.values(id=first))
        else:
            numbered = [{**row, "id": first + position} for position, row in enumerate(rows)]
            result = self._connection.execute(statement, numbered)
        upsert(self._connection, RAFT_NUMBERS, [{"name": name, "last": first + count - 1}])
        return result
