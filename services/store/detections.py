"""Failure detections: while one is active, no second one of the same server and actionability.

So a failure that lasts is told once. An unactionable one (the master is unreachable) does not hide the
actionable one that follows (the master is dead). Detections never stand in the way of a recovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select
from sqlalchemy.exc import IntegrityError

from services.store.engine import Database
from services.store.recovery_rows import entry_columns, entry_of, release_detections
from services.store.rows import has_id, is_server, paged
from services.store.schema import FAILURE_DETECTIONS
from services.store.times import shifted
from services.topology.records import FailureDetection

__all__ = ["DetectionStore", "Registered", "detect_in"]


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
        connection.execute(insert(table).values(columns))
    except IntegrityError:
        return Registered(_active(connection, table.c.active_slot == slot, now), is_new=False)
    return Registered(_active(connection, table.c.active_slot == slot, now), is_new=True)


def _active(connection: Connection, condition: ColumnElement[bool], now: str) -> FailureDetection:
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
