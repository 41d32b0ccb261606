"""What only raft decides: what a log begins with, and who leads in which term.

The first leader of a new log proposes its own agreed state as the beginning, so that a node that was alone
before loses nothing. Every leader proposes its term before anything else: ``rows.fence`` compares with it, so
that a change in the name of an older term is refused alike on all members.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, select, update

from services.agreement.tables import dump, from_text, pack, replace_all, to_text, unpack
from services.election.row import NAME, read
from services.store.engine import Database
from services.store.errors import StaleTermError
from services.store.rows import upsert
from services.store.schema import LEASE, RAFT_STATE, SETTINGS

__all__ = ["FoundingStore", "Led"]

_log = structlog.get_logger(__name__)
_URI = "raft_leader_uri"
_STATE_CHARACTERS_MAX = 400_000  # a command has at most half a megabyte


@dataclass(frozen=True, slots=True)
class Led:
    """Who proposed the newest term, and where its HTTP interface is reached."""

    member: str = ""
    term: int = 0
    uri: str = ""


class FoundingStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_founded(self) -> bool:
        statement = select(RAFT_STATE.c.log_id)
        return bool(await self._database.read(lambda connection: connection.execute(statement).scalar()))

    async def beginning(self) -> str:
        """This store's agreed state as text, for ``found``; without history, where that would be too much."""

        def work(connection: Connection) -> str:
            for history in (True, False):
                text = to_text(pack(dump(connection, history=history, lease=False)))
                if len(text) <= _STATE_CHARACTERS_MAX:
                    return text
                left_out = "recoveries and audit" if history else "registrations and identities too"
                _log.warning("too much to begin a raft log with: not taken over", left_out=left_out)
            return ""

        return await self._database.read(work)

    async def found(self, log_id: str, state: str) -> None:
        """Begin with this state, unless the log has begun already."""

        def work(connection: Connection) -> None:
            if connection.execute(select(RAFT_STATE.c.log_id)).scalar():
                return
            if state:
                replace_all(connection, unpack(from_text(state)))
            connection.execute(update(RAFT_STATE).values(log_id=log_id))

        await self._database.write(work)

    async def lead(self, member: str, term: int, uri: str) -> None:
        """From here on ``member`` leads in ``term``. Raises StaleTermError."""

        def work(connection: Connection) -> None:
            newest = read(connection)
            if newest is not None and newest.term > term:
                raise StaleTermError(term, newest.term)
            row = {"name": NAME, "node_id": member, "term": term, "counter": 0, "length_ms": 0}
            upsert(connection, LEASE, [row])
            upsert(connection, SETTINGS, [{"name": _URI, "value": uri}])

        await self._database.write(work)

    async def led(self) -> Led:
        def work(connection: Connection) -> Led:
            newest = read(connection)
            uri = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == _URI)).scalar()
            return Led() if newest is None else Led(newest.node_id, newest.term, uri or "")

        return await self._database.read(work)
