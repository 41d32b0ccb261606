"""``GET /api/events``: what happened, as a list that can be waited for. orchestray's own.

``since=N`` asks for events with a greater number than N, ``wait=S`` to wait up to S seconds (30 at
most) for the first. A reader passes the greatest ``Seq`` that it has seen, 0 at first; a gap means that it
was too slow, or that the node was restarted.
"""

from __future__ import annotations

import math

from starlette.responses import Response

from api import wire_types
from api.described import Bare, Parameter
from api.replies import bare
from api.routes.call import BadRequestError, ToCall, reading_router, route
from api.wire import key_to_wire
from services.node_view import Event

__all__ = ["event_to_wire", "reads"]

WAIT_MAX_SECONDS = 30.0
WAITING_MAX = 200
"""Beyond so many readers that wait, a further one is answered at once."""

reads = reading_router()


@route(
    reads,
    "events",
    reply=Bare(list[wire_types.Event]),
    query={
        "since": Parameter("number of the last event that was seen", {"type": "integer", "minimum": 0}),
        "wait": Parameter("seconds to wait for an event, 30 at most", {"type": "number", "minimum": 0}),
    },
)
async def events(call: ToCall) -> Response:
    """What happened since then, oldest first; ``wait`` makes it wait for the first."""
    since = _since(call.query("since"))
    wait_seconds = _wait_seconds(call.query("wait"))
    if call.api.waiting >= WAITING_MAX:
        wait_seconds = 0.0
    call.api.waiting += 1
    try:
        found = await call.node.events.wait(since, wait_seconds)
    finally:
        call.api.waiting -= 1
    return bare([event_to_wire(event) for event in found])


def event_to_wire(event: Event) -> wire_types.Event:
    return {
        "Seq": event.seq,
        "At": event.at,
        "Kind": event.kind,
        "Instance": key_to_wire(event.instance),
        "Cluster": event.cluster,
        "Message": event.message,
    }


def _since(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadRequestError(f"since must be the number of an event, not {text}")
    return int(text or 0)


def _wait_seconds(text: str) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:  # not a number is not >= either
        raise BadRequestError(f"wait must be a number of seconds, not {text}")
    return min(seconds, WAIT_MAX_SECONDS)
