"""Routes that register, and show what is registered, over a real store: http-api.md 5.5 to 5.8, 5.11, 6.7."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.store.clusters import ClusterRecord
from services.store.store import Store
from services.store.times import seconds_until, shifted, utc_now
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.tree import ClusterIdentity, TreePolicy, derive
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import ALONE, NOW, R1, R2, M, MemoryNode, fleet, master, replica

NEW = InstanceKey("new.example.com", 3306)


def wire(key: InstanceKey) -> dict[str, Any]:
    return {"Hostname": key.hostname, "Port": key.port}


async def ok(http: httpx.AsyncClient, path: str) -> Any:
    """``Details`` of an envelope that is OK."""
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.json()["Code"]) == (200, "OK"), reply.text
    assert reply.json()["Message"]
    return reply.json()["Details"]


async def bare(http: httpx.AsyncClient, path: str) -> Any:
    reply = await http.get(f"/api/{path}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def error(http: httpx.AsyncClient, path: str, details: Any = None) -> str:
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.json()["Code"]) == (500, "ERROR"), reply.text
    assert reply.json()["Details"] == details
    return str(reply.json()["Message"])


async def audited(store: Store) -> list[tuple[str, InstanceKey, str]]:
    """Oldest first."""
    return [(one.type, one.instance, one.message) for one in reversed(await store.audit.page())]


# downtime


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("", 600), ("/0s", 600), ("/90s", 90), ("/2h", 7200), ("/3d", 259_200), ("/1w%0A", 604_800)],
)
async def test_downtime(node: MemoryNode, http: httpx.AsyncClient, duration: str, seconds: int) -> None:
    asked_at = utc_now()
    assert await ok(http, f"begin-downtime/orders-2/3306/me%0A/disk%20%26%20more%0A{duration}") == wire(R1)
    (downtime,) = await node.store.registrations.downtimes(utc_now())
    assert (downtime.key, downtime.owner, downtime.reason) == (R1, "me", "disk & more")
    assert asked_at <= downtime.begins_at <= utc_now()
    assert downtime.ends_at == shifted(downtime.begins_at, seconds)
    assert await audited(node.store) == [
        ("begin-downtime", R1, f"owner: me, reason: disk & more, until {downtime.ends_at}")
    ]


async def test_a_downtime_is_replaced_and_ended(node: MemoryNode, http: httpx.AsyncClient) -> None:
    for owner in ("me", "you"):
        await ok(http, f"begin-downtime/orders-2/3306/{owner}/disk/1h")
    assert [one.owner for one in await node.store.registrations.downtimes(utc_now())] == ["you"]
    for _ in range(2):
        assert await ok(http, "end-downtime/orders-2/3306") == wire(R1), "also when there is none"
    assert await node.store.registrations.downtimes(utc_now()) == ()
    assert [one[0] for one in await audited(node.store)] == [
        "begin-downtime",
        "begin-downtime",
        "end-downtime",
    ]


async def test_who_is_not_known_can_be_downtimed(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert await ok(http, "begin-downtime/new.example.com/3306/me/why") == wire(NEW)
    assert [one.key for one in await node.store.registrations.downtimes(utc_now())] == [NEW]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("begin-downtime/a/1/me/why/10", "Invalid duration: '10'; write a number and s, m, h, d or w"),
        ("begin-downtime/a/1/me/why/x", "Invalid duration"),
        ("begin-downtime/a/1/me/why/-5m", "Invalid duration"),
        ("begin-downtime/a/1/me/why/999999999w", "more than a hundred years"),
        ("begin-downtime/a/0/me/why", "Invalid port: 0"),
        (f"begin-downtime/a/1/{'o' * 256}/why", "the owner has 256 characters: give 255 at most"),
        (f"begin-downtime/a/1/me/{'r' * 10_001}", "the reason has 10001 characters: give 10000 at most"),
        (f"begin-downtime/{'h' * 256}/1/me/why", "the host name has 256 characters"),
        ("begin-downtime/a%20b/1/me/why", "the host name is empty, or has blanks in it: 'a b'"),
        ("begin-maintenance/a/x/me/why", "Invalid port: x"),
        (f"begin-maintenance/a/1/{'o' * 256}/why", "the owner has 256 characters"),
        ("end-maintenance/x", "Not a maintenance key: x"),
        ("end-maintenance/a/0", "Invalid port: 0"),
        ("in-maintenance/a/0", "Invalid port: 0"),
        ("register-candidate/a/1/must", "must is unsupported"),
        ("register-candidate/a/1/PREFER", "Invalid CandidatePromotionRule: PREFER; use prefer, neutral"),
        (f"register-candidate/{'h' * 256}/1/prefer", "the host name has 256 characters"),
        ("set-cluster-alias/orders?alias=x", "No cluster has the name orders"),
        ("register-hostname-unresolve/a/1/b%20c", "the virtual name is empty, or has blanks in it"),
        (f"register-hostname-unresolve/a/1/{'v' * 256}", "the virtual name has 256 characters"),
        (f"host-attribute/a/{'n' * 129}/v", "the attribute's name has 129 characters: give 128 at most"),
        ("tag/a/1", "Unable to parse tag: ''; write name or name=value"),
        ("tag/a/1?tag=~role", "A tag cannot begin with ~ or !"),
        ("tag/a/1/x=y/z", "A tag's name cannot have = in it: x=y"),
        (f"tag/a/1?tag={'n' * 129}", "the tag's name has 129 characters"),
        (f"tag/a/1?tag=n={'v' * 256}", "the tag's value has 256 characters"),
        ("tag-value/orders-2/3306?tag=role", f"Tag role not found for {R1}"),
        ("tagged", "Unable to parse tag"),
        ("tagged?tag=a,,b", "Unable to parse tag: ''"),
        ("untag/a/1", "Unable to parse tag"),
        ("untag/a/1?tag=~role", "untag: ~role is no tag that could be removed"),
        ("untag-all?tag=role", "untag: give an instance, or a value: role=value"),
        ("submit-pool-instances/%20?instances=a", "the pool's name is empty"),
        ("submit-pool-instances/web?instances=orders-2,a:0", "the port in 'a:0' is not a number"),
        (f"submit-pool-instances/{'p' * 129}?instances=a", "the pool's name has 129 characters"),
        ("heuristic-cluster-pool-instances/nobody", "Unable to determine cluster name by hint: nobody"),
        ("heuristic-cluster-pool-lag/nobody", "Unable to determine cluster name by hint: nobody"),
        ("heuristic-cluster-pool-lag/orders", f"No instances found in the pools of cluster {M}"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_told_and_changes_nothing(
    node: MemoryNode, http: httpx.AsyncClient, path: str, told: str
) -> None:
    assert told in await error(http, path)
    assert await audited(node.store) == []


# maintenance


async def test_maintenance(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert await bare(http, "maintenance") == []
    assert (await bare(http, "in-maintenance/orders-2/3306"))["Message"] == "false"
    assert await ok(http, "in-maintenance/orders-2/3306") == ""
    assert await ok(http, "begin-maintenance/orders-2/3306/me/disk") == wire(R1)
    told = await error(http, "begin-maintenance/orders-2/3306/you/memory", details=0)
    assert told == f"Cannot begin maintenance for instance: {R1}: it is in maintenance already"
    (listed,) = await bare(http, "maintenance")
    begun = listed.pop("BeginTimestamp")
    assert 0 <= listed.pop("SecondsElapsed") <= -seconds_until(begun)
    assert list(listed.items()) == [
        ("MaintenanceId", 1),
        ("Key", wire(R1)),
        ("IsActive", True),
        ("Owner", "me"),
        ("Reason", "disk"),
    ]
    (kept,) = await node.store.registrations.maintenances(utc_now())
    assert kept.ends_at == shifted(begun, 600)
    assert (await bare(http, "in-maintenance/orders-2/3306"))["Message"] == "true"
    assert await ok(http, "in-maintenance/orders-2/3306") == str(R1)
    for _ in range(2):
        assert await ok(http, "end-maintenance/orders-2/3306") == wire(R1), "also when there is none"
    await ok(http, "begin-maintenance/orders-2/3306/me/disk")
    assert await ok(http, "end-maintenance/1") == 1, "another one, which is over"
    assert len(await bare(http, "maintenance")) == 1
    assert await ok(http, "end-maintenance/2") == 2
    assert await bare(http, "maintenance") == []
    assert [one[:2] for one in await audited(node.store)] == [
        (kind, R1) for kind in 2 * ("begin-maintenance", "end-maintenance")
    ]


# promotion rules


async def test_register_candidate(node: MemoryNode, http: httpx.AsyncClient) -> None:
    for rule in ("prefer", "neutral", "prefer_not", "must_not"):
        assert await ok(http, f"register-candidate/orders-2/3306/{rule}") == wire(R1)
    (kept,) = await node.store.registrations.candidates(utc_now())
    assert kept.expires_at == shifted(kept.last_suggested, 3600)
    assert await bare(http, "bulk-promotion-rules") == [
        {
            **wire(R1),
            "PromotionRule": "must_not",
            "LastSuggestedString": kept.last_suggested,
            "PromotionRuleExpiry": kept.expires_at,
        }
    ]
    assert (await audited(node.store))[-1] == ("register-candidate", R1, "must_not")


async def test_rules_that_a_query_tells_are_listed_in_place_of_registered_ones(
    node: MemoryNode, http: httpx.AsyncClient
) -> None:
    await ok(http, f"register-candidate/{R1.hostname}/{R1.port}/prefer")
    await ok(http, f"register-candidate/{R2.hostname}/{R2.port}/prefer")
    node.show(
        [master(M, replicas=(R1, R2)), replica(R1, M, detected_promotion_rule="must_not"), replica(R2, M)]
    )
    listed = {one["Hostname"]: one for one in await bare(http, "bulk-promotion-rules")}
    assert {host: one["PromotionRule"] for host, one in listed.items()} == {
        R1.hostname: "must_not",
        R2.hostname: "prefer",
    }
    assert listed[R1.hostname]["LastSuggestedString"] == "2026-11-22T20:46:24Z"
    assert listed[R1.hostname]["PromotionRuleExpiry"] == "2026-11-22T21:46:24Z"


# names


async def test_the_alias_of_a_cluster(node: MemoryNode, http: httpx.AsyncClient) -> None:
    await node.store.clusters.create(ClusterRecord(id="c-orders", master_key=M))
    for given, kept in (("shop%0A", "shop"), ("", "")):
        assert await ok(http, f"set-cluster-alias/{M}?alias={given}") is None
        (record,) = await node.store.clusters.load()
        assert record.alias == kept
    assert await audited(node.store) == [
        ("set-cluster-alias", NO_KEY, f"cluster {M}: shop"),
        ("set-cluster-alias", NO_KEY, f"cluster {M}: the alias that its servers suggest"),
    ]
    assert "has no identity yet" in await error(http, f"set-cluster-alias/{ALONE}?alias=x")
    assert "the alias has 256" in await error(http, f"set-cluster-alias/{M}?alias={'a' * 256}")


async def test_what_a_promotion_left_behind_has_no_alias(node: MemoryNode, http: httpx.AsyncClient) -> None:
    identity = ClusterIdentity(id="c-orders", master_key=ALONE, deposed=frozenset({M}))
    node.topology = derive(fleet(), [identity], TreePolicy(), NOW)
    assert "left behind" in await error(http, f"set-cluster-alias/{M}?alias=x")


async def test_unresolved_names(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert await ok(http, "register-hostname-unresolve/orders-2/3306/vip.example.com%0A") == wire(R1)
    (kept,) = await node.store.registrations.unresolves(utc_now())
    assert (kept.hostname, kept.unresolved_hostname) == (R1.hostname, "vip.example.com")
    assert kept.expires_at == shifted(kept.registered_at, 3600)
    for _ in range(2):
        assert await ok(http, "deregister-hostname-unresolve/orders-2/3306") == wire(R1)
    assert await node.store.registrations.unresolves(utc_now()) == ()
    assert [one[:2] for one in await audited(node.store)] == [
        ("register-hostname-unresolve", R1),
        ("deregister-hostname-unresolve", R1),
    ]


async def test_attributes_of_hosts(node: MemoryNode, http: httpx.AsyncClient) -> None:
    assert await bare(http, "host-attribute/attr/rack") == []
    for host, value in (("h2", "b%20x"), ("h1", "ab")):
        assert await bare(http, f"host-attribute/{host}/rack/{value}") is True
    (kept, _) = await node.store.attributes.named("rack")
    shown = {
        "Hostname": "h1",
        "AttributeName": "rack",
        "AttributeValue": "ab",
        "SubmitTimestamp": kept.submitted_at,
        "ExpireTimestamp": "",
    }
    listed = await bare(http, "host-attribute/attr/rack")
    assert [one["Hostname"] for one in listed] == ["h1", "h2"]
    assert listed[0] == shown
    assert await bare(http, "host-attribute/attr/rack?valueMatch=ab") == [shown]
    assert (await audited(node.store))[-1] == ("host-attribute", NO_KEY, "h1: rack=ab")


# tags


async def test_tags(node: MemoryNode, http: httpx.AsyncClient) -> None:
    for path in (
        "tag/orders-2/3306?tag=role%3Dbackup%0A",
        "tag/orders-2/3306?tag=new",
        "tag/orders-2/3306/owner/me",
    ):
        assert await ok(http, path) == wire(R1)
    assert await bare(http, "tags/orders-2/3306") == ["new=", "owner=me", "role=backup"]
    assert await bare(http, "tags/orders-1/3306") == []
    for path, value in (
        ("?tag=role", "backup"),
        ("/role", "backup"),
        ("?tag=new", ""),
        ("?tag=owner%0A", "me"),
    ):
        assert await bare(http, f"tag-value/orders-2/3306{path}") == value
    await ok(http, "tag/orders-2/3306?tag=role=web")
    assert await bare(http, "tag-value/orders-2/3306?tag=role") == "web"
    assert ("put-instance-tag", R1, "role=web") in await audited(node.store)


@pytest.mark.parametrize("hint", ["orders", "orders-2/3306"])
async def test_a_topology_with_its_tags(http: httpx.AsyncClient, hint: str) -> None:
    plain = (await ok(http, f"topology/{hint}")).splitlines()
    for path in (
        "orders-2/3306?tag=role=web",
        "orders-2/3306?tag=new",
        "orders-3/3307?tag=[x]",
        "users/3306?tag=y",
    ):
        await ok(http, f"tag/{path}")
    expected = [f"{line} {tags}" for line, tags in zip(plain, ("[]", "[new,role=web]", "[[x]]"), strict=True)]
    assert (await ok(http, f"topology-tags/{hint}")).splitlines() == expected


async def test_untagging(node: MemoryNode, http: httpx.AsyncClient) -> None:
    for host in ("orders-1", "orders-2", "users"):
        await ok(http, f"tag/{host}/3306?tag=role={'web' if host == 'users' else 'db'}")
        await ok(http, f"tag/{host}/3306?tag=new")
    assert await ok(http, "untag/orders-2/3306?tag=role=web") == []
    assert await ok(http, "untag/orders-2/3306?tag=role=db") == [wire(R1)]
    assert await ok(http, "untag/orders-2/3306/new") == [wire(R1)]
    assert await ok(http, "untag/orders-2/3306/new") == []
    assert await ok(http, "untag-all?tag=new=") == [wire(M), wire(ALONE)]
    assert await ok(http, "untag-all/role/web") == [wire(ALONE)]
    assert await bare(http, "tagged?tag=role") == [wire(M)]
    assert [one[1:] for one in await audited(node.store) if one[0] == "delete-instance-tag"] == [
        (R1, "role=db"),
        (R1, "new"),
        (M, "new="),
        (ALONE, "new="),
        (ALONE, "role=web"),
    ]


async def test_tagged(http: httpx.AsyncClient) -> None:
    for path in ("orders-1/3306?tag=role=db", "orders-2/3306?tag=role=web", "orders-2/3306?tag=new"):
        await ok(http, f"tag/{path}")
    for expression, meant in (
        ("role", [M, R1]), ("role%3Dweb", [R1]), ("~new", [M]), ("!new,role", [M]), ("~role=web%0A", [M]),
        ("role,new", [R1]), ("nobody", []),
    ):  # fmt: skip
        assert await bare(http, f"tagged?tag={expression}") == [wire(key) for key in meant]


# pools


async def test_pools(node: MemoryNode, http: httpx.AsyncClient) -> None:
    name, lagging = str(M), {"seconds_behind_master": 9, "replication_lag_seconds": 9}
    node.show([master(M, suggested_cluster_alias="orders"), replica(R1, M, **lagging), *fleet()[2:]])
    members = "orders-1,orders-2:3306,%20orders-3:3307,users,nowhere:1"
    assert await ok(http, f"submit-pool-instances/web?instances={members}") == "web"
    assert await ok(http, "submit-pool-instances/batch?instances=orders-1%0A") == "batch"
    (kept, *_) = await node.store.pools.members(utc_now())
    assert kept.expires_at == shifted(kept.registered_at, 3600)
    assert await ok(http, f"cluster-pool-instances/{name}") == {
        "batch": [wire(M)],
        "web": [wire(M), wire(R1), wire(R2)],
    }
    assert await ok(http, f"cluster-pool-instances/{name}/batch") == {"batch": [wire(M)]}
    assert await ok(http, "cluster-pool-instances/orders") == {}, "the exact name only"
    for hint in (name, "orders", "orders-3.example.com:3307"):
        found = await ok(http, f"heuristic-cluster-pool-instances/{hint}")
        assert [one["Key"] for one in found] == [wire(M), wire(R1), wire(R2)]
    (found,) = await ok(http, "heuristic-cluster-pool-instances/orders/batch")
    assert found["Key"] == wire(M)
    assert await ok(http, "heuristic-cluster-pool-lag/orders") == 9
    assert await ok(http, "heuristic-cluster-pool-lag/orders/batch/") == 0
    assert "No instances found" in await error(http, "heuristic-cluster-pool-lag/orders/nobody")
    assert await ok(http, "submit-pool-instances/web?instances=") == "web"
    assert await ok(http, f"cluster-pool-instances/{name}") == {"batch": [wire(M)]}
    assert (await audited(node.store))[0] == ("submit-pool-instances", NO_KEY, "pool web: 5 instances")


async def test_a_pool_shows_who_qualifies(node: MemoryNode, http: httpx.AsyncClient) -> None:
    down = {"last_check_outcome": fleet()[0].last_check_outcome.UNKNOWN}
    node.show([master(M), replica(R1, M, version="2.5.1-maxscale"), replica(R2, M, **down)])
    await ok(http, "submit-pool-instances/web?instances=orders-1,orders-2,orders-3:3307")
    found = await ok(http, f"heuristic-cluster-pool-instances/{M}/web")
    assert [one["Key"] for one in found] == [wire(M)], "neither a binlog server nor who does not answer"


@pytest.fixture
async def exact(tmp_path: Path) -> AsyncIterator[tuple[MemoryNode, httpx.AsyncClient]]:
    async with memory_node(tmp_path, SupportFuzzyPoolHostnames=False) as node, client_of(node) as client:
        yield node, client


async def test_names_in_a_pool_may_be_meant_exactly(exact: tuple[MemoryNode, httpx.AsyncClient]) -> None:
    node, http = exact
    await ok(http, f"submit-pool-instances/web?instances=orders-1,{R1}")
    assert [one.key for one in await node.store.pools.members(utc_now())] == [
        InstanceKey("orders-1", 3306),
        R1,
    ]


async def test_who_asked_is_in_the_audit(tmp_path: Path) -> None:
    secured = {"AuthenticationMethod": "basic", "HTTPAuthUser": "dba", "HTTPAuthPassword": "pw"}
    async with memory_node(tmp_path, **secured) as node, client_of(node) as http:
        reply = await http.get("/api/tag/orders-2/3306?tag=new", auth=("dba", "pw"))
        assert reply.status_code == 200
        assert await audited(node.store) == [("put-instance-tag", R1, "new=, by dba")]
