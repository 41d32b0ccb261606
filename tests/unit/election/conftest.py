"""``backend``: an election is the same on SQLite, MySQL and MariaDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.store.backend import Backend, SQLiteBackend
from tests.backends import FLAVOURS, SERVERS, empty_backend


@pytest.fixture(params=FLAVOURS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return SQLiteBackend(tmp_path / "store.db")
    return empty_backend(request.getfixturevalue(SERVERS[request.param]))
