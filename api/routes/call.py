"""What the routes share: how they are registered, and the call that each is given.

Handlers get a `Call` and their path parameters as texts. They answer with a `Response`, or raise
`BadRequestError` or a `NodeError`, which become the ``ERROR`` envelope.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

from api.auth import Caller, why_not_change
from api.described import Description, Parameter, Reply
from api.forwarding import pass_change_on
from api.instance_texts import InstanceTexts
from api.replies import JsonText, SnapshotCache, cached, envelope, enveloped
from services.config import Settings
from services.node_view import Node
from services.topology.hints import cluster_by_alias, complete_key, resolve_cluster
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster, Topology

__all__ = [
    "Api",
    "BadRequestError",
    "Call",
    "ToCall",
    "UnauthorizedError",
    "changing_router",
    "described",
    "reading_router",
    "route",
]

_PARAMETER = re.compile(r":([a-z_]+)")
_NUMBER = re.compile(r"[0-9]{1,18}")


class _SegmentConvertor(StringConvertor):
    """One or more characters other than ``/``, ``#`` and ``?``, on the decoded path (http-api.md 1)."""

    regex = "[^/#?]+"


register_url_convertor("segment", _SegmentConvertor())


class BadRequestError(Exception):
    """What was asked makes no sense here; the text goes into the ``ERROR`` envelope."""


class UnauthorizedError(Exception):
    """The caller may not do that; the text starts with ``Unauthorized``."""


@dataclass(slots=True)
class Api:
    """What lives as long as the application."""

    node: Node
    url_prefix: str = ""
    """``/prefix``, or empty."""
    message_prefix: str = ""
    """Stands before every message of an envelope (PrependMessagesWithOrcIdentity)."""
    cache: SnapshotCache = field(default_factory=SnapshotCache)
    texts: InstanceTexts = field(default_factory=InstanceTexts)
    served: list[tuple[str, APIRouter]] = field(default_factory=list)
    """The routers, each with what stands before its paths."""
    waiting: int = 0
    """Requests that wait for events now."""


class Call:
    """One request, and the node it is about as it was when the request came."""

    def __init__(self, request: Request) -> None:
        api: Api = request.app.state.api
        self.request = request
        self.api = api
        self.node = api.node
        self.settings: Settings = api.node.settings

    @cached_property
    def topology(self) -> Topology:
        """One snapshot for the whole call, and none for calls that need none."""
        return self.node.topology

    @property
    def caller(self) -> Caller:
        caller: Caller = self.request.state.caller
        return caller

    def param(self, name: str) -> str:
        """A path parameter that not all paths of the handler have; empty if this one has it not."""
        return str(self.request.path_params.get(name, ""))

    def query(self, name: str) -> str:
        """A parameter of the query; empty if it is not there. The route declares it."""
        description = _DESCRIPTIONS.get(self.request.scope["endpoint"])
        assert description is None or name in description.query, f"{name} is not declared"
        return self.request.query_params.get(name, "")

    def ok(self, message: str, details: Any = None) -> Response:
        return envelope("OK", self.api.message_prefix + message, details)

    def error(self, message: str, details: Any = None) -> Response:
        return envelope("ERROR", self.api.message_prefix + message, details)

    def cached(self, key: Hashable, build: Callable[[], Any]) -> Response:
        """A reply that depends on snapshot, analysis and settings only, made once for them."""
        made_of = (self.topology, self.node.analysis, self.settings)
        return cached(self.request, self.api.cache.get(made_of, key, build))

    def cached_ok(self, key: Hashable, message: str, build: Callable[[], Any]) -> Response:
        """The same in an envelope; the message must be the same for the same key."""
        message = self.api.message_prefix + message
        return self.cached(key, lambda: enveloped("OK", message, build()))

    def instances(self, found: Iterable[Instance]) -> JsonText:
        """A list of instances of this snapshot. The text of each is made once for a snapshot."""
        texts = self.api.texts.of(self.topology)
        return JsonText(f"[{','.join(map(texts.__getitem__, (one.key for one in found)))}]")

    def instance(self, found: Instance) -> JsonText:
        return JsonText(self.api.texts.of(self.topology)[found.key])

    def key(self, host: str, port: str) -> InstanceKey:
        """The instance that is meant by ``:host/:port``; part of a host name is enough.

        Raises BadRequestError if the port is not one.
        """
        if not _NUMBER.fullmatch(port) or not 1 <= int(port) <= 65535:
            raise BadRequestError(f"Invalid port: {port}")
        return complete_key(self.topology, InstanceKey(host, int(port)))

    def cluster(self, hint: str) -> Cluster:
        """The cluster that is meant by ``:clusterHint``. Raises BadRequestError if there is none."""
        cluster = resolve_cluster(self.topology, hint, self.settings.DefaultInstancePort)
        if cluster is None:
            raise BadRequestError(f"Unable to determine cluster name by hint: {hint}")
        return cluster

    def cluster_of(self, host: str, port: str) -> Cluster:
        """The cluster of ``:host/:port``, as strictly as the pair is written."""
        key = self.key(host, port)
        cluster = self.topology.cluster_of(key)
        if cluster is None:
            raise BadRequestError(f"Unable to determine cluster name by hint: {key}")
        return cluster

    def cluster_by_alias(self, alias: str) -> Cluster:
        cluster = cluster_by_alias(self.topology, alias)
        if cluster is None:
            raise BadRequestError(f"No cluster has the alias {alias}")
        return cluster

    @staticmethod
    def number(text: str, what: str) -> int:
        """A number that names something. Raises BadRequestError if it is none, or longer than any is."""
        if not _NUMBER.fullmatch(text):
            raise BadRequestError(f"Not {what}: {text}")
        return int(text)

    @staticmethod
    def page(text: str) -> int:
        """A page number; whatever is none counts as the first page."""
        return int(text) if _NUMBER.fullmatch(text) else 0

    def why_not_change(self) -> str:
        client = self.request.client
        listen_host, _ = self.settings.listen_endpoint
        return why_not_change(
            self.settings,
            self.caller,
            self.request.headers,
            client.host if client else None,
            (listen_host.lower(), self.node.status().hostname.lower()),
        )


async def _call(request: Request) -> Call:
    return Call(request)  # a class as dependency would be run in a thread


ToCall = Annotated[Call, Depends(_call)]


async def _may_change(call: ToCall) -> None:
    reason = call.why_not_change()
    if reason:
        raise UnauthorizedError(reason)


class _ActingRoute(APIRoute):
    """Carried out by the node that acts, whichever is asked."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        here = super().get_route_handler()

        async def handler(request: Request) -> Response:
            call = Call(request)
            if call.node.status().is_leader:
                return await here(request)
            await _may_change(call)
            return await pass_change_on(request, call.node, call.api.url_prefix)

        return handler


def reading_router() -> APIRouter:
    return APIRouter()


def changing_router(*, here: bool = False) -> APIRouter:
    """Refuses callers who may not change anything, before the handler sees the request.

    What is asked of a node that does not act is passed on, unless the routes are about the node itself
    (``here``).
    """
    kind = APIRoute if here else _ActingRoute
    return APIRouter(dependencies=[Depends(_may_change)], route_class=kind)


Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Response]])


_DESCRIPTIONS: dict[Callable[..., Any], Description] = {}


def described(handler: Callable[..., Any]) -> Description:
    """Raises KeyError if it was registered without a description."""
    return _DESCRIPTIONS[handler]


def route(
    router: APIRouter, *paths: str, reply: Reply | None = None, query: Mapping[str, Parameter] | None = None
) -> Callable[[Handler], Handler]:
    """Serve the handler under each path, to ``GET`` and ``HEAD``.

    ``reply`` is what it answers with and ``query`` what it takes beside the path; without ``reply`` it is
    none of the API.
    """

    def register(handler: Handler) -> Handler:
        if reply is not None:
            _DESCRIPTIONS[handler] = Description(reply, dict(query or {}), bool(router.dependencies))
        for path in paths:
            router.add_api_route(
                "/" + _PARAMETER.sub(r"{\1:segment}", path),
                handler,
                methods=["GET", "HEAD"],
                response_model=None,
                include_in_schema=False,  # of FastAPI's own; see api.openapi
            )
        return handler

    return register
