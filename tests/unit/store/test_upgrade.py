"""A store of an older schema, with rows, is brought up to date: nothing of it is lost or numbered anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine, inspect

from services.store.backend import Backend, MySQLBackend, SQLiteBackend
from services.store.clusters import ClusterRecord
from services.store.errors import UnknownRecoveryError
from services.store.migrate import run_migrations
from services.store.recoveries import Outcome, RecoveryFilter
from services.store.store import Store
from services.store.times import shifted
from services.topology.records import DeposedMaster, JournalEntry, JournalPhase
from tests.backends import FLAVOURS, SERVERS, backend_on
from tests.servers import StandaloneServer
from tests.unit.store.samples import MASTER, OTHER, REPLICA, T0, entry, recovery

DAY = 86_400
DATABASE = "orchestray_old"


@pytest.fixture(params=FLAVOURS)
def backend(request: pytest.FixtureRequest, path: Path) -> Iterator[Backend]:
    if request.param == "sqlite":
        yield SQLiteBackend(path)
        return
    server: StandaloneServer = request.getfixturevalue(SERVERS[request.param])
    server.execute(
        f"DROP DATABASE IF EXISTS {DATABASE}",
        f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )
    yield backend_on(server, DATABASE)
    server.execute(f"DROP DATABASE {DATABASE}")


def on(backend: Backend, work: Callable[[Connection], None]) -> None:
    if isinstance(backend, MySQLBackend):
        address = f"{backend.user}:{backend.password.reveal()}@{backend.host}:{backend.port}/{DATABASE}"
        engine = create_engine(f"mysql+pymysql://{address}", poolclass=NullPool)
    else:
        engine = create_engine(f"sqlite:///{backend.path}", poolclass=NullPool)
    with engine.begin() as connection:
        work(connection)


def references(connection: Connection) -> int:
    return sum(len(keys) for keys in inspect(connection).get_multi_foreign_keys().values())


def made_by_0002(connection: Connection) -> None:
    """With a recovery, its rows, and one of the same that is gone again."""
    run_migrations(connection, "0002")
    assert references(connection) == 4
    recovery_row = (
        "INSERT INTO recoveries VALUES ({id}, 'u{id}', NULL, 'c1', 'm', 'a', 'm.example', 3306, "
        "'DeadMaster', 0, '[]', 't', 'r', 0, 'n', 'k', 1, '{at}', '{at}', 1, '', 0, '', "
        "'[]', '[]', '[]', '', 0, '', '', '')"
    )
    for statement in (
        recovery_row.format(id=7, at=T0),
        f"INSERT INTO recovery_steps VALUES (3, 'u7', '{T0}', 'one'), (9, 'u7', '{T0}', 'two')",
        f"INSERT INTO recovery_journal VALUES (5, 'u7', 1, 1, 'k', 'm.example', 3306, 'intent', '', '{T0}')",
        f"INSERT INTO blocked_recoveries VALUES ('m.example', 3306, 'm', 'DeadMaster', '{T0}', 7)",
        "INSERT INTO clusters VALUES ('c1', 'm.example', 3306, '', '', '')",
        f"INSERT INTO deposed_masters VALUES ('c1', 'r.example', 3306, '{T0}', '{T0}', 1, 'u7', '', '')",
        "DELETE FROM recovery_steps WHERE id = 9",
    ):
        connection.exec_driver_sql(statement)


async def test_rows_and_numbers_go_on_without_references(backend: Backend) -> None:
    on(backend, made_by_0002)
    store = await Store.open(backend)
    assert await store.database.read(references) == 0
    assert [(step.id, step.message) for step in await store.journal.steps("u7")] == [(3, "one")]
    assert [one.id for one in await store.journal.entries("u7")] == [5]
    assert [one.key for one in await store.clusters.deposed_masters()] == [REPLICA]
    await store.journal.add_step("u7", "three", at=T0)
    assert [step.id for step in await store.journal.steps("u7")][-1] > 9, "a number is not given twice"
    indexes = await store.database.read(lambda c: inspect(c).get_indexes("recovery_journal"))
    assert ["recovery_uid"] in [index["column_names"] for index in indexes]
    await store.close()


async def test_what_belongs_to_a_row_goes_with_it(backend: Backend) -> None:
    store = await Store.open(backend)
    kept = await store.recoveries.register(recovery("2:kept", about=entry(cluster_id="c2", failed=OTHER)))
    gone = await store.recoveries.register(recovery("1:gone"))
    for each in (kept, gone):
        await store.journal.add_step(each.uid, "a step", at=T0)
        intent = JournalEntry(
            recovery_uid=each.uid,
            term=1,
            step_no=1,
            kind="k",
            instance=MASTER,
            phase=JournalPhase.INTENT,
            detail="",
            at=T0,
        )
        await store.journal.write(intent)
    await store.recoveries.resolve(gone.uid, Outcome(is_successful=False), at=T0, term=1, block_seconds=0)
    assert await store.audit.purge(shifted(T0, 9 * DAY), days=7) == 1
    assert [one.uid for one in await store.recoveries.page(RecoveryFilter(), now=T0)] == [kept.uid]
    for uid, count in ((kept.uid, 1), (gone.uid, 0)):
        assert (len(await store.journal.steps(uid)), len(await store.journal.entries(uid))) == (count, count)
    with pytest.raises(UnknownRecoveryError):
        await store.journal.add_step(gone.uid, "late", at=T0)
    await store.clusters.create(ClusterRecord(id="c1", master_key=MASTER))
    deposed = DeposedMaster(
        cluster_id="c1", key=REPLICA, deposed_at=T0, until=T0, term=1, recovery_uid=gone.uid
    )
    await store.clusters.promote("c1", expected=MASTER, master=OTHER, at=T0, term=1, deposed=deposed)
    await store.clusters.forget("c1")
    assert await store.clusters.deposed_masters() == ()
    await store.close()
