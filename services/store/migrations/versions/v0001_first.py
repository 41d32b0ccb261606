"""The first schema: what is known, registered, done and undone, and the lease."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0001"
down_revision = None

# as they were at this step: schema.py goes on, this file does not
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
TIME = sa.String(20)
WORD = sa.String(64)
UID = sa.String(96)
NAME = sa.String(255)
CLUSTER_NAME = sa.String(270)

OPTIONS: dict[str, Any] = {
    f"{family}_{option}": value
    for family in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
NUMBERED = {**OPTIONS, "sqlite_autoincrement": True}


def upgrade() -> None:
    _known()
    _registered()
    _recoveries()
    _audit()
    _lease()


def _known() -> None:
    op.create_table(
        "known_instances",
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("facts", LONG_TEXT, nullable=False),
        sa.Column("cluster_id", WORD, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.PrimaryKeyConstraint("host", "port"),
        **OPTIONS,
    )
    op.create_table(
        "clusters",
        sa.Column("id", WORD, nullable=False),
        sa.Column("master_host", NAME, nullable=False),
        sa.Column("master_port", sa.Integer(), nullable=False),
        sa.Column("alias", NAME, nullable=False),
        sa.Column("domain", NAME, nullable=False),
        sa.Column("promoted_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_table(
        "deposed_masters",
        sa.Column("cluster_id", WORD, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deposed_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("recovery_uid", UID, nullable=False),
        sa.Column("executed_gtid_set", LONG_TEXT, nullable=False),
        sa.Column("seen_again_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("cluster_id", "host", "port"),
        **OPTIONS,
    )


def _registered() -> None:
    op.create_table(
        "promotion_rules",
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("promotion_rule", WORD, nullable=False),
        sa.Column("last_suggested", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("host", "port"),
        **OPTIONS,
    )
    op.create_table(
        "downtimes",
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begins_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("host", "port"),
        **OPTIONS,
    )
    op.create_table(
        "settings",
        sa.Column("name", WORD, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )


def _recoveries() -> None:
    op.create_table(
        "recoveries",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uid", UID, nullable=False),
        sa.Column("active_slot", WORD, nullable=True),
        sa.Column("cluster_id", WORD, nullable=False),
        sa.Column("cluster_name", CLUSTER_NAME, nullable=False),
        sa.Column("cluster_alias", NAME, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("analysis", WORD, nullable=False),
        sa.Column("count_replicas", sa.Integer(), nullable=False),
        sa.Column("replicas", LONG_TEXT, nullable=False),
        sa.Column("type", WORD, nullable=False),
        sa.Column("recovery_type", WORD, nullable=False),
        sa.Column("last_detection_id", sa.BigInteger(), nullable=False),
        sa.Column("node_hostname", NAME, nullable=False),
        sa.Column("node_token", UID, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=False),
        sa.Column("is_successful", sa.Boolean(), nullable=False),
        sa.Column("successor_host", NAME, nullable=False),
        sa.Column("successor_port", sa.Integer(), nullable=False),
        sa.Column("successor_alias", NAME, nullable=False),
        sa.Column("lost_replicas", LONG_TEXT, nullable=False),
        sa.Column("participants", LONG_TEXT, nullable=False),
        sa.Column("errors", LONG_TEXT, nullable=False),
        sa.Column("blocked_until", TIME, nullable=False),
        sa.Column("acknowledged", sa.Boolean(), nullable=False),
        sa.Column("acknowledged_at", TIME, nullable=False),
        sa.Column("acknowledged_by", NAME, nullable=False),
        sa.Column("acknowledged_comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("active_slot", name="uq_recoveries_active_slot"),
        sa.UniqueConstraint("uid", name="uq_recoveries_uid"),
        **NUMBERED,
    )
    op.create_index("ix_recoveries_cluster_alias", "recoveries", ["cluster_alias"])
    op.create_index("ix_recoveries_cluster_id", "recoveries", ["cluster_id"])
    op.create_index("ix_recoveries_cluster_name", "recoveries", ["cluster_name"])
    op.create_index("ix_recoveries_host", "recoveries", ["host", "port"])
    op.create_table(
        "recovery_steps",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("recovery_uid", UID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.ForeignKeyConstraint(["recovery_uid"], ["recoveries.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        **NUMBERED,
    )
    op.create_index("ix_recovery_steps_uid", "recovery_steps", ["recovery_uid"])
    op.create_table(
        "recovery_journal",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("recovery_uid", UID, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("step_no", sa.Integer(), nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("detail", LONG_TEXT, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["recovery_uid"], ["recoveries.uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        **NUMBERED,
    )
    op.create_index("ix_recovery_journal_uid", "recovery_journal", ["recovery_uid"])
    op.create_table(
        "blocked_recoveries",
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cluster_name", CLUSTER_NAME, nullable=False),
        sa.Column("analysis", WORD, nullable=False),
        sa.Column("last_blocked_at", TIME, nullable=False),
        sa.Column("blocking_recovery_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["blocking_recovery_id"], ["recoveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host", "port"),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_blocked_recoveries_blocking_recovery_id"), "blocked_recoveries", ["blocking_recovery_id"]
    )


def _audit() -> None:
    op.create_table(
        "failure_detections",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("active_slot", sa.String(length=300), nullable=True),
        sa.Column("active_until", TIME, nullable=False),
        sa.Column("cluster_id", WORD, nullable=False),
        sa.Column("cluster_name", CLUSTER_NAME, nullable=False),
        sa.Column("cluster_alias", NAME, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("analysis", WORD, nullable=False),
        sa.Column("is_actionable", sa.Boolean(), nullable=False),
        sa.Column("count_replicas", sa.Integer(), nullable=False),
        sa.Column("replicas", LONG_TEXT, nullable=False),
        sa.Column("node_hostname", NAME, nullable=False),
        sa.Column("node_token", UID, nullable=False),
        sa.Column("detected_at", TIME, nullable=False),
        sa.Column("related_recovery_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("active_slot", name="uq_failure_detections_active_slot"),
        **NUMBERED,
    )
    op.create_index("ix_failure_detections_cluster_alias", "failure_detections", ["cluster_alias"])
    op.create_index("ix_failure_detections_cluster_name", "failure_detections", ["cluster_name"])
    op.create_index("ix_failure_detections_host", "failure_detections", ["host", "port"])
    op.create_table(
        "audit_log",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("type", WORD, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **NUMBERED,
    )
    op.create_index("ix_audit_log_host", "audit_log", ["host", "port"])


def _lease() -> None:
    op.create_table(
        "lease",
        sa.Column("name", WORD, nullable=False),
        sa.Column("node_id", NAME, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("length_ms", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )
