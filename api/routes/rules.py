"""Routes that answer by the rules of replication, and change nothing (http-api.md 5.4)."""

from __future__ import annotations

from starlette.responses import Response

from api.described import Enveloped, Parameter
from api.routes.call import BadRequestError, Call, ToCall, changing_router, reading_router, route
from api.wire import key_to_wire
from api.wire_types import Key
from services.mysql.dialect import dialect_for
from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.replicating import ReplicationPolicy, why_not_replicate, why_not_replicate_by_gtid

__all__ = ["changes", "here", "reads"]

reads = reading_router()
changes = changing_router()
here = changing_router(here=True)


@route(reads, "can-replicate-from/:host/:port/:below_host/:below_port", reply=Enveloped(Key))
async def can_replicate_from(
    call: ToCall, host: str, port: str, below_host: str, below_port: str
) -> Response:
    """Whether an instance can replicate from another: message ``true``, or an error with the reason."""
    _, source = _pair(call, host, port, below_host, below_port)
    return call.ok("true", key_to_wire(source.key))


@route(reads, "can-replicate-from-gtid/:host/:port/:below_host/:below_port", reply=Enveloped(Key))
async def can_replicate_from_by_gtid(
    call: ToCall, host: str, port: str, below_host: str, below_port: str
) -> Response:
    """The same by GTID: message ``true`` or ``false``; an error where another rule forbids it."""
    replica, source = _pair(call, host, port, below_host, below_port)
    return call.ok("false" if why_not_replicate_by_gtid(replica, source) else "true", key_to_wire(source.key))


def _pair(call: Call, host: str, port: str, below_host: str, below_port: str) -> tuple[Instance, Instance]:
    """Raises BadRequestError if they are not known, or with the rule that forbids it."""
    replica, source = _known(call, call.key(host, port)), _known(call, call.key(below_host, below_port))
    settings = call.settings
    policy = ReplicationPolicy(
        verify_filters=settings.VerifyReplicationFilters,
        lower_version_allowed=settings.LowerReplicaVersionAllowed,
        reasonable_maintenance_lag_seconds=settings.ReasonableMaintenanceReplicationLagSeconds,
    )
    reason = why_not_replicate(replica, source, policy)
    if reason:
        raise BadRequestError(reason)
    return replica, source


def _known(call: Call, key: InstanceKey) -> Instance:
    found = call.topology.instances.get(key)
    if found is None:
        raise BadRequestError(f"Cannot read instance: {key}")
    return found


@route(reads, "locate-gtid-errant/:host/:port", reply=Enveloped(list[str]))
async def locate_errant(call: ToCall, host: str, port: str) -> Response:
    """Names of the binary logs in which an instance's errant transactions are. Read from the server."""
    key = _known(call, call.key(host, port)).key
    return call.ok("located errant GTID", list(await call.node.locate_errant(key)))


@route(
    here,
    "restart-replica-statements/:host/:port",
    "restart-slave-statements/:host/:port",
    reply=Enveloped(list[str]),
    query={"q": Parameter("statement to be run while replication is stopped")},
)
async def restart_statements(call: ToCall, host: str, port: str) -> Response:
    """Statements that stop what runs, do ``q``, and start it again. Nothing is executed."""
    instance = _known(call, call.key(host, port))
    if not instance.is_replica:
        raise BadRequestError(f"instance is not a replica: {instance.key}")
    dialect, stop, start = dialect_for(instance.version), [], []
    if instance.must_name_channel:
        try:
            dialect = dialect.of_channel(instance.channel_name)
        except ValueError as error:
            raise BadRequestError(f"{instance.key}: {error}") from None
    if instance.receiver_state is ThreadState.RUNNING:
        stop.append(dialect.stop_receiver)
        start.append(dialect.start_receiver)
    if instance.applier_state is ThreadState.RUNNING:
        stop.append(dialect.stop_applier)
        start.insert(0, dialect.start_applier)
    statement = call.query("q").strip().rstrip(";").rstrip()
    statements = [*stop, *([statement] if statement else []), *start]
    return call.ok(f"statements for: {instance.key}", [f"{one};" for one in statements])
