"""Routes about single servers and lists of them (http-api.md 5.5, 5.6)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.responses import Response

from api.described import Bare, Enveloped, Parameter, list_of
from api.replies import JsonText, bare
from api.routes.call import BadRequestError, Call, ToCall, changing_router, reading_router, route
from api.wire import INSTANCE_TYPE, instance_to_wire, key_to_wire
from api.wire_types import Key
from services.config import Settings, endpoint_matches
from services.node_view import UnknownInstanceError
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["changes", "here", "reads"]

reads = reading_router()
changes = changing_router()
here = changing_router(here=True)


def _where(call: Call, fits: Callable[[Instance], bool]) -> list[Instance]:
    return [instance for instance in call.topology.instances.values() if fits(instance)]


@route(reads, "all-instances", reply=Bare(list_of(INSTANCE_TYPE)))
async def all_instances(call: ToCall) -> Response:
    """All known instances, by host, then port."""
    return call.cached("all-instances", lambda: call.instances(call.topology.instances.values()))


@route(reads, "instance/:host/:port", reply=Bare(INSTANCE_TYPE))
async def instance(call: ToCall, host: str, port: str) -> Response:
    """One instance."""
    key = call.key(host, port)
    found = call.topology.instances.get(key)
    if found is None:
        raise BadRequestError(f"Cannot read instance: {key}")
    return bare(call.instance(found))


@route(reads, "instance-replicas/:host/:port", reply=Bare(list_of(INSTANCE_TYPE)))
async def instance_replicas(call: ToCall, host: str, port: str) -> Response:
    """The known direct replicas of an instance."""
    return bare(call.instances(call.topology.replicas_of(call.key(host, port))))


@route(
    reads,
    "search/:text",
    "search",
    reply=Bare(list_of(INSTANCE_TYPE)),
    query={"s": Parameter("what to look for; empty: all")},
)
async def search(call: ToCall) -> Response:
    """Instances of which something contains the text, or whose server id or port it is."""
    # orchestrator-client ends the text with an encoded newline.
    text = (call.param("text") or call.query("s")).strip()
    folded = text.casefold()

    def fits(candidate: Instance) -> bool:
        texts = (
            str(candidate.key),
            candidate.cluster_name,
            candidate.version,
            candidate.version_comment,
            candidate.suggested_cluster_alias,
        )
        return any(folded in field.casefold() for field in texts) or text in (
            str(candidate.server_id),
            str(candidate.key.port),
        )

    def order(found: Instance) -> tuple[int, int, str, InstanceKey]:
        return found.replication_depth, -len(found.replicas), found.cluster_name, found.key

    def found() -> JsonText:
        return call.instances(sorted(_where(call, fits), key=order))

    return bare(found()) if folded else call.cached("search", found)


@route(reads, "problems", "problems/:cluster_name", reply=Bare(list_of(INSTANCE_TYPE)))
async def problems(call: ToCall) -> Response:
    """Instances with problems, but those downtimed or ignored."""
    pattern = call.param("cluster_name")
    ignored = call.settings.ProblemIgnoreHostnameFilters

    def fits(candidate: Instance) -> bool:
        return (
            (bool(candidate.problems) or _is_behind(candidate, call.settings))
            and not candidate.is_downtimed
            and not endpoint_matches(ignored, candidate.key.hostname, candidate.key.port)
            and (not pattern or _is_like(candidate.cluster_name, pattern))
        )

    return bare(call.instances(_where(call, fits)))


@route(reads, "downtimed", "downtimed/:hint", reply=Bare(list_of(INSTANCE_TYPE)))
async def downtimed(call: ToCall) -> Response:
    """Downtimed instances, of one cluster or all."""
    cluster = call.cluster(call.param("hint")) if call.param("hint") else None

    def fits(candidate: Instance) -> bool:
        return candidate.is_downtimed and (cluster is None or candidate.cluster_name == cluster.name)

    def order(found: Instance) -> tuple[str, int, InstanceKey]:
        return found.cluster_name, found.replication_depth, found.key

    return bare(call.instances(sorted(_where(call, fits), key=order)))


@route(reads, "resolve/:host/:port", reply=Enveloped(Key))
async def resolve(call: ToCall, host: str, port: str) -> Response:
    """Resolve the name and open a TCP connection."""
    key = call.key(host, port)
    limit_seconds = call.settings.MySQLConnectTimeoutSeconds
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(key.hostname, key.port), limit_seconds)
    except asyncio.TimeoutError:
        return call.error(f"{key} did not accept a connection within {limit_seconds} s")
    except (OSError, ValueError) as error:  # a text that is no host name is a ValueError
        return call.error(f"Cannot connect to {key}: {error}")
    writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), limit_seconds)
    return call.ok("Instance resolved", key_to_wire(key))


@route(here, "bulk-instances", reply=Bare(list[Key]))
async def bulk_instances(call: ToCall) -> Response:
    """Keys of all known instances."""
    return call.cached("bulk-instances", lambda: [key_to_wire(key) for key in call.topology.instances])


@route(changes, "discover/:host/:port", reply=Enveloped(INSTANCE_TYPE | None))
async def discover(call: ToCall, host: str, port: str) -> Response:
    """Probe a server and watch it from now on."""
    key = call.key(host, port)
    found = await call.node.discover(key)
    if found is None:
        return call.ok(f"Instance {key} was not discovered: a filter of the configuration leaves it out")
    return call.ok(f"Instance discovered: {found.key}", instance_to_wire(found))


@route(changes, "async-discover/:host/:port", reply=Enveloped(None))
async def async_discover(call: ToCall, host: str, port: str) -> Response:
    """The same, without waiting for the probe."""
    key = call.key(host, port)
    await call.node.discover(key, background=True)
    return call.ok(f"Asynchronous discovery initiated for Instance: {key}")


@route(here, "refresh/:host/:port", reply=Enveloped(Key))
async def refresh(call: ToCall, host: str, port: str) -> Response:
    """Probe a known server now, from the node that is asked."""
    key = call.key(host, port)
    await call.node.refresh(key)
    return call.ok(f"Instance refreshed: {key}", key_to_wire(key))


@route(changes, "forget/:host/:port", reply=Enveloped(Key))
async def forget(call: ToCall, host: str, port: str) -> Response:
    """Forget an instance."""
    key = call.key(host, port)
    if key not in call.topology.instances:
        raise UnknownInstanceError(f"Cannot forget {key}: no such instance is known")
    await call.node.forget(key)
    return call.ok(f"Instance forgotten: {key}", key_to_wire(key))


def _is_behind(instance: Instance, settings: Settings) -> bool:
    """By the channel's own word, whatever ReplicationLagQuery tells: `problems` lists it too."""
    behind = instance.seconds_behind_master
    if behind is None:
        return False
    return abs(behind - instance.sql_delay_seconds) > settings.ReasonableReplicationLagSeconds


def _is_like(text: str, pattern: str) -> bool:
    """SQL's LIKE: ``%`` is any text, ``_`` any one character; case does not count."""
    text, pattern = text.casefold(), pattern.casefold()
    at = place = 0
    after_any, resumes_at = (
        0,
        0,
    )  # behind the last % so far, and where its text ends for now; 0: there was none
    while at < len(text):
        wanted = pattern[place] if place < len(pattern) else ""
        if wanted == "%":
            place += 1
            after_any, resumes_at = place, at
        elif wanted and wanted in ("_", text[at]):
            place, at = place + 1, at + 1
        elif after_any:
            resumes_at += 1
            place, at = after_any, resumes_at
        else:
            return False
    return not pattern[place:].strip("%")
