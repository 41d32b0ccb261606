"""The schema: one for all databases, and the same as what the migrations make."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import String, Table, Text, UniqueConstraint, create_engine
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

from services.store.backend import Backend, SQLiteBackend
from services.store.migrate import MIGRATIONS
from services.store.rows import upsert_statement
from services.store.schema import KNOWN_INSTANCES, METADATA, SCHEMA_VERSION, VERSION_TABLE
from services.store.store import Store


@pytest.fixture
def backend(path: Path) -> Backend:
    return SQLiteBackend(path)


INNODB_INDEX_BYTES = 3072
UTF8MB4_BYTES = 4

TABLES = METADATA.sorted_tables


def test_the_version_is_that_of_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_VERSION]


async def test_the_migrations_make_the_tables_that_the_code_uses(path: Path, store: Store) -> None:
    with create_engine(f"sqlite:///{path}").connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    with closing(sqlite3.connect(path)) as file:
        made = dict(file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    for table in TABLES:  # which a comparison of columns does not see
        assert ("AUTOINCREMENT" in made[table.name]) == bool(table.dialect_options["sqlite"]["autoincrement"])
        assert "REFERENCES" not in made[table.name]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_group_of_servers_that_all_write_takes_the_table(table: Table) -> None:
    """It refuses those without a primary key, and those that cascade."""
    assert len(table.primary_key) > 0
    assert table.foreign_keys == set()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_is_indexed_is_bound_in_length(table: Table) -> None:
    uniques = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    for columns in (
        [*table.primary_key],
        *([*u.columns] for u in uniques),
        *([*i.columns] for i in table.indexes),
    ):
        length = 0
        for column in columns:
            assert not isinstance(column.type, Text), f"{column} cannot be indexed in MySQL without a length"
            length += (column.type.length or 0) * UTF8MB4_BYTES if isinstance(column.type, String) else 8
        assert 0 < length <= INNODB_INDEX_BYTES


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_texts_compare_by_their_bytes_in_mysql_too(table: Table) -> None:
    statement = str(CreateTable(table).compile(dialect=mysql.dialect()))
    assert "COLLATE utf8mb4_bin" in statement
    assert "CHARSET=utf8mb4" in statement


def test_an_upsert_has_a_form_for_mysql() -> None:
    statement = str(upsert_statement(KNOWN_INSTANCES, "mysql").compile(dialect=mysql.dialect()))
    assert "ON DUPLICATE KEY UPDATE facts = " in statement
    assert "host = " not in statement, "a key stays as it is"
