"""What each kind of step does to its server. Every action may be repeated: a resumed plan does so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from services.execution.detaching import detach
from services.execution.environment import Environment
from services.execution.errors import MasterAnswersError, NoProgressError, StepFailedError
from services.execution.progress import Progress
from services.mysql.connection import Row
from services.mysql.dialect import modern_columns
from services.mysql.errors import ConnectError, LostError, StatementError
from services.mysql.session import ActingSession, MandateOverError, quoted_host
from services.planning.plan import SemiSync, Step, StepKind
from services.topology.gtid import GtidSet
from services.topology.instance import Instance

__all__ = ["ACTIONS", "apply_semi_sync_source", "channel_of", "fence", "wait_executed"]

Action = Callable[[Step, Environment], Awaitable[None]]

_UNKNOWN_VARIABLE = 1193
_DIALS = 3
"""A master that logs us in and is gone in the next moment is asked so often whether it is dead."""


async def channel_of(session: ActingSession) -> Row | None:
    """The replication channel's status, or None where none is configured."""
    rows = await session.read(session.dialect.replica_status)
    return modern_columns(rows[0]) if rows else None


async def stop_receiver(step: Step, env: Environment) -> None:
    """Having issued the STOP is enough: a receiver that hangs in a connect cannot acknowledge."""
    session = await env.sessions.on(step.instance)
    try:
        statement = session.dialect.stop_receiver
        await session.act(statement, step=str(step.number), timeout=env.timing.dial)
    except LostError as error:
        if not error.timed_out:
            raise
        session = await env.sessions.on(step.instance)
        channel = await channel_of(session)
        if channel is not None and channel["Replica_IO_Running"] == "Yes":
            raise StepFailedError(step, "its receiver still runs after STOP") from None


async def drain(step: Step, env: Environment) -> None:
    if step.gtid_set:
        session = await env.sessions.on(step.instance)
        await wait_executed(step, env, session)


async def wait_executed(step: Step, env: Environment, session: ActingSession) -> None:
    """Until the server has executed ``step.gtid_set``, as long as its applier makes progress (rule 1)."""
    started, began, pause = False, time.monotonic(), env.timing.look
    progress = Progress(session, env.timing.no_progress)
    question = (
        f"SELECT GTID_SUBSET('{_one_line(step.gtid_set)}', @@global.gtid_executed) AS done, "
        "@@global.gtid_executed AS executed"
    )
    while True:
        row = (await session.read(question))[0]
        if row["done"] == 1:
            return
        channel = await channel_of(session)
        if channel is None:
            raise StepFailedError(step, "it has no replication channel any more")
        covering = step.kind is StepKind.COVER
        if covering and channel["Replica_IO_Running"] == "No" and int(channel["Last_IO_Errno"]):
            raise StepFailedError(step, f"it cannot read from {step.source}: {channel['Last_IO_Error']!r}")
        if int(channel["Last_SQL_Errno"]):
            raise NoProgressError(step, f"its applier stopped with {channel['Last_SQL_Error']!r}")
        if channel["Replica_SQL_Running"] != "Yes" and not started:
            await session.act(session.dialect.start_applier, step=str(step.number))
            started = True
        if not covering and time.monotonic() - began > env.timing.drain_within:
            late = f"its relay log is not consumed after {env.timing.drain_within:g} s"
            raise NoProgressError(step, f"{late} (FailMasterPromotionIfSQLThreadNotUpToDate)")
        applied = f"{row['executed']} {channel['Relay_Log_File']}:{channel['Relay_Log_Pos']}"
        received = f"{channel['Source_Log_File']}:{channel['Read_Source_Log_Pos']}"
        if await progress.has_ended(f"{applied} {received}"):
            patience = f"for {env.timing.no_progress:g} s"
            if covering and channel["Replica_IO_Running"] != "Yes":
                raise StepFailedError(step, f"it could not connect to {step.source} {patience}")
            raise NoProgressError(step, f"its applier made no progress {patience}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, env.timing.look * 10)


async def cover(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    await _point(step, env, session)
    await session.act(session.dialect.start_replica, step=str(step.number), timeout=env.timing.statement)
    await wait_executed(step, env, session)
    await session.act(session.dialect.stop_receiver, step=str(step.number), timeout=env.timing.statement)


async def dial_old_master(step: Step, env: Environment) -> None:
    """Rule 12: if it answers, it is fenced first; with more on it than the candidate has, all is undone.

    How it was is journalled before it is fenced, so that every abort, after a crash too, opens it again.
    """
    for _ in range(_DIALS):
        try:
            session = await env.sessions.dial(step.instance)
            executed = await _fence_and_ask(step, env, session)
        except ConnectError as error:
            if not error.outcome.is_answer:
                return
            raise MasterAnswersError(step, f"it answers: {error.text}") from None
        except LostError:
            continue  # it spoke a moment ago: dead is only who does not speak when dialled again
        except StatementError as error:
            raise MasterAnswersError(step, f"it answers and cannot be fenced: {error.text}") from None
        ahead = GtidSet.parse(executed) - GtidSet.parse(step.gtid_set)
        if ahead:
            reason = f"it answers again and has {ahead.count} transactions more: {ahead}"
            raise MasterAnswersError(step, reason)
        said = f"{step.instance} answers again: it is read-only now and has nothing of its own"
        await env.journal.say(said)
        return
    raise MasterAnswersError(step, "it answers and loses every connection")


async def _fence_and_ask(step: Step, env: Environment, session: ActingSession) -> str:
    sql = "SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only"
    row = (await session.read(sql))[0]
    was = Instance(
        key=step.instance,
        read_only=str(row["read_only"]) in ("1", "ON"),
        super_read_only=str(row["super_read_only"]) in ("1", "ON"),
    )
    await env.remember(was, step)
    await fence(session, step=str(step.number))
    return str((await session.read("SELECT @@global.gtid_executed AS executed"))[0]["executed"])


async def fence(session: ActingSession, *, step: str) -> None:
    """Read-only, and its client sessions ended."""
    for attempt in range(3):
        try:
            await session.set_read_only(step=step)
            break
        except StatementError:
            # A commit that waits for a semi-sync acknowledgement holds the lock: end its session.
            if attempt == 2:
                raise
            await end_client_sessions(session, step=step)
    await end_client_sessions(session, step=step)


async def end_client_sessions(session: ActingSession, *, step: str) -> None:
    rows = await session.read(
        "SELECT ID AS id FROM information_schema.processlist WHERE ID <> CONNECTION_ID() "
        "AND USER NOT IN ('system user', 'event_scheduler', SUBSTRING_INDEX(USER(), '@', 1)) "
        "AND COMMAND NOT LIKE 'Binlog Dump%'"
    )
    for row in rows:
        try:
            await session.act(f"KILL {int(row['id'])}", step=step)
        except StatementError as error:
            if error.errno not in (1094, 1095, 3170, 1227):  # gone already, or of the system
                raise


async def semi_sync_source(step: Step, env: Environment) -> None:
    """Rule 11: on, with the failed master's settings, and seen to be so, before the server is opened."""
    if step.semi_sync is None:
        raise StepFailedError(step, "the plan gives no semi-sync settings")
    session = await env.sessions.on(step.instance)
    wrong = await apply_semi_sync_source(session, step.semi_sync, enabled=True, step=str(step.number))
    if wrong:
        raise StepFailedError(step, f"semi-sync is not as it should be: {wrong}")


async def apply_semi_sync_source(
    session: ActingSession, wanted: SemiSync, *, enabled: bool, step: str
) -> str:
    """Set the source side. Returns what is not as wanted afterwards, "" if all is."""
    for source, replica in (("rpl_semi_sync_source_", "replica"), ("rpl_semi_sync_master_", "slave")):
        settings = {
            f"{source}wait_point": wanted.wait_point,
            f"{source}wait_for_{replica}_count": str(wanted.wait_count),
            f"{source}timeout": str(wanted.timeout_ms),
            f"{source}wait_no_{replica}": str(int(wanted.wait_no_replica)),
            f"{source}enabled": str(int(enabled)),
        }
        if await _semi_sync_source_values(session, settings) is None:
            continue
        assignments = ", ".join(f"GLOBAL {name} = {value}" for name, value in settings.items())
        await session.act(f"SET {assignments}", step=step)
        found = await _semi_sync_source_values(session, settings) or {}
        return ", ".join(
            f"{name} is {found.get(name)}" for name, value in settings.items() if found.get(name) != value
        )
    return "the semi-sync source plugin is not loaded there"


async def fence_processes(step: Step, env: Environment) -> None:
    if env.mandate.remaining_seconds() <= 0:
        raise MandateOverError(f"{step.title}: the right to act has ended (term {env.mandate.term})")
    failure = await env.fence(step.instance, step.source) if env.fence is not None else ""
    if failure:
        raise StepFailedError(step, failure)


async def depose(step: Step, env: Environment) -> None:
    await env.depose(step.instance, step.source)


async def open_for_writes(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    await session.set_writable(step=str(step.number), timeout=env.timing.statement)


async def forget_source(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    await _stop_replica(step, env, session)
    await session.act(session.dialect.reset_replica_all, step=str(step.number), timeout=env.timing.statement)


async def repoint(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    if step.semi_sync_replica:
        await _semi_sync_replica_on(step, session)
    await _point(step, env, session)
    await session.act(session.dialect.start_replica, step=str(step.number), timeout=env.timing.statement)
    await _wait_receiving(step, env, session)


async def _semi_sync_replica_on(step: Step, session: ActingSession) -> None:
    try:
        await session.act("SET GLOBAL rpl_semi_sync_replica_enabled = 1", step=str(step.number))
    except StatementError as error:
        if error.errno != _UNKNOWN_VARIABLE:
            raise
        await session.act("SET GLOBAL rpl_semi_sync_slave_enabled = 1", step=str(step.number))


async def _keep_nothing_unexecuted(
    step: Step, env: Environment, session: ActingSession, channel: Row
) -> None:
    """Rule 1: what it retrieved is executed by it, or contained in what the new source has executed."""
    retrieved = GtidSet.parse(str(channel.get("Retrieved_Gtid_Set") or ""))
    own = (await session.read("SELECT @@global.gtid_executed AS executed"))[0]["executed"]
    left = retrieved - GtidSet.parse(str(own))
    if left:
        source = await env.sessions.on(step.source)
        theirs = (await source.read("SELECT @@global.gtid_executed AS executed"))[0]["executed"]
        left = left - GtidSet.parse(str(theirs))
    if left:
        raise StepFailedError(step, f"its relay log holds what {step.source} does not have: {left}")


async def _wait_receiving(step: Step, env: Environment, session: ActingSession) -> None:
    deadline, pause = time.monotonic() + env.timing.connect_replica, env.timing.look
    while True:
        channel = await channel_of(session)
        if channel is not None and channel["Replica_IO_Running"] == "Yes":
            return
        if time.monotonic() > deadline:
            why = channel["Last_IO_Error"] if channel is not None else "it has no channel"
            raise StepFailedError(step, f"it does not receive from {step.source}: {why or 'no reason given'}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, env.timing.look * 10)


async def verify(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    row = (await session.read("SELECT @@global.read_only AS read_only"))[0]
    if str(row["read_only"]) not in ("0", "OFF"):
        raise StepFailedError(step, "it is read-only")


async def _stop_replica(step: Step, env: Environment, session: ActingSession) -> None:
    await session.act(session.dialect.stop_replica, step=str(step.number), timeout=env.timing.stop)


async def _point(step: Step, env: Environment, session: ActingSession) -> None:
    """To ``step.source``. A channel that has auto-position keeps its applier running, and its relay log."""
    try:
        host = quoted_host(step.source.hostname)
    except ValueError as error:
        raise StepFailedError(step, str(error)) from None
    channel = await channel_of(session)
    if channel is None:
        raise StepFailedError(step, "it has no replication channel any more")
    by_gtid = str(channel.get("Auto_Position", 0)) == "1"
    if not by_gtid:
        await _stop_replica(step, env, session)
    elif channel["Replica_IO_Running"] != "No":
        await session.act(session.dialect.stop_receiver, step=str(step.number), timeout=env.timing.stop)
    if step.kind is StepKind.REPOINT:
        await _keep_nothing_unexecuted(step, env, session, channel)
    statement = session.dialect.change_source_to(host, step.source.port, auto_position=not by_gtid)
    await session.act(statement, step=str(step.number))


async def _semi_sync_source_values(session: ActingSession, names: Iterable[str]) -> dict[str, str] | None:
    """The variables as the server has them now; None if it does not know them: no such plugin."""
    selected = ", ".join(f"@@global.{name} AS {name}" for name in names)
    try:
        row = (await session.read(f"SELECT {selected}"))[0]
    except StatementError as error:
        if error.errno != _UNKNOWN_VARIABLE:
            raise
        return None
    return {name: str(value) for name, value in row.items()}


def _one_line(gtid_set: str) -> str:
    return gtid_set.replace("\n", "").replace("'", "")


ACTIONS: dict[StepKind, Action] = {
    StepKind.STOP_RECEIVER: stop_receiver,
    StepKind.DRAIN: drain,
    StepKind.COVER: cover,
    StepKind.DIAL_OLD_MASTER: dial_old_master,
    StepKind.SEMI_SYNC_SOURCE: semi_sync_source,
    StepKind.FENCE: fence_processes,
    StepKind.DEPOSE: depose,
    StepKind.OPEN: open_for_writes,
    StepKind.DETACH: detach,
    StepKind.FORGET_SOURCE: forget_source,
    StepKind.REPOINT: repoint,
    StepKind.VERIFY: verify,
}
