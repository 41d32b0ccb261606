"""The nodes of a setup in its store, and the secret that they share."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy import insert

from services.store.backend import Backend
from services.store.nodes import NodeRow
from services.store.schema import NODES
from services.store.store import Store

A = NodeRow(
    node_id="a:/x:1",
    host="a",
    token="ab" * 32,
    uri="http://a:3000",
    version="0.1.0",
    backend="db:3306",
)
B = replace(A, node_id="b:/x:1", host="b", uri="http://b:3000")


async def test_each_report_counts_up_its_own_row(store: Store) -> None:
    assert await store.nodes.report(A) == (replace(A, counter=1),)
    assert await store.nodes.report(B) == (replace(A, counter=1), replace(B, counter=1))
    again = replace(A, token="cd" * 32, uri="http://a:3001")
    assert await store.nodes.report(again) == (replace(again, counter=2), replace(B, counter=1))


async def test_what_is_forgotten_comes_back_with_its_next_report(store: Store) -> None:
    for one in (A, B):
        await store.nodes.report(one)
    await store.nodes.forget([A.node_id, "never there"])
    assert await store.nodes.report(B) == (replace(B, counter=2),)
    assert (await store.nodes.report(A))[0] == replace(A, counter=1)


async def test_a_report_waits_for_no_other_write(store: Store, backend: Backend) -> None:
    """But in a SQLite file, which has one writer. A write that began and hangs holds no report up."""
    other = await Store.open(backend)
    began, end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(connection: object) -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(end.wait(), loop).result(5)

    if store.database.path.endswith(".db"):
        return await other.close()
    hanging = asyncio.create_task(other.database.write(hang))
    try:
        await began.wait()
        await asyncio.wait_for(store.nodes.report(A), 1)
    finally:
        end.set()
        await hanging
        await other.close()
    return None


async def test_a_report_is_one_transaction(store: Store) -> None:
    await store.database.write(
        lambda c: c.execute(
            insert(NODES).values(
                node_id="c", host="c", token="", uri="", version="", backend="", counter=2**62
            )
        )
    )
    rows = await store.nodes.report(A)
    assert {row.node_id: row.counter for row in rows} == {A.node_id: 1, "c": 2**62}


async def test_the_secret_is_made_once(store: Store, backend: Backend) -> None:
    assert await store.nodes.secret() == ""
    other = await Store.open(backend)
    try:
        await asyncio.gather(*(one.nodes.make_secret() for one in (store, other, store, other)))
        secret = await store.nodes.secret()
        assert len(secret) == 64
        await other.nodes.make_secret()
        assert await other.nodes.secret() == secret
    finally:
        await other.close()
