"""``store`` and ``backend``: every test of what the store promises runs on SQLite, MySQL and MariaDB.

A module about one of them says so: ``backend`` of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from services.store.backend import Backend, SQLiteBackend
from services.store.store import Store
from tests.backends import FLAVOURS, SERVERS, empty_backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestray.db"


@pytest.fixture(params=FLAVOURS)
def backend(request: pytest.FixtureRequest, path: Path) -> Backend:
    if request.param == "sqlite":
        return SQLiteBackend(path)
    return empty_backend(request.getfixturevalue(SERVERS[request.param]))


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    opened = await Store.open(backend)
    yield opened
    await opened.close()


UNSAFE_STATEMENT = 1592


@pytest.fixture(autouse=True)
def unsafe_statements() -> Iterator[list[str]]:
    """None may be issued that a server warns of under ``binlog_format=STATEMENT`` (an active-active pair)."""
    unsafe: list[str] = []

    def ask(connection: Connection, cursor: Any, statement: str, *_rest: object) -> None:
        if connection.dialect.name == "mysql" and not statement.startswith("SELECT"):
            warnings = cursor.connection.show_warnings()
            unsafe.extend(statement for warning in warnings if warning[1] == UNSAFE_STATEMENT)

    event.listen(Engine, "after_cursor_execute", ask)
    yield unsafe
    event.remove(Engine, "after_cursor_execute", ask)
    assert unsafe == []
