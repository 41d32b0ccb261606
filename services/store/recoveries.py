"""Recoveries: one at a time for a cluster, enforced here across processes and restarts.

A running recovery has its cluster's id in ``active_slot``, which is unique; to register is to insert,
to resolve is to clear it. So a crash leaves the cluster locked until the recovery is resumed or
voided, and nothing else unlocks it: acknowledging is about the block that follows, and touches
only recoveries that have ended.

The block: a recovery that promoted a server blocks automatic recoveries of its cluster for a time
that counts from its end. One that was refused, voided or failed blocks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from services.store.engine import Database
from services.store.errors import (
    ClusterBlockedError,
    ClusterBusyError,
    StoreRefusedError,
    UnknownRecoveryError,
)
from services.store.recovery_rows import blocks, find, recovery_columns, recovery_of, release_detections
from services.store.rows import fence, has_id, is_server, key_columns, key_of, paged, upsert
from services.store.schema import BLOCKED_RECOVERIES, FAILURE_DETECTIONS, RECOVERIES
from services.store.times import shifted
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import BlockedRecovery, Recovery

__all__ = ["Outcome", "RecoveryFilter", "RecoveryStore", "end_in", "register_in"]

BLOCKED_SHOWN_SECONDS = 120.0
"""A refused attempt is listed while it keeps being made: twice the longest pause between attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a recovery ended."""

    is_successful: bool
    successor_key: InstanceKey = NO_KEY
    successor_alias: str = ""
    lost_replicas: tuple[InstanceKey, ...] = ()
    participating_instance_keys: tuple[InstanceKey, ...] = ()
    all_errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryFilter:
    """Which recoveries are meant: those for which everything that is given holds."""

    id: int | None = None
    uid: str | None = None
    cluster_id: str | None = None
    cluster_name: str | None = None
    cluster_alias: str | None = None
    instance: InstanceKey | None = None  # the one that failed
    unacknowledged: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        table = RECOVERIES
        conditions: list[ColumnElement[bool]] = []
        if self.id is not None:
            conditions.append(has_id(table, self.id))
        if self.uid is not None:
            conditions.append(table.c.uid == self.uid)
        conditions.extend(self.of_cluster(table))
        if self.instance is not None:
            conditions.append(is_server(table, self.instance))
        if self.unacknowledged:
            conditions.append(table.c.acknowledged.is_(False))
        return conditions

    def of_cluster(self, table: Table) -> list[ColumnElement[bool]]:
        """The part about the cluster; ``table`` is one that names clusters."""
        given = {
            "cluster_id": self.cluster_id,
            "cluster_name": self.cluster_name,
            "cluster_alias": self.cluster_alias,
        }
        return [table.c[name] == value for name, value in given.items() if value is not None]


_ALL = RecoveryFilter()


class RecoveryStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, recovery: Recovery, *, automatic: bool = True) -> Recovery:
        """Begin a recovery; it comes back with its id. Only who got it back may act.

        Registering the same uid again, as after a time-out, returns what the first time stored. One that
        is not ``automatic`` ignores blocks, and acknowledges the earlier recoveries of the server.
        Raises ClusterBusyError, ClusterBlockedError (both are noted for ``blocked``), StaleTermError.
        """
        if not recovery.analysis_entry.cluster_id:
            raise ValueError(f"recovery {recovery.uid} names no cluster id: there is nothing to lock")

        def work(connection: Connection) -> Recovery | StoreRefusedError:
            return register_in(connection, recovery, automatic)

        registered = await self._database.write(work)
        if isinstance(registered, StoreRefusedError):
            raise registered
        return registered

    async def resolve(
        self, uid: str, outcome: Outcome, *, at: str, term: int, block_seconds: float
    ) -> Recovery:
        """End a recovery. The first end stands: of one that has ended, what stands is returned.

        A successful promotion blocks its cluster for ``block_seconds`` from ``at``. A success also ends the
        active period of the failed server's detections. Raises UnknownRecoveryError, StaleTermError.
        """

        def work(connection: Connection) -> Recovery:
            fence(connection, term)
            found = find(connection, at, RECOVERIES.c.uid == uid)
            if found is None:
                raise UnknownRecoveryError(uid)
            if found.is_running:
                end_in(connection, found, outcome, at, block_seconds)
                found = find(connection, at, RECOVERIES.c.uid == uid)
                assert found is not None
            return found

        return await self._database.write(work)

    async def page(self, which: RecoveryFilter = _ALL, *, page: int = 0, now: str) -> tuple[Recovery, ...]:
        """Recoveries, newest first, PAGE_SIZE to a page from 0. ``is_active`` is as of ``now``."""
        statement = paged(RECOVERIES, page).where(*which.conditions())
        return await self._database.read(
            lambda connection: tuple(recovery_of(row, now) for row in connection.execute(statement))
        )

    async def acknowledge(self, which: RecoveryFilter, *, owner: str, comment: str, at: str) -> int:
        """Acknowledge those that have ended and are not yet; how many those were.

        Ends their blocks. A cluster is meant with all names that it had: recoveries of the same cluster id
        or alias count, since its name changes with its master. By cluster or by instance, the active
        period of the detections ends too.
        """
        if not comment.strip():
            raise ValueError("no acknowledge comment given")

        def work(connection: Connection) -> int:
            conditions = which.conditions()
            if which.of_cluster(RECOVERIES):
                same = _SameCluster(connection, which)
                release_detections(connection, same.rows_of(FAILURE_DETECTIONS))
                others = replace(which, cluster_id=None, cluster_name=None, cluster_alias=None)
                conditions = [same.rows_of(RECOVERIES), *others.conditions()]
            if which.instance is not None:
                release_detections(connection, is_server(FAILURE_DETECTIONS, which.instance))
            return _acknowledge(connection, conditions, owner, comment, at)

        return await self._database.write(work)

    async def blocked(self, now: str, cluster_name: str | None = None) -> tuple[BlockedRecovery, ...]:
        """Refused attempts, newest first: while what refused them lasts and they keep being made."""
        statement = (
            select(BLOCKED_RECOVERIES)
            .join(RECOVERIES, RECOVERIES.c.id == BLOCKED_RECOVERIES.c.blocking_recovery_id)
            .where(
                BLOCKED_RECOVERIES.c.last_blocked_at >= shifted(now, -BLOCKED_SHOWN_SECONDS),
                or_(
                    RECOVERIES.c.active_slot.is_not(None),
                    and_(RECOVERIES.c.blocked_until > now, RECOVERIES.c.acknowledged.is_(False)),
                ),
            )
            .order_by(
                BLOCKED_RECOVERIES.c.last_blocked_at.desc(),
                BLOCKED_RECOVERIES.c.host,
                BLOCKED_RECOVERIES.c.port,
            )
        )
        if cluster_name is not None:
            statement = statement.where(BLOCKED_RECOVERIES.c.cluster_name == cluster_name)
        return await self._database.read(
            lambda connection: tuple(
                BlockedRecovery(
                    failed_instance_key=key_of(row),
                    cluster_name=row.cluster_name,
                    analysis=row.analysis,
                    last_blocked_timestamp=row.last_blocked_at,
                    blocking_recovery_id=row.blocking_recovery_id,
                )
                for row in connection.execute(statement)
            )
        )


def register_in(connection: Connection, recovery: Recovery, automatic: bool) -> Recovery | StoreRefusedError:
    """A refusal is returned, not raised, for it is to be noted in this transaction."""
    entry, now = recovery.analysis_entry, recovery.recovery_start_timestamp
    fence(connection, recovery.term)
    same = find(connection, now, RECOVERIES.c.uid == recovery.uid)
    if same is not None:
        return same
    if automatic:
        blocking = find(connection, now, blocks(entry, now))
        if blocking is not None:
            _note_blocked(connection, recovery, blocking)
            return ClusterBlockedError(blocking)
    if not recovery.last_detection_id:
        detected = _newest_detection(connection, entry.analyzed_instance_key, now)
        recovery = replace(recovery, last_detection_id=detected)
    columns = {**recovery_columns(recovery), "active_slot": entry.cluster_id}
    try:
        connection.execute(insert(RECOVERIES).values(columns))
    except IntegrityError:
        running = find(connection, now, RECOVERIES.c.active_slot == entry.cluster_id)
        if running is None:
            raise
        _note_blocked(connection, recovery, running)
        return ClusterBusyError(running)
    if not automatic:
        earlier = [is_server(RECOVERIES, entry.analyzed_instance_key)]
        _acknowledge(connection, earlier, recovery.processing_node_hostname, "recovered by hand", now)
    registered = find(connection, now, RECOVERIES.c.uid == recovery.uid)
    assert registered is not None
    if recovery.last_detection_id:
        detection = FAILURE_DETECTIONS.c.id == recovery.last_detection_id
        led_to = update(FAILURE_DETECTIONS).where(detection).values(related_recovery_id=registered.id)
        connection.execute(led_to)
    connection.execute(
        delete(BLOCKED_RECOVERIES).where(is_server(BLOCKED_RECOVERIES, entry.analyzed_instance_key))
    )
    return registered


def _newest_detection(connection: Connection, failed: InstanceKey, now: str) -> int:
    """Id of the active detection of this failure; 0 if it has not been noted yet (it links itself then)."""
    table = FAILURE_DETECTIONS
    active = (table.c.active_slot.is_not(None), table.c.active_until > now, table.c.is_actionable.is_(True))
    newest = select(table.c.id).where(is_server(table, failed), *active).order_by(table.c.id.desc()).limit(1)
    return connection.execute(newest).scalar() or 0


def _note_blocked(connection: Connection, refused: Recovery, blocking: Recovery) -> None:
    entry = refused.analysis_entry
    row = {
        **key_columns(entry.analyzed_instance_key),
        "cluster_name": entry.cluster_name,
        "analysis": entry.analysis,
        "last_blocked_at": refused.recovery_start_timestamp,
        "blocking_recovery_id": blocking.id,
    }
    upsert(connection, BLOCKED_RECOVERIES, [row])


def end_in(
    connection: Connection, running: Recovery, outcome: Outcome, at: str, block_seconds: float
) -> None:
    promoted = outcome.is_successful and outcome.successor_key.names_a_server
    ended = replace(
        running,
        recovery_end_timestamp=at,
        is_successful=outcome.is_successful,
        successor_key=outcome.successor_key,
        successor_alias=outcome.successor_alias,
        lost_replicas=outcome.lost_replicas,
        participating_instance_keys=outcome.participating_instance_keys,
        all_errors=outcome.all_errors,
        blocked_until=shifted(at, block_seconds) if promoted else "",
    )
    columns = {**recovery_columns(ended), "active_slot": None}
    still_running = (RECOVERIES.c.id == running.id, RECOVERIES.c.active_slot.is_not(None))
    connection.execute(update(RECOVERIES).where(*still_running).values(columns))
    if outcome.is_successful:
        failed = running.analysis_entry.analyzed_instance_key
        release_detections(connection, is_server(FAILURE_DETECTIONS, failed))


class _SameCluster:
    """All that is about the cluster of a filter, under whatever name it went at the time."""

    def __init__(self, connection: Connection, which: RecoveryFilter) -> None:
        columns = select(RECOVERIES.c.cluster_id, RECOVERIES.c.cluster_alias)
        named = connection.execute(columns.where(*which.of_cluster(RECOVERIES)).distinct()).all()
        self._which = which
        self._ids = {row.cluster_id for row in named}
        self._aliases = {row.cluster_alias for row in named} - {""}

    def rows_of(self, table: Table) -> ColumnElement[bool]:
        return or_(
            and_(*self._which.of_cluster(table)),
            table.c.cluster_id.in_(self._ids),
            table.c.cluster_alias.in_(self._aliases),
        )


def _acknowledge(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], owner: str, comment: str, at: str
) -> int:
    ended = (RECOVERIES.c.active_slot.is_(None), RECOVERIES.c.acknowledged.is_(False))
    statement = (
        update(RECOVERIES)
        .where(*ended, *conditions)
        .values(acknowledged=True, acknowledged_at=at, acknowledged_by=owner, acknowledged_comment=comment)
    )
    return connection.execute(statement).rowcount
