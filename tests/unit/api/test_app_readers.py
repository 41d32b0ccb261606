"""Routes that answer by rules, from the audit and from measurements: http-api.md 5.4, 5.6, 5.11, 5.13."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.routes.refused import REFUSED
from services.node_view import RefusedError
from services.topology.channel import Channel
from services.topology.instance import CheckOutcome, ThreadState
from services.topology.keys import InstanceKey
from services.topology.records import AuditEntry
from tests.reference_shapes import misfits
from tests.unit.api.app_client import client_of
from tests.unit.api.memory_node import ALONE, R1, R2, M, MemoryNode, fleet, settings

PAIR = "orders-2.example.com/3306/orders-1.example.com/3306"


async def got(http: httpx.AsyncClient, path: str) -> Any:
    reply = await http.get(f"/api/{path}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def error_of(http: httpx.AsyncClient, path: str) -> str:
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.json()["Code"]) == (500, "ERROR")
    return str(reply.json()["Message"])


# rules


async def test_who_can_replicate_from_whom(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show([*fleet()[:1], replace(fleet()[1], server_id=2, server_uuid="b"), *fleet()[2:]])
    source = {"Hostname": M.hostname, "Port": M.port}
    for form in ("can-replicate-from", "can-replicate-from-gtid"):
        assert await got(http, f"{form}/{PAIR}") == {"Code": "OK", "Message": "true", "Details": source}
        assert "Cannot read instance: nobody:1" in await error_of(http, f"{form}/nobody/1/orders-1/3306")
        assert "from itself" in await error_of(http, f"{form}/orders-1/3306/orders-1/3306")
    node.show([*fleet()[:1], replace(fleet()[1], server_id=2, server_uuid="b", using_oracle_gtid=False)])
    assert (await got(http, f"can-replicate-from/{PAIR}"))["Message"] == "true"
    assert (await got(http, f"can-replicate-from-gtid/{PAIR}"))["Message"] == "false"


async def test_statements_around_another(node: MemoryNode, http: httpx.AsyncClient) -> None:
    path = "restart-replica-statements/orders-2/3306?q=do%201;"
    words = ["STOP REPLICA IO_THREAD;", "STOP REPLICA SQL_THREAD;", "do 1;"]
    words += ["START REPLICA SQL_THREAD;", "START REPLICA IO_THREAD;"]
    assert (await got(http, path))["Details"] == words
    assert (await got(http, path.replace("replica", "slave")))["Details"] == words
    node.show([fleet()[0], replace(fleet()[1], receiver_state=ThreadState.STOPPED, version="5.7.44")])
    assert (await got(http, path))["Details"] == [
        words[1].replace("REPLICA", "SLAVE"),
        "do 1;",
        "START SLAVE SQL_THREAD;",
    ]
    several = (Channel(name="east"), Channel(name="west"))
    node.show([fleet()[0], replace(fleet()[1], channels=several, channel_name="west")])
    assert (await got(http, path))["Details"][0] == "STOP REPLICA IO_THREAD FOR CHANNEL 'west';"
    node.show([fleet()[0], replace(fleet()[1], channel_name="it's")])
    assert "cannot be quoted" in await error_of(http, path)
    assert "is not a replica" in await error_of(http, "restart-replica-statements/orders-1/3306?q=x")


async def test_errant_transactions_are_located_on_the_server(
    node: MemoryNode, http: httpx.AsyncClient
) -> None:
    node.errant_in = ("binlog.000002", "binlog.000003")
    assert (await got(http, "locate-gtid-errant/orders-2/3306"))["Details"] == list(node.errant_in)
    assert node.done == [("locate-errant", R1)]
    node.fails_with = RefusedError("no errant-gtid")
    assert await error_of(http, "locate-gtid-errant/orders-2/3306") == "no errant-gtid"
    assert "Cannot read instance" in await error_of(http, "locate-gtid-errant/nobody/1")


async def test_control_replicas(http: httpx.AsyncClient) -> None:
    for form in ("cluster-osc-replicas", "cluster-osc-slaves"):
        found = await got(http, f"{form}/orders")
        assert [one["Key"]["Hostname"] for one in found] == [R1.hostname, R2.hostname]
    assert "by hint" in await error_of(http, "cluster-osc-replicas/nobody")


# what happened


async def test_the_general_audit(node: MemoryNode, http: httpx.AsyncClient) -> None:
    for number in range(25):
        key = ALONE if number % 2 else M
        entry = AuditEntry(at="2026-11-22T20:46:24Z", type="test", instance=key, message=str(number))
        await node.store.audit.add(entry)
    assert await got(http, "audit") == [], "as the reference, unless AuditToBackendDB"
    node.settings = settings(AuditToBackendDB=True)
    newest = await got(http, "audit")
    assert misfits(newest, "[Audit]") == []
    assert [one["Message"] for one in newest] == [str(number) for number in range(24, 4, -1)]
    assert await got(http, "audit/0") == newest
    assert [one["Message"] for one in await got(http, "audit/1")] == ["4", "3", "2", "1", "0"]
    of_one = await got(http, "audit/instance/users/3306/0")
    assert {one["AuditInstanceKey"]["Hostname"] for one in of_one} == {ALONE.hostname}
    assert len(of_one) == 12
    assert await got(http, "audit/instance/users/3306/1") == []


async def test_a_snapshot_of_topologies_is_kept_in_the_audit(
    node: MemoryNode, http: httpx.AsyncClient
) -> None:
    assert (await got(http, "snapshot-topologies"))["Details"].endswith("ms")
    node.settings = settings(AuditToBackendDB=True)
    kept = {one["AuditInstanceKey"]["Hostname"]: one["Message"] for one in await got(http, "audit")}
    assert set(kept) == {M.hostname, ALONE.hostname}
    assert kept[M.hostname].strip() == (await got(http, "topology/orders"))["Details"]


async def test_the_changelog_of_the_analysis(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert await got(http, "replication-analysis-changelog") == []
    node.show([replace(fleet()[0], last_check_outcome=CheckOutcome.REFUSED), *fleet()[1:]])
    node.changelog.note(node.analysis, "2026-11-22T20:46:24Z")
    node.changelog.note((), "2026-11-22T20:46:25Z")
    changes = await got(http, "replication-analysis-changelog")
    assert misfits(changes, "[Changelog]") == []
    assert changes
    assert changes[0]["Changelog"][-1] == "2026-11-22 20:46:25;NoProblem,"


# internal metrics


async def test_measurements(node: MemoryNode, http: httpx.AsyncClient) -> None:
    measured = node.measured
    for seconds in (0.1, 0.2, 0.3):
        measured.check(M, seconds, "", age_seconds=10)
    measured.check(InstanceKey("dead", 3306), 2.0, "refused", age_seconds=10)
    measured.query(0.001, 0.004, "")
    measured.flush(7, 0.25, 0.5)
    raw = await got(http, "discovery-metrics-raw/60")
    assert misfits(raw, "[DiscoveryMetric]") == []
    assert [one["Err"] for one in raw] == ["", "", "", "refused"]
    figures = await got(http, "discovery-metrics-aggregated/60")
    assert misfits(figures, "AggregatedDiscoveryMetrics") == []
    assert (figures["CountDistinctInstanceKeys"], figures["SuccessfulDiscoveries"]) == (2, 3)
    assert (figures["MedianTotalSeconds"], figures["FailedMaxInstanceSeconds"]) == (0.2, 2.0)
    queue = await got(http, "discovery-queue-metrics-raw/60")
    assert misfits(queue, "[QueueMetric]") == []
    assert len(queue) == 60
    assert (await got(http, "discovery-queue-metrics-aggregated/DEFAULT/60"))["ActiveMaxEntries"] == 3
    assert (await got(http, "discovery-queue-metrics-aggregated/DEADINSTANCES/60"))["ActiveMaxEntries"] == 1
    assert "No queue has the name X" in await error_of(http, "discovery-queue-metrics-raw/X/60")
    (query,) = await got(http, "backend-query-metrics-raw/60")
    assert (query["WaitLatency"], query["ExecuteLatency"]) == (1_000_000, 4_000_000)
    assert (await got(http, "backend-query-metrics-aggregated/60"))["P95LatencySeconds"] == 0.004
    (flush,) = await got(http, "write-buffer-metrics-raw/60")
    assert misfits(flush, "WriteMetric") == []
    assert (await got(http, "write-buffer-metrics-aggregated/60"))["CountInstances"] == 7


async def test_no_measurements_are_zeros(http: httpx.AsyncClient) -> None:
    for path in (
        "discovery-metrics-aggregated",
        "backend-query-metrics-aggregated",
        "write-buffer-metrics-aggregated",
    ):
        figures = await got(http, f"{path}/60")
        assert {value for value in figures.values() if isinstance(value, float)} == {0.0}
    assert (await got(http, "discovery-queue-metrics-aggregated/0"))["ActiveMinEntries"] == 9e9
    assert "Not a number of seconds" in await error_of(http, "discovery-metrics-raw/x")


# what is refused


@pytest.mark.parametrize("text", [text for text, _ in REFUSED])
async def test_what_is_refused_says_why(http: httpx.AsyncClient, text: str) -> None:
    for path in next(paths for said, paths in REFUSED if said == text):
        asked = "/".join("1" if word.startswith(":") else word for word in path.split("/"))
        assert await error_of(http, asked) == text


async def test_who_may_not_change_is_told_so_first(node: MemoryNode) -> None:
    async with client_of(node, peer="10.9.9.9") as stranger:
        assert (await error_of(stranger, f"relocate/{PAIR}")).startswith("Unauthorized")
