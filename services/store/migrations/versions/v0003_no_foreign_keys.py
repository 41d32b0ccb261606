"""No foreign keys: a group of MySQL servers that all take writes refuses tables that cascade (error 3098)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# Of tables with a reference: their indexes. SQLite makes such a table anew, without it.
INDEXES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "deposed_masters": (),
    "recovery_steps": (("ix_recovery_steps_uid", ("recovery_uid",)),),
    "recovery_journal": (("ix_recovery_journal_uid", ("recovery_uid",)),),
    "blocked_recoveries": (("ix_blocked_recoveries_blocking_recovery_id", ("blocking_recovery_id",)),),
}


def upgrade() -> None:
    connection = op.get_bind()
    for table, indexes in INDEXES.items():
        if connection.dialect.name == "sqlite":
            _make_anew(connection, table, indexes)
        else:
            _drop(connection, table)


def _drop(connection: sa.Connection, table: str) -> None:
    for key in sa.inspect(connection).get_foreign_keys(table):  # none when this is gone through again
        op.drop_constraint(str(key["name"]), table, type_="foreignkey")


def _make_anew(
    connection: sa.Connection, table: str, indexes: tuple[tuple[str, tuple[str, ...]], ...]
) -> None:
    """The same columns, rows and next number."""
    metadata = sa.MetaData()
    old = sa.Table(table, metadata, autoload_with=connection)
    numbered = "id" in old.c
    new = sa.Table(
        f"{table}_0003",
        metadata,
        *(
            sa.Column(
                column.name,
                column.type,
                primary_key=column.primary_key,
                nullable=column.nullable,
                autoincrement=column.name == "id",
            )
            for column in old.columns
        ),
        sqlite_autoincrement=numbered,
    )
    new.create(connection)
    connection.execute(sa.insert(new).from_select([c.name for c in old.columns], sa.select(old)))
    if numbered:
        numbers = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
        last = connection.execute(sa.select(numbers.c.seq).where(numbers.c.name == table)).scalar()
        connection.execute(sa.delete(numbers).where(numbers.c.name == new.name))
        if last is not None:
            connection.execute(sa.insert(numbers).values(name=new.name, seq=last))
    op.drop_table(table)
    op.rename_table(new.name, table)
    for name, columns in indexes:
        op.create_index(name, table, list(columns))
