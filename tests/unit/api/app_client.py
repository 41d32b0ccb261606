"""The application over a `MemoryNode`, called without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from api.app import create_app
from services.store.store import Store
from tests.unit.api.memory_node import MemoryNode, fleet, settings

__all__ = ["client_of", "memory_node"]


@asynccontextmanager
async def memory_node(directory: Path, **keys: object) -> AsyncIterator[MemoryNode]:
    """A node that knows `fleet`, with a store of its own in ``directory`` and these settings."""
    store = await Store.open(directory / "store.sqlite3")
    node = MemoryNode(store, settings=settings(**keys))
    node.show(fleet())
    try:
        yield node
    finally:
        await store.close()


def client_of(
    served: MemoryNode | FastAPI, *, peer: str = "127.0.0.1", base_url: str = "http://127.0.0.1:3000"
) -> httpx.AsyncClient:
    """A caller at the address ``peer``. Crashes are answered, not raised, as behind a real server."""
    app = served if isinstance(served, FastAPI) else create_app(served)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 54321))
    return httpx.AsyncClient(transport=transport, base_url=base_url, headers={"user-agent": "curl/8"})
