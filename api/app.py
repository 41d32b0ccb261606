"""The HTTP interface of a node: a FastAPI application over `services.node_view.Node` (http-api.md).

From the outside in: a crash becomes a plain 500 and paths lose their closing slash; replies are
compressed for who asks; callers are authenticated, or another node has done so; a route answers, or passes a
change on to the node that acts. Everything is a ``GET``, and what
no route serves is a plain 404, another method too.
"""

from __future__ import annotations

import socket
import threading
import traceback

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import events, openapi
from api.auth import AuthenticationMiddleware, authentication_warnings, check_authentication
from api.forwarding import PassedOnMiddleware
from api.replies import GZIP_FROM_BYTES, GZIP_LEVEL, crashed, envelope, not_found, times_of_mysql
from api.routes import (
    audit,
    clusters,
    instances,
    metrics,
    names,
    node,
    pools,
    raft,
    recovery,
    refused,
    registrations,
    rules,
    tags,
    web,
)
from api.routes.call import Api, BadRequestError, UnauthorizedError, reading_router, route
from api.wire import key_to_wire
from services.config import Settings
from services.node_view import Node, NodeError
from services.store.errors import StoreError

__all__ = ["create_app"]

_log = structlog.get_logger(__name__)

_STATUS_PATH = "/api/status"
_NAME_LOOKUP_SECONDS = 2.0


def create_app(node_behind: Node) -> FastAPI:
    """The application that serves this node.

    ``URLPrefix``, ``StatusEndpoint`` and the identity in messages are taken from the settings now, all
    else from ``node.settings`` at each request. Raises ConfigurationError for access rules that would
    not be kept (see ``api.auth.check_authentication``).
    """
    settings = node_behind.settings
    check_authentication(settings)
    for warning in authentication_warnings(settings):
        _log.warning("configuration", problem=warning)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.api = Api(
        node_behind,
        url_prefix=_prefix(settings.URLPrefix),
        message_prefix=_message_prefix(settings, node_behind.status().hostname),
    )
    _add_routes(app, settings)
    app.add_exception_handler(HTTPException, _not_found)
    for kind in (BadRequestError, UnauthorizedError, NodeError, StoreError):
        app.add_exception_handler(kind, _refused)
    # The last one added is the outermost.
    app.add_middleware(AuthenticationMiddleware, node=node_behind)
    app.add_middleware(PassedOnMiddleware, node=node_behind, prefix=_prefix(settings.URLPrefix))
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)
    app.add_middleware(_Conventions, times_of_mysql=not settings.uses_sqlite)
    return app


def _add_routes(app: FastAPI, settings: Settings) -> None:
    prefix = _prefix(settings.URLPrefix)
    status = reading_router()
    own_path = settings.StatusEndpoint.rstrip("/")
    if own_path == _STATUS_PATH:
        own_path = prefix + _STATUS_PATH  # only another path is taken as it is written
    route(status, own_path.removeprefix("/"), reply=node.STATUS)(node.status)
    served = [("", status)]
    for module in (
        instances,
        clusters,
        registrations,
        tags,
        recovery,
        rules,
        audit,
        names,
        node,
        raft,
        metrics,
        events,
        openapi,
    ):
        served.append((f"{prefix}/api", module.reads))
    for module in (
        instances,
        clusters,
        registrations,
        tags,
        pools,
        recovery,
        rules,
        names,
        node,
        raft,
        refused,
    ):
        served.append((f"{prefix}/api", module.changes))
    for module in (instances, registrations, pools, rules, names, node, raft):
        served.append((f"{prefix}/api", module.here))
    served.append((prefix, web.reads))
    for before, router in served:
        app.include_router(router, prefix=before)
    app.state.api.served = served
    for root in {"/", prefix or "/"}:
        app.add_api_route(root, web.home, methods=["GET", "HEAD"], include_in_schema=False)


def _prefix(text: str) -> str:
    """One leading slash and none at the end; empty stays empty."""
    text = text.strip("/")
    return f"/{text}" if text else ""


def _message_prefix(settings: Settings, hostname: str) -> str:
    kind = settings.PrependMessagesWithOrcIdentity.lower()
    if kind in ("", "none"):
        return ""
    names = {"hostname": hostname, "custom": settings.CustomOrcIdentity}
    identity = names[kind] if kind in names else _full_name()
    return f"Orchestrator {identity or settings.CustomOrcIdentity or hostname} says: "


def _full_name() -> str:
    """This host's name with its domain; empty if the name service does not answer in time."""
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    asking.start()
    asking.join(_NAME_LOOKUP_SECONDS)
    return found[0] if found else ""


async def _not_found(_request: Request, _error: Exception) -> Response:
    """No such route, or not with this method: the reference does not tell them apart."""
    return not_found()


async def _refused(request: Request, error: Exception) -> Response:
    api: Api = request.app.state.api
    key = error.details if isinstance(error, NodeError) else None
    return envelope("ERROR", api.message_prefix + str(error), None if key is None else key_to_wire(key))


class _Conventions:
    """Closing slashes are optional; a crash is told in one line, and its story to the log only. Times are
    written as the backend writes them."""

    def __init__(self, app: ASGIApp, times_of_mysql: bool) -> None:
        self._app = app
        self._times_of_mysql = times_of_mysql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            scope = {**scope, "path": path[:-1]}
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            with times_of_mysql(self._times_of_mysql):
                await self._app(scope, receive, noting_start)
        except Exception:
            # As text: a logger that shows local variables would show the caller's credentials.
            _log.error("request crashed", path=path, traceback=traceback.format_exc())
            if started:
                raise
            await crashed()(scope, receive, send)
