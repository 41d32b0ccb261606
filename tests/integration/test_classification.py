"""What queries of the configuration tell of a server, and that they cannot harm its watching."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.mysql import classification
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


ALL_CLASSES = ClassifyingQueries(
    instance_alias="SELECT 'db one'",
    suggested_cluster_alias="SELECT alias FROM meta.classes",
    detected_cluster_domain="SELECT domain FROM meta.classes",
    detected_promotion_rule="SELECT rule FROM meta.classes",
    semi_sync_priority="SELECT priority FROM meta.classes",
    using_pseudo_gtid="SELECT 1",
)


@pytest.mark.parametrize("fixture", ["mysql_server", "mariadb_server"])
async def test_every_query_of_classification_and_what_it_tells_later(
    request: pytest.FixtureRequest, made: list[Seen], monkeypatch: pytest.MonkeyPatch, fixture: str
) -> None:
    monkeypatch.setattr(classification, "_CLASSES_SECONDS", 0.2)
    server: StandaloneServer = request.getfixturevalue(fixture)
    server.execute(
        "CREATE DATABASE IF NOT EXISTS meta",
        "CREATE OR REPLACE VIEW meta.classes AS "
        "SELECT 'shop' AS alias, 'shop.example' AS domain, 'prefer_not' AS rule, 3 AS priority",
    )
    made.append(Seen(server, ALL_CLASSES))
    seen = made[0]
    await wait_until_async(lambda: seen.told("detected_promotion_rule") == "prefer_not")
    await wait_until_async(lambda: seen.told("using_pseudo_gtid") is True)
    assert (seen.told("instance_alias"), seen.told("suggested_cluster_alias")) == ("db one", "shop")
    assert (seen.told("detected_cluster_domain"), seen.told("semi_sync_priority")) == ("shop.example", 3)
    assert seen.all[-1].told == frozenset(ALL_CLASSES.classes)
    server.execute(
        "CREATE OR REPLACE VIEW meta.classes AS "
        "SELECT NULL AS alias, 'new.example' AS domain, 'must' AS rule, -1 AS priority"
    )
    await wait_until_async(lambda: seen.told("detected_cluster_domain") == "new.example")
    await wait_until_async(lambda: seen.told("suggested_cluster_alias") == "")
    assert seen.told("detected_promotion_rule") == "prefer_not", "must is for people to register"
    assert seen.told("semi_sync_priority") == 3, "a number below 0 is none"
    server.execute("DROP VIEW meta.classes")
    until = time.monotonic() + 0.5
    await wait_until_async(lambda: time.monotonic() > until)
    assert seen.told("detected_cluster_domain") == "new.example", "what was told stays"
    assert {one.outcome for one in seen.all} == {CheckOutcome.OK}


async def test_a_rule_without_a_row_is_none(mysql_server: StandaloneServer, made: list[Seen]) -> None:
    query = "SELECT 'prefer' FROM (SELECT 1) AS t WHERE FALSE"
    made.append(Seen(mysql_server, ClassifyingQueries(detected_promotion_rule=query)))
    await wait_until_async(lambda: bool(made[0].all) and "detected_promotion_rule" in made[0].all[-1].told)
    assert made[0].told("detected_promotion_rule") == ""
