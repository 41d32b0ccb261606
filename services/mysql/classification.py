"""What queries of the configuration tell of a server: where it stands, how far it lags.

They are other people's SQL and may fail or hang. So they run in a lane of their own, on a connection of their
own, and only while the server answers its polls: whatever becomes of them, the server is judged by its polls
alone. What a query told about the place of a server stands until it tells something else; a lag that
cannot be asked any more is that of the replication channel again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from services.mysql.connection import Connection, Login
from services.mysql.errors import MySQLError, StatementError
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.places import PLACES

__all__ = ["Classifier", "ClassifyingQueries"]

_PLACE_SECONDS = 60.0
_MOST_TEXT = 128
_SERVER_SHARE = 0.8  # of the time-out: the server gives up before we do, and the connection stays
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyingQueries:
    """Each gives one row with one column; "" for none."""

    data_center: str = ""
    region: str = ""
    physical_environment: str = ""
    replication_lag: str = ""

    def __bool__(self) -> bool:
        return any((self.data_center, self.region, self.physical_environment, self.replication_lag))


class Classifier:
    """Asks one server every ``pause`` seconds, its place each minute. ``news``: it stands elsewhere now."""

    def __init__(
        self,
        key: InstanceKey,
        login: Login,
        queries: ClassifyingQueries,
        *,
        pause: float,
        timeout: float,
        news: Callable[[], None],
    ) -> None:
        self._key = key
        self._login = login
        self._queries = queries
        self._pause = pause
        self._timeout = timeout
        self._news = news
        self._answers = asyncio.Event()
        self._connection: Connection | None = None
        self._places: dict[str, str] = {}
        self._placed_at = -_PLACE_SECONDS
        self._lag: int | None = None
        self._has_lag = False
        self._complaints: dict[str, str] = {}

    def answers(self) -> None:
        """A poll has just been answered."""
        self._answers.set()

    def applied(self, instance: Instance) -> Instance:
        """What a poll read, with what the queries told."""
        instance = replace(instance, **self._places)  # type: ignore[arg-type]
        return replace(instance, replication_lag_seconds=self._lag) if self._has_lag else instance

    async def run(self) -> None:
        """Until cancelled."""
        pause = self._pause
        try:
            while True:
                await self._answers.wait()
                self._answers.clear()
                try:
                    await self._ask()
                    pause = self._pause
                except MySQLError as error:
                    self._has_lag = False
                    self._complain("connection", error)
                    self._drop()
                    pause = min(2 * pause, _PLACE_SECONDS)
                await asyncio.sleep(pause)
        finally:
            self._drop()

    async def _ask(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self._key, self._login, timeout=self._timeout)
            with contextlib.suppress(StatementError):  # MySQL's: what we do not await any more ends there too
                limit = f"SET SESSION max_execution_time={int(self._timeout * _SERVER_SHARE * 1000)}"
                await self._connection.query(limit, timeout=self._timeout)
        if self._queries.replication_lag:
            self._has_lag, self._lag = await self._value("replication_lag")
        if time.monotonic() - self._placed_at < _PLACE_SECONDS:
            return
        before = dict(self._places)
        for name in PLACES:
            told, value = await self._value(name)
            if told and value is not None:
                self._places[name] = str(value)[:_MOST_TEXT]
        self._placed_at = time.monotonic()
        if self._places != before:
            self._news()

    async def _value(self, name: str) -> tuple[bool, Any]:
        """Whether the query gave a row that can be used, and its first column."""
        query = getattr(self._queries, name)
        assert self._connection is not None
        if not query:
            return False, None
        try:
            rows = (await self._connection.query(query, timeout=self._timeout))[-1]
            value = next(iter(rows[0].values())) if rows else None
            if name == "replication_lag" and value is not None:
                value = max(0, int(float(value)))
        except (StatementError, ValueError, OverflowError, TypeError, IndexError) as error:
            self._complain(name, error)
            return False, None
        self._complaints.pop(name, None)
        return bool(rows), value

    def _complain(self, name: str, error: Exception) -> None:
        """Once for each text: it is asked again and again."""
        if self._complaints.get(name) != str(error):
            self._complaints[name] = str(error)
            _log.warning("a query of the configuration", instance=str(self._key), of=name, reason=str(error))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
