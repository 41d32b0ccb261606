"""Detaching a replica as the reference does: ``//`` before its source's host (topology-operations.md 6).

It cannot connect then, so that it does not follow the old master when that comes back; the place at which it
goes on stays, and removing the two characters attaches it again. With MySQL's auto-position the applier and
the relay log stay too. Everywhere else the change throws the relay log away: there a replica is detached only
once it has executed what it retrieved.
"""

from __future__ import annotations

from services.execution.environment import Environment
from services.execution.errors import StepFailedError
from services.execution.relay_logs import channel_of, is_torn
from services.execution.source_names import source_of
from services.mysql.connection import Row
from services.mysql.session import ActingSession, quoted_file, quoted_host
from services.planning.plan import Step

__all__ = ["detach"]


async def detach(step: Step, env: Environment) -> None:
    """From ``step.source``. What replicates from another server by now, or is detached, is left as it is."""
    session = await env.sessions.on(step.instance)
    channel = await channel_of(session)
    if channel is None:
        return
    if source_of(channel, env) != step.source:
        return
    host, number = f"'//{quoted_host(str(channel['Source_Host']))[1:]}", str(step.number)
    by_gtid = session.dialect.change_source_to(host, step.source.port, auto_position=False)
    has_auto_position = str(channel.get("Auto_Position", 0)) == "1"
    if not has_auto_position:
        _refuse_if_torn(step, channel)
    await session.act(session.dialect.stop_receiver, step=number, timeout=env.timing.stop)
    if has_auto_position:
        await session.act(by_gtid, session.dialect.start_receiver, step=number)
        return
    channel = await channel_of(session) or channel
    try:
        _refuse_if_torn(step, channel)  # it may have received something meanwhile
    except StepFailedError:
        await session.act(session.dialect.start_receiver, step=number)
        raise
    await session.act(session.dialect.stop_replica, step=number, timeout=env.timing.stop)
    uses_gtid = channel.get("Using_Gtid", "No") != "No"
    change = by_gtid if uses_gtid else _at_its_place(step, session, host, channel)
    await session.act(change, session.dialect.start_replica, step=number)


def _at_its_place(step: Step, session: ActingSession, host: str, channel: Row) -> str:
    """Without GTID the place would be lost with the host's name."""
    file, position = str(channel["Relay_Source_Log_File"]), int(channel["Exec_Source_Log_Pos"])
    return session.dialect.change_position_to(host, step.source.port, quoted_file(file), position)


def _refuse_if_torn(step: Step, channel: Row) -> None:
    if is_torn(channel):
        raise StepFailedError(
            step, "it has not executed all that it retrieved, which detaching it would throw away"
        )
