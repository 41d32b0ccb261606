"""How the client reaches orchestray: which endpoint, in which time, how often again.

Only the standard library, so that a command starts in a tenth of a second. Every request has a limit
for its connect and one for the whole; a timer shuts the socket at the end of the latter, so that a
server that drips one byte at a time is bounded too.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from api.cli.client_options import ClientError

__all__ = ["Api", "api_of", "choose_api", "masked"]

RETRY_PAUSES_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 2.5, 5.0, 0.0)
"""After each of eight tries; about 11.3 s in all (client-commands.md 3)."""

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
CHANGE_SECONDS = 600.0  # a recovery answers when it is over
LAST_TRY_STARTS_SECONDS = 30.0
LEADER_CHECK_SECONDS = 1.0
MAX_REPLY_BYTES = 256 * 1024 * 1024

_UNCLEAR = frozenset({502, 504})
"""A proxy had passed the request on when something broke: it may have been carried out."""


class _NoReplyError(Exception):
    """There was no whole reply. ``sent``: the request may have been received."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Api:
    """One endpoint, ending in ``/api``, and what identifies the caller there."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str, *, changes: bool = False) -> Any:
        """The reply to ``GET <api>/<path>``, parsed, whatever its HTTP status.

        What is not JSON, or no reply, is tried again after a pause, except a change that may have been
        carried out. Raises ClientError when there is none in the end.
        """
        url = f"{self.url}/{quote(path.removeprefix('/'), safe='/?&=%:;,@+$!*()[]~')}"
        limit_seconds = CHANGE_SECONDS if changes else READ_SECONDS
        last_start = time.monotonic() + LAST_TRY_STARTS_SECONDS
        for pause_seconds in RETRY_PAUSES_SECONDS:
            try:
                status, body = _fetch(url, self.headers, limit_seconds)
            except _NoReplyError as error:
                if changes and error.sent:
                    raise self._outcome_unknown(path, str(error)) from error
            else:
                if status == http.HTTPStatus.UNAUTHORIZED:
                    raise _denied(self.url)
                with contextlib.suppress(ValueError):
                    return json.loads(body)
                if changes and status in _UNCLEAR:
                    raise self._outcome_unknown(path, f"HTTP status {status}")
            if time.monotonic() + pause_seconds > last_start:
                break
            time.sleep(pause_seconds)
        raise ClientError(
            f"Cannot access orchestrator at {masked(self.url)}.  "
            "Check ORCHESTRATOR_API is configured correctly and orchestrator is running"
        )

    def _outcome_unknown(self, path: str, reason: str) -> ClientError:
        return ClientError(
            f"No reply from {masked(self.url)} to {path.partition('?')[0]} ({reason}): "
            "it may have been carried out. Look before you ask again"
        )

    def status_of(self, path: str) -> int:
        """The HTTP status of a path that is answered within a second; 0 if there is none."""
        try:
            return _fetch(f"{self.url}/{path}", self.headers, LEADER_CHECK_SECONDS)[0]
        except _NoReplyError:
            return 0


def api_of(endpoint: str, *, auth: str = "", header: str = "") -> Api:
    """An endpoint as people write it: with or without ``http://``, a closing slash, ``/api``, user-info."""
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    url = _split(endpoint.removesuffix("/"))
    path = url.path if url.path.endswith("/api") else f"{url.path}/api"
    if not auth and url.username is not None:
        auth = f"{unquote(url.username)}:{unquote(url.password or '')}"
    headers = {"User-Agent": "orchestray-client"}
    if auth:
        headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
    if header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip() or not header.isprintable():
            raise ClientError("the header for authentication must be written Name:value, on one line")
        headers[name.strip()] = value.strip()
    host = url.netloc.rpartition("@")[2]
    return Api(urlunsplit((url.scheme, host, path, "", "")), headers)


def choose_api(endpoints: str, *, auth: str = "", header: str = "") -> Api:
    """The one endpoint as it is; of several, the first that leads or knows who does.

    Raises ClientError if none does.
    """
    apis = [api_of(endpoint, auth=auth, header=header) for endpoint in endpoints.split()]
    if not apis:
        raise ClientError("no endpoint: set ORCHESTRATOR_API or -U")
    if len(apis) == 1:
        return apis[0]
    for path in ("leader-check", "routed-leader-check"):
        leader = _first_ok(apis, path)
        if leader is not None:
            return leader
    raise ClientError(f"Cannot determine leader from {' '.join(masked(word) for word in endpoints.split())}")


def _first_ok(apis: Sequence[Api], path: str) -> Api | None:
    for api in apis:
        status = api.status_of(path)
        if status == http.HTTPStatus.UNAUTHORIZED:
            raise _denied(api.url)
        if status == http.HTTPStatus.OK:
            return api
    return None


def masked(url: str) -> str:
    """The URL without user and password."""
    scheme, separator, rest = url.rpartition("://")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    return f"{scheme}{separator}{'****@' if at else ''}{host}{slash}{path}"


def _denied(url: str) -> ClientError:
    return ClientError(
        f"Access to {masked(url)} is refused: 401 Unauthorized. Check ORCHESTRATOR_AUTH_USER and "
        "ORCHESTRATOR_AUTH_PASSWORD, or -b"
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - checked on reading
    except ValueError as error:
        raise ClientError(f"{masked(url)} is not an URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClientError(f"{masked(url)} is not an URL of http or https with a host")
    return parts


def _fetch(url: str, headers: Mapping[str, str], limit_seconds: float) -> tuple[int, bytes]:
    """Status and body of one GET. Raises _NoReplyError."""
    parts = _split(url)
    assert parts.hostname
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=min(CONNECT_SECONDS, limit_seconds))
    sent = False
    try:
        connection.connect()
        assert connection.sock is not None
        connection.sock.settimeout(limit_seconds)
        with _shut_after(limit_seconds, connection.sock):
            sent = True
            connection.request(
                "GET", urlunsplit(("", "", parts.path, parts.query, "")), headers=dict(headers)
            )
            response = connection.getresponse()
            body = response.read(MAX_REPLY_BYTES)
            # A shut socket looks like the end of the body where no length was announced.
            if response.length:
                raise _NoReplyError("the reply was cut off", sent=True)
            return response.status, body
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _NoReplyError(str(error) or type(error).__name__, sent=sent) from error
    finally:
        connection.close()


@contextlib.contextmanager
def _shut_after(limit_seconds: float, sock: socket.socket) -> Iterator[None]:
    """End what waits on the socket when the time is over."""
    expired = threading.Event()

    def shut() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
        if expired.is_set():
            raise _NoReplyError(f"not within {limit_seconds:g} s", sent=True)
    finally:
        timer.cancel()
