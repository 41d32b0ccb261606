"""A deposed master that answers again (rule 12): fenced at first contact."""

from __future__ import annotations

from services.execution.actions import fence
from services.mysql.connection import Login
from services.mysql.errors import MySQLError
from services.mysql.session import ActingSession, Mandate, MandateOverError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.gtid import GtidSet, GtidSyntaxError
from services.topology.instance import Instance

__all__ = ["fence_deposed"]


async def fence_deposed(instance: Instance, login: Login, mandate: Mandate, store: Store) -> str:
    """Make it read-only and end its client sessions, if it accepts writes.

    Returns what is to be said about it, "" if there is no news. What it has that it was not last seen with
    is told once, as the exact loss can be told then.
    """
    deposed = [one for one in await store.clusters.deposed_masters() if one.key == instance.key]
    if not deposed:
        return ""
    first = any(not one.seen_again_at for one in deposed)
    if not first and instance.super_read_only:
        return ""
    try:
        session = await ActingSession.open(instance.key, login, mandate)
        try:
            if not (instance.super_read_only and instance.read_only):
                await fence(session, step="deposed")
            row = (await session.read("SELECT @@global.gtid_executed AS executed"))[0]
        finally:
            await session.close()
    except (MySQLError, MandateOverError) as error:
        return f"{instance.key} is deposed, answers again and could not be made read-only: {error}"
    for one in deposed:
        await store.clusters.seen_again(one.cluster_id, instance.key, utc_now())
    if not first:
        return f"{instance.key} is deposed and was writable: made read-only again"
    return f"{instance.key} is deposed and answers again: it is read-only now" + _since(
        str(row["executed"]), deposed[0].executed_gtid_set
    )


def _since(executed: str, last_seen: str) -> str:
    try:
        more = GtidSet.parse(executed) - GtidSet.parse(last_seen)
    except GtidSyntaxError:
        return ""
    return f"; since it was last seen alive it executed {more.count} transactions: {more}" if more else ""
