"""The conventions of every route: http-api.md 1."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.wire import instance_to_wire
from api.wire_rows import Compiled
from services.config import ConfigurationError
from services.node_view import NotLeaderError, OutcomeUnknownError
from services.store.errors import StoreBusyError
from services.topology.instance import Instance
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import ALONE, M, MemoryNode, fleet, settings

NOT_FOUND = (404, "404 page not found\n", "text/plain; charset=utf-8")


def told(reply: httpx.Response) -> tuple[int, str, str]:
    return reply.status_code, reply.text, reply.headers["content-type"]


async def test_bare_json_is_compact_escaped_and_typed(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.show([replace(fleet()[0], version_comment="<a> & b")])
    reply = await http.get("/api/all-instances")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert '"VersionComment":"\\u003ca\\u003e \\u0026 b"' in reply.text
    assert not reply.text.endswith("\n")
    assert reply.json() == [instance_to_wire(node.topology.instances[M])]


async def test_envelope_has_its_three_fields_in_order(http: httpx.AsyncClient) -> None:
    reply = await http.get("/api/check-global-recoveries")
    assert reply.text == '{"Code":"OK","Message":"Global recoveries are enabled","Details":"enabled"}'


@pytest.mark.parametrize("path", ["/api/clusters", "/api/lb-check", "/api/downtimed", "/api/status"])
async def test_closing_slash_is_optional(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path + "/")).text == (await http.get(path)).text
    assert (await http.get(path + "/")).status_code == 200


async def test_unknown_routes_are_plain_404(http: httpx.AsyncClient) -> None:
    for path in (
        "/api/nothing",
        "/api",
        "/nothing",
        "/api/clusters/a/b",
        "/docs",
        "/openapi.json",
        "//api/clusters",
    ):
        assert told(await http.get(path)) == NOT_FOUND, path


@pytest.mark.parametrize("path", ["relocate/a/1/b/2", "graceful-master-takeover/x"])
async def test_what_is_not_built_yet_is_not_faked(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(f"/api/{path}")
    assert (reply.status_code, reply.json()["Code"], reply.json()["Details"]) == (500, "ERROR", None)
    assert " not " in reply.json()["Message"]


async def test_what_the_client_asks_for_and_the_reference_has_not(http: httpx.AsyncClient) -> None:
    assert told(await http.get("/api/move-gtid/a/1/b/2")) == NOT_FOUND


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_404(http: httpx.AsyncClient, method: str) -> None:
    assert told(await http.request(method, "/api/clusters")) == NOT_FOUND


async def test_head_is_served_where_get_is(http: httpx.AsyncClient) -> None:
    for path, status in (("/api/clusters", 200), ("/api/leader-check", 200), ("/", 302), ("/api", 404)):
        assert (await http.head(path)).status_code == status, path


async def test_an_encoded_slash_splits_the_path(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/master%2Forders")).status_code == 200
    assert told(await http.get("/api/master/ord%2Fers")) == NOT_FOUND


async def test_parameters_are_percent_decoded_and_hold_no_marks(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/master/%6Frders")).status_code == 200
    assert told(await http.get("/api/master/orders%3Fx")) == NOT_FOUND
    assert told(await http.get("/api/master/orders%23x")) == NOT_FOUND


async def test_gzip_when_asked(http: httpx.AsyncClient) -> None:
    for path in ("/api/all-instances", "/api/search"):  # one is kept ready, the other is not
        plain = await http.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        async with http.stream("GET", path, headers={"accept-encoding": "gzip"}) as packed:
            assert packed.headers["content-encoding"] == "gzip"
            raw = b"".join([chunk async for chunk in packed.aiter_raw()])
        assert gzip.decompress(raw) == plain.content
        assert len(raw) < len(plain.content) / 2


@pytest.mark.parametrize("path", ["/api/lb-check", "/api/clusters", "/api/instance/nowhere/1", "/nothing"])
async def test_gzip_of_what_is_short(http: httpx.AsyncClient, path: str) -> None:
    packed = await http.get(path, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    plain = await http.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content


async def test_root_leads_to_the_clusters(http: httpx.AsyncClient) -> None:
    for path in ("/", "/web", "/web/"):
        reply = await http.get(path)
        assert (reply.status_code, reply.headers["location"]) == (302, "/web/clusters")
    assert "orders-1.example.com:3306" in (await http.get("/web/clusters")).text


async def test_a_crash_is_told_in_one_line(
    node: MemoryNode, http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    node.fails_with = ZeroDivisionError("secret of the house")
    reply = await http.get("/api/refresh/orders-1/3306")
    assert told(reply) == (500, "500 Internal Server Error", "text/plain; charset=utf-8")
    logged = capsys.readouterr()
    assert "secret of the house" in logged.out + logged.err


@pytest.mark.parametrize(
    "error",
    [
        NotLeaderError("node-2 leads, not this node"),
        OutcomeUnknownError("no answer within 5 s"),
        StoreBusyError("the store x is held by another process"),
    ],
)
async def test_errors_of_the_node_are_enveloped(
    node: MemoryNode, http: httpx.AsyncClient, error: Exception
) -> None:
    node.fails_with = error
    reply = await http.get("/api/refresh/orders-1/3306")
    assert reply.status_code == 500
    assert reply.json() == {"Code": "ERROR", "Message": str(error), "Details": None}


async def test_url_prefix_stands_before_everything(tmp_path: Path) -> None:
    async with memory_node(tmp_path, URLPrefix="orc/") as node, client_of(node) as http:
        assert (await http.get("/orc/api/clusters")).status_code == 200
        assert (await http.get("/orc/api/status")).status_code == 200
        assert told(await http.get("/api/clusters")) == NOT_FOUND
        for path in ("/", "/orc", "/orc/", "/orc/web/"):
            assert (await http.get(path)).headers["location"] == "/orc/web/clusters", path
        assert (await http.get("/orc/api/raft-state")).json()["Message"].startswith("raft-state: ")


async def test_status_endpoint_replaces_the_usual_path_and_takes_no_prefix(tmp_path: Path) -> None:
    async with (
        memory_node(tmp_path, URLPrefix="/orc", StatusEndpoint="/my/health-check") as node,
        client_of(node) as http,
    ):
        assert (await http.get("/my/health-check")).json()["Details"]["Hostname"] == "node-1"
        assert told(await http.get("/orc/api/status")) == NOT_FOUND
        assert (await http.get("/orc/api/health")).status_code == 200


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        ({"PrependMessagesWithOrcIdentity": "none"}, ""),
        ({"PrependMessagesWithOrcIdentity": "hostname"}, "Orchestrator node-1 says: "),
        (
            {"PrependMessagesWithOrcIdentity": "custom", "CustomOrcIdentity": "east"},
            "Orchestrator east says: ",
        ),
    ],
)
async def test_messages_carry_the_identity(tmp_path: Path, keys: dict[str, str], prefix: str) -> None:
    async with memory_node(tmp_path, **keys) as node, client_of(node) as http:
        fine, failed = await http.get("/api/health"), await http.get("/api/instance/nowhere/1")
        assert fine.json()["Message"] == f"{prefix}Application node is healthy"
        assert failed.json()["Message"] == f"{prefix}Cannot read instance: nowhere:1"


async def test_fqdn_identity_is_a_name(tmp_path: Path) -> None:
    async with memory_node(tmp_path, PrependMessagesWithOrcIdentity="FQDN") as node, client_of(node) as http:
        message = (await http.get("/api/health")).json()["Message"]
        identity = message.removeprefix("Orchestrator ").partition(" says: ")[0]
        assert identity
        assert identity != message


async def test_a_snapshot_is_serialised_once(
    node: MemoryNode, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counting(compiled: Compiled, instance: Instance) -> list[str]:
        made.append(instance)
        return staying(compiled, instance)

    staying = Compiled.staying
    monkeypatch.setattr(Compiled, "staying", counting)
    first = await http.get("/api/all-instances")
    for other in ("all-instances", "search?s=", "problems", "masters", "instance/users/3306"):
        assert (await http.get(f"/api/{other}")).status_code == 200
    assert (await http.get("/api/all-instances")).content == first.content
    assert len(made) == len(fleet())
    node.show([replace(fleet()[3], uptime_seconds=7)])
    changed = await http.get("/api/all-instances")
    assert [entry["Uptime"] for entry in changed.json()] == [7]
    assert changed.json()[0]["Key"]["Hostname"] == ALONE.hostname


async def test_new_settings_make_new_replies(node: MemoryNode, http: httpx.AsyncClient) -> None:
    def automated(reply: httpx.Response) -> list[bool]:
        return [entry["HasAutomatedMasterRecovery"] for entry in reply.json()]

    assert automated(await http.get("/api/clusters-info")) == [False, False]
    node.settings = settings(RecoverMasterClusterFilters=["alias=orders"])
    assert automated(await http.get("/api/clusters-info")) == [True, False]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"AuthenticationMethod": "token"}, "AuthenticationMethod"),
        ({"AuthenticationMethod": "oauth"}, "AuthenticationMethod"),
        ({"AuthenticationMethod": "multi"}, "HTTPAuthUser"),
        ({"UseMutualTLS": True}, "UseMutualTLS"),
    ],
)
async def test_access_rules_that_would_not_be_kept_are_refused(
    tmp_path: Path, keys: dict[str, object], named: str
) -> None:
    async with memory_node(tmp_path) as node:
        node.settings = replace(node.settings, **keys)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=named):
            create_app(node)


async def test_compact_json_of_every_read_is_valid(http: httpx.AsyncClient) -> None:
    for path in (
        "clusters",
        "clusters-info",
        "masters",
        "problems",
        "downtimed",
        "audit-recovery",
        "headers",
    ):
        assert json.loads((await http.get(f"/api/{path}")).content) is not None, path
