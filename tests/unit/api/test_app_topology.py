"""Routes that show servers and clusters: http-api.md 5.5 and 5.6."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.wire import instance_to_wire
from services.topology.keys import InstanceKey
from services.topology.render import RenderPolicy, topology_tabulated, topology_text
from tests.unit.api.memory_node import ALONE, R1, R2, M, MemoryNode, fleet, master, replica, settings


def keys_of(reply: httpx.Response) -> list[InstanceKey]:
    assert reply.status_code == 200, reply.text
    return [InstanceKey(found["Key"]["Hostname"], found["Key"]["Port"]) for found in reply.json()]


def message_of(reply: httpx.Response) -> str:
    """Of an error: enveloped, 500."""
    assert reply.status_code == 500
    answer = reply.json()
    assert list(answer) == ["Code", "Message", "Details"]
    assert answer["Code"] == "ERROR"
    return str(answer["Message"])


def wire(node: MemoryNode, *keys: InstanceKey) -> list[Any]:
    return [instance_to_wire(node.topology.instances[key]) for key in keys]


# one server


@pytest.mark.parametrize("path", ["orders-2.example.com/3306", "orders-2/3306", "ORDERS-2.EX/3306"])
async def test_an_instance_is_found_by_part_of_its_name(
    node: MemoryNode, http: httpx.AsyncClient, path: str
) -> None:
    assert (await http.get(f"/api/instance/{path}")).json() == wire(node, R1)[0]


async def test_problems_are_those_that_are_behind_by_their_channels_word_too(
    node: MemoryNode, http: httpx.AsyncClient
) -> None:
    """discovery.md 9: whatever ReplicationLagQuery tells."""
    behind, delayed = {"seconds_behind_master": 11}, {"seconds_behind_master": 600, "sql_delay_seconds": 600}
    node.show(
        [
            master(M, replicas=(R1, R2)),
            replica(R1, M, **behind),
            replica(R2, M, **{**delayed, "replication_lag_seconds": 600}),
        ]
    )
    listed = (await http.get("/api/problems")).json()
    assert [one["Key"]["Hostname"] for one in listed] == [R1.hostname]
    assert listed[0]["Problems"] == []


async def test_an_unknown_instance_is_an_error(http: httpx.AsyncClient) -> None:
    assert message_of(await http.get("/api/instance/nowhere/3306")) == "Cannot read instance: nowhere:3306"
    assert message_of(await http.get("/api/instance/orders/3306")) == "Cannot read instance: orders:3306"


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "3306.0", "٣", "9" * 30])
async def test_a_port_is_a_number(http: httpx.AsyncClient, port: str) -> None:
    assert message_of(await http.get(f"/api/instance/orders-2/{port}")) == f"Invalid port: {port}"


async def test_direct_replicas(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/instance-replicas/orders-1/3306")).json() == wire(node, R1, R2)
    assert keys_of(await http.get("/api/instance-replicas/users/3306")) == []


async def test_resolve_opens_a_connection(http: httpx.AsyncClient) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reply = await http.get(f"/api/resolve/127.0.0.1/{port}")
    assert reply.json()["Details"] == {"Hostname": "127.0.0.1", "Port": port}
    server.close()
    await server.wait_closed()
    assert f"Cannot connect to 127.0.0.1:{port}" in message_of(
        await http.get(f"/api/resolve/127.0.0.1/{port}")
    )


# lists


async def test_all_instances_by_key(http: httpx.AsyncClient) -> None:
    assert keys_of(await http.get("/api/all-instances")) == [M, R1, R2, ALONE]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("orders-", [M, R1, R2]),
        ("ORDERS-2", [R1]),
        ("users.example.com:3306", [ALONE]),
        ("9.1", [ALONE]),
        ("community", [M, ALONE, R1, R2]),
        ("orders-1.example.com:3306", [M, R1, R2]),  # a cluster name
        ("3307", [R2]),  # a port
        ("nothing", []),
        ("", [M, ALONE, R1, R2]),  # by depth, then replicas, cluster, key
    ],
)
async def test_search(http: httpx.AsyncClient, text: str, found: list[InstanceKey]) -> None:
    assert keys_of(await http.get("/api/search", params={"s": text})) == found
    if text:
        assert keys_of(await http.get(f"/api/search/{text}")) == found


async def test_search_ignores_the_newline_that_the_old_client_sends(http: httpx.AsyncClient) -> None:
    assert keys_of(await http.get("/api/search?s=users.example%0A")) == [ALONE]


async def test_search_finds_a_server_id_only_whole(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show([master(InstanceKey("a", 1), server_id=4711), master(InstanceKey("b", 2), server_id=47)])
    assert keys_of(await http.get("/api/search/47")) == [InstanceKey("b", 2)]


def broken_fleet() -> list[Any]:
    first, second, third, alone = fleet()
    return [first, replace(second, **lagging), third, replace(alone, **lagging)]


lagging: dict[str, Any] = {"seconds_behind_master": 999, "replication_lag_seconds": 999}


async def test_problems_leave_out_downtimed_and_ignored(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show(broken_fleet())
    assert keys_of(await http.get("/api/problems")) == [R1, ALONE]
    assert node.topology.instances[R2].problems, "it has a problem too, but is downtimed"
    node.settings = settings(ProblemIgnoreHostnameFilters=["^users"])
    assert keys_of(await http.get("/api/problems")) == [R1]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("orders-1.example.com:3306", [R1]),
        ("orders%25", [R1]),
        ("%25example%253306", [R1, ALONE]),
        ("ORDERS%25com:3306", [R1]),
        ("orders", []),
        ("%25x%25example%25example%25", []),
        ("_rders-1.example.com:330_", [R1]),
        ("_orders-1.example.com:3306", []),
        ("orders-1.example.com:3306_", []),
        ("o%25_.example%25", [R1]),
        ("%25_" * 40 + "%25", []),
        ("users.example.com:3306%25users.example.com:3306", []),
    ],
)
async def test_problems_of_clusters_like(
    node: MemoryNode, http: httpx.AsyncClient, pattern: str, found: list[InstanceKey]
) -> None:
    node.show(broken_fleet())
    assert keys_of(await http.get(f"/api/problems/{pattern}")) == found


async def test_downtimed(http: httpx.AsyncClient) -> None:
    assert keys_of(await http.get("/api/downtimed")) == [R2]
    assert keys_of(await http.get("/api/downtimed/orders")) == [R2]
    assert keys_of(await http.get("/api/downtimed/users.example.com")) == []
    assert "nowhere" in message_of(await http.get("/api/downtimed/nowhere"))


# clusters


async def test_clusters(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/clusters")).json() == [str(M), str(ALONE)]
    assert (await http.get("/api/clusters-info")).json() == [
        {
            "ClusterName": str(M),
            "ClusterAlias": "orders",
            "ClusterDomain": "",
            "CountInstances": 3,
            "HeuristicLag": 0,
            "HasAutomatedMasterRecovery": False,
            "HasAutomatedIntermediateMasterRecovery": False,
        },
        {
            "ClusterName": str(ALONE),
            "ClusterAlias": str(ALONE),
            "ClusterDomain": "",
            "CountInstances": 1,
            "HeuristicLag": 0,
            "HasAutomatedMasterRecovery": False,
            "HasAutomatedIntermediateMasterRecovery": False,
        },
    ]


@pytest.mark.parametrize(
    "filters", [["*"], ["orders"], [str(M)], ["alias=orders"], ["alias~=^ord"], ["^orders-1"]]
)
async def test_automation_follows_the_filters(
    node: MemoryNode, http: httpx.AsyncClient, filters: list[str]
) -> None:
    node.settings = settings(RecoverIntermediateMasterClusterFilters=filters)
    info = (await http.get("/api/cluster-info/orders")).json()
    assert info["HasAutomatedIntermediateMasterRecovery"] is True
    assert info["HasAutomatedMasterRecovery"] is False


@pytest.mark.parametrize(
    "hint", ["orders", str(M), "orders-3.example.com:3307", "orders-3:3307", "orders-2", "alias/orders"]
)
async def test_cluster_forms(http: httpx.AsyncClient, hint: str) -> None:
    assert keys_of(await http.get(f"/api/cluster/{hint}")) == [M, R1, R2]
    assert (await http.get(f"/api/cluster-info/{hint}")).json()["ClusterName"] == str(M)


async def test_cluster_of_an_instance(http: httpx.AsyncClient) -> None:
    assert keys_of(await http.get("/api/cluster/instance/orders-3/3307")) == [M, R1, R2]
    message_of(await http.get("/api/cluster/instance/orders-3/3306"))
    message_of(await http.get("/api/cluster/instance/orders-3/x"))


@pytest.mark.parametrize(
    "route", ["cluster", "cluster-info", "master", "topology", "topology-tabulated", "forget-cluster"]
)
async def test_an_unknown_cluster_is_an_error(http: httpx.AsyncClient, route: str) -> None:
    assert "nowhere" in message_of(await http.get(f"/api/{route}/nowhere"))


async def test_unknown_aliases_are_errors(http: httpx.AsyncClient) -> None:
    assert "nowhere" in message_of(await http.get("/api/cluster/alias/nowhere"))
    assert message_of(await http.get(f"/api/cluster-info/alias/{M}"))  # a name is no alias


async def test_masters_are_writeable_and_by_cluster_name(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert keys_of(await http.get("/api/masters")) == [M, ALONE]
    node.show([replace(fleet()[0], read_only=True), *fleet()[1:]])
    assert keys_of(await http.get("/api/masters")) == [ALONE]
    assert (await http.get("/api/master/orders")).json() == wire(node, M)[0]


async def test_of_two_co_masters_the_writeable_one(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show([replica(M, R1), replica(R1, M, read_only=False)])
    assert keys_of(await http.get("/api/masters")) == [R1]


async def test_a_master_that_nobody_knows_is_an_error(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show([replica(R1, M), replica(R2, M)])
    assert message_of(await http.get("/api/master/orders-2")) == f"No masters found for cluster {M}"


async def test_text_forms_are_those_of_the_cluster(node: MemoryNode, http: httpx.AsyncClient) -> None:
    cluster = node.topology.cluster_by_name(str(M))
    assert cluster is not None
    members, policy = node.topology.instances_of(cluster), RenderPolicy()
    for path in ("orders", "orders-2/3306", str(M)):
        plain = (await http.get(f"/api/topology/{path}")).json()
        assert (plain["Code"], plain["Details"]) == ("OK", topology_text(members, policy)), path
        tabulated = (await http.get(f"/api/topology-tabulated/{path}")).json()
        assert tabulated["Details"] == topology_tabulated(members, policy), path


async def test_the_text_knows_the_configured_lag(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show(broken_fleet())
    assert ",lag," in (await http.get("/api/topology/orders")).json()["Details"]
    node.settings = settings(ReasonableMaintenanceReplicationLagSeconds=1000)
    assert ",lag," not in (await http.get("/api/topology/orders")).json()["Details"]


# changes


async def test_discover(node: MemoryNode, http: httpx.AsyncClient) -> None:
    reply = await http.get("/api/discover/orders-2/3306")
    assert reply.json()["Details"] == wire(node, R1)[0]
    filtered = await http.get("/api/discover/new.example.com/3306")
    assert (filtered.json()["Code"], filtered.json()["Details"]) == ("OK", None)
    later = await http.get("/api/async-discover/new.example.com/3306")
    assert (later.json()["Code"], later.json()["Details"]) == ("OK", None)
    new = InstanceKey("new.example.com", 3306)
    assert node.done == [("discover", R1, False), ("discover", new, False), ("discover", new, True)]


async def test_refresh(node: MemoryNode, http: httpx.AsyncClient) -> None:
    reply = await http.get("/api/refresh/orders-2/3306")
    assert reply.json()["Details"] == {"Hostname": R1.hostname, "Port": 3306}
    assert node.done == [("refresh", R1)]


async def test_forget(node: MemoryNode, http: httpx.AsyncClient) -> None:
    reply = await http.get("/api/forget/orders-2/3306")
    assert reply.json()["Details"] == {"Hostname": R1.hostname, "Port": 3306}
    message_of(await http.get("/api/forget/nowhere/3306"))
    assert (await http.get("/api/forget-cluster/orders")).json()["Details"] is None
    assert node.done == [("forget", R1), ("forget-cluster", str(M))]
