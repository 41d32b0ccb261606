"""What a browser finds before there are real pages: a list of clusters as plain text."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from api.replies import plain
from api.routes.call import ToCall, reading_router, route

__all__ = ["home", "reads"]

reads = reading_router()


@route(reads, "web")
async def home(call: ToCall) -> Response:
    return RedirectResponse(f"{call.api.url_prefix}/web/clusters", status_code=302)


@route(reads, "web/clusters")
async def clusters(call: ToCall) -> Response:
    lines = [
        f"{cluster.name}  {cluster.alias}  {len(cluster.instance_keys)} instances"
        for cluster in call.topology.clusters
    ]
    return plain("\n".join(lines or ["No clusters are known yet."]) + "\n")
