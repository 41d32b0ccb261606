"""What each kind of step does to its server. Every action may be repeated: a resumed plan does so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.execution.by_position import point_to_place, see_log_end, wait_relay_log_executed
from services.execution.detaching import detach
from services.execution.environment import Environment
from services.execution.errors import MasterAnswersError, NoProgressError, StepFailedError
from services.execution.fencing import fence, who_may_write_nevertheless
from services.execution.progress import Progress
from services.execution.receivers import issue_stop
from services.execution.relay_logs import (
    TORN_STOP_SECONDS,
    channel_and_executed,
    channel_of,
    executed_on,
    is_torn,
    keep_applier_running,
    keep_nothing_unexecuted,
    read_text,
)
from services.execution.source_names import source_host
from services.mysql.channel_facts import default_channel
from services.mysql.connection import Row
from services.mysql.errors import ConnectError, LostError, StatementError
from services.mysql.facts import apply_semi_sync
from services.mysql.questions import SEMI_SYNC_VARIABLES
from services.mysql.session import ActingSession, MandateOverError, quoted_host
from services.planning.plan import SemiSync, Step, StepKind
from services.topology.instance import Instance
from services.topology.transactions import TransactionSet

__all__ = ["ACTIONS", "apply_semi_sync_source", "wait_executed"]

Action = Callable[[Step, Environment], Awaitable[None]]

_UNKNOWN_VARIABLE = 1193
_DIALS = 3
"""A master that logs us in and is gone in the next moment is asked so often whether it is dead."""


async def stop_receiver(step: Step, env: Environment) -> None:
    """Having issued the STOP is enough: a receiver that hangs in a connect cannot acknowledge."""
    session = await env.sessions.on(step.instance)
    await keep_applier_running(step, session)
    if step.may_hang:
        await issue_stop(step, env)
        return
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
    session = await env.sessions.on(step.instance)
    if step.by_position:
        await wait_relay_log_executed(step, env, session)
    elif step.gtid_set:
        await wait_executed(step, env, session)


async def wait_executed(step: Step, env: Environment, session: ActingSession) -> None:
    """Until the server has executed ``step.gtid_set``, as long as its applier makes progress (rule 1)."""
    started, began, pause = False, time.monotonic(), env.timing.look
    progress = Progress(session, env.timing.no_progress)
    wanted = read_text(session, step.gtid_set)
    while True:
        executed = await executed_on(session)
        if executed >= wanted:
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
            await env.sessions.stopped(step.instance)  # a START waits for a STOP
            await session.act(session.dialect.start_applier, step=str(step.number))
            started = True
        if not covering and time.monotonic() - began > env.timing.drain_within:
            late = f"its relay log is not consumed after {env.timing.drain_within:g} s"
            raise NoProgressError(step, f"{late} (FailMasterPromotionIfSQLThreadNotUpToDate)")
        applied = f"{executed} {channel['Relay_Log_File']}:{channel['Relay_Log_Pos']}"
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
    await _point_and_start(step, env, session)
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
        if step.by_position:
            raise MasterAnswersError(step, "it answers again, and without GTID nobody can tell what it has")
        ahead = executed - read_text(session, step.gtid_set)
        if ahead:
            reason = f"it answers again and has {ahead.count} transactions more: {ahead}"
            raise MasterAnswersError(step, reason)
        said = f"{step.instance} answers again: it is read-only now and has nothing of its own"
        await env.journal.say(said)
        return
    raise MasterAnswersError(step, "it answers and loses every connection")


async def _fence_and_ask(step: Step, env: Environment, session: ActingSession) -> TransactionSet:
    names = ("read_only", "super_read_only") if session.dialect.super_read_only else ("read_only",)
    row = (await session.read(f"SELECT {', '.join(f'@@global.{name} AS {name}' for name in names)}"))[0]
    closed = [name for name in names if str(row[name]) in ("1", "ON")]
    was = Instance(
        key=step.instance, read_only="read_only" in closed, super_read_only="super_read_only" in closed
    )
    variables = await session.read(SEMI_SYNC_VARIABLES)
    await env.remember(apply_semi_sync(was, variables, status=()), step)
    await fence(session, step=str(step.number))
    for finding in await who_may_write_nevertheless(session):
        await env.journal.say(f"{step.instance}: {finding}")
    return await executed_on(session)


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
        if session.dialect.mariadb:  # which always waits for one
            del settings[f"{source}wait_for_{replica}_count"]
        assignments = ", ".join(f"GLOBAL {name} = {value}" for name, value in settings.items())
        look = ", ".join(f"@@global.{name} AS {name}" for name in settings)
        try:
            rows = await session.act(f"SET {assignments}", step=step, then=f"SELECT {look}")
        except StatementError as error:
            if error.errno != _UNKNOWN_VARIABLE:
                raise
            continue  # no such plugin
        found = {name: str(value) for name, value in rows[0].items()}
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
    channel = await channel_of(session)
    if channel is None:
        return
    patience = TORN_STOP_SECONDS if is_torn(channel) else env.timing.stop
    await session.act(session.dialect.stop_replica, step=str(step.number), timeout=patience)
    await session.act(session.dialect.reset_replica_all, step=str(step.number), timeout=env.timing.statement)


async def repoint(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    if step.semi_sync_replica:
        await _semi_sync_replica_on(step, session)
    await _wait_receiving(step, env, session, await _point_and_start(step, env, session))


async def _semi_sync_replica_on(step: Step, session: ActingSession) -> None:
    try:
        await session.act("SET GLOBAL rpl_semi_sync_replica_enabled = 1", step=str(step.number))
    except StatementError as error:
        if error.errno != _UNKNOWN_VARIABLE:
            raise
        await session.act("SET GLOBAL rpl_semi_sync_slave_enabled = 1", step=str(step.number))


async def _wait_receiving(step: Step, env: Environment, session: ActingSession, channel: Row | None) -> None:
    deadline, pause = time.monotonic() + env.timing.connect_replica, env.timing.look
    while True:
        if channel is not None and channel["Replica_IO_Running"] == "Yes":
            return
        if time.monotonic() > deadline:
            why = channel["Last_IO_Error"] if channel is not None else "it has no channel"
            raise StepFailedError(step, f"it does not receive from {step.source}: {why or 'no reason given'}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, env.timing.look * 10)
        channel = await channel_of(session)


async def verify(step: Step, env: Environment) -> None:
    session = await env.sessions.on(step.instance)
    if step.place:
        await see_log_end(step, session)
        return
    row = (await session.read("SELECT @@global.read_only AS read_only"))[0]
    if str(row["read_only"]) not in ("0", "OFF"):
        raise StepFailedError(step, "it is read-only")


async def _stop_replica(step: Step, env: Environment, session: ActingSession) -> None:
    await env.sessions.stopped(step.instance)
    await session.act(session.dialect.stop_replica, step=str(step.number), timeout=env.timing.stop)


async def _point_and_start(step: Step, env: Environment, session: ActingSession) -> Row | None:
    """To ``step.source``. A channel that has auto-position keeps its applier running, and its relay log.

    Returns the channel as it is then.
    """
    name = await source_host(step, env)
    try:
        host = quoted_host(name)
    except ValueError as error:
        raise StepFailedError(step, str(error)) from None
    await env.sessions.stopped(step.instance)
    channel, executed = await channel_and_executed(session)
    if channel is None:
        raise StepFailedError(step, "it has no replication channel any more")
    dialect, statements = session.dialect, [session.dialect.start_replica]
    if step.place:
        await point_to_place(step, env, session, name, channel)
    else:
        by_gtid = _by_gtid(session, channel)
        if dialect.mariadb:
            await _stop_mariadb(step, env, session, channel)
        elif not by_gtid:
            await _stop_replica(step, env, session)
        elif channel["Replica_IO_Running"] != "No":
            await session.act(dialect.stop_receiver, step=str(step.number), timeout=env.timing.stop)
        if step.kind is StepKind.REPOINT and not dialect.mariadb:
            await keep_nothing_unexecuted(step, env, session, channel, executed)
        statements.insert(0, dialect.change_source_to(host, step.source.port, auto_position=not by_gtid))
    timeout = env.timing.statement
    rows = await session.act(*statements, step=str(step.number), then=dialect.replica_status, timeout=timeout)
    return default_channel(rows, dialect.channel)


def _by_gtid(session: ActingSession, channel: Row) -> bool:
    if session.dialect.mariadb:
        return channel.get("Using_Gtid") != "No"
    return str(channel.get("Auto_Position", 0)) == "1"


async def _stop_mariadb(step: Step, env: Environment, session: ActingSession, channel: Row) -> None:
    """The CHANGE throws the relay log away: the applier goes on until nothing is lost with it."""
    if channel["Replica_IO_Running"] != "No":
        await keep_applier_running(step, session)
        await session.act(session.dialect.stop_receiver, step=str(step.number), timeout=env.timing.stop)
    now, executed = await channel_and_executed(session)
    await keep_nothing_unexecuted(step, env, session, now or channel, executed)
    await _stop_replica(step, env, session)


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
