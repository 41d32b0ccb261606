"""A deposed master that answers again (rule 12): fenced at first contact."""

from __future__ import annotations

from services.execution.fencing import fence, is_fenced, who_may_write_nevertheless
from services.execution.relay_logs import executed_on
from services.mysql.connection import Connection, Login
from services.mysql.dialect import Dialect
from services.mysql.errors import MySQLError
from services.mysql.session import ActingSession, Mandate, MandateOverError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.executed import transactions_in
from services.topology.gtid import GtidSyntaxError
from services.topology.instance import Instance
from services.topology.records import DeposedMaster
from services.topology.transactions import TransactionSet

__all__ = ["fence_deposed"]

_ASK_SECONDS = 1.0


async def fence_deposed(instance: Instance, login: Login, mandate: Mandate, store: Store) -> str:
    """Make it read-only and end its client sessions, if it accepts writes.

    Returns what is to be said about it, "" if there is no news. What it has that its successor has
    not is told once, and added to the audit of the recovery that deposed it. Raises StoreError.
    """
    deposed = [one for one in await store.clusters.deposed_masters() if one.key == instance.key]
    if not deposed:
        return ""
    first = any(not one.seen_again_at for one in deposed)
    if not first and is_fenced(instance):
        return ""
    try:
        session = await ActingSession.open(instance.key, login, mandate)
        try:
            if not is_fenced(instance):
                await fence(session, step="deposed")
            findings = await who_may_write_nevertheless(session)
            executed = await executed_on(session)
        finally:
            await session.close()
    except (MySQLError, MandateOverError) as error:
        return f"{instance.key} is deposed, answers again and could not be made read-only: {error}"
    if not first:
        return f"{instance.key} is deposed and was writable: made read-only again"
    if instance.is_mariadb or instance.gtid_mode == "ON":
        loss = await _loss(executed, session.dialect, deposed[0], login, store)
    else:
        loss = "; without GTID it cannot be told what it has that its successor has not"
    said = "; ".join((f"{instance.key} is deposed and answers again: it is read-only now{loss}", *findings))
    for one in deposed:
        await store.clusters.seen_again(one.cluster_id, instance.key, utc_now())
        await store.journal.add_step(one.recovery_uid, said, at=utc_now())
    return said


async def _loss(
    executed: TransactionSet, dialect: Dialect, deposed: DeposedMaster, login: Login, store: Store
) -> str:
    """What only the old master has, told exactly now that both can be asked (rule 10)."""
    masters = [one.master_key for one in await store.clusters.load() if one.id == deposed.cluster_id]
    if not masters:
        return ""  # the cluster was forgotten meanwhile
    (master,) = masters
    try:
        connection = await Connection.open(master, login, timeout=_ASK_SECONDS)
        try:
            rows = await connection.query(f"SELECT {dialect.executed} AS executed", timeout=_ASK_SECONDS)
        finally:
            connection.abort()
        lost = executed - transactions_in(str(rows[0][0]["executed"] or ""), mariadb=dialect.mariadb)
    except (MySQLError, GtidSyntaxError) as error:
        return f"; what it has that {master} has not could not be told: {error}"
    if not lost:
        return f"; it has nothing that {master} has not"
    return f"; it has {lost.count} transactions that {master} has not: {lost}"
