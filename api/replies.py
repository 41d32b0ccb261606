"""Replies as the reference gives them (http-api.md 1): bare JSON, the envelope, plain 404 and 500.

Plain `Response` objects around bytes that are ready: nothing is validated on the way out.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.wire import dumps

__all__ = [
    "GZIP_FROM_BYTES",
    "GZIP_LEVEL",
    "Body",
    "JsonText",
    "SnapshotCache",
    "bare",
    "cached",
    "crashed",
    "envelope",
    "enveloped",
    "not_found",
    "plain",
    "times_of_mysql",
]

GZIP_FROM_BYTES = 1
"""Whoever asks for it gets it, as from the reference, however short the reply is."""
GZIP_LEVEL = 1
"""A megabyte of instances becomes little whatever the level, and in a third of the time of level 5."""

_JSON = "application/json; charset=UTF-8"
_TEXT = "text/plain; charset=utf-8"


_times_of_mysql: ContextVar[bool] = ContextVar("times_of_mysql", default=False)
_STORED_TIME = re.compile(r'"(2\d{3}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z"')


@contextmanager
def times_of_mysql(wanted: bool) -> Iterator[None]:
    """Within it, if ``wanted``, times of the backend are written as MySQL does: ``2026-11-22 20:46:24``."""
    before = _times_of_mysql.set(wanted)
    try:
        yield
    finally:
        _times_of_mysql.reset(before)


class JsonText(str):
    """JSON that is ready to be sent."""

    __slots__ = ()


def bare(value: Any, status: int = 200) -> Response:
    """A JSON value without envelope."""
    return Response(_octets(value), status_code=status, headers={"content-type": _JSON})


def envelope(code: str, message: str, details: Any = None) -> Response:
    """``OK`` is HTTP 200 and ``ERROR`` 500, whatever the error."""
    return bare(enveloped(code, message, details), 200 if code == "OK" else 500)


def enveloped(code: str, message: str, details: Any = None) -> JsonText:
    """The envelope itself. What is ready in ``details`` is put in as it is."""
    inner = details if isinstance(details, JsonText) else dumps(details)
    return JsonText(f'{{"Code":"{code}","Message":{dumps(message)},"Details":{inner}}}')


def plain(text: str, status: int = 200) -> Response:
    return PlainTextResponse(text, status_code=status, headers={"content-type": _TEXT})


def not_found() -> Response:
    return plain("404 page not found\n", 404)


def crashed() -> Response:
    return plain("500 Internal Server Error", 500)


class Body:
    """A JSON reply that is sent more than once: serialised once, compressed once if anybody asks."""

    __slots__ = ("_gzipped", "plain")

    def __init__(self, value: Any) -> None:
        self.plain = _octets(value)
        self._gzipped: bytes | None = None

    @property
    def gzipped(self) -> bytes:
        if self._gzipped is None:
            self._gzipped = gzip.compress(self.plain, GZIP_LEVEL, mtime=0)
        return self._gzipped


class SnapshotCache:
    """Bodies made from values that are replaced as a whole, such as a topology.

    Holds those of the newest values only. Keys must come from the values, not from requests: there
    are no more of them than the snapshot has clusters and forms.
    """

    def __init__(self) -> None:
        self._made_of: tuple[object, ...] = ()
        self._bodies: dict[Hashable, Body] = {}

    def get(self, made_of: tuple[object, ...], key: Hashable, build: Callable[[], Any]) -> Body:
        """The body under ``key``; ``build`` is called if it is not there or was made of other objects."""
        same = len(made_of) == len(self._made_of) and all(
            new is old for new, old in zip(made_of, self._made_of, strict=True)
        )
        if not same:
            self._made_of, self._bodies = made_of, {}
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = Body(build())
        return body


def cached(request: Request, body: Body) -> Response:
    headers = {"content-type": _JSON}
    content = body.plain
    if len(content) >= GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"vary": "Accept-Encoding", "content-encoding": "gzip"}
        content = body.gzipped
    return Response(content, headers=headers)


def _octets(value: Any) -> bytes:
    # Texts of servers may hold bytes that were no UTF-8; those do not fail a whole reply.
    text = value if isinstance(value, JsonText) else dumps(value)
    if _times_of_mysql.get():
        text = _STORED_TIME.sub(r'"\1 \2"', text)
    return text.encode("utf-8", "replace")
