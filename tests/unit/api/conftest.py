"""A node and a caller on its own host, for tests of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import MemoryNode


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[MemoryNode]:
    async with memory_node(tmp_path) as node:
        yield node


@pytest.fixture
async def http(node: MemoryNode) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(node) as client:
        yield client
