"""Routes about names of hosts and what they stand for (http-api.md 5.11)."""

from __future__ import annotations

from starlette.responses import Response

from api.described import Enveloped, mapping_of
from api.routes.call import ToCall, changing_router, reading_router, route
from api.wire_types import Resolved

__all__ = ["changes", "here", "reads"]

reads = reading_router()
changes = changing_router()
here = changing_router(here=True)


@route(reads, "hostname-resolve-cache", reply=Enveloped(mapping_of(Resolved)))
async def hostname_resolve_cache(call: ToCall) -> Response:
    """Host names, what they stand for, and until when (nanoseconds since 1970)."""
    found = await call.node.hostname_resolves()
    details = {host: {"Object": name, "Expiration": until} for host, (name, until) in found.items()}
    return call.ok("Cache retrieved", details)


@route(here, "reset-hostname-resolve-cache", reply=Enveloped(None))
async def reset_hostname_resolve_cache(call: ToCall) -> Response:
    """Forget all of them."""
    await call.node.reset_hostname_resolves()
    return call.ok("Hostname cache cleared")
