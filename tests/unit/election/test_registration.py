"""A node tells that it lives, and knows who else does, on a store that may fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.election.neighbours import GONE_SECONDS
from services.election.registration import Registration
from services.store.nodes import NodeRow
from services.store.store import Store
from tests.unit.election.test_election import Clock

ME = NodeRow(node_id="me", host="m", token="t1", uri="http://m", version="1", backend="b")
IT = replace(ME, node_id="it", host="i", token="t2", uri="http://i")


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_two_nodes_know_each_other(tmp_path: Path, clock: Clock) -> None:
    store = await Store.open(tmp_path / "x.db")
    try:
        me, it = (Registration(store.nodes, row, clock=clock) for row in (ME, IT))
        for _ in range(3):
            await me.report(tidies=False)
            await it.report(tidies=False)
            clock.now += 1
        assert [row.node_id for row in me.others()] == ["it"]
        assert [row.uri for row in it.others()] == ["http://m"]
        assert len(await store.nodes.secret()) == 64
        for _ in range(5):
            await me.report(tidies=True)
            clock.now += 1
        assert me.others() == ()
        assert me.row_of("it") is not None, "where it was is still known"

        clock.now += GONE_SECONDS
        await me.report(tidies=False)
        assert me.row_of("it") is not None
        await me.report(tidies=True)
        await me.report(tidies=True)
        assert me.row_of("it") is None
    finally:
        await store.close()


async def test_a_store_that_fails_is_said_and_nobody_is_taken_for_alive(tmp_path: Path, clock: Clock) -> None:
    store = await Store.open(tmp_path / "x.db")
    me, it = (Registration(store.nodes, row, clock=clock) for row in (ME, IT))
    for _ in range(2):
        await me.report(tidies=False)
        await it.report(tidies=False)
    await me.report(tidies=False)
    assert len(me.others()) == 1
    await store.close()
    (tmp_path / "x.db").unlink()
    for name in ("x.db-wal", "x.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    clock.now += 10
    await me.report(tidies=True)
    assert me.last_error.startswith("this node is not registered: the store ")
    assert me.others() == ()
