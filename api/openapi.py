"""``GET /api/openapi.json``: every route with its parameters and replies, made of the routes themselves.

What a reply holds is taken from the types and tables that replies are written from (``api.wire``,
``api.wire_types``). It is made when it is first asked for, in a thread: that takes half a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import getdoc
from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.responses import Response

from api.described import Bare, Description, Reply, path_parameter
from api.replies import bare
from api.routes.call import ToCall, described, reading_router, route
from services import VERSION

__all__ = ["document", "reads"]

reads = reading_router()

Served = Sequence[tuple[str, APIRouter]]
"""Routers, each with what stands before its paths."""
Handler = Callable[..., Any]

_WRITES = "Changes something: the caller needs write permission."
_JSON = "application/json"
_PARAMETER = re.compile(r"{([a-z_]+)(?::segment)?}")


@route(reads, "openapi.json", reply=Bare(dict[str, Any]))
async def openapi(call: ToCall) -> Response:
    """This description, as OpenAPI 3.1."""
    app: FastAPI = call.request.app
    if app.openapi_schema is None:
        app.openapi_schema = await asyncio.to_thread(document, call.api.served, call.api.url_prefix)
    return bare(app.openapi_schema)


def document(served: Served, url_prefix: str = "") -> dict[str, Any]:
    """The whole document. Raises KeyError if a route below ``/api`` is not described."""
    routes = list(_routes(served, url_prefix))
    types = {id(kind): kind for *_, description in routes for kind in _types(description.reply)}
    schemas, components = _schemas(types)
    paths = {
        path: {"get": _operation(path.removeprefix(f"{url_prefix}/api/"), handler, description, schemas)}
        for path, handler, description in routes
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orchestray",
            "version": VERSION,
            "description": "High availability of MySQL and MariaDB. All that changes something is a GET too.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, **components}},
    }


_ERROR = {
    "type": "object",
    "description": "What went wrong; status 500 whatever it is.",
    "properties": {"Code": {"const": "ERROR"}, "Message": {"type": "string"}, "Details": {}},
    "required": ["Code", "Message", "Details"],
    "additionalProperties": False,
}


def _routes(served: Served, url_prefix: str) -> Iterator[tuple[str, Handler, Description]]:
    """Path, handler and description of all below ``/api``, in the order in which they are served."""
    seen = set()
    for prefix, router in served:
        for one in router.routes:
            assert isinstance(one, APIRoute)
            path = _PARAMETER.sub(r"{\1}", f"{prefix}{one.path}")
            if path.startswith(f"{url_prefix}/api/") and path not in seen:
                seen.add(path)
                yield path, one.endpoint, described(one.endpoint)


def _types(reply: Reply) -> Iterable[Any]:
    return [reply.type, *reply.other.values()]


def _schemas(types: Mapping[int, Any]) -> tuple[dict[int, Any], dict[str, Any]]:
    """JSON schema by id of the type, and what they refer to."""
    mode: Literal["serialization"] = "serialization"
    inputs = [(key, mode, TypeAdapter(kind)) for key, kind in types.items()]
    made, definitions = TypeAdapter.json_schemas(
        inputs,
        ref_template=_ref("{model}")["$ref"],
    )
    components = definitions.get("$defs", {})
    if "TopologyRecovery" in components:  # of which its type says only that it is an object
        components["TopologyRecovery"]["properties"]["AnalysisEntry"] = _ref("ReplicationAnalysis")
    for component in components.values():
        component.pop("title", None)
        for inner in component.get("properties", {}).values():
            inner.pop("title", None)
        if "properties" in component:
            component["additionalProperties"] = False
    return {key: schema for (key, _), schema in made.items()}, components


def _operation(words: str, handler: Handler, description: Description, schemas: Mapping[int, Any]) -> Any:
    text = getdoc(handler) or ""
    names = _PARAMETER.findall(words)
    reply = description.reply
    replies: dict[str, Any] = {
        "200": _content(
            "OK", _enveloped(schemas[id(reply.type)]) if reply.is_enveloped else schemas[id(reply.type)]
        ),
        "500": _content("An error", _ref("Error")),
    }
    if reply.never:
        del replies["200"]
    for status, kind in reply.other.items():
        replies[str(status)] = _content("Not so", schemas[id(kind)])
    if names and "404" not in replies:
        replies["404"] = {
            "description": "No such route: a segment is empty, or has / # ? in it",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    return {
        "operationId": re.sub(r"[^a-z0-9]+", "-", words).strip("-"),
        "summary": text.partition("\n")[0] or words.partition("/")[0],
        "description": "\n\n".join(filter(None, (text, _WRITES if description.changes else ""))),
        "tags": [handler.__module__.rpartition(".")[2]],
        "parameters": [
            *(_parameter("path", name, path_parameter(name)) for name in names),
            *(_parameter("query", name, parameter) for name, parameter in description.query.items()),
        ],
        "responses": replies,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _enveloped(details: Any) -> Any:
    return {
        "type": "object",
        "properties": {"Code": {"const": "OK"}, "Message": {"type": "string"}, "Details": details},
        "required": ["Code", "Message", "Details"],
        "additionalProperties": False,
    }


def _content(text: str, schema: Any) -> Any:
    return {"description": text, "content": {_JSON: {"schema": schema}}}


def _parameter(place: str, name: str, parameter: Any) -> Any:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
