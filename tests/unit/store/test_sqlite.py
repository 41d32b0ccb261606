"""Transactions on SQLite: bounded in time, all or nothing, readers and the writer side by side."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from services.store import sqlite
from services.store.backend import Backend, SQLiteBackend
from services.store.errors import StoreBusyError, StorePathError, StoreTimeoutError
from services.store.instances import KnownInstance
from services.store.schema import SETTINGS
from services.store.store import Store
from tests.unit.store.samples import MASTER, REPLICA, another_process


@pytest.fixture
def backend(path: Path) -> Backend:
    return SQLiteBackend(path)


FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def note(connection: Connection, name: str = "a") -> None:
    connection.execute(insert(SETTINGS).values(name=name, value=""))


async def names(store: Store) -> list[str]:
    return await store.database.read(
        lambda c: [row.name for row in c.exec_driver_sql("SELECT name FROM settings ORDER BY name")]
    )


@contextmanager
def held_by_another(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


async def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    def work(connection: Connection) -> None:
        note(connection)
        raise LookupError("on the way")

    with pytest.raises(LookupError):
        await store.database.write(work)
    assert await names(store) == []


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_statement_without_end_is_stopped_at_its_limit(store: Store, kind: str) -> None:
    def work(connection: Connection) -> None:
        if kind == "write":
            note(connection, "undone")
        connection.exec_driver_sql(FOREVER)

    run = getattr(store.database, kind)
    began = time.monotonic()
    with pytest.raises(StoreTimeoutError):
        await run(work, limit_seconds=0.2)
    assert time.monotonic() - began < 2, "interrupted, not waited for"
    await store.database.write(note)
    assert await names(store) == ["a"], "what was stopped left nothing, and the connection serves on"


async def test_what_nobody_waits_for_any_more_is_stopped_too(store: Store) -> None:
    began = asyncio.Event()

    def work(connection: Connection) -> None:
        began.set()
        connection.exec_driver_sql(FOREVER)

    task = asyncio.create_task(store.database.write(work))
    await asyncio.wait_for(began.wait(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(store.database.write(note), 2)


async def test_a_writer_waits_for_another_process_and_then_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_LIMIT_SECONDS", 0.2)
    store = await Store.open(path)
    with held_by_another(path) as other:
        began = time.monotonic()
        with pytest.raises(StoreBusyError, match=f"{path} is held by another process"):
            await store.database.write(note)
        assert time.monotonic() - began >= 0.2
        waiting = asyncio.create_task(store.database.write(note))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.execute("ROLLBACK")
        await waiting
    assert await names(store) == ["a"]
    await store.close()


async def test_the_limit_holds_while_another_process_has_the_file(path: Path, store: Store) -> None:
    with held_by_another(path):
        began = time.monotonic()
        with pytest.raises(StoreTimeoutError, match=r"did not answer within 0\.2 s"):
            await store.database.write(note, limit_seconds=0.2)
        assert time.monotonic() - began < sqlite.BUSY_LIMIT_SECONDS
    await store.database.write(note)


@pytest.fixture
async def disk_hangs(store: Store) -> AsyncIterator[threading.Event]:
    """``SELECT hang()`` in the writer's connection returns when the event is set."""
    back = threading.Event()
    async with store.database._writer.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.create_function("hang", 0, lambda: back.wait(30) and None)
    yield back
    back.set()


async def test_a_disk_that_hangs_holds_up_no_call(store: Store, disk_hangs: threading.Event) -> None:
    def work(connection: Connection) -> None:
        note(connection, "undone")
        connection.exec_driver_sql("SELECT hang()")

    began = time.monotonic()
    for call in (work, note, note):
        with pytest.raises(StoreTimeoutError, match=r"did not answer within 0\.2 s"):
            await store.database.write(call, limit_seconds=0.2)
    assert time.monotonic() - began < 2
    assert await names(store) == [], "reads go on"
    assert "did not answer" in store.database.last_error
    disk_hangs.set()
    await store.database.write(lambda c: note(c, "next"))
    assert await names(store) == ["next"], "what was given up is not done later"
    assert store.database.last_error == ""


async def test_a_reader_neither_waits_for_a_writer_nor_sees_half_of_its_work(
    path: Path, store: Store
) -> None:
    """The gateway reads the file that the leader writes."""
    await store.instances.upsert_many([KnownInstance(MASTER, "old")])
    gateway = await Store.open(path, read_only=True)
    with held_by_another(path) as other:
        other.execute("UPDATE known_instances SET facts = 'new'")
        seen = await gateway.database.read(_facts, limit_seconds=1)
        assert seen == ["old"]
        other.execute("COMMIT")
    assert await gateway.database.read(_facts) == ["new"]
    await gateway.close()


def _facts(connection: Connection) -> list[str]:
    return [row.facts for row in connection.exec_driver_sql("SELECT facts FROM known_instances")]


async def test_a_read_is_one_consistent_view(path: Path, store: Store) -> None:
    def twice(connection: Connection) -> tuple[list[str], list[str]]:
        before = _facts(connection)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO known_instances VALUES ('h', 1, 'x', '', '')")
        return before, _facts(connection)

    assert await store.database.read(twice) == ([], [])
    assert len(await store.instances.load_all()) == 1


async def test_a_store_for_reading_writes_nothing(path: Path, store: Store) -> None:
    gateway = await Store.open(path, read_only=True)
    with pytest.raises(StorePathError, match="opened for reading only"):
        await gateway.instances.upsert_many([KnownInstance(REPLICA, "{}")])
    with pytest.raises(StorePathError, match="may not be written"):
        await gateway.database.read(note)
    await gateway.close()
    assert await names(store) == []


DIE_AFTER_A_COMMIT = """
    import asyncio, os, signal, sys
    from services.store.instances import KnownInstance
    from services.store.store import Store
    from services.topology.keys import InstanceKey

    async def main():
        store = await Store.open(sys.argv[1])
        for port in range(1, 4):
            await store.instances.upsert_many([KnownInstance(InstanceKey("h", port), "{}")])
        await store.database.write(half)

    def half(connection):
        connection.exec_driver_sql("DELETE FROM known_instances")
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
"""


async def test_a_process_that_is_killed_leaves_what_it_committed_and_nothing_else(path: Path) -> None:
    process = another_process(DIE_AFTER_A_COMMIT, str(path))
    await asyncio.to_thread(process.communicate, None, 30)
    assert process.returncode == -9
    store = await Store.open(path)
    assert [known.key.port for known in await store.instances.load_all()] == [1, 2, 3]
    await store.close()
