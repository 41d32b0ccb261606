"""Closing a server that must not take writes any more (rules 8 and 12).

Read-only comes first. Where that has to wait, the sessions in its way are ended: it waits for statements
that run, and for commits that wait for a semi-sync acknowledgement which nobody will give any more. Such a
commit survives the KILL of its session; only switching the source side of semi-sync off frees it, and that
would tell every client that waits "OK", for a transaction that the new master does not have. So the order is
(seen on MySQL 9.7):

1. the SET is under way and waits: no statement that writes can begin any more;
2. every client session that there is then is killed: its socket is closed before KILL returns, so that
   nothing can be told to its client;
3. only when all of those are gone or killed, semi-sync is switched off.

The transactions of 3 are on this server only, and were acknowledged to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from services.mysql.errors import StatementError
from services.mysql.session import ActingSession
from services.topology.instance import Instance

__all__ = ["fence", "is_fenced", "who_may_write_nevertheless"]

_NAMED_AT_MOST = 10

_ATTEMPTS = 3
_AT_ONCE_SECONDS = 0.05
_KILLED_SECONDS = 0.1
"""A killed session that does not wait for an acknowledgement is gone by then."""
_UNKNOWN_VARIABLE = 1193
_SEMI_SYNC_SOURCE = ("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled")
_NOT_KILLED = frozenset({1094, 1095, 3170, 1227})
"""KILL: gone already, or of the system."""
_SESSIONS = "SHOW PROCESSLIST"
"""Not the table of the same: that can crash MariaDB, see the dialect."""


async def fence(session: ActingSession, *, step: str) -> None:
    """Read-only, and its client sessions ended. Raises as acting does."""
    for attempt in range(_ATTEMPTS):
        closing = asyncio.ensure_future(session.set_read_only(step=step))
        try:
            await asyncio.wait({closing}, timeout=_AT_ONCE_SECONDS)
            if not closing.done():
                await _make_way(session, closing, step)
            await closing
            break
        except StatementError:  # it waited for too long (1205)
            if attempt == _ATTEMPTS - 1:
                raise
        finally:
            closing.cancel()
    await end_client_sessions(session, step=step)


async def _make_way(session: ActingSession, closing: asyncio.Task[None], step: str) -> None:
    """While ``closing`` waits in ``session``, end what it waits for, from a session beside it."""
    beside = await session.beside()
    try:
        while not closing.done():
            if await _waits(beside, session.thread_id):
                killed = await end_client_sessions(beside, step=step)
                await asyncio.wait({closing}, timeout=_KILLED_SECONDS)
                if not closing.done() and not await _living(beside, killed):
                    await _free_waiting_commits(beside, step)
            await asyncio.wait({closing}, timeout=_AT_ONCE_SECONDS)
    finally:
        await beside.close()


async def _waits(session: ActingSession, thread_id: int) -> bool:
    """Whether that session waits for a lock."""
    return any(
        row["Id"] == thread_id and str(row["State"]).startswith("Waiting for ")
        for row in await session.read(_SESSIONS)
    )


async def _living(session: ActingSession, ids: Iterable[int]) -> bool:
    """Whether a client of one of these sessions may still be told something."""
    return not set(await _clients(session)).isdisjoint(ids)


async def _clients(session: ActingSession) -> list[int]:
    """The client sessions that have not been killed."""
    (ours,) = await session.read("SELECT CONNECTION_ID() AS id, SUBSTRING_INDEX(USER(), '@', 1) AS user")
    spared = {"system user", "event_scheduler", ours["user"]}
    return [
        int(row["Id"])
        for row in await session.read(_SESSIONS)
        if row["User"] not in spared
        and row["Command"] != "Killed"
        and not str(row["Command"]).startswith("Binlog Dump")
    ]


async def _free_waiting_commits(session: ActingSession, step: str) -> None:
    for name in _SEMI_SYNC_SOURCE:
        try:
            await session.act(f"SET GLOBAL {name} = 0", step=step)
        except StatementError as error:
            if error.errno != _UNKNOWN_VARIABLE:
                raise


async def end_client_sessions(session: ActingSession, *, step: str) -> list[int]:
    """Kill every client session that there is. Returns their numbers."""
    ids = await _clients(session)
    for thread_id in ids:
        try:
            await session.act(f"KILL {thread_id}", step=step)
        except StatementError as error:
            if error.errno not in _NOT_KILLED:
                raise
    return ids


def is_fenced(instance: Instance) -> bool:
    """As far as its flavour can: MariaDB has no ``super_read_only``."""
    return instance.read_only and (instance.super_read_only or instance.is_mariadb)


async def who_may_write_nevertheless(session: ActingSession) -> tuple[str, ...]:
    """A finding, where there is no ``super_read_only``: the accounts that ``read_only`` does not bind."""
    statement = session.dialect.unbound_by_read_only
    if not statement:
        return ()
    try:
        # Who may not read this is shown nothing but its own privileges, silently.
        await session.read("SELECT 1 AS one FROM mysql.global_priv LIMIT 1")
        rows = await session.read(statement)
    except StatementError as error:
        text = "which accounts may write although it is read-only cannot be told; grant us SELECT ON mysql.*"
        return (f"{text}: {error.text}",)
    accounts = [str(row["account"]) for row in rows if str(row["account"]).replace("'", "") != row["ours"]]
    if not accounts:
        return ()
    more = len(accounts) - _NAMED_AT_MOST
    names = ", ".join(accounts[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    return (f"read_only does not keep these accounts from writing: {names}",)
