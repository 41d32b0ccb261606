"""Who may come in, and who may change something: http-api.md 2, known-gaps.md 7."""

from __future__ import annotations

import base64
import grp
import os
import pwd
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import MemoryNode

CHANGE = "/api/disable-global-recoveries"
READ = "/api/clusters"
STRANGER = "198.51.100.7"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Case:
    """One node and the ways to call it."""

    def __init__(self, node: MemoryNode, stack: AsyncExitStack) -> None:
        self.node = node
        self._app = create_app(node)
        self._stack = stack

    async def get(self, path: str, headers: dict[str, str] | None = None, **where: Any) -> httpx.Response:
        client = await self._stack.enter_async_context(client_of(self._app, **where))
        return await client.get(path, headers=headers)

    async def may_change(self, headers: dict[str, str] | None = None, **where: Any) -> bool:
        """Whether the change was carried out; a refusal is checked to be the reference's."""
        self.node.done.clear()
        reply = await self.get(CHANGE, headers, **where)
        if reply.status_code == 500:
            assert reply.json()["Code"] == "ERROR"
            assert reply.json()["Message"].startswith("Unauthorized")
            assert not self.node.done
            return False
        assert reply.status_code == 200, reply.text
        assert self.node.done == [("set-global-recoveries", False)]
        return True


@pytest.fixture
async def case(tmp_path: Path) -> Any:
    async with AsyncExitStack() as stack:
        made = 0

        async def make(**keys: object) -> Case:
            nonlocal made
            made += 1
            directory = tmp_path / str(made)
            directory.mkdir()
            node = await stack.enter_async_context(memory_node(directory, **keys))
            return Case(node, stack)

        yield make


# no authentication


async def test_open_lets_only_this_host_change_things(case: Any) -> None:
    open_ = await case()
    assert await open_.may_change()
    assert await open_.may_change(peer="::1")
    assert await open_.may_change(peer="::ffff:127.0.0.1")
    assert await open_.may_change(peer="127.8.9.1", base_url="http://localhost:3000")
    for stranger in (STRANGER, "2001:db8::1", "::ffff:198.51.100.7", "not an address"):
        assert not await open_.may_change(peer=stranger), stranger
        assert (await open_.get(READ, peer=stranger)).status_code == 200


async def test_the_refusal_names_the_keys_that_allow_it(case: Any) -> None:
    message = (await (await case()).get(CHANGE, peer=STRANGER)).json()["Message"]
    assert message.startswith("Unauthorized")
    for word in ("AuthenticationMethod", "HTTPAuthUser", "HTTPAuthPassword", "127.0.0.1"):
        assert word in message


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
async def test_a_proxy_on_this_host_is_not_the_caller(case: Any, header: str) -> None:
    assert not await (await case()).may_change({header: STRANGER})


@pytest.mark.parametrize(
    "path",
    [
        "discover/a/1", "async-discover/a/1", "refresh/a/1", "forget/orders-1/3306", "forget-cluster/orders",
        "recover/a/1", "recover/a/1/b/2", "recover-lite/a/1", "register-candidate/a/1/prefer",
        "begin-downtime/a/1/me/why", "begin-downtime/a/1/me/why/5m", "end-downtime/a/1",
        "begin-maintenance/a/1/me/why", "end-maintenance/a/1", "end-maintenance/1", "bulk-promotion-rules",
        "register-hostname-unresolve/a/1/b", "deregister-hostname-unresolve/a/1",
        "set-cluster-alias/orders-1.example.com:3306?alias=x", "host-attribute/a/b/c",
        "tag/a/1?tag=x", "tag/a/1/x/y", "untag/a/1?tag=x", "untag/a/1/x", "untag-all?tag=x=y",
        "untag-all/x/y", "submit-pool-instances/p?instances=a", "cluster-pool-instances/c",
        "cluster-pool-instances/c/p", "heuristic-cluster-pool-instances/orders",
        "heuristic-cluster-pool-instances/orders/p", "heuristic-cluster-pool-lag/orders",
        "heuristic-cluster-pool-lag/orders/p",
        "ack-recovery/1?comment=x", "ack-recovery/uid/1?comment=x", "ack-recovery/cluster/orders?comment=x",
        "ack-recovery/cluster/alias/orders?comment=x", "ack-recovery/instance/a/1?comment=x",
        "ack-all-recoveries?comment=x", "enable-global-recoveries", "disable-global-recoveries",
        "reload-configuration", "reelect", "raft-add-peer/a", "raft-remove-peer/a", "raft-yield/a",
        "raft-yield-hint/a", "raft-snapshot",
    ],
)  # fmt: skip
async def test_every_changing_route_is_fenced(case: Any, path: str) -> None:
    open_ = await case()
    reply = await open_.get(f"/api/{path}", peer=STRANGER)
    assert reply.status_code == 500
    assert reply.json()["Message"].startswith("Unauthorized")
    assert open_.node.done == []


async def test_a_name_that_somebody_points_at_loopback_is_refused(case: Any) -> None:
    open_ = await case()
    assert not await open_.may_change(base_url="http://rebound.example.net:3000")
    assert await open_.may_change(base_url="http://[::1]:3000")
    assert await open_.may_change(base_url="http://node-1:3000")  # the node's own name
    listening = await case(ListenAddress="10.1.2.3:3000")
    assert await listening.may_change(base_url="http://10.1.2.3:3000")
    assert not await listening.may_change(base_url="http://10.1.2.4:3000")


async def test_with_authentication_the_name_does_not_matter(case: Any) -> None:
    secured = await case(AuthenticationMethod="basic", HTTPAuthUser="me", HTTPAuthPassword="pw")
    assert await secured.may_change(basic("me", "pw"), peer=STRANGER, base_url="http://rebound.example.net")


# browsers


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),  # typed by its user
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:3000"}, True),
        ({"origin": "http://127.0.0.1:8080"}, False),
        ({"origin": "null"}, False),
        ({"referer": "http://127.0.0.1:3000/web/clusters"}, True),
        ({"referer": "http://evil.example.net/127.0.0.1:3000"}, False),
        ({"referer": "http://127.0.0.1:3000@evil.example.net/"}, False),
        ({"origin": "https://ui.example.com", "x-forwarded-host": "ui.example.com"}, True),
        ({}, False),  # says nothing of where it comes from
    ],
)
async def test_a_browser_must_come_from_our_own_pages(
    case: Any, headers: dict[str, str], allowed: bool
) -> None:
    secured = await case(AuthenticationMethod="basic", HTTPAuthUser="me", HTTPAuthPassword="pw")
    sent = {**BROWSER, **headers, **basic("me", "pw")}
    assert await secured.may_change(sent) is allowed
    assert (await secured.get(READ, sent)).status_code == 200


# basic


async def test_basic_asks_everybody_everywhere(case: Any) -> None:
    secured = await case(AuthenticationMethod="Basic", HTTPAuthUser="me", HTTPAuthPassword="pä")
    for path in (READ, "/", "/api", "/api/lb-check", "/nothing", CHANGE):
        reply = await secured.get(path)
        assert (reply.status_code, reply.text) == (401, "Not Authorized"), path
        assert reply.headers["www-authenticate"] == 'Basic realm="Authorization Required"'
        assert reply.reason_phrase == "Unauthorized"
    assert (await secured.get(READ, basic("me", "pä"))).status_code == 200
    assert await secured.may_change(basic("me", "pä"), peer=STRANGER)


@pytest.mark.parametrize(
    "headers",
    [
        basic("me", "wrong"),
        basic("you", "pw"),
        basic("me", ""),
        basic("", ""),
        basic("readonly", "x"),
        {"authorization": "Basic me:pw"},
        {"authorization": "Basic " + base64.b64encode(b"me").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xfe:pw").decode()},
        {"authorization": "Bearer " + base64.b64encode(b"me:pw").decode()},
        {"authorization": ""},
    ],
)
async def test_wrong_credentials(case: Any, headers: dict[str, str]) -> None:
    secured = await case(AuthenticationMethod="basic", HTTPAuthUser="me", HTTPAuthPassword="pw")
    assert (await secured.get(READ, headers)).status_code == 401


async def test_basic_without_any_credential_is_as_open_as_none(case: Any) -> None:
    unset = await case(AuthenticationMethod="basic")
    assert (await unset.get(READ)).status_code == 401
    assert (await unset.get(READ, basic("", ""))).status_code == 200
    assert await unset.may_change(basic("", ""))
    assert not await unset.may_change(basic("", ""), peer=STRANGER)


# multi


async def test_multi_lets_readonly_read(case: Any) -> None:
    multi = await case(AuthenticationMethod="multi", HTTPAuthUser="me", HTTPAuthPassword="pw")
    assert (await multi.get(READ, basic("readonly", "whatever"))).status_code == 200
    assert not await multi.may_change(basic("readonly", "whatever"))
    assert not await multi.may_change(basic("readonly", "pw"))
    assert await multi.may_change(basic("me", "pw"), peer=STRANGER)
    for headers in (None, basic("me", "wrong"), basic("", "")):
        assert (await multi.get(READ, headers)).status_code == 401


# proxy


async def test_proxy_downgrades_who_has_no_power(case: Any) -> None:
    proxied = await case(AuthenticationMethod="proxy", AuthUserHeader="X-User", PowerAuthUsers=["ann"])
    assert await proxied.may_change({"x-user": "ann"}, peer=STRANGER)
    for headers in ({"x-user": "bob"}, {"x-user": ""}, {}, {"x-forwarded-user": "ann"}):
        assert not await proxied.may_change(headers, peer=STRANGER)
        assert (await proxied.get(READ, headers, peer=STRANGER)).status_code == 200


async def test_proxy_lets_everybody_by_default(case: Any) -> None:
    assert await (await case(AuthenticationMethod="proxy")).may_change(
        {"x-forwarded-user": "bob"}, peer=STRANGER
    )


async def test_proxy_knows_unix_groups(case: Any) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    group = grp.getgrgid(pwd.getpwnam(me).pw_gid).gr_name
    powerful = await case(AuthenticationMethod="proxy", PowerAuthUsers=[], PowerAuthGroups=[group])
    assert await powerful.may_change({"x-forwarded-user": me})
    assert not await powerful.may_change({"x-forwarded-user": "nobody-of-that-name"})
    assert not await powerful.may_change({})
    other = await case(AuthenticationMethod="proxy", PowerAuthUsers=[], PowerAuthGroups=["no-such-group"])
    assert not await other.may_change({"x-forwarded-user": me})


# all methods


async def test_read_only_refuses_everybody(case: Any) -> None:
    frozen = await case(ReadOnly=True, AuthenticationMethod="basic", HTTPAuthUser="me", HTTPAuthPassword="pw")
    assert not await frozen.may_change(basic("me", "pw"))
    assert (await frozen.get(READ, basic("me", "pw"))).status_code == 200


async def test_a_reload_changes_the_rules_at_once(case: Any) -> None:
    node = await case()
    assert await node.may_change()
    node.node.settings = replace(node.node.settings, ReadOnly=True)
    assert not await node.may_change()
    # what create_app would have refused grants nothing when it comes with a reload
    node.node.settings = replace(node.node.settings, ReadOnly=False, AuthenticationMethod="token")
    assert not await node.may_change()


@pytest.mark.parametrize(
    ("keys", "headers", "owner"),
    [
        ({}, {}, "node-1"),
        (
            {"AuthenticationMethod": "basic", "HTTPAuthUser": "me", "HTTPAuthPassword": "pw"},
            basic("me", "pw"),
            "me",
        ),
        ({"AuthenticationMethod": "proxy"}, {"x-forwarded-user": "ann"}, "ann"),
        ({"AuthenticationMethod": "proxy"}, {}, "node-1"),
    ],
)
async def test_acknowledgements_are_signed(
    case: Any, keys: dict[str, object], headers: dict[str, str], owner: str
) -> None:
    signed = await case(**keys)
    assert (await signed.get("/api/ack-all-recoveries?comment=seen", headers)).status_code == 200
    [(_, _, comment, by)] = signed.node.done
    assert (comment, by) == ("seen", owner)


async def test_no_password_is_shown(case: Any) -> None:
    secured = await case(AuthenticationMethod="basic", HTTPAuthUser="me", HTTPAuthPassword="hunter2")
    sent = {**basic("me", "hunter2"), "cookie": "hunter2", "x-other": "shown"}
    reply = await secured.get("/api/headers", sent)
    assert "hunter2" not in reply.text
    assert base64.b64encode(b"me:hunter2").decode() not in reply.text
    assert reply.json()["X-Other"] == ["shown"]
    assert reply.json()["Authorization"] == ["***"]
