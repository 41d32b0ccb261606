"""The way to the node that acts: a challenge, the change, its answer. Everything has a bound."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.config import Secret
from services.forwarding.signing import HEADER, Claims, digest_of, name_digest, sign
from services.node_errors import OutcomeUnknownError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CHALLENGE_PATH", "Answer", "Change", "Greeting", "Target", "greet", "pass_on"]

CHALLENGE_PATH = "/api/passing-on"
"""Answers whether a node acts, with a challenge; to anybody."""
CONNECT_SECONDS = 2.0
GREETING_SECONDS = 3.0
ANSWER_SECONDS = 150.0
"""More than any change takes at most on the node that acts."""
SUCCEEDED_SECONDS = 5.0
"""So long an answer is waited for after another node has begun to act."""
_LOOK_SECONDS = 0.5
_GREETING_BYTES_MAX = 4096
_ANSWER_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The node that acts: its name in the setup, and where its HTTP interface is, without path."""

    node: str
    uri: str
    prefix: str = ""
    """``URLPrefix``, which is the same on all nodes of a setup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is passed on; ``path`` with query, as it came."""

    method: str
    path: str
    body: bytes
    content_type: str
    user: str
    peer: str
    front: str
    front_host: str
    term: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """``acts``: whether the node acts, as it said itself."""

    acts: bool
    term: int
    challenge: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes


async def greet(target: Target, *, timeout: float = GREETING_SECONDS) -> Greeting:
    """Ask whether it acts. Raises UnavailableError."""
    async with _session() as session:
        return await _greet(session, target, timeout)


async def pass_on(
    target: Target, change: Change, secret: Secret, *, still_acts: Callable[[], bool] = lambda: True
) -> Answer:
    """Have the target carry it out. ``still_acts``: whether it is known here as the node that acts.

    Raises UnavailableError (nothing was done) or OutcomeUnknownError.
    """
    async with _session() as session:
        greeting = await _greet(session, target, GREETING_SECONDS)
        if not greeting.acts:
            raise UnavailableError(
                f"nothing was done: {target.node} is said to act, to {change.front}, and does not"
            )
        claims = Claims(
            request=digest_of(change.method, change.path, change.body),
            user=change.user,
            peer=change.peer,
            front=change.front,
            front_host=change.front_host,
            to=target.node,
            term=change.term,
            challenge=greeting.challenge,
        )
        sending = asyncio.ensure_future(_send(session, target, change, sign(secret, claims)))
        try:
            return await _awaited(sending, target, still_acts)
        finally:
            sending.cancel()


async def _awaited(sending: asyncio.Future[Answer], target: Target, still_acts: Callable[[], bool]) -> Answer:
    """A node whose host is gone says nothing for ever; that another acts is known within seconds."""
    succeeded = 0.0
    while not sending.done() and succeeded < SUCCEEDED_SECONDS:
        await asyncio.wait({sending}, timeout=_LOOK_SECONDS)
        succeeded = 0.0 if still_acts() else succeeded + _LOOK_SECONDS
    if not sending.done():
        raise _unknown(target, "another node acts by now")
    return await sending


async def _send(session: aiohttp.ClientSession, target: Target, change: Change, signed: str) -> Answer:
    import aiohttp

    headers = {HEADER: signed}
    if change.content_type:
        headers["Content-Type"] = change.content_type
    limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
    try:
        async with session.request(
            change.method,
            _url(target.uri + change.path),
            data=change.body or None,
            headers=headers,
            allow_redirects=False,
            timeout=limit,
        ) as reply:
            body = await _read(reply, _ANSWER_BYTES_MAX)
            return Answer(reply.status, reply.headers.get("Content-Type", ""), body)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise UnavailableError(f"nothing was done: {_unreached(target, error)}") from None
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise _unknown(target, str(error) or f"none within {ANSWER_SECONDS:g} s") from None


async def _greet(session: aiohttp.ClientSession, target: Target, timeout: float) -> Greeting:
    import aiohttp

    url = f"{target.uri}{target.prefix}{CHALLENGE_PATH}"
    limit = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, CONNECT_SECONDS))
    try:
        async with session.get(_url(url), allow_redirects=False, timeout=limit) as reply:
            said = await _read(reply, _GREETING_BYTES_MAX)
            status = reply.status
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise UnavailableError(f"nothing was done: {_unreached(target, error)}") from None
    try:
        found: Any = json.loads(said) if status == 200 else None
        node, greeting = found["Node"], Greeting(bool(found["Acts"]), int(found["Term"]), found["Challenge"])
    except (ValueError, TypeError, KeyError):
        raise UnavailableError(
            f"nothing was done: {url} is no node of orchestray (HTTP status {status}); see HTTPAdvertise "
            f"and URLPrefix of {target.node}"
        ) from None
    if node != name_digest(target.node):
        raise UnavailableError(
            f"nothing was done: {target.uri} is another node than {target.node}, which acts; see "
            "HTTPAdvertise there: it must lead to the node itself"
        )
    return greeting


async def _read(reply: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Raises aiohttp.ClientError if it is longer."""
    import aiohttp

    parts, length = [], 0
    async for part in reply.content.iter_chunked(65536):
        length += len(part)
        if length > bytes_max:
            raise aiohttp.ClientPayloadError(f"an answer of more than {bytes_max} bytes")
        parts.append(part)
    return b"".join(parts)


@contextlib.asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    """Lives for one change. No proxies of the environment, no cookies, nothing compressed.

    Each request has a connection of its own: on one that was used before, a GET would be sent once more by
    itself if the connection ends.
    """
    import aiohttp

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        headers={"User-Agent": "orchestray", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


def _url(text: str) -> Any:
    from yarl import URL

    return URL(text, encoded=True)  # what was signed is what is sent


def _unreached(target: Target, error: BaseException) -> str:
    return f"{target.node}, which acts, is not reached at {target.uri} ({str(error) or 'no answer in time'})"


def _unknown(target: Target, why: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"no answer from {target.node} ({target.uri}), which was asked to do it ({why}): it may have been "
        "done. Look before asking again"
    )
