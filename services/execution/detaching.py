"""Detaching a replica as the reference does: ``//`` before its source's host (topology-operations.md 6).

It cannot connect then, so that it does not follow the old master when that comes back; the applier, the
relay log and the settings of the channel stay, and removing the two characters attaches it again.
"""

from __future__ import annotations

from services.execution.environment import Environment
from services.execution.errors import StepFailedError
from services.mysql.dialect import modern_columns
from services.mysql.session import quoted_host
from services.planning.plan import Step

__all__ = ["detach"]


async def detach(step: Step, env: Environment) -> None:
    """From ``step.source``. What replicates from another server by now, or is detached, is left as it is."""
    session = await env.sessions.on(step.instance)
    rows = await session.read(session.dialect.replica_status)
    if not rows:
        return
    channel = modern_columns(rows[0])
    if (channel["Source_Host"], int(channel["Source_Port"])) != (step.source.hostname, step.source.port):
        return
    if str(channel.get("Auto_Position", 0)) != "1":  # its position would be lost
        raise StepFailedError(step, "it does not replicate by GTID")
    host = f"'//{quoted_host(step.source.hostname)[1:]}"
    number = str(step.number)
    await session.act(session.dialect.stop_receiver, step=number, timeout=env.timing.stop)
    change = session.dialect.change_source_to(host, step.source.port, auto_position=False)
    await session.act(change, step=number)
    await session.act(session.dialect.start_receiver, step=number)
