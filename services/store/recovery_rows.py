"""A recovery as a row and back, and the questions that one transaction asks about others."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from services.store.rows import key_columns, key_of, pack_keys, unpack_keys
from services.store.schema import (
    BLOCKED_RECOVERIES,
    FAILURE_DETECTIONS,
    RECOVERIES,
    RECOVERY_JOURNAL,
    RECOVERY_STEPS,
)
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, Recovery

__all__ = [
    "blocks",
    "delete_recoveries",
    "entry_columns",
    "entry_of",
    "find",
    "recovery_columns",
    "recovery_of",
    "release_detections",
]

_DELETED_AT_ONCE = 500


def entry_of(row: Any) -> AnalysisEntry:
    return AnalysisEntry(
        analyzed_instance_key=key_of(row),
        analysis=row.analysis,
        cluster_name=row.cluster_name,
        cluster_alias=row.cluster_alias,
        cluster_id=row.cluster_id,
        count_replicas=row.count_replicas,
        replicas=unpack_keys(row.replicas),
    )


def entry_columns(entry: AnalysisEntry) -> dict[str, Any]:
    return {
        **key_columns(entry.analyzed_instance_key),
        "analysis": entry.analysis,
        "cluster_name": entry.cluster_name,
        "cluster_alias": entry.cluster_alias,
        "cluster_id": entry.cluster_id,
        "count_replicas": entry.count_replicas,
        "replicas": pack_keys(entry.replicas),
    }


def recovery_of(row: Any, now: str) -> Recovery:
    """The recovery as it stands at ``now``, on which only ``is_active`` depends."""
    return Recovery(
        id=row.id,
        uid=row.uid,
        analysis_entry=entry_of(row),
        recovery_start_timestamp=row.started_at,
        term=row.term,
        processing_node_hostname=row.node_hostname,
        processing_node_token=row.node_token,
        type=row.type,
        recovery_type=row.recovery_type,
        last_detection_id=row.last_detection_id,
        recovery_end_timestamp=row.ended_at,
        is_successful=row.is_successful,
        successor_key=InstanceKey(row.successor_host, row.successor_port),
        successor_alias=row.successor_alias,
        lost_replicas=unpack_keys(row.lost_replicas),
        participating_instance_keys=unpack_keys(row.participants),
        all_errors=tuple(json.loads(row.errors)),
        blocked_until=row.blocked_until,
        is_active=not row.ended_at or (row.blocked_until > now and not row.acknowledged),
        acknowledged=row.acknowledged,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_comment=row.acknowledged_comment,
    )


def recovery_columns(recovery: Recovery) -> dict[str, Any]:
    """All columns but ``id`` and ``active_slot``."""
    return {
        "uid": recovery.uid,
        **entry_columns(recovery.analysis_entry),
        "type": recovery.type,
        "recovery_type": recovery.recovery_type,
        "last_detection_id": recovery.last_detection_id,
        "node_hostname": recovery.processing_node_hostname,
        "node_token": recovery.processing_node_token,
        "term": recovery.term,
        "started_at": recovery.recovery_start_timestamp,
        "ended_at": recovery.recovery_end_timestamp,
        "is_successful": recovery.is_successful,
        "successor_host": recovery.successor_key.hostname,
        "successor_port": recovery.successor_key.port,
        "successor_alias": recovery.successor_alias,
        "lost_replicas": pack_keys(recovery.lost_replicas),
        "participants": pack_keys(recovery.participating_instance_keys),
        "errors": json.dumps(recovery.all_errors),
        "blocked_until": recovery.blocked_until,
        "acknowledged": recovery.acknowledged,
        "acknowledged_at": recovery.acknowledged_at,
        "acknowledged_by": recovery.acknowledged_by,
        "acknowledged_comment": recovery.acknowledged_comment,
    }


def find(connection: Connection, now: str, *conditions: ColumnElement[bool]) -> Recovery | None:
    """The newest recovery for which all ``conditions`` hold."""
    statement = select(RECOVERIES).where(*conditions).order_by(RECOVERIES.c.id.desc()).limit(1)
    row = connection.execute(statement).first()
    return None if row is None else recovery_of(row, now)


def blocks(entry: AnalysisEntry, now: str) -> ColumnElement[bool]:
    """The condition that an ended recovery blocks an automatic one of ``entry``.

    It promoted somebody in the same cluster, or it promoted the very server that failed now.
    """
    key, table = entry.analyzed_instance_key, RECOVERIES
    return and_(
        table.c.blocked_until > now,
        table.c.acknowledged.is_(False),
        or_(
            table.c.cluster_id == entry.cluster_id,
            and_(table.c.successor_host == key.hostname, table.c.successor_port == key.port),
        ),
    )


def release_detections(connection: Connection, *conditions: ColumnElement[bool]) -> None:
    """End the active period of the detections for which all ``conditions`` hold."""
    active = FAILURE_DETECTIONS.c.active_slot.is_not(None)
    connection.execute(update(FAILURE_DETECTIONS).where(active, *conditions).values(active_slot=None))


def delete_recoveries(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    """Those for which all ``conditions`` hold, with all that is kept about them. How many those were.

    By their keys: what asks another table is not safe for ``binlog_format=STATEMENT``.
    """
    found = connection.execute(select(RECOVERIES.c.id, RECOVERIES.c.uid).where(*conditions)).all()
    for start in range(0, len(found), _DELETED_AT_ONCE):
        batch = found[start : start + _DELETED_AT_ONCE]
        ids, uids = [row.id for row in batch], [row.uid for row in batch]
        for table in (RECOVERY_STEPS, RECOVERY_JOURNAL):
            connection.execute(delete(table).where(table.c.recovery_uid.in_(uids)))
        blocked = BLOCKED_RECOVERIES.c.blocking_recovery_id.in_(ids)
        connection.execute(delete(BLOCKED_RECOVERIES).where(blocked))
        connection.execute(delete(RECOVERIES).where(RECOVERIES.c.id.in_(ids)))
    return len(found)
