"""Opening the store: what it makes, what it refuses and with what words."""

# ruff: noqa: ASYNC240

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Connection, text

from services.config import from_mapping
from services.store import migrate
from services.store.backend import Backend, SQLiteBackend, backend_of
from services.store.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreFullError,
    StorePathError,
    StoreSchemaError,
)
from services.store.instances import KnownInstance
from services.store.schema import SCHEMA_VERSION, VERSION_TABLE
from services.store.store import Store
from tests.unit.store.samples import MASTER, another_process


@pytest.fixture
def backend(path: Path) -> Backend:
    return SQLiteBackend(path)


async def test_it_makes_directory_and_file_with_a_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b%20 #1?.db"
    store = await Store.open(path)
    try:
        assert path.is_file()
        settings = await store.database.write(_pragmas)
        # FULL is 2: with a write-ahead log anything less may lose commits with the power
        assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2000}
    finally:
        await store.close()


def _pragmas(connection: Connection) -> dict[str, object]:
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}


async def test_a_second_opening_keeps_what_the_first_wrote(path: Path) -> None:
    first = await Store.open(path)
    await first.instances.upsert_many([KnownInstance(MASTER, "{}")])
    await first.close()
    second = await Store.open(path)
    assert [known.key for known in await second.instances.load_all()] == [MASTER]
    await second.close()


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorePathError, match=f"{tmp_path} is a directory: name a file in it"):
        await Store.open(tmp_path)


async def test_a_path_through_a_file_is_refused(path: Path) -> None:
    path.write_text("")
    with pytest.raises(StorePathError, match=r"cannot be made \(.*make its directory"):
        await Store.open(path / "store.db")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("no database at all, " * 100)
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError, match=rf"{path} is damaged .* move it away and put a backup"):
        await Store.open(path)
    assert path.read_bytes() == before


async def test_damage_that_shows_later_is_told_as_damage(path: Path) -> None:
    store = await Store.open(path)
    await store.instances.upsert_many([KnownInstance(MASTER, "x" * 200_000)])
    await store.close()
    intact = path.read_bytes()
    half = len(intact) // 2  # the long value lies at the end
    path.write_bytes(intact[:half] + b"\xff" * (len(intact) - half))
    damaged = await Store.open(path)
    with pytest.raises(StoreCorruptError, match="damaged"):
        await damaged.instances.load_all()
    assert "damaged" in damaged.database.last_error
    await damaged.close()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may open anything: step down for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_what_this_user_may_not_write_is_refused() -> None:
    with TemporaryDirectory() as name:  # not pytest's, which are closed to others
        folder = Path(name)
        read_only = folder / "store.db"
        read_only.touch(mode=0o444)
        folder.chmod(0o555)
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        with as_nobody():
            with pytest.raises(StorePathError, match=f"{read_only} .*let this user write it"):
                await Store.open(read_only)
            with pytest.raises(StorePathError, match="see that this user may write it and its directory"):
                await Store.open(folder / "new.db")
            with pytest.raises(StorePathError, match="Permission denied"):
                await Store.open(closed / "store.db")
            with pytest.raises(StorePathError, match="Permission denied"):
                await Store.open(closed / "store.db", read_only=True)
        folder.chmod(0o755)


async def test_a_full_disk_is_told_as_one_and_the_store_works_again_with_room(store: Store) -> None:
    pages = await store.database.write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
    await store.database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}"))
    big = KnownInstance(MASTER, "x" * 100_000)
    with pytest.raises(StoreFullError, match=f"no room for the store {store.database.path}: free space"):
        await store.instances.upsert_many([big])
    assert await store.instances.load_all() == ()
    assert "no room" in store.database.last_error, "a read that works does not hide that writes fail"
    await store.database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages + 2000}"))
    await store.instances.upsert_many([big])
    assert await store.instances.load_all() == (big,)
    assert store.database.last_error == ""


async def _set_version(path: Path, version: str) -> None:
    store = await Store.open(path)
    await store.database.write(
        lambda c: c.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :v"), {"v": version})
    )
    await store.close()


async def test_a_schema_newer_than_the_code_is_refused(path: Path) -> None:
    await _set_version(path, "0999")
    for read_only in (False, True):
        with pytest.raises(StoreSchemaError, match=rf"{path} was written by a newer version \(schema 0999"):
            await Store.open(path, read_only=read_only)


async def test_the_file_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE dashboards (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StoreSchemaError, match=r"belongs to another program .*dashboards"):
        await Store.open(path)
    assert path.read_bytes() == before


async def test_a_file_of_orchestrator_is_taken_over_with_its_tables_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE database_instance (hostname TEXT)")
        other.execute("INSERT INTO database_instance VALUES ('kept')")
        other.commit()
    store = await Store.open(path)
    await store.instances.upsert_many([KnownInstance(MASTER, "{}")])
    await store.close()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT hostname FROM database_instance").fetchall() == [("kept",)]


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = migrate.run_migrations

    def fail_at_the_end(connection: Connection) -> None:
        run(connection)
        raise sqlite3.OperationalError("the power went")

    monkeypatch.setattr(migrate, "run_migrations", fail_at_the_end)
    with pytest.raises(Exception, match="the power went"):
        await Store.open(path)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    await (await Store.open(path)).close()


OPEN_EACH_AT_A_SIGNAL = """
    import asyncio, sys
    from services.store.store import Store

    async def main():
        for path in sys.argv[1:]:
            print("ready", flush=True)
            sys.stdin.readline()
            store = await Store.open(path)
            await store.registrations.disable_recoveries()
            await store.close()

    asyncio.run(main())
"""


async def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{n}.db") for n in range(8)]
    processes = [another_process(OPEN_EACH_AT_A_SIGNAL, *paths) for _ in range(3)]
    for _ in paths:
        said = [process.stdout.readline() for process in processes if process.stdout]
        if said != ["ready\n"] * 3:
            break  # the assertion below shows why
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
    ended = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    for path in paths:
        with closing(sqlite3.connect(path)) as file:
            assert file.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [(SCHEMA_VERSION,)]


async def test_stores_opened_at_once_in_one_process_all_succeed(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(Store.open(tmp_path / f"{n % 2}.db") for n in range(6)))
    for store in stores:
        assert await store.registrations.recoveries_enabled()
        await store.close()


async def test_a_file_that_is_held_for_good_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "OPEN_LIMIT_SECONDS", 0.1)
    monkeypatch.setattr(migrate, "BUSY_LIMIT_SECONDS", 0.1)
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("PRAGMA journal_mode=WAL")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusyError, match=f"{path} is held by another process"):
            await Store.open(path)


async def test_a_reader_makes_nothing_and_says_what_it_waits_for(path: Path) -> None:
    with pytest.raises(StorePathError, match=f"there is no store {path} yet"):
        await Store.open(path, read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreSchemaError, match="has schema none, this program needs"):
        await Store.open(path, read_only=True)


@pytest.mark.parametrize("packet", [0, 1, 1 << 26])
def test_a_setting_of_the_topology_changes_nothing_of_the_backend(packet: int) -> None:
    """The peer writes it into the connection text of its backend, which then cannot be used."""
    given = {"BackendDB": "mysql", "MySQLOrchestratorHost": "db", "MySQLOrchestratorDatabase": "o"}
    given["MySQLOrchestratorUser"] = "o"
    plain, with_packet = (
        from_mapping({**given, **more}).settings for more in ({}, {"MySQLTopologyMaxAllowedPacket": packet})
    )
    assert with_packet.MySQLTopologyMaxAllowedPacket == packet
    assert backend_of(with_packet) == backend_of(plain)
