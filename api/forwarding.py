"""Speaking to any node: a change that is asked of one that does not act is passed on to the one that does.

The node that was asked authenticates its caller and decides whether they may change anything; the node that
acts takes its word for it (``services.forwarding``), and obeys nothing but its own ``ReadOnly``. Three rules:

1. Only changes are passed on, and ``routed-leader-check``. Whatever is read is read here.
2. A request that was passed on is never passed on again: two nodes that each take the other for the one that
   acts end in an error that names both.
3. What could not be passed on was not done, or it is said that this is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import Caller
from api.replies import bare, envelope
from services.forwarding.challenges import Challenges
from services.forwarding.client import CHALLENGE_PATH, Answer, Change, Target, greet, pass_on
from services.forwarding.signing import HEADER, Claims, InvalidPassError, digest_of, name_digest, verify
from services.node_view import Acting, Node, NodeError, NotLeaderError, RefusedError, UnavailableError

__all__ = ["PassedOnMiddleware", "acts_somewhere", "have_it_given_up", "pass_change_on"]

_BODY_BYTES_MAX = 1024 * 1024
_CHECK_SECONDS = 0.8
"""Who asks ``routed-leader-check`` waits for a second."""

_log = structlog.get_logger(__name__)


# the node that was asked


def _target(acting: Acting, prefix: str) -> Target:
    """Raises NotLeaderError if nobody can be asked."""
    if not acting.node or acting.node == acting.me:
        raise NotLeaderError("Unauthorized: nobody acts at the moment, nothing was done; ask again")
    if not acting.uri:
        raise NotLeaderError(
            f"Unauthorized: this node does not lead, nothing was done; {acting.node} does, and has not said "
            "where its HTTP interface is"
        )
    return Target(node=acting.node, uri=acting.uri.rstrip("/"), prefix=prefix)


async def pass_change_on(request: Request, node: Node, prefix: str) -> Response:
    """The answer of the node that acts to this request. Raises NodeError."""
    caller: Caller = request.state.caller
    acting = node.acting()
    if caller.front:
        raise NotLeaderError(
            f"Unauthorized: {caller.front} passed this on to {acting.me}, which does not act either, nothing "
            f"was done; {acting.node or 'nobody'} acts, as far as {acting.me} knows"
        )
    target = _target(acting, prefix)
    body = await _whole(request.receive, request.headers)
    content_type = request.headers.get("content-type", "")
    change = _change(request, node, _as_sent(request.scope), body=body, content_type=content_type)
    answer = await _passed_on(node, target, change)
    if answer.status < 400:
        await node.catch_up()
    headers = {"content-type": answer.content_type} if answer.content_type else {}
    return Response(answer.body, status_code=answer.status, headers=headers)


async def have_it_given_up(request: Request, node: Node, prefix: str) -> None:
    """The node that acts stops acting, as this caller wants; if none does, that is well. Raises NodeError."""
    if node.acting().node in ("", node.acting().me):
        return
    change = _change(request, node, f"{prefix}/api/reelect")
    answer = await _passed_on(node, _target(node.acting(), prefix), change)
    if answer.status >= 400:
        raise RefusedError(
            f"{node.acting().node} acts, and does not give it up: {answer.body.decode()[:500]}"
        )


def _change(request: Request, node: Node, path: str, *, body: bytes = b"", content_type: str = "") -> Change:
    caller: Caller = request.state.caller
    return Change(
        method=request.method,
        path=path,
        body=body,
        content_type=content_type,
        user=caller.user,
        peer=request.client.host if request.client else "",
        front=node.acting().me,
        front_host=node.status().hostname,
        term=node.acting().term,
    )


async def _passed_on(node: Node, target: Target, change: Change) -> Answer:
    secret = await node.forwarding_secret()
    return await pass_on(target, change, secret, still_acts=lambda: node.acting().node == target.node)


async def acts_somewhere(node: Node, prefix: str) -> bool:
    """Whether the node that acts is reached from here."""
    try:
        return (await greet(_target(node.acting(), prefix), timeout=_CHECK_SECONDS)).acts
    except NodeError:
        return False


# the node that acts


@dataclass(slots=True)
class PassedOnMiddleware:
    """Outside of authentication: gives challenges, and knows the callers of requests that were passed on."""

    app: ASGIApp
    node: Node
    prefix: str = ""
    challenges: Challenges = field(default_factory=Challenges)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] == self.prefix + CHALLENGE_PATH:
                return await self._greeting()(scope, receive, send)
            signed = Headers(scope=scope).get(HEADER)
            if signed is not None:
                try:
                    receive = await self._admit(scope, receive, signed)
                except (InvalidPassError, NodeError) as error:
                    said = f"Unauthorized: this request says that another node passed it on, and {error}"
                    return await envelope("ERROR", said)(scope, receive, send)
        return await self.app(scope, receive, send)

    def _greeting(self) -> Response:
        acting, acts = self.node.acting(), self.node.status().is_leader
        said = {"Node": name_digest(acting.me), "Acts": acts, "Term": acting.term}
        return bare({**said, "Challenge": self.challenges.issue() if acts else ""})

    async def _admit(self, scope: Scope, receive: Receive, signed: str) -> Receive:
        """Note the caller, as the other node knows them. Raises InvalidPassError, NodeError."""
        claims = verify(await self.node.forwarding_secret(), signed)
        body = await _whole(receive, Headers(scope=scope))
        me = self.node.acting()
        if claims.request != digest_of(scope["method"], _as_sent(scope), body):
            raise InvalidPassError("it is not the one that was signed")
        if claims.to != me.me:
            raise InvalidPassError(f"it is meant for {claims.to}, this is {me.me}")
        if not self.challenges.redeem(claims.challenge):
            raise InvalidPassError("its challenge was used before, or has expired: ask again")
        if claims.term > me.term:
            raise InvalidPassError(f"{claims.front} knows of term {claims.term}, this node of {me.term} only")
        _log.info("passed on", path=scope["path"], user=claims.user, peer=claims.peer, by=claims.front)
        scope.setdefault("state", {})["caller"] = _caller(claims)
        return _again(body)


def _caller(claims: Claims) -> Caller:
    return Caller(claims.user, may_change=True, front=claims.front, front_host=claims.front_host)


def _as_sent(scope: Scope) -> str:
    """Path and query, as on the wire."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def _whole(receive: Receive, headers: Headers) -> bytes:
    """The body. Raises UnavailableError if it is too long."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return b""
    parts, length, more = [], 0, True
    while more:
        message = await receive()
        part: bytes = message.get("body", b"")
        length += len(part)
        if length > _BODY_BYTES_MAX:
            raise UnavailableError(f"nothing was done: a body of more than {_BODY_BYTES_MAX} bytes")
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes) -> Receive:
    """The body once more, for the application."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
