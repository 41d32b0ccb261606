"""Routes about a raft member: http-api.md 5.12, 6.8 and 6.9."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from services.raft.view import CANDIDATE, FOLLOWER, LEADER, SHUTDOWN, RaftView
from tests.reference_shapes import misfits
from tests.unit.api.memory_node import MemoryNode

A, B, C = (f"{name}.example:10008" for name in "abc")
VIEW = RaftView(
    bind="0.0.0.0:10008",
    advertise=A,
    state=LEADER,
    leader=A,
    leader_uri="http://a.example:3000",
    peers=(A, B, C),
    reached=(A, B),
    term=7,
)


@pytest.fixture
def member(node: MemoryNode) -> MemoryNode:
    node.raft = VIEW
    return node


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("raft-state", "Leader"),
        ("raft-leader", A),
        ("raft-peers", [A, B, C]),
        ("raft-health", "healthy"),
        (
            "raft-status",
            {
                "RaftBind": "0.0.0.0:10008",
                "RaftAdvertise": A,
                "State": "Leader",
                "Healthy": True,
                "IsPartOfQuorum": True,
                "Leader": A,
                "LeaderURI": "http://a.example:3000",
                "Peers": [A, B, C],
            },
        ),
    ],
)
async def test_what_is_read(member: MemoryNode, http: httpx.AsyncClient, path: str, reply: object) -> None:
    said = await http.get(f"/api/{path}")
    assert (said.status_code, said.json()) == (200, reply)
    assert path != "raft-status" or misfits(said.json(), "RaftStatus") == []


@pytest.mark.parametrize(
    ("state", "leader", "is_healthy", "in_quorum"),
    [(FOLLOWER, B, True, True), (CANDIDATE, "", False, False), (SHUTDOWN, "", False, False)],
)
async def test_health_is_being_part_of_a_quorum(
    member: MemoryNode, http: httpx.AsyncClient, state: str, leader: str, is_healthy: bool, in_quorum: bool
) -> None:
    member.is_leader = False
    member.raft = replace(VIEW, state=state, leader=leader, note="raft has no leader")
    said = await http.get("/api/raft-health")
    assert said.status_code == (200 if is_healthy else 500)
    if not is_healthy:
        assert said.json()["Message"] == "unhealthy: raft has no leader"
    assert (await http.get("/api/raft-status")).json()["IsPartOfQuorum"] is in_quorum
    assert (await http.get("/api/raft-state")).json() == state


async def test_health_shows_the_member(member: MemoryNode, http: httpx.AsyncClient) -> None:
    details = (await http.get("/api/health")).json()["Details"]
    shown = {name: value for name, value in details.items() if "Raft" in name}
    assert shown == {
        "RaftLeader": A,
        "IsRaftLeader": True,
        "RaftLeaderURI": "http://a.example:3000",
        "RaftAdvertise": A,
        "RaftHealthyMembers": [A, B],
    }
    member.is_leader = False
    assert (await http.get("/api/health")).json()["Details"]["RaftHealthyMembers"] is None


@pytest.mark.parametrize("name", [B, "b.example"])
async def test_yielding_with_and_without_the_port(
    member: MemoryNode, http: httpx.AsyncClient, name: str
) -> None:
    """known-gaps.md 6.7: by the advertised address."""
    assert (await http.get(f"/api/raft-yield/{name}")).json()["Code"] == "OK"
    assert member.done == [("raft-yield", B)]


async def test_yielding_by_a_hint(member: MemoryNode, http: httpx.AsyncClient) -> None:
    said = (await http.get("/api/raft-yield-hint/c.ex")).json()
    assert (said["Code"], said["Details"]) == ("OK", "c.ex")
    assert member.done == [("raft-yield", C)]
    assert (await http.get("/api/raft-yield-hint/a.ex")).json()["Code"] == "OK"
    assert member.done == [("raft-yield", C)], "it is the one that is meant"


@pytest.mark.parametrize("path", ["raft-yield/d.example", "raft-yield-hint/d.ex"])
async def test_yielding_to_a_stranger(member: MemoryNode, http: httpx.AsyncClient, path: str) -> None:
    said = await http.get(f"/api/{path}")
    assert said.status_code == 500
    assert "d.ex" in said.json()["Message"]
    assert B in said.json()["Message"]
    assert member.done == []


@pytest.mark.parametrize("path", ["raft-yield/b.example", "raft-yield-hint/b"])
async def test_only_the_leader_can_yield(member: MemoryNode, http: httpx.AsyncClient, path: str) -> None:
    member.is_leader, member.raft = False, replace(VIEW, state=FOLLOWER, leader=B)
    said = await http.get(f"/api/{path}")
    assert said.status_code == 500
    assert said.json()["Message"] == f"Unauthorized: this node does not lead, {B} does"
    assert member.done == []


async def test_snapshot_and_reelection(member: MemoryNode, http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/raft-snapshot")).json() == "snapshot created"
    assert (await http.get("/api/reelect")).json()["Code"] == "OK"
    assert member.done == [("raft-snapshot",), ("reelect",)]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("raft-add-peer/d", "RaftNodes"),
        ("raft-remove-peer/d", "RaftNodes"),
        ("raft-follower-health-report/t/b/a", "No health report is wanted"),
    ],
)
async def test_what_is_not_done_here(
    member: MemoryNode, http: httpx.AsyncClient, path: str, says: str
) -> None:
    said = await http.get(f"/api/{path}")
    assert (said.status_code, said.json()["Code"]) == (500, "ERROR")
    assert says in said.json()["Message"]
