"""Acting on replicas without GTID: by file and position.

A relay log is drained when its last complete transaction is executed (rule 1). A transaction of which the
master could send only the beginning stays unexecuted for ever; it was acknowledged to nobody.
"""

from __future__ import annotations

import asyncio
import time

from services.execution.environment import Environment
from services.execution.errors import NoProgressError, StepFailedError
from services.execution.relay_logs import TORN_STOP_SECONDS, channel_of, is_torn
from services.mysql.connection import Row
from services.mysql.session import ActingSession, quoted_file, quoted_host
from services.planning.plan import Step
from services.topology.coordinates import BinlogCoordinates

__all__ = ["point_to_place", "see_log_end", "wait_relay_log_executed"]

_STANDS_STILL_SECONDS = 0.5
"""So long after its last progress an applier's place is taken for where it is: it is told every 0.3 s."""
_EVENTS = 500
_PAGES = 40


async def wait_relay_log_executed(step: Step, env: Environment, session: ActingSession) -> None:
    """Until all that is complete in the relay log is executed, as long as the applier makes progress."""
    started, progress_at, last, pause = False, time.monotonic(), "", env.timing.look
    while True:
        channel = await channel_of(session)
        if channel is None:
            raise StepFailedError(step, "it has no replication channel any more")
        if int(channel["Last_SQL_Errno"]):
            raise NoProgressError(step, f"its applier stopped with {channel['Last_SQL_Error']!r}")
        if channel["Replica_SQL_Running"] != "Yes" and not started:
            await session.act(session.dialect.start_applier, step=str(step.number))
            started = True
        executed, read = _executed(channel), f"{channel['Source_Log_File']}:{channel['Read_Source_Log_Pos']}"
        if executed == read:
            return
        now = time.monotonic()
        applied = f"{executed} {channel['Relay_Log_File']}:{channel['Relay_Log_Pos']}"
        if applied != last:
            last, progress_at = applied, now
        elif now - progress_at > _STANDS_STILL_SECONDS and not await _transaction_left(session, channel):
            return
        elif now - progress_at > env.timing.no_progress:
            raise NoProgressError(step, f"its applier made no progress for {env.timing.no_progress:g} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, env.timing.look * 10)


async def see_log_end(step: Step, session: ActingSession) -> None:
    rows = await session.read(session.dialect.binary_log_status)
    ends = f"{rows[0]['File']}:{rows[0]['Position']}" if rows else "nowhere"
    if ends != step.place:
        raise StepFailedError(
            step, f"its binary log ends at {ends}, not at {step.place}: somebody writes there"
        )


async def point_to_place(
    step: Step, env: Environment, session: ActingSession, host: str, channel: Row
) -> None:
    """Once only: repeated after it has begun to replicate from there, it would execute things twice."""
    if (channel["Source_Host"], int(channel["Source_Port"])) == (host, step.source.port):
        return
    place = BinlogCoordinates.parse(step.place)
    if channel["Replica_IO_Running"] != "No":
        await session.act(session.dialect.stop_receiver, step=str(step.number), timeout=env.timing.stop)
        channel = await channel_of(session) or channel
    if is_torn(channel):
        # A transaction without an end, and the next one would wait for it for ever: with both threads
        # stopped, the relay log is thrown away. An applier in the middle of something takes a minute for it.
        await session.act(session.dialect.stop_replica, step=str(step.number), timeout=TORN_STOP_SECONDS)
    statement = session.dialect.change_position_to(
        quoted_host(host), step.source.port, quoted_file(place.log_file), place.log_pos
    )
    await session.act(statement, step=str(step.number))


def _executed(channel: Row) -> str:
    return f"{channel['Relay_Source_Log_File']}:{channel['Exec_Source_Log_Pos']}"


async def _transaction_left(session: ActingSession, channel: Row) -> bool:
    """Whether the relay log has the end of a transaction behind what is executed. True if that is unknown."""
    file, position, skipped = str(channel["Relay_Log_File"]), int(channel["Relay_Log_Pos"]), 0
    for _ in range(_PAGES):
        events = await session.read(
            session.dialect.relay_log_events(quoted_file(file), position, skip=skipped, limit=_EVENTS)
        )
        if any(_ends_transaction(event) for event in events):
            return True
        following = [name for event in events if (name := _next_relay_log(event, file))]
        if following:
            file, position, skipped = following[-1], 4, 0
        elif len(events) < _EVENTS:
            return False
        else:
            skipped += _EVENTS
    return True


def _next_relay_log(event: Row, file: str) -> str:
    """The master's own rotations are in the relay log too: those name its binary logs."""
    name = str(event["Info"]).partition(";")[0]
    is_ours = (
        event["Event_type"] == "Rotate"
        and name.rpartition(".")[0] == file.rpartition("/")[2].rpartition(".")[0]
    )
    return name if is_ours else ""


def _ends_transaction(event: Row) -> bool:
    kind, info = str(event["Event_type"]), str(event["Info"])
    if kind == "Query":  # BEGIN opens one; COMMIT ends it, and a statement by itself is one
        return not info.upper().startswith(("BEGIN", "SAVEPOINT"))
    return kind in ("Xid", "XA_prepare", "Transaction_payload")
