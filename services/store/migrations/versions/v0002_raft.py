"""How far a raft member has applied its log, and the ids that all members give alike."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

OPTIONS: dict[str, Any] = {
    f"{family}_{option}": value
    for family in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    op.create_table(
        "raft_state",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("member", sa.String(255), nullable=False),
        sa.Column("log_id", sa.String(64), nullable=False),
        sa.Column("applied_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one"),
        **OPTIONS,
    )
    op.create_table(
        "raft_numbers",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )
