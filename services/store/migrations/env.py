"""Alembic's way in. The caller hands a connection in a transaction that it commits itself."""

from __future__ import annotations

from alembic import context

from services.store.migrations.resuming import ResumingImpl
from services.store.schema import METADATA, VERSION_TABLE

assert ResumingImpl.__dialect__ == "mysql"  # it took its place by being defined

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
context.run_migrations()
