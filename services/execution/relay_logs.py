"""What a server has executed and what its relay log still holds, in its flavour's terms (rule 1).

MariaDB by GTID throws the relay log away at any START while both threads are stopped, and at every CHANGE
MASTER. So a receiver is not stopped under a stopped applier: that is started first. And where both were
found stopped with something left between them, nothing is started.
"""

from __future__ import annotations

import asyncio
import time

from services.execution.environment import Environment
from services.execution.errors import StepFailedError
from services.mysql.channel_facts import default_channel
from services.mysql.connection import Row
from services.mysql.session import ActingSession
from services.planning.plan import Step
from services.topology.executed import transactions_in
from services.topology.transactions import TransactionSet

__all__ = [
    "TORN_STOP_SECONDS",
    "channel_and_executed",
    "channel_of",
    "executed_on",
    "is_torn",
    "keep_applier_running",
    "keep_nothing_unexecuted",
    "read_text",
    "start_would_discard",
]

TORN_STOP_SECONDS = 70.0
"""An applier of MySQL that has begun a transaction without an end takes 60 s to stop (seen on 9.7)."""
_APPLIER_SECONDS = 0.5


async def channel_of(session: ActingSession) -> Row | None:
    """The replication channel's status, or None where none is configured."""
    dialect = session.dialect
    return default_channel(await session.read(dialect.replica_status), dialect.channel)


def read_text(session: ActingSession, text: object) -> TransactionSet:
    """What such a server, or a plan for it, wrote. Raises GtidSyntaxError."""
    return transactions_in(str(text or ""), mariadb=session.dialect.mariadb)


async def channel_and_executed(session: ActingSession) -> tuple[Row | None, TransactionSet]:
    """Both of one moment, in one exchange."""
    dialect = session.dialect
    channels, rows = await session.read_all(dialect.replica_status, _asked_for_executed(session))
    return default_channel(channels, dialect.channel), read_text(session, rows[0]["executed"])


def _asked_for_executed(session: ActingSession) -> str:
    return f"SELECT {session.dialect.executed} AS executed"


async def executed_on(session: ActingSession) -> TransactionSet:
    rows = await session.read(_asked_for_executed(session))
    return read_text(session, rows[0]["executed"])


async def keep_nothing_unexecuted(
    step: Step, env: Environment, session: ActingSession, channel: Row, executed: TransactionSet
) -> None:
    """What it retrieved is executed by it, or contained in what the new source has executed."""
    if session.dialect.mariadb and channel.get("Using_Gtid") == "No":
        if is_torn(channel):
            at, to = _places(channel)
            raise StepFailedError(step, f"it does not use GTID, and executed up to {at} of {to} only")
        return
    left = read_text(session, _retrieved(channel)) - executed
    if left:
        left = left - await executed_on(await env.sessions.on(step.source))
    if left:
        raise StepFailedError(step, f"its relay log holds what {step.source} does not have: {left}")


async def keep_applier_running(step: Step, session: ActingSession) -> None:
    """Before the receiver is stopped. An applier that cannot go on is left: then its relay log is lost to us,
    and the plan is made knowing that."""
    if not session.dialect.mariadb:
        return
    channel = await channel_of(session)
    if channel is None or channel["Replica_IO_Running"] == "No" or channel["Replica_SQL_Running"] == "Yes":
        return
    await session.act(session.dialect.start_applier, step=str(step.number))
    deadline = time.monotonic() + _APPLIER_SECONDS
    while channel is not None and channel["Replica_SQL_Running"] != "Yes" and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
        channel = await channel_of(session)


async def start_would_discard(session: ActingSession) -> str:
    """What a START would throw away of the relay log; "" if nothing."""
    if not session.dialect.mariadb:
        return ""
    channel, executed = await channel_and_executed(session)
    if channel is None or channel.get("Using_Gtid") == "No":
        return ""
    if channel["Replica_IO_Running"] != "No" or channel["Replica_SQL_Running"] != "No":
        return ""
    return str(read_text(session, _retrieved(channel)) - executed)


def is_torn(channel: Row) -> bool:
    """Its applier stands before what was retrieved last: in the middle of something, or stopped."""
    executed, read = _places(channel)
    return executed != read


def _places(channel: Row) -> tuple[str, str]:
    return (
        f"{channel['Relay_Source_Log_File']}:{channel['Exec_Source_Log_Pos']}",
        f"{channel['Source_Log_File']}:{channel['Read_Source_Log_Pos']}",
    )


def _retrieved(channel: Row) -> object:
    return channel.get("Retrieved_Gtid_Set") or channel.get("Gtid_IO_Pos")
