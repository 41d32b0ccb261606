"""Keeping clients from writing on a server that is not to be written (rule 8)."""

from __future__ import annotations

from services.mysql.errors import StatementError
from services.mysql.session import ActingSession
from services.topology.instance import Instance

__all__ = ["fence", "is_fenced", "who_may_write_nevertheless"]

_NAMED_AT_MOST = 10


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
    (ours,) = await session.read("SELECT CONNECTION_ID() AS id, SUBSTRING_INDEX(USER(), '@', 1) AS user")
    spared = {"system user", "event_scheduler", ours["user"]}
    rows = [
        row
        for row in await session.read(
            "SHOW PROCESSLIST"
        )  # the table of it can crash MariaDB: see the dialect
        if row["Id"] != ours["id"]
        and row["User"] not in spared
        and not str(row["Command"]).startswith("Binlog Dump")
    ]
    for row in rows:
        try:
            await session.act(f"KILL {int(row['Id'])}", step=step)
        except StatementError as error:
            if error.errno not in (1094, 1095, 3170, 1227):  # gone already, or of the system
                raise


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
