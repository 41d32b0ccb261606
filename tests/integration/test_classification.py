"""What queries of the configuration tell of a server, and that they cannot harm its watching."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.mysql.classification import ClassifyingQueries
from services.mysql.connection import Login
from services.mysql.watcher import Watcher, WatchPolicy
from services.topology.instance import CheckOutcome, Observation
from tests.servers import StandaloneServer, wait_until_async

QUICK = WatchPolicy(poll=0.2, heartbeat=0.5, connect_timeout=1.0, read_timeout=1.0)
ALL = ClassifyingQueries(
    data_center="SELECT place FROM meta.place",
    region="SELECT NULL",
    physical_environment="SELECT no_such_column",
    replication_lag_seconds="SELECT 12.7",
)


class Seen:
    def __init__(self, server: StandaloneServer, queries: ClassifyingQueries) -> None:
        self.all: list[Observation] = []
        login = Login(server.user, server.password)
        self.watcher = Watcher(server.key, login, replace(QUICK, queries=queries), self.all.append)
        self.watcher.start()

    def told(self, name: str) -> object:
        instance = self.all[-1].instance if self.all else None
        return getattr(instance, name, None)


@pytest.fixture
async def made() -> AsyncIterator[list[Seen]]:
    made: list[Seen] = []
    yield made
    for seen in made:
        await seen.watcher.stop()


async def test_queries_tell_place_and_lag_and_one_that_fails_or_is_empty_tells_nothing(
    mysql_server: StandaloneServer, made: list[Seen]
) -> None:
    mysql_server.execute(
        "CREATE DATABASE IF NOT EXISTS meta",
        "CREATE TABLE IF NOT EXISTS meta.place (place VARCHAR(9))",
        "REPLACE INTO meta.place VALUES ('east')",
    )
    made.append(Seen(mysql_server, ALL))
    await wait_until_async(lambda: made[0].told("data_center") == "east")
    assert made[0].told("region") == made[0].told("physical_environment") == ""
    await wait_until_async(lambda: made[0].told("replication_lag_seconds") == 12)
    mysql_server.execute("DROP TABLE meta.place")
    until = time.monotonic() + 0.5
    await wait_until_async(lambda: time.monotonic() > until)
    assert made[0].told("data_center") == "east", "what was told stays"
    assert {one.outcome for one in made[0].all} == {CheckOutcome.OK}


@pytest.mark.parametrize(
    "query", ["SELECT 1 FROM (SELECT 1) AS t WHERE SLEEP(60)", "SELECT 'no number'", "DO 1", "no sql"]
)
async def test_a_query_that_hangs_or_is_wrong_does_not_harm_the_watching(
    mysql_server: StandaloneServer, made: list[Seen], query: str
) -> None:
    queries = ClassifyingQueries(data_center="SELECT 'east'", replication_lag_seconds=query)
    made.append(Seen(mysql_server, queries))
    await wait_until_async(lambda: made[0].told("data_center") == "east")
    assert made[0].told("replication_lag_seconds") is None
    assert {one.outcome for one in made[0].all} == {CheckOutcome.OK}
    assert all(one.latency_seconds < 0.9 for one in made[0].all), "no poll has waited for it"
    assert len(_sleeping(mysql_server)) <= 1


def _sleeping(server: StandaloneServer) -> list[dict[str, object]]:
    others = "ID <> CONNECTION_ID() AND INFO LIKE '%SLEEP(60)%'"
    return server.query(f"SELECT ID FROM information_schema.processlist WHERE {others}")
