"""Routes of a live node with real servers, asked over the wire and held against http-api.md."""

from __future__ import annotations

import http.client
import json
from typing import Any

from services.sandbox.server import MySQLServer
from tests.node import Node, Watched, orchestray
from tests.reference_shapes import misfits
from tests.servers import wait_until

__all__ = ["JSON", "Reply", "bare", "by_key", "client", "enveloped", "filled", "get", "key", "refused"]

ANSWER_SECONDS = 30  # the longest that a change may take, discover with its 20, is less
_NOT_LEADING = "does not lead"
JSON = "application/json; charset=UTF-8"
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
    reply = Reply(watched.node, target, **headers)
    if _NOT_LEADING.encode() in reply.body:  # a busy machine cost it its lease; nothing was done
        wait_until(lambda: watched.node.leads, 60)
        reply = Reply(watched.node, target, **headers)
    return reply


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
    done = orchestray("-U", watched.node.url, "-c", *words)
    if _NOT_LEADING in done.stderr:
        wait_until(lambda: watched.node.leads, 60)
        done = orchestray("-U", watched.node.url, "-c", *words)
    return done.returncode, done.stdout.splitlines(), done.stderr
