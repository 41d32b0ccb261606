"""Routes of a live node with real servers, asked over the wire and held against the reference."""

from __future__ import annotations

import http.client
import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TypeVar

import jsonschema

from api.cli.client import run
from services.sandbox.server import MySQLServer
from tests.node import Node, Watched, orchestray
from tests.reference_routes import REFUSED, Route
from tests.reference_shapes import misfits
from tests.servers import wait_until

T = TypeVar("T")

ANSWER_SECONDS = 30  # the longest that a change may take, discover with its 20, is less
_NOT_LEADING = "does not lead"
JSON = "application/json; charset=UTF-8"
TEXT = "text/plain; charset=utf-8"
NOT_FOUND = b"404 page not found\n"
NOBODY = "127.0.0.1/1"  # a port at which no server is


class Reply:
    """What came over the wire, not made nicer by a library."""

    def __init__(self, node: Node, target: str, method: str = "GET", **headers: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=ANSWER_SECONDS)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, headers=sent)
            answer = connection.getresponse()
            self.status, self.body = answer.status, answer.read()
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    @property
    def type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(watched: Watched, path: str, **headers: str) -> Reply:
    """``/api/<path>``; ``{master}``, ``{one}``, ``{two}``, ``{leaf}`` in it are ``host/port``."""
    target = f"/api/{filled(watched, path)}"
    return _led(
        lambda: Reply(watched.node, target, **headers), lambda reply: reply.body.decode(errors="replace")
    )


def _led(ask: Callable[[], T], said: Callable[[T], str]) -> T:
    """Ask again while the node does not lead: a busy machine cost it its lease, or it was told to stop.
    Nothing was done then."""
    found = [ask()]

    def is_answered() -> bool:
        if _NOT_LEADING in said(found[0]):
            found[0] = ask()
        return _NOT_LEADING not in said(found[0])

    wait_until(is_answered, 60, lambda: said(found[0]))
    return found[0]


def filled(watched: Watched, path: str) -> str:
    servers = dict(zip(("master", "one", "two", "leaf"), watched.topology.servers, strict=False))
    pairs = {name: f"{server.host}/{server.port}" for name, server in servers.items()}
    cluster = watched.node.api("clusters")[0] if "{cluster}" in path else ""
    return path.format(**pairs, cluster=cluster, nobody=NOBODY)


def bare(watched: Watched, path: str, kind: str) -> Any:
    """A reply without envelope, of that kind."""
    reply = get(watched, path)
    assert (reply.status, reply.type) == (200, JSON), (path, reply.body)
    assert misfits(reply.json, kind, path) == []
    return reply.json


def enveloped(watched: Watched, path: str, kind: str, code: str = "OK") -> Any:
    """``Details`` of an envelope with that code, of that kind."""
    reply = get(watched, path)
    assert (reply.status, reply.type) == (200 if code == "OK" else 500, JSON), (path, reply.body)
    assert list(reply.json) == ["Code", "Message", "Details"]
    assert reply.json["Code"] == code
    assert isinstance(reply.json["Message"], str) and reply.json["Message"]
    assert misfits(reply.json["Details"], kind, path) == []
    return reply.json["Details"]


def refused(watched: Watched, path: str, text: str, kind: str = "null") -> None:
    """An error envelope whose message has the text."""
    enveloped(watched, path, kind, "ERROR")
    assert text in get(watched, path).json["Message"], get(watched, path).json["Message"]


def key(server: MySQLServer) -> dict[str, Any]:
    return {"Hostname": server.host, "Port": server.port}


def by_key(servers: Any) -> list[str]:
    return [str(each) for each in sorted(server.key for server in servers)]


def client(watched: Watched, *words: str) -> tuple[int, list[str], str]:
    """Exit status, lines of stdout, and stderr."""
    done = _led(lambda: orchestray("-U", watched.node.url, "-c", *words), lambda done: done.stderr)
    return done.returncode, done.stdout.splitlines(), done.stderr


# what the node itself says that its routes answer


_DOCUMENTS: dict[str, Any] = {}


def document(watched: Watched) -> Any:
    """``/api/openapi.json``, asked once."""
    url = watched.node.url
    if url not in _DOCUMENTS:
        _DOCUMENTS[url] = Reply(watched.node, "/api/openapi.json").json
    return _DOCUMENTS[url]


def undescribed(watched: Watched, target: str, reply: Reply) -> list[str]:
    """Where a reply to ``/api/…`` is not as the OpenAPI document says; a line each."""
    found = document(watched)
    path = target.partition("?")[0].rstrip("/")
    fits = [one for one in found["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/#?]+", one), path)]
    if not fits:
        return [f"{path} is not in the document"]
    template = fits[0]  # they stand in the order in which they are served
    said = found["paths"][template]["get"]["responses"].get(str(reply.status))
    if said is None:
        return [f"{template}: status {reply.status} is not described"]
    schema = {**said["content"]["application/json"]["schema"], "components": found["components"]}
    errors = jsonschema.Draft202012Validator(schema).iter_errors(reply.json)
    return [f"{template}: {error.json_path}: {error.message[:200]}" for error in errors]


def misfits_of(watched: Watched, route: Route) -> list[str]:
    """Where the answer of a route is not what the reference wants, a line each."""
    target = f"/api/{filled(watched, route.asked)}"
    reply = get(watched, route.asked)
    if reply.type != JSON:
        return [f"{target}: {reply.status} {reply.type} {reply.body[:80]!r}"]
    wrong = undescribed(watched, target, reply)
    value = reply.json
    is_error = isinstance(value, dict) and value.get("Code") == "ERROR"
    if is_error != (route.state == REFUSED or route.fails) or reply.status != (500 if is_error else 200):
        return [*wrong, f"{target}: {reply.status} {reply.body[:200]!r}"]
    if is_error and not value["Message"]:
        wrong.append(f"{target}: refused without a word")
    if is_error or route.form == "env":
        if list(value) != ["Code", "Message", "Details"]:
            return [*wrong, f"{target}: no envelope: {list(value)}"]
        value = value["Details"]
    kind = "null" if route.state == REFUSED else route.kind
    return [*wrong, *misfits(value, kind, target)]


def asked(watched: Watched, *words: str) -> tuple[int, list[str], str]:
    """As `client`, in this process, which takes a tenth of the time."""

    def run_it() -> tuple[int, list[str], str]:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            status = run(("-U", watched.node.url, "-c", *words))
        return status, out.getvalue().splitlines(), err.getvalue()

    return _led(run_it, lambda done: done[2])
