"""Routes about this node itself: health, leadership, configuration (http-api.md 5.12)."""

from __future__ import annotations

import re
from typing import Literal

from starlette.responses import Response

from api.described import Bare, Enveloped, Parameter, mapping_of
from api.forwarding import acts_somewhere, have_it_given_up
from api.replies import bare
from api.routes.call import BadRequestError, ToCall, changing_router, reading_router, route
from api.wire_records import status_to_wire
from api.wire_types import HealthStatus

__all__ = ["STATUS", "changes", "here", "reads", "status"]

reads = reading_router()
changes = changing_router()
here = changing_router(here=True)

_STATUS_CODE = re.compile("[2-5][0-9]{2}")
_BODILESS = frozenset({204, 205, 304})
"""Status codes with which no body may be sent."""
_CHECK = Bare(Literal["OK"], other={404: Literal["Not leader"]})
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


async def status(call: ToCall) -> Response:
    """How this node is."""
    now = call.node.status()
    details = status_to_wire(now, call.node.configuration_warnings)
    if not now.healthy:
        return call.error(f"Application node is unhealthy: {now.error}", details)
    return call.ok("Application node is healthy", details)


STATUS = Enveloped(HealthStatus)
route(reads, "health", reply=STATUS)(status)


@route(reads, "lb-check", "_ping", reply=Bare(Literal["OK"]))
async def lb_check(call: ToCall) -> Response:
    """That this node serves."""
    return bare("OK")


@route(reads, "routed-leader-check", reply=_CHECK)
async def routed_leader_check(call: ToCall) -> Response:
    """Whether whoever leads is reached through this node."""
    if call.node.status().is_leader or await acts_somewhere(call.node, call.api.url_prefix):
        return bare("OK")
    return bare("Not leader", 404)


@route(
    reads,
    "leader-check",
    "leader-check/:status_code",
    reply=_CHECK,
)
async def leader_check(call: ToCall) -> Response:
    """Whether this node leads."""
    if call.node.status().is_leader:
        return bare("OK")
    wanted = call.param("status_code")
    status_code = int(wanted) if _STATUS_CODE.fullmatch(wanted) else 404
    if status_code in _BODILESS:
        return Response(status_code=status_code)
    return bare("Not leader", status_code)


@route(reads, "headers", reply=Bare(mapping_of(list[str])))
async def headers(call: ToCall) -> Response:
    """The request's headers as they arrived, but never the secrets that identify the caller."""
    found: dict[str, list[str]] = {}
    for name, value in call.request.headers.items():
        if name != "host":
            shown = "***" if name in _SECRET_HEADERS else value
            found.setdefault(_canonical(name), []).append(shown)
    return bare(found)


def _canonical(name: str) -> str:
    """A header's name as the reference writes it: capital are the first letter and those behind a hyphen."""
    return "-".join(word.capitalize() for word in name.split("-"))


@route(
    here,
    "reload-configuration",
    reply=Enveloped(str),
    query={"config": Parameter("a further file, read after the others")},
)
async def reload_configuration(call: ToCall) -> Response:
    """Read the configuration files again."""
    extra_path = call.query("config")
    late = await call.node.reload_configuration(extra_path)
    waiting = f"; not before a restart: {', '.join(late)}" if late else ""
    return call.ok(f"Config reloaded{waiting}", extra_path)


@route(changes, "reelect", reply=Enveloped(None))
async def reelect(call: ToCall) -> Response:
    """Stop leading; whoever is elected next leads."""
    await call.node.reelect()
    return call.ok("Set re-elections")


@route(here, "grab-election", reply=Enveloped(None))
async def grab_election(call: ToCall) -> Response:
    """Whoever acts is asked to give it up, then this node stands: so that never two act."""
    status = call.node.status()
    if status.raft is not None:
        raise BadRequestError("grab-election: not with raft; use raft-yield, or reelect")
    if not status.is_leader:
        await have_it_given_up(call.request, call.node, call.api.url_prefix)
        if not await call.node.stand():
            raise BadRequestError("This node was not elected: another was, or the store does not work")
    return call.ok("Node grabbed as leader")
