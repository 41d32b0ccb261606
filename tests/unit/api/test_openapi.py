"""The OpenAPI document: it has every route, and replies are as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.reference_routes import ROUTES
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import MemoryNode


@pytest.fixture
async def document(http: httpx.AsyncClient) -> Any:
    reply = await http.get("/api/openapi.json")
    assert reply.status_code == 200
    return reply.json()


def names_in(value: Any) -> set[str]:
    """What is referred to, anywhere in it."""
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


async def test_it_has_every_route_of_the_reference(document: Any) -> None:
    served = {re.sub(r"{\w+}", "1", path) for path in document["paths"]}
    wanted = {"/api/" + re.sub(r":\w+", "1", route.path) for route in ROUTES}
    assert wanted - served == set()


async def test_each_operation_is_described(document: Any) -> None:
    ids = []
    for path, operations in document["paths"].items():
        operation = operations["get"]
        ids.append(operation["operationId"])
        assert operation["summary"], path
        parameters = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert parameters == set(re.findall(r"{(\w+)}", path)), path
        assert all(one["description"] and one["schema"] for one in operation["parameters"]), path
        assert "500" in operation["responses"], path
    assert len(ids) == len(set(ids))


async def test_what_is_referred_to_is_there(document: Any) -> None:
    there = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert names_in(document) <= there
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("additionalProperties") is False or name == "Nothing", name


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("all-instances", "all-instances"), ("clusters-info", "clusters-info"),
        ("instance/users/3306", "instance/{host}/{port}"), ("instance/nobody/1", "instance/{host}/{port}"),
        ("replication-analysis", "replication-analysis"), ("health", "health"), ("events", "events"),
        ("audit-recovery", "audit-recovery"),
        ("relocate/a/1/b/1", "relocate/{host}/{port}/{below_host}/{below_port}"),
        ("discovery-metrics-aggregated/60", "discovery-metrics-aggregated/{seconds}"),
        ("write-buffer-metrics-aggregated/60", "write-buffer-metrics-aggregated/{seconds}"),
        ("leader-check", "leader-check"),
    ],
)  # fmt: skip
async def test_replies_are_as_it_says(
    http: httpx.AsyncClient, document: Any, path: str, template: str
) -> None:
    reply = await http.get(f"/api/{path}")
    said = document["paths"][f"/api/{template}"]["get"]["responses"][str(reply.status_code)]
    schema = said["content"]["application/json"]["schema"]
    jsonschema.validate(reply.json(), {**schema, "components": document["components"]})


async def test_a_reply_that_is_not_as_it_says_is_found(http: httpx.AsyncClient, document: Any) -> None:
    schema = {"$ref": "#/components/schemas/Instance", "components": document["components"]}
    instance = (await http.get("/api/instance/users/3306")).json()
    jsonschema.validate(instance, schema)
    for change in ({"Uptime": "7"}, {"Unknown": 1}, {"Replicas": [{"Hostname": "a"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(instance | change, schema)


async def test_paths_have_the_prefix(tmp_path: Path) -> None:
    async with memory_node(tmp_path, URLPrefix="/mysql") as node, client_of(node) as http:
        paths = (await http.get("/mysql/api/openapi.json")).json()["paths"]
        assert all(path.startswith("/mysql/api/") for path in paths)
        assert "/mysql/api/status" in paths


async def test_it_is_made_once(
    node: MemoryNode, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await http.get("/api/openapi.json")
    monkeypatch.delattr("api.openapi.document")
    assert (await http.get("/api/openapi.json")).content == first.content
