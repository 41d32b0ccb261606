"""Putting back what an aborted recovery did to one server."""

from __future__ import annotations

from collections.abc import Sequence

from services.execution.actions import apply_semi_sync_source
from services.execution.environment import Environment
from services.execution.relay_logs import start_would_discard
from services.mysql.errors import StatementError
from services.mysql.session import ActingSession, quoted_host
from services.planning.plan import SemiSync, Step, StepKind
from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey

__all__ = ["restore"]

_NOT_A_REPLICA = frozenset({1200, 3074, 1617})
"""It has no source; it has no such channel, in MySQL's words and in MariaDB's."""


async def restore(
    env: Environment, before: Instance, steps: Sequence[Step], failed_master: InstanceKey
) -> None:
    """Make the server as it was, in what ``steps`` may have changed. Raises as acting does, or ValueError."""
    session = await env.sessions.on(before.key)
    label = f"{steps[-1].number}-undo"
    if before.key == failed_master:
        await _reopen(session, before, label)
        return
    kinds = {step.kind for step in steps}
    if StepKind.SEMI_SYNC_SOURCE in kinds and before.semi_sync_available:
        was, enabled = _semi_sync_of(before), before.semi_sync_master_enabled
        await apply_semi_sync_source(session, was, enabled=enabled, step=label)
    if StepKind.COVER in kinds:
        await session.act(session.dialect.stop_replica, step=label, timeout=env.timing.stop)
        host = quoted_host(before.source_host or failed_master.hostname)
        back = session.dialect.change_source_to(host, failed_master.port)
        await session.act(back, step=label)
    await _threads(env, session, before, kinds, label)


def _semi_sync_of(before: Instance) -> SemiSync:
    return SemiSync(
        wait_point=before.semi_sync_master_wait_point,
        wait_count=before.semi_sync_master_wait_count,
        timeout_ms=before.semi_sync_master_timeout_ms,
        wait_no_replica=before.semi_sync_master_wait_no_replica,
    )


async def _reopen(session: ActingSession, before: Instance, label: str) -> None:
    """The failed master was met alive and fenced, and nobody was promoted in its place."""
    if before.semi_sync_master_enabled:  # the fencing may have switched it off
        wrong = await apply_semi_sync_source(session, _semi_sync_of(before), enabled=True, step=label)
        if wrong:
            raise StatementError(before.key, f"semi-sync is not as it was: {wrong}")
    if not before.read_only:
        await session.set_writable(step=label)
    elif session.dialect.super_read_only and not before.super_read_only:
        await session.act("SET GLOBAL super_read_only = 0", step=label)


async def _threads(
    env: Environment, session: ActingSession, before: Instance, kinds: set[StepKind], label: str
) -> None:
    dialect = session.dialect
    await env.sessions.stopped(before.key)
    starts = before.receiver_state is not ThreadState.STOPPED or before.applier_state is ThreadState.RUNNING
    held = await start_would_discard(session) if starts else ""
    if held:
        raise ValueError(
            f"both its threads are stopped, and a start would throw away what it retrieved: {held}"
        )
    started_by_us = {StepKind.DRAIN, StepKind.COVER} | (
        {StepKind.STOP_RECEIVER} if dialect.mariadb else set()
    )
    try:
        if before.receiver_state is not ThreadState.STOPPED:
            # It waits for a STOP that an earlier term issued.
            await session.act(dialect.start_receiver, step=label, timeout=env.timing.stop)
        if before.applier_state is ThreadState.RUNNING:
            await session.act(dialect.start_applier, step=label)
        elif before.applier_state is ThreadState.STOPPED and kinds & started_by_us:
            await session.act(dialect.stop_applier, step=label)
    except StatementError as error:
        if error.errno not in _NOT_A_REPLICA:  # somebody made it something else meanwhile: nothing to start
            raise
