"""Routes about the node itself, and events: http-api.md 5.12 and 6.8."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from services.config import ConfigurationError
from services.node_view import EventLog, RefusedError, UnavailableError
from services.topology.tree import Topology
from tests.reference_shapes import names_of
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import TOKEN, M, MemoryNode

AT = "2026-11-22T20:46:24Z"


@pytest.mark.parametrize("path", ["health", "status"])
async def test_health(node: MemoryNode, http: httpx.AsyncClient, path: str) -> None:
    node.configuration_warnings = ("unknown key Foo",)
    reply = await http.get(f"/api/{path}")
    assert reply.status_code == 200
    own = {
        "Hostname": "node-1",
        "Token": TOKEN,
        "AppVersion": "0.1.0",
        "FirstSeenActive": "",
        "LastSeenActive": "",
        "ExtraInfo": "",
        "Command": "",
        "DBBackend": "x.sqlite3",
        "LastReported": "0001-01-01T00:00:00Z",
    }
    assert reply.json()["Details"] == {
        "Healthy": True,
        "Hostname": "node-1",
        "Token": TOKEN,
        "IsActiveNode": True,
        "ActiveNode": own,
        "Error": None,
        "AvailableNodes": [own],
        "RaftLeader": "",
        "RaftLeaderURI": "",
        "RaftAdvertise": "",
        "IsRaftLeader": False,
        "RaftHealthyMembers": None,
        "Warnings": ["unknown key Foo"],
    }
    assert list(reply.json()["Details"]) == names_of("HealthStatus")


@pytest.mark.parametrize("path", ["health", "status"])
async def test_an_unhealthy_node_says_so_each_time(
    node: MemoryNode, http: httpx.AsyncClient, path: str
) -> None:
    """known-gaps.md 6.12: never a 200 with Healthy false."""
    node.error = "the backend does not answer"
    for _ in range(2):
        reply = await http.get(f"/api/{path}")
        assert reply.status_code == 500
        assert reply.json()["Code"] == "ERROR"
        assert "the backend does not answer" in reply.json()["Message"]
        assert reply.json()["Details"]["Healthy"] is False
        assert reply.json()["Details"]["Error"] == {"Message": "the backend does not answer"}
        assert reply.json()["Details"]["Warnings"] == ["the disk is nearly full"]
    assert (await http.get("/api/clusters")).status_code == 200


@pytest.mark.parametrize("path", ["lb-check", "_ping"])
async def test_lb_check_is_always_ok(node: MemoryNode, http: httpx.AsyncClient, path: str) -> None:
    node.error, node.is_leader = "broken", False
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.text) == (200, '"OK"')


async def test_a_node_without_a_view_still_answers_its_checks(tmp_path: Path) -> None:
    class Blind(MemoryNode):
        @property  # type: ignore[override]
        def topology(self) -> Topology:
            raise UnavailableError("this node has no view of the topology yet")

        @topology.setter
        def topology(self, _: Topology) -> None:
            pass

    async with memory_node(tmp_path) as sighted, client_of(Blind(sighted.store)) as http:
        for path in ("lb-check", "leader-check", "health"):
            assert (await http.get(f"/api/{path}")).status_code == 200, path
        reply = await http.get("/api/clusters")
        assert (reply.status_code, reply.json()["Message"]) == (
            500,
            "this node has no view of the topology yet",
        )


@pytest.mark.parametrize("path", ["leader-check", "leader-check/503", "routed-leader-check"])
async def test_the_leader_is_ok(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.text) == (200, '"OK"')


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("leader-check", 404),
        ("routed-leader-check", 404),
        ("leader-check/503", 503),
        ("leader-check/200", 200),
        ("leader-check/x", 404),
        ("leader-check/-5", 404),
        ("leader-check/99999", 404),  # no status of HTTP
        ("leader-check/5030", 404),
        ("leader-check/7", 404),
        ("leader-check/0503", 404),
        (f"leader-check/503{'0' * 6000}", 404),
    ],
)
async def test_a_follower_answers_with_the_wanted_code(
    node: MemoryNode, http: httpx.AsyncClient, path: str, status: int
) -> None:
    node.is_leader = False
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.text) == (status, '"Not leader"')
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_code_that_allows_no_body_comes_without(
    node: MemoryNode, http: httpx.AsyncClient, status: int
) -> None:
    node.is_leader = False
    reply = await http.get(f"/api/leader-check/{status}")
    assert (reply.status_code, reply.content) == (status, b"")


async def test_leadership_is_asked_each_time(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/leader-check")).status_code == 200
    node.is_leader = False
    assert (await http.get("/api/leader-check")).status_code == 404


async def test_reload_configuration(node: MemoryNode, http: httpx.AsyncClient) -> None:
    for query, path in (("", ""), ("?config=/etc/extra.json", "/etc/extra.json")):
        reply = (await http.get(f"/api/reload-configuration{query}")).json()
        assert (reply["Code"], reply["Details"]) == ("OK", path)
        assert ("not before a restart: ListenAddress" in reply["Message"]) is bool(path)
    assert node.done == [("reload-configuration", ""), ("reload-configuration", "/etc/extra.json")]
    node.fails_with = RefusedError(str(ConfigurationError(["InstancePollSeconds: -1 is not positive"])))
    assert "InstancePollSeconds" in (await http.get("/api/reload-configuration")).json()["Message"]


async def test_headers(http: httpx.AsyncClient) -> None:
    sent = {"x-some-thing": "a", "X-B1C": "b", "x_under": "c"}
    found = (await http.get("/api/headers", headers=sent)).json()
    assert found["X-Some-Thing"] == ["a"]
    assert (found["X-B1c"], found["X_under"]) == (["b"], ["c"])  # as Go writes them
    assert found["User-Agent"] == ["curl/8"]


@pytest.mark.parametrize(
    "path",
    [
        "raft-state", "raft-leader", "raft-peers", "raft-health", "raft-status", "raft-add-peer/a",
        "raft-remove-peer/a", "raft-yield/a", "raft-yield-hint/a", "raft-snapshot",
        "raft-follower-health-report/t/b/a",
    ],
)  # fmt: skip
async def test_there_is_no_raft(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(f"/api/{path}")
    name = path.partition("/")[0]
    assert reply.status_code == 500
    assert reply.json() == {
        "Code": "ERROR",
        "Message": f"{name}: not running with raft setup",
        "Details": None,
    }


# events


async def test_events_are_listed(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.events.append("leader", "elected", at=AT)
    node.events.append("recovery", "began", at=AT, instance=M, cluster=str(M))
    found = (await http.get("/api/events")).json()
    assert [event["Seq"] for event in found] == [1, 2]
    assert found[1] == {
        "Seq": 2,
        "At": AT,
        "Kind": "recovery",
        "Instance": {"Hostname": M.hostname, "Port": 3306},
        "Cluster": str(M),
        "Message": "began",
    }
    assert (await http.get("/api/events?since=1")).json() == found[1:]
    assert (await http.get("/api/events?since=2")).json() == []
    # a reader from before a restart is given what there is
    assert (await http.get("/api/events?since=99")).json() == found


async def test_events_can_be_waited_for(node: MemoryNode, http: httpx.AsyncClient) -> None:
    began = time.monotonic()
    waiting = asyncio.create_task(http.get("/api/events?since=0&wait=20"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    node.events.append("leader", "elected", at=AT)
    assert [event["Message"] for event in (await waiting).json()] == ["elected"]
    assert (await http.get("/api/events?since=1&wait=0.1")).json() == []
    assert time.monotonic() - began < 5


async def test_waiting_is_bounded(
    node: MemoryNode, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.events.WAIT_MAX_SECONDS", 0.05)
    assert (await http.get("/api/events?wait=1e9")).json() == []
    monkeypatch.setattr("api.events.WAIT_MAX_SECONDS", 30.0)
    monkeypatch.setattr("api.events.WAITING_MAX", 1)
    waiting = asyncio.create_task(http.get("/api/events?wait=20"))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    assert (await http.get("/api/events?wait=20")).json() == []  # one too many: answered at once
    assert time.monotonic() - began < 5
    node.events.append("leader", "elected", at=AT)
    assert len((await waiting).json()) == 1


@pytest.mark.parametrize("query", ["since=x", "since=-1", "wait=x", "wait=-1", "wait=nan", "since=1.5"])
async def test_odd_questions_for_events(http: httpx.AsyncClient, query: str) -> None:
    reply = await http.get(f"/api/events?{query}")
    assert reply.status_code == 500
    assert query.partition("=")[0] in reply.json()["Message"]


async def test_the_log_keeps_only_so_many() -> None:
    log = EventLog(kept=3)
    for number in range(5):
        log.append("kind", str(number), at=AT)
    assert [event.seq for event in log.since(0)] == [3, 4, 5]
    assert log.last_seq == 5


async def test_all_who_wait_are_woken() -> None:
    log = EventLog()
    readers = [asyncio.create_task(log.wait(0, 20)) for _ in range(3)]
    await asyncio.sleep(0)
    log.append("kind", "first", at=AT)
    log.append("kind", "second", at=AT)
    assert [len(await reader) for reader in readers] == [2, 2, 2]


async def test_names_and_what_they_stand_for(node: MemoryNode, http: httpx.AsyncClient) -> None:
    reply = (await http.get("/api/hostname-resolve-cache")).json()
    assert (reply["Code"], reply["Details"]) == (
        "OK",
        {"db-alias": {"Object": "db-7.example.com", "Expiration": 1_700_000_000_000_000_000}},
    )
    reply = (await http.get("/api/reset-hostname-resolve-cache")).json()
    assert (reply["Code"], reply["Details"]) == ("OK", None)
    assert [name for name, *_ in node.done] == ["reset-hostname-resolves"]
