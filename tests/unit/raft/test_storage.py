"""``services.raft.storage``: what was written is there again, and what is refused."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from services.consensus.messages import Entry, Snapshot
from services.consensus.state import Hard, Persist, Stored
from services.raft.errors import StorageError
from services.raft.storage import Storage
from tests.simulation.disk import Disk

MEMBERS = frozenset("abc")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    storage = Storage(tmp_path / "log" / "raft.db", "a", MEMBERS)
    yield storage
    await storage.close()
    storage.end()


async def reopened(file: Path, node_id: str = "a", members: frozenset[str] = MEMBERS) -> Stored:
    storage = Storage(file, node_id, members)
    try:
        return await storage.open()
    finally:
        await storage.close()
        storage.end()


async def test_nothing_is_an_empty_member(storage: Storage) -> None:
    assert await storage.open() == Stored()


async def test_what_was_written_is_there_again_whatever_it_was(storage: Storage, tmp_path: Path) -> None:
    """The same transactions as on the disk of the simulator: the same is read."""
    random, disk = Random(1), Disk()
    await storage.open()
    last, term = 0, 1
    for _ in range(150):
        term += random.random() < 0.2
        first = max(disk.base[0] + 1, disk.snapshot.index + 1, last + 1 - random.choice((0, 0, 1, 3)))
        entries = tuple(
            Entry(index, term, random.choice((None, b"x", b"\x00" * 10)))
            for index in range(first, first + random.randint(0, 4))
        )
        persist = Persist(Hard(term, random.choice((None, "a", "b")), 0), None, None, first, entries)
        disk.write(persist)
        await storage.write(persist)
        last = max(disk.entries, default=disk.base[0])
        if random.random() < 0.2 and last > disk.snapshot.index:
            kept = disk.entries[last]
            compacted = Persist(snapshot=Snapshot(last, kept.term, b"state"), base=(last, kept.term))
            disk.write(compacted)
            await storage.write(compacted)
    await storage.close()
    assert await reopened(tmp_path / "log" / "raft.db") == disk.read()


async def written(storage: Storage) -> None:
    await storage.open()
    await storage.write(Persist(Hard(3, "b", 0), None, None, 1, (Entry(1, 3, b"x"), Entry(2, 3, b"y"))))
    await storage.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE member SET voted_for = NULL",
        "UPDATE member SET term = 2",
        "UPDATE log SET command = 'z' WHERE idx = 2",
        "DELETE FROM log WHERE idx = 1",
        "DELETE FROM member",
        "DROP TABLE log",
    ],
)
async def test_damage_is_an_error_that_names_the_file_and_the_mend(
    storage: Storage, tmp_path: Path, damage: str
) -> None:
    await written(storage)
    file = tmp_path / "log" / "raft.db"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(damage)
    with pytest.raises(StorageError, match=str(file)):
        await reopened(file)


async def test_the_log_of_another_member_is_not_used(storage: Storage, tmp_path: Path) -> None:
    await written(storage)
    with pytest.raises(StorageError, match="belongs to the raft member a"):
        await reopened(tmp_path / "log" / "raft.db", node_id="b")


async def test_too_great_a_change_of_members_is_refused(storage: Storage, tmp_path: Path) -> None:
    await written(storage)
    file = tmp_path / "log" / "raft.db"
    with pytest.raises(StorageError, match="Change fewer members"):
        await reopened(file, members=frozenset("axy"))
    assert (await reopened(file, members=frozenset("abcde"))).hard == Hard(3, "b", 0)


async def test_who_has_it_open_has_it_alone(storage: Storage, tmp_path: Path) -> None:
    await storage.open()
    with pytest.raises(StorageError, match="used by another process"):
        await reopened(tmp_path / "log" / "raft.db")


async def test_a_transaction_that_fails_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    await written(storage)
    await storage.open()
    twice = Persist(Hard(9, None, 0), None, None, 3, (Entry(3, 9, b"x"), Entry(3, 9, b"x")))
    with pytest.raises(StorageError):
        await storage.write(twice)
    await storage.close()
    assert (await reopened(tmp_path / "log" / "raft.db")).hard == Hard(3, "b", 0)
