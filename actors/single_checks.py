"""What Topology asks a server itself, once, because somebody waits for it."""

from __future__ import annotations

import time

from services.config import Settings
from services.mysql.binlog_gtids import LocateError, locate_in_binary_logs
from services.mysql.errors import MySQLError
from services.mysql.names import OwnName
from services.mysql.poll import PartialPollError, PolledServer
from services.node_errors import RefusedError
from services.policies import login, watch_policy
from services.topology.gtid import GtidSet
from services.topology.instance import CheckOutcome, Instance, Observation
from services.topology.keys import InstanceKey

__all__ = ["check_once", "locate_errant"]


async def check_once(key: InstanceKey, settings: Settings) -> Observation:
    """One poll on a connection of its own. Never raises what the server did."""
    began = time.monotonic()
    bound = float(settings.MySQLConnectTimeoutSeconds)
    outcome, error, partial = CheckOutcome.UNKNOWN, "", False
    instance: Instance | None = None
    own_key: InstanceKey | None = None
    policy = watch_policy(settings)
    try:
        server = await PolledServer.connect(key, login(settings), timeout=bound, policy=policy.discovery)
        try:
            instance = await server.poll(timeout=float(settings.MySQLDiscoveryReadTimeoutSeconds))
            outcome = CheckOutcome.OK
        finally:
            server.connection.abort()
        own_key = await OwnName(key, login(settings), policy.names, timeout=bound).of(instance)
    except MySQLError as failure:
        outcome, error = getattr(failure, "outcome", CheckOutcome.FAILED), failure.reason
    except PartialPollError as failure:
        outcome, error, partial = CheckOutcome.FAILED, str(failure), failure.basics_read
    elapsed = time.monotonic() - began
    return Observation(
        key=key,
        outcome=outcome,
        error=error,
        partial_success=partial or instance is not None,
        age_seconds=elapsed,
        latency_seconds=elapsed,
        instance=instance,
        own_key=own_key,
    )


async def locate_errant(instance: Instance, settings: Settings) -> tuple[str, ...]:
    """Names of the binary logs in which its errant transactions are. Raises RefusedError."""
    try:
        return await locate_in_binary_logs(
            instance.key,
            login(settings),
            GtidSet.parse(instance.gtid_errant),
            connect_seconds=float(settings.MySQLConnectTimeoutSeconds),
        )
    except LocateError as error:
        raise RefusedError(str(error), None) from None
