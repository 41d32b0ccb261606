"""Failure detections: while one is active, no second one of the same server and actionability.

So a failure that lasts is told once. An unactionable one (the master is unreachable) does not hide the
actionable one that follows (the master is dead). Detections never stand in the way of a recovery: what is
urgent may be registered first, and then the detection finds the recovery that it led to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.store.engine import Database
from services.store.recovery_rows import entry_columns, entry_of, find, release_detections
from services.store.rows import has_id, is_server, paged
from services.store.schema import FAILURE_DETECTIONS, RECOVERIES
from services.store.times import shifted
from services.topology.keys import InstanceKey
from services.topology.records import FailureDetection

__all__ = ["DetectionStore", "Registered", "detect_in"]

_RECOVERY_FIRST_SECONDS = 5.0
"""A recovery of that server that began so long before its detection was due to it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The active detection of a server, and whether it is the one that was handed in."""

    detection: FailureDetection
    is_new: bool


class DetectionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, detection: FailureDetection, *, active_seconds: float) -> Registered:
        """Note a detection, active for so long from its start, unless one is active already."""

        def work(connection: Connection) -> Registered:
            return detect_in(connection, detection, active_seconds)

        return await self._database.write(work)

    async def page(
        self, *, page: int = 0, now: str, detection_id: int | None = None, cluster_alias: str | None = None
    ) -> tuple[FailureDetection, ...]:
        """Detections, newest first, PAGE_SIZE to a page from 0. ``is_active`` is as of ``now``."""
        table = FAILURE_DETECTIONS
        statement = paged(table, page)
        if detection_id is not None:
            statement = statement.where(has_id(table, detection_id))
        if cluster_alias is not None:
            statement = statement.where(table.c.cluster_alias == cluster_alias)
        return await self._database.read(
            lambda connection: tuple(_detection(row, now) for row in connection.execute(statement))
        )


def detect_in(connection: Connection, detection: FailureDetection, active_seconds: float) -> Registered:
    table, now = FAILURE_DETECTIONS, detection.recovery_start_timestamp
    entry = detection.analysis_entry
    release_detections(connection, is_server(table, entry.analyzed_instance_key), table.c.active_until <= now)
    slot = f"{entry.analyzed_instance_key}:{int(detection.is_actionable)}"
    columns = {
        **entry_columns(entry),
        "active_slot": slot,
        "active_until": shifted(now, active_seconds),
        "is_actionable": detection.is_actionable,
        "node_hostname": detection.processing_node_hostname,
        "node_token": detection.processing_node_token,
        "detected_at": now,
        "related_recovery_id": detection.related_recovery_id,
    }
    try:
        inserted: Any = connection.execute(insert(table).values(columns))
    except IntegrityError:
        return Registered(_one(connection, table.c.active_slot == slot, now), is_new=False)
    number: int = inserted.inserted_primary_key[0]
    if detection.is_actionable:
        _link(connection, number, entry.analyzed_instance_key, now)
    return Registered(_one(connection, table.c.id == number, now), is_new=True)


def _link(connection: Connection, number: int, failed: InstanceKey, detected_at: str) -> None:
    """Name detection and recovery in each other, where the recovery was there first."""
    since = shifted(detected_at, -_RECOVERY_FIRST_SECONDS)
    unlinked = (RECOVERIES.c.started_at >= since, RECOVERIES.c.last_detection_id == 0)
    recovery = find(connection, detected_at, is_server(RECOVERIES, failed), *unlinked)
    if recovery is None:
        return
    this, table = FAILURE_DETECTIONS.c.id == number, FAILURE_DETECTIONS
    of_it = RECOVERIES.c.id == recovery.id
    connection.execute(update(RECOVERIES).where(of_it).values(last_detection_id=number))
    connection.execute(update(table).where(this).values(related_recovery_id=recovery.id))
    if recovery.is_successful:
        release_detections(connection, this)


def _one(connection: Connection, condition: ColumnElement[bool], now: str) -> FailureDetection:
    return _detection(connection.execute(select(FAILURE_DETECTIONS).where(condition)).one(), now)


def _detection(row: Any, now: str) -> FailureDetection:
    return FailureDetection(
        id=row.id,
        analysis_entry=entry_of(row),
        is_actionable=row.is_actionable,
        recovery_start_timestamp=row.detected_at,
        processing_node_hostname=row.node_hostname,
        processing_node_token=row.node_token,
        is_active=row.active_slot is not None and row.active_until > now,
        related_recovery_id=row.related_recovery_id,
    )
