"""Alembic's way in. The caller hands a connection in a transaction that it commits itself."""

from __future__ import annotations

from alembic import context

from services.store.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
context.run_migrations()
