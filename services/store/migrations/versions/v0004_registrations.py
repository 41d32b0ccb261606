"""Maintenance, unresolved names, tags, pools, attributes of hosts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# as they were at this step: schema.py goes on, this file does not
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.String(20)
LABEL = sa.String(128)
NAME = sa.String(255)

OPTIONS: dict[str, Any] = {
    f"{family}_{option}": value
    for family in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
NUMBERED = {**OPTIONS, "sqlite_autoincrement": True}


def upgrade() -> None:
    op.create_table(
        "maintenances",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begins_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host", "port", name="uq_maintenances_host"),
        **NUMBERED,
    )
    op.create_table(
        "hostname_unresolves",
        sa.Column("host", NAME, nullable=False),
        sa.Column("unresolved_host", NAME, nullable=False),
        sa.Column("registered_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("host"),
        **OPTIONS,
    )
    op.create_table(
        "instance_tags",
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", LABEL, nullable=False),
        sa.Column("value", NAME, nullable=False),
        sa.PrimaryKeyConstraint("host", "port", "name"),
        **OPTIONS,
    )
    op.create_table(
        "pool_members",
        sa.Column("pool", LABEL, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("port", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("registered_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("pool", "host", "port"),
        **OPTIONS,
    )
    op.create_table(
        "attributes",
        sa.Column("host", NAME, nullable=False),
        sa.Column("name", LABEL, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("submitted_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("host", "name"),
        **OPTIONS,
    )
