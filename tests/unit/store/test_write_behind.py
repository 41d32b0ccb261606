"""Writing behind: the newest of each server, nobody waits, nothing newer is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from services.store import sqlite
from services.store.backend import Backend, SQLiteBackend
from services.store.instances import KnownInstance
from services.store.store import Store
from services.store.write_behind import WriteBehind
from services.topology.keys import InstanceKey
from tests.servers import wait_until_async


@pytest.fixture
def backend(path: Path) -> Backend:
    return SQLiteBackend(path)


def known(port: int, facts: str = "") -> KnownInstance:
    return KnownInstance(InstanceKey("h", port), facts)


class Target:
    """A store whose writes can be held and be made to fail."""

    def __init__(self) -> None:
        self.rows: dict[InstanceKey, str] = {}
        self.batches: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fails = False
        self.waiting = False

    async def save(self, instances: Sequence[KnownInstance]) -> None:
        self.waiting = True
        await self.open.wait()
        self.waiting = False
        if self.fails:
            raise OSError("no disk")
        self.batches.append(len(instances))
        self.rows.update({one.key: one.facts for one in instances})


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
async def behind(target: Target) -> AsyncIterator[WriteBehind]:
    writer = WriteBehind(target.save, limit=10, batch=4, pause_seconds=0.01, retry_seconds=0.01)
    writer.start()
    yield writer
    target.open.set()
    await writer.close(1)


async def test_of_each_server_only_the_newest_is_written(target: Target, behind: WriteBehind) -> None:
    for n in range(100):
        behind.put(known(n % 3, f"{n}"))
    await wait_until_async(lambda: behind.pending == 0)
    assert target.batches == [3]
    assert sorted(target.rows.values()) == ["97", "98", "99"]


async def test_how_long_a_batch_waited_is_not_changed_by_what_comes_while_it_is_written(
    target: Target, behind: WriteBehind
) -> None:
    told: list[tuple[int, float, float]] = []
    behind.note = lambda count, waited, took: told.append((count, waited, took))
    target.open.clear()
    behind.put(known(1))
    await wait_until_async(lambda: target.waiting)
    behind.put(known(2))
    target.open.set()
    await wait_until_async(lambda: behind.pending == 0)
    assert [count for count, _, _ in told] == [1, 1]
    assert all(waited >= 0 for _, waited, _ in told), told


async def test_it_writes_in_batches(target: Target, behind: WriteBehind) -> None:
    for n in range(10):
        behind.put(known(n))
    await wait_until_async(lambda: behind.pending == 0)
    assert target.batches == [4, 4, 2]


async def test_a_failure_is_reported_and_what_came_since_wins(target: Target, behind: WriteBehind) -> None:
    target.open.clear()
    target.fails = True
    behind.put(known(1, "old"))
    behind.put(known(2, "kept"))
    await wait_until_async(lambda: target.waiting)
    behind.put(known(1, "new"))
    target.open.set()
    await wait_until_async(lambda: not behind.healthy)
    assert behind.last_error == "OSError: no disk"
    assert behind.pending == 2
    target.fails = False
    await wait_until_async(lambda: behind.healthy and behind.pending == 0)
    assert target.rows == {known(1).key: "new", known(2).key: "kept"}


async def test_the_queue_is_bounded_and_says_what_it_dropped(target: Target, behind: WriteBehind) -> None:
    target.open.clear()
    target.fails = True
    behind.put(known(0))
    await wait_until_async(lambda: target.waiting)
    for n in range(1, 15):
        behind.put(known(n))
    target.open.set()
    await wait_until_async(lambda: not behind.healthy)
    target.fails = False
    await wait_until_async(lambda: behind.pending == 0)
    assert sorted(key.port for key in target.rows) == list(range(5, 15)), "the longest waiting go first"
    assert behind.dropped == 5


async def test_what_was_discarded_is_not_written_even_after_a_failure(
    target: Target, behind: WriteBehind
) -> None:
    target.open.clear()
    target.fails = True
    behind.put(known(1))
    behind.put(known(2))
    await wait_until_async(lambda: target.waiting)
    behind.put(known(3))
    behind.discard(known(1).key)
    behind.discard(known(3).key)
    target.open.set()
    await wait_until_async(lambda: not behind.healthy)
    target.fails = False
    await wait_until_async(lambda: behind.pending == 0)
    assert list(target.rows) == [known(2).key]


async def test_closing_writes_what_waits(target: Target) -> None:
    behind = WriteBehind(target.save, pause_seconds=60)
    behind.start()
    behind.put(known(1))
    await asyncio.wait_for(behind.close(), 5)
    assert list(target.rows) == [known(1).key]


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_closing_is_bounded(target: Target, how: str) -> None:
    behind = WriteBehind(target.save, pause_seconds=0)
    behind.start()
    if how == "fails":
        target.fails = True
    else:
        target.open.clear()
    behind.put(known(1))
    await asyncio.wait_for(behind.close(0.1), 2)


async def test_no_poll_waits_for_a_store_that_another_process_holds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_LIMIT_SECONDS", 0.1)
    store = await Store.open(path)
    behind = WriteBehind(store.instances.upsert_many, pause_seconds=0.01, retry_seconds=0.01)
    behind.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        slowest = 0.0
        for n in range(200):
            began = time.monotonic()
            behind.put(known(n % 10, f"{n}"))
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0)
        await wait_until_async(lambda: not behind.healthy)
        assert slowest < 0.1
        assert "held by another process" in behind.last_error
        other.execute("ROLLBACK")
    await wait_until_async(lambda: behind.healthy and behind.pending == 0)
    assert sorted(int(one.facts) for one in await store.instances.load_all()) == list(range(190, 200))
    await behind.close()
    await store.close()
