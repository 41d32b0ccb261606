"""Stopping a receiver that may hang in its connect.

A receiver that is connected stops in milliseconds. One that hangs in a connect, because its source hangs,
keeps the statement waiting: two seconds on MySQL 9.7, where the server interrupts it then, whatever
``replica_net_timeout``. From the moment at which the server works on the STOP such a receiver acknowledges
nothing any more: should its source wake up and let it in, it looks whether it is to stop before it asks for
the binary log (tests/integration/test_hung_master.py shows it). So having issued the STOP is enough for a
promotion; its return is awaited before the replica is changed in any other way (design, "When a master is
dead").

On MariaDB a connected receiver that acknowledges has its source kill the dump thread before it ends, over a
connection of its own: where the source hangs that takes ``rpl_semi_sync_slave_kill_conn_timeout``, 5 s by
default, in which nothing tells that it has stopped reading.

The STOP runs in a session beside the one that holds the locks, so that this one can see how it goes.
"""

from __future__ import annotations

import asyncio
import time

from services.execution.environment import Environment
from services.execution.errors import StepFailedError
from services.execution.relay_logs import channel_of
from services.mysql.errors import MySQLError
from services.mysql.session import ActingSession
from services.planning.plan import Step

__all__ = ["issue_stop"]

_AT_ONCE_SECONDS = 0.05
_MARIADB_SECONDS = 8.0


async def issue_stop(step: Step, env: Environment) -> None:
    """Returns when the receiver has stopped, or cannot acknowledge any more and is about to stop.

    ``Sessions.stopped`` awaits the rest. Raises StepFailedError, or as acting does.
    """
    session = await env.sessions.on(step.instance)
    deadline = time.monotonic() + (_MARIADB_SECONDS if session.dialect.mariadb else env.timing.statement)
    stopping = env.sessions.stop_beside(session, step=str(step.number), timeout=env.timing.stop)
    while True:
        await asyncio.wait({stopping}, timeout=_AT_ONCE_SECONDS)
        state = await _receiver(session)
        if stopping.done():
            error = stopping.exception()
            if error is None:
                return
            if not isinstance(error, MySQLError):
                raise error
            if state == "Yes":
                raise StepFailedError(step, f"its receiver could not be stopped: {error}")
            # Another STOP may be under way there, of an earlier attempt: then that is as good.
        if state == "No" or (state != "Yes" and await _is_stopping(session)):
            return
        if time.monotonic() > deadline:
            raise StepFailedError(step, f"its receiver still runs after STOP ({state})")


async def _receiver(session: ActingSession) -> str:
    channel = await channel_of(session)
    return "No" if channel is None else str(channel["Replica_IO_Running"])


async def _is_stopping(session: ActingSession) -> bool:
    """A STOP there waits for the thread: it has told it to stop, whoever issued it."""
    channel = session.dialect.channel
    stopping = [
        str(row["Info"])
        for row in await session.read("SHOW PROCESSLIST")
        if str(row["State"]).startswith("Killing ")
    ]
    return any("SQL_THREAD" not in said and (channel is None or f"'{channel}'" in said) for said in stopping)
