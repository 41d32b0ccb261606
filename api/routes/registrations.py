"""Routes that register something about a server, a host or a cluster (http-api.md 5.5, 5.6, 5.10, 5.11).

Who is not known, or not any more, can be registered all the same: it counts when the server is found.
orchestrator-client ends some texts with an encoded newline: those lose their blanks.
"""

from __future__ import annotations

from typing import Literal

from starlette.responses import Response

from api.described import Bare, Enveloped, Parameter
from api.replies import bare
from api.routes.call import BadRequestError, ToCall, changing_router, reading_router, route
from api.wire import key_to_wire
from api.wire_registrations import attribute_to_wire, candidate_to_wire, maintenance_to_wire
from api.wire_types import CandidateDatabaseInstance, HostAttributes, Key, Maintenance
from services.registering import (
    BeginDowntime,
    BeginMaintenance,
    DeregisterUnresolve,
    EndDowntime,
    EndMaintenance,
    EndMaintenanceNumbered,
    PutAttribute,
    RegisterCandidate,
    RegisterUnresolve,
    SetClusterAlias,
)
from services.registering.durations import InvalidDurationError, seconds_of
from services.registry.registered import detected_rules
from services.store.times import utc_now

__all__ = ["changes", "here", "reads"]

reads = reading_router()
changes = changing_router()
here = changing_router(here=True)

_PROMOTION_RULES = ("prefer", "neutral", "prefer_not", "must_not")


# downtime


@route(
    changes,
    "begin-downtime/:host/:port/:owner/:reason",
    "begin-downtime/:host/:port/:owner/:reason/:duration",
    reply=Enveloped(Key),
)
async def begin_downtime(call: ToCall, host: str, port: str, owner: str, reason: str) -> Response:
    """Have an instance left alone for a time; it is no problem meanwhile."""
    key, duration = call.key(host, port), call.param("duration")
    try:
        seconds = seconds_of(duration) if duration else 0
    except InvalidDurationError as error:
        raise BadRequestError(str(error)) from None
    await call.node.register(
        BeginDowntime(
            key=key, owner=owner.strip(), reason=reason.strip(), seconds=seconds, by=call.caller.user
        )
    )
    return call.ok(f"Downtime begun: {key}", key_to_wire(key))


@route(changes, "end-downtime/:host/:port", reply=Enveloped(Key))
async def end_downtime(call: ToCall, host: str, port: str) -> Response:
    """End a downtime."""
    key = call.key(host, port)
    await call.node.register(EndDowntime(key=key, by=call.caller.user))
    return call.ok(f"Downtime ended: {key}", key_to_wire(key))


# maintenance


@route(changes, "begin-maintenance/:host/:port/:owner/:reason", reply=Enveloped(Key))
async def begin_maintenance(call: ToCall, host: str, port: str, owner: str, reason: str) -> Response:
    """Say that somebody works on an instance; for ten minutes."""
    key = call.key(host, port)
    number = await call.node.register(
        BeginMaintenance(key=key, owner=owner.strip(), reason=reason.strip(), by=call.caller.user)
    )
    if not number:
        return call.error(f"Cannot begin maintenance for instance: {key}: it is in maintenance already", 0)
    return call.ok(f"Maintenance begun: {key}", key_to_wire(key))


@route(changes, "end-maintenance/:host/:port", reply=Enveloped(Key))
async def end_maintenance(call: ToCall, host: str, port: str) -> Response:
    """End a maintenance."""
    key = call.key(host, port)
    await call.node.register(EndMaintenance(key=key, by=call.caller.user))
    return call.ok(f"Maintenance ended: {key}", key_to_wire(key))


@route(changes, "end-maintenance/:maintenance_key", reply=Enveloped(int))
async def end_maintenance_numbered(call: ToCall, maintenance_key: str) -> Response:
    """End a maintenance by its number."""
    number = call.number(maintenance_key, "a maintenance key")
    await call.node.register(EndMaintenanceNumbered(number=number, by=call.caller.user))
    return call.ok(f"Maintenance ended: {number}", number)


@route(reads, "in-maintenance/:host/:port", reply=Enveloped(str))
async def in_maintenance(call: ToCall, host: str, port: str) -> Response:
    """Whether an instance is in maintenance: message true or false."""
    key = call.key(host, port)
    lasting = await call.node.store.registrations.maintenances(utc_now())
    is_in = any(one.key == key for one in lasting)
    return call.ok("true" if is_in else "false", str(key) if is_in else "")


@route(reads, "maintenance", reply=Bare(list[Maintenance]))
async def maintenance(call: ToCall) -> Response:
    """All that is in maintenance."""
    lasting = await call.node.store.registrations.maintenances(utc_now())
    return bare([maintenance_to_wire(one) for one in lasting])


# promotion rules


@route(changes, "register-candidate/:host/:port/:rule", reply=Enveloped(Key))
async def register_candidate(call: ToCall, host: str, port: str, rule: str) -> Response:
    """Set the promotion rule of an instance."""
    key = call.key(host, port)
    if rule == "must":
        raise BadRequestError("CandidatePromotionRule: must is unsupported; use prefer")
    if rule not in _PROMOTION_RULES:
        raise BadRequestError(f"Invalid CandidatePromotionRule: {rule}; use {', '.join(_PROMOTION_RULES)}")
    await call.node.register(RegisterCandidate(key=key, rule=rule, by=call.caller.user))
    return call.ok(f"Registered candidate {key} with promotion rule {rule}", key_to_wire(key))


@route(here, "bulk-promotion-rules", reply=Bare(list[CandidateDatabaseInstance]))
async def bulk_promotion_rules(call: ToCall) -> Response:
    """All promotion rules: registered ones, and those that `DetectPromotionRuleQuery` tells."""
    registered = await call.node.store.registrations.candidates(utc_now())
    lasting = call.settings.CandidateInstanceExpireMinutes * 60.0
    told = detected_rules(call.topology.instances.values(), lasting)
    rules = {rule.key: rule for rule in (*registered, *told)}
    return bare([candidate_to_wire(rules[key]) for key in sorted(rules)])


# names


@route(
    changes,
    "set-cluster-alias/:cluster_name",
    reply=Enveloped(None),
    query={"alias": Parameter("the alias; empty: none of its own")},
)
async def set_cluster_alias(call: ToCall, cluster_name: str) -> Response:
    """Give a cluster an alias."""
    cluster, alias = call.topology.cluster_by_name(cluster_name), call.query("alias")
    if cluster is None:
        raise BadRequestError(f"No cluster has the name {cluster_name}")
    if cluster.is_fragment:
        raise BadRequestError(f"{cluster_name} is what a promotion left behind: it has no alias of its own")
    await call.node.register(
        SetClusterAlias(cluster_id=cluster.id, cluster_name=cluster.name, alias=alias, by=call.caller.user)
    )
    return call.ok(f"Cluster {cluster.name} now has alias '{alias}'")


@route(changes, "register-hostname-unresolve/:host/:port/:virtual_name", reply=Enveloped(Key))
async def register_unresolve(call: ToCall, host: str, port: str, virtual_name: str) -> Response:
    """Have replicas know a host by another name."""
    key, virtual_name = call.key(host, port), virtual_name.strip()
    await call.node.register(RegisterUnresolve(key=key, hostname=virtual_name, by=call.caller.user))
    return call.ok(f"Hostname unresolve registered: {key.hostname} -> {virtual_name}", key_to_wire(key))


@route(changes, "deregister-hostname-unresolve/:host/:port", reply=Enveloped(Key))
async def deregister_unresolve(call: ToCall, host: str, port: str) -> Response:
    """Have replicas know a host by its own name again."""
    key = call.key(host, port)
    await call.node.register(DeregisterUnresolve(key=key, by=call.caller.user))
    return call.ok(f"Hostname unresolve deregistered: {key.hostname}", key_to_wire(key))


# attributes of hosts: the reference has them on a listener of its own (5.14)


@route(changes, "host-attribute/:host/:attribute/:value", reply=Bare(Literal[True]))
async def put_attribute(call: ToCall, host: str, attribute: str, value: str) -> Response:
    """Set an attribute of a host."""
    await call.node.register(PutAttribute(hostname=host, name=attribute, value=value, by=call.caller.user))
    return bare(True)


@route(
    reads,
    "host-attribute/attr/:attribute",
    reply=Bare(list[HostAttributes]),
    query={"valueMatch": Parameter("a text that must be in the value")},
)
async def attributes_named(call: ToCall, attribute: str) -> Response:
    """Hosts that have an attribute, with its values."""
    wanted = call.query("valueMatch")
    found = await call.node.store.attributes.named(attribute.strip())
    return bare([attribute_to_wire(one) for one in found if wanted in one.value])
