"""Routes about tags of servers (http-api.md 5.8).

Setting and removing them asks for the permission to change, which the reference forgot. The path form of
``untag-all``, which fails there, does what it says.
"""

from __future__ import annotations

from starlette.responses import Response

from api.described import Bare, Enveloped, Parameter
from api.replies import bare
from api.routes.call import BadRequestError, Call, ToCall, changing_router, reading_router, route
from api.wire import key_to_wire
from api.wire_registrations import tag_to_wire
from api.wire_types import Key
from services.registering import PutTag, RemoveTag
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.render import RenderPolicy, topology_tags
from services.topology.tags import InvalidTagError, TagTerm, matching, parse_expression, parse_term
from services.topology.tree import Cluster

__all__ = ["changes", "reads"]

reads = reading_router()
changes = changing_router()

_TAG = {"tag": Parameter("name or name=value, where the path has none")}


@route(reads, "tags/:host/:port", reply=Bare(list[str]))
async def tags(call: ToCall, host: str, port: str) -> Response:
    """Tags of an instance, as name=value, by name."""
    return bare([tag_to_wire(tag) for tag in await call.node.store.tags.tags(call.key(host, port))])


@route(reads, "tag-value/:host/:port", "tag-value/:host/:port/:tag_name", reply=Bare(str), query=_TAG)
async def tag_value(call: ToCall, host: str, port: str) -> Response:
    """The value of one tag of an instance."""
    key, name = call.key(host, port), _term(call).name
    for tag in await call.node.store.tags.tags(key):
        if tag.name == name:
            return bare(tag.value)
    raise BadRequestError(f"Tag {name} not found for {key}")


@route(
    reads,
    "tagged",
    reply=Bare(list[Key]),
    query={"tag": Parameter("expressions with commas between them: a, a=b, ~a, ~a=b")},
)
async def tagged(call: ToCall) -> Response:
    """Instances by their tags."""
    try:
        terms = parse_expression(call.query("tag"))
    except InvalidTagError as error:
        raise BadRequestError(str(error)) from None
    return bare([key_to_wire(key) for key in matching(await call.node.store.tags.tags(), terms)])


@route(reads, "topology-tags/:hint", reply=Enveloped(str))
async def topology_with_tags(call: ToCall, hint: str) -> Response:
    """A cluster as a tree in text, with the tags of each instance behind it."""
    return await _with_tags(call, call.cluster(hint))


@route(reads, "topology-tags/:host/:port", reply=Enveloped(str))
async def topology_of_instance_with_tags(call: ToCall, host: str, port: str) -> Response:
    """The same of the cluster of an instance."""
    return await _with_tags(call, call.cluster_of(host, port))


async def _with_tags(call: Call, cluster: Cluster) -> Response:
    lag_seconds = call.settings.ReasonableMaintenanceReplicationLagSeconds
    policy = RenderPolicy(reasonable_maintenance_replication_lag_seconds=lag_seconds)
    tags: dict[InstanceKey, list[tuple[str, str]]] = {}
    for tag in await call.node.store.tags.tags():
        tags.setdefault(tag.key, []).append((tag.name, tag.value))
    text = topology_tags(call.topology.instances_of(cluster), policy, tags)
    return call.ok(f"Topology for cluster {cluster.name}", text)


@route(changes, "tag/:host/:port", "tag/:host/:port/:tag_name/:tag_value", reply=Enveloped(Key), query=_TAG)
async def tag(call: ToCall, host: str, port: str) -> Response:
    """Set a tag of an instance."""
    key, term = call.key(host, port), _term(call)
    if term.negated:
        raise BadRequestError(f"A tag cannot begin with ~ or !: {term.name}")
    await call.node.register(PutTag(key=key, name=term.name, value=term.value or "", by=call.caller.user))
    return call.ok(f"{key} tagged with {term.name}={term.value or ''}", key_to_wire(key))


@route(changes, "untag/:host/:port", "untag/:host/:port/:tag_name", reply=Enveloped(list[Key]), query=_TAG)
async def untag(call: ToCall, host: str, port: str) -> Response:
    """Remove a tag from an instance; gives those that had it."""
    return await _untag(call, _term(call), call.key(host, port))


@route(changes, "untag-all", "untag-all/:tag_name/:tag_value", reply=Enveloped(list[Key]), query=_TAG)
async def untag_all(call: ToCall) -> Response:
    """Remove a tag with a certain value from all instances."""
    return await _untag(call, _term(call), NO_KEY)


async def _untag(call: Call, term: TagTerm, key: InstanceKey) -> Response:
    removed = await call.node.register(RemoveTag(term=term, key=key, by=call.caller.user))
    return call.ok(
        f"{term.name} removed from {len(removed)} instances", [key_to_wire(one) for one in removed]
    )


def _term(call: Call) -> TagTerm:
    """``?tag=name[=value]``, or the name and value of the path. Raises BadRequestError."""
    name, value = call.param("tag_name"), call.param("tag_value")
    if "=" in name:
        raise BadRequestError(f"A tag's name cannot have = in it: {name}")
    text = f"{name}={value}" if value else name or call.query("tag")
    try:
        return parse_term(text)
    except InvalidTagError as error:
        raise BadRequestError(str(error)) from None
