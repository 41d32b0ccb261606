from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestray.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(path)
    yield opened
    await opened.close()
