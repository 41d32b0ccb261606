"""Routes about this node as a raft member (http-api.md 5.12). Each is about the node that is asked."""

from __future__ import annotations

from typing import Literal

from starlette.responses import Response

from api.described import Bare, Enveloped
from api.replies import bare
from api.routes.call import (
    BadRequestError,
    Call,
    ToCall,
    UnauthorizedError,
    changing_router,
    reading_router,
    route,
)
from api.wire_types import RaftStatus
from services.raft.view import FOLLOWER, LEADER, RaftView

__all__ = ["changes", "here", "reads"]

reads = reading_router()
changes = changing_router()
here = changing_router(here=True)


def _raft(call: Call) -> RaftView:
    """Raises BadRequestError without raft."""
    raft = call.node.status().raft
    if raft is None:
        name = call.request.url.path.removeprefix(f"{call.api.url_prefix}/api/").partition("/")[0]
        raise BadRequestError(f"{name}: not running with raft setup")
    return raft


def _leading(call: Call) -> RaftView:
    """Raises UnauthorizedError on any node but the one that leads."""
    raft = _raft(call)
    if not call.node.status().is_leader:
        raise UnauthorizedError(f"Unauthorized: this node does not lead, {raft.leader or 'nobody'} does")
    return raft


def _is_healthy(raft: RaftView) -> bool:
    return raft.state in (LEADER, FOLLOWER)


@route(reads, "raft-state", reply=Bare(str))
async def state(call: ToCall) -> Response:
    """Leader, Follower, Candidate or Shutdown."""
    return bare(_raft(call).state)


@route(reads, "raft-leader", reply=Bare(str))
async def leader(call: ToCall) -> Response:
    """Raft address of the leader, or an empty text."""
    return bare(_raft(call).leader)


@route(reads, "raft-peers", reply=Bare(list[str]))
async def peers(call: ToCall) -> Response:
    """Raft addresses of all members."""
    return bare(list(_raft(call).peers))


@route(reads, "raft-health", reply=Bare(Literal["healthy"]))
async def health(call: ToCall) -> Response:
    """Whether this node is part of a quorum, as far as it knows."""
    raft = _raft(call)
    if _is_healthy(raft):
        return bare("healthy")
    why = call.node.status().error or raft.note
    return call.error(f"unhealthy: {why}" if why else "unhealthy")


@route(reads, "raft-status", reply=Bare(RaftStatus))
async def status(call: ToCall) -> Response:
    """This node as a raft member."""
    raft = _raft(call)
    return bare(
        {
            "RaftBind": raft.bind,
            "RaftAdvertise": raft.advertise,
            "State": raft.state,
            "Leader": raft.leader,
            "LeaderURI": raft.leader_uri,
            "Healthy": _is_healthy(raft),
            "IsPartOfQuorum": raft.is_part_of_quorum,
            "Peers": list(raft.peers),
        }
    )


@route(reads, "raft-follower-health-report/:token/:raft_bind/:raft_advertise", reply=Bare(str))
async def health_report(call: ToCall) -> Response:
    """Refused: members know of each other by their connections."""
    _raft(call)
    return call.error("No health report is wanted: raft members know of each other by their connections")


@route(changes, "raft-add-peer/:addr", "raft-remove-peer/:addr", reply=Bare(str))
async def membership(call: ToCall) -> Response:
    """Refused: the members are those of the configuration."""
    _raft(call)
    return call.error(
        "Raft members are those in RaftNodes: change it on every node, one member at a time, and restart one "
        "node after another"
    )


@route(here, "raft-yield/:node", reply=Enveloped(None))
async def yield_to(call: ToCall) -> Response:
    """Hand the leadership to a member."""
    raft = _leading(call)
    member = _member(raft, call.param("node"), call.settings.DefaultRaftPort)
    await call.node.raft_yield(member)
    return call.ok(f"Asked to yield to {member}")


@route(here, "raft-yield-hint/:hint", reply=Enveloped(str))
async def yield_to_hint(call: ToCall) -> Response:
    """To the first other member whose name has the hint in it."""
    raft, hint = _leading(call), call.param("hint")
    fit = [member for member in raft.peers if hint in member]
    if not fit:
        raise BadRequestError(f"No raft member has {hint} in its name: {', '.join(raft.peers)}")
    if raft.advertise not in fit:
        await call.node.raft_yield(fit[0])
    return call.ok("Asked to yield by hint", hint)


@route(here, "raft-snapshot", reply=Bare(str))
async def snapshot(call: ToCall) -> Response:
    """Make a snapshot of the log."""
    _raft(call)
    await call.node.raft_snapshot()
    return bare("snapshot created")


def _member(raft: RaftView, asked: str, default_port: int) -> str:
    """The member that is meant, with or without its port. Raises BadRequestError."""
    for member in raft.peers:
        if member in (asked, f"{asked}:{default_port}"):
            return member
    raise BadRequestError(f"{asked} is no raft member: these are {', '.join(raft.peers)}")
