"""What queries of the configuration tell of a server: where it stands, how it is called, how far it lags.

They are other people's SQL and may fail or hang. So they run in a lane of their own, on a connection of their
own, and only while the server answers its polls: whatever becomes of them, the server is judged by its polls
alone. What a query told stands while it fails; a lag that cannot be asked any more is that of the
replication channel again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import structlog

from services.mysql.connection import Connection, Login
from services.mysql.errors import MySQLError, StatementError
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.places import RULES_BY_QUERY

__all__ = ["Classifier", "ClassifyingQueries"]

_LAG = "replication_lag_seconds"
_CLASSES_SECONDS = 10.0
_LONGEST_PAUSE = 60.0
_MOST_TEXT = 128
_MOST_PRIORITY = 2**31 - 1
_SERVER_SHARE = 0.8  # of the time-out: the server gives up before we do, and the connection stays
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyingQueries:
    """By the field of the instance that they tell; each gives one row with one column; "" for none."""

    replication_lag_seconds: str = ""
    data_center: str = ""
    region: str = ""
    physical_environment: str = ""
    instance_alias: str = ""
    suggested_cluster_alias: str = ""
    detected_cluster_domain: str = ""
    detected_promotion_rule: str = ""
    semi_sync_priority: str = ""
    using_pseudo_gtid: str = ""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def classes(self) -> dict[str, str]:
        """Those that are asked now and then, by field."""
        queries = {field.name: getattr(self, field.name) for field in fields(self) if field.name != _LAG}
        return {name: query for name, query in queries.items() if query}


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:_MOST_TEXT]


def _lag(value: Any) -> int | None:
    return None if value is None else max(0, int(float(value)))


def _rule(value: Any) -> str:
    """Raises ValueError: a word that is unknown, or that only people may register, counts for nothing."""
    rule = _text(value)
    if rule and rule not in RULES_BY_QUERY:
        raise ValueError(f"{rule!r} is none of {', '.join(sorted(RULES_BY_QUERY))}")
    return rule


def _priority(value: Any) -> int:
    number = 0 if value is None else int(value)
    if not 0 <= number <= _MOST_PRIORITY:
        raise ValueError(f"{number} is no semi-sync priority: 0, asynchronous, or greater")
    return number


def _is_one(value: Any) -> bool:
    return str(value) == "1"


_READ: dict[str, Callable[[Any], Any]] = {
    _LAG: _lag,
    "detected_promotion_rule": _rule,
    "semi_sync_priority": _priority,
    "using_pseudo_gtid": _is_one,
}
"""How a value is read that is not just a text."""


class Classifier:
    """Asks one server every ``pause`` seconds, its classes less often. ``news``: they are others now."""

    def __init__(
        self,
        key: InstanceKey,
        login: Login,
        queries: ClassifyingQueries,
        *,
        pause: float,
        timeout: float,
        news: Callable[[], None],
        lifetime: float = 0.0,
    ) -> None:
        """``lifetime`` of its connection, in seconds; 0: as long as it lasts."""
        self._key = key
        self._login = login
        self._queries = queries
        self._pause = pause
        self._timeout = timeout
        self._lifetime = lifetime
        self._news = news
        self._answers = asyncio.Event()
        self._connection: Connection | None = None
        self._told: dict[str, Any] = {}
        self._told_at = float("-inf")
        self._lag: int | None = None
        self._has_lag = False
        self._complaints: dict[str, str] = {}

    def answers(self) -> None:
        """A poll has just been answered."""
        self._answers.set()

    @property
    def told(self) -> frozenset[str]:
        """The fields that queries have told so far."""
        return frozenset(self._told)

    def applied(self, instance: Instance) -> Instance:
        """What a poll read, with what the queries told."""
        instance = replace(instance, **self._told)
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
                    pause = min(2 * pause, _LONGEST_PAUSE)
                await asyncio.sleep(pause)
        finally:
            self._drop()

    async def _ask(self) -> None:
        if self._connection is not None and self._connection.is_older(self._lifetime):
            self._drop()
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self._key, self._login, timeout=self._timeout)
            with contextlib.suppress(StatementError):  # MySQL's: what we do not await any more ends there too
                limit = f"SET SESSION max_execution_time={int(self._timeout * _SERVER_SHARE * 1000)}"
                await self._connection.query(limit, timeout=self._timeout)
        if self._queries.replication_lag_seconds:
            self._has_lag, self._lag = await self._value(_LAG, self._queries.replication_lag_seconds)
        if time.monotonic() - self._told_at < _CLASSES_SECONDS:
            return
        before = dict(self._told)
        for name, query in self._queries.classes.items():
            has_told, value = await self._value(name, query)
            if has_told:
                self._told[name] = value
        self._told_at = time.monotonic()
        if self._told != before:
            self._news()

    async def _value(self, name: str, query: str) -> tuple[bool, Any]:
        """Whether the query told something, which "nothing" is too, and what. No row tells no lag."""
        assert self._connection is not None
        try:
            rows = (await self._connection.query(query, timeout=self._timeout))[-1]
            value = next(iter(rows[0].values())) if rows else None
            reader: Callable[[Any], Any] = _READ.get(name, _text)
            read = reader(value)
        except (StatementError, ValueError, OverflowError, TypeError, IndexError) as error:
            self._complain(name, error)
            return False, None
        self._complaints.pop(name, None)
        return bool(rows) or name != _LAG, read

    def _complain(self, name: str, error: Exception) -> None:
        """Once for each text: it is asked again and again."""
        if self._complaints.get(name) != str(error):
            self._complaints[name] = str(error)
            _log.warning("a query of the configuration", instance=str(self._key), of=name, reason=str(error))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
