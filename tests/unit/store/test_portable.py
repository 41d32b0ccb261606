"""The same schema and the same statements on a real MySQL, where a later setup will keep the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from sqlalchemy import URL, Connection, Engine, create_engine, insert, inspect
from sqlalchemy.exc import IntegrityError

from services.election.lease import Lease
from services.election.row import read, replace
from services.store.audit import AuditStore
from services.store.clusters import ClusterRecord, ClusterStore
from services.store.detections import DetectionStore
from services.store.errors import ClusterBlockedError, ClusterBusyError, StaleTermError, UnknownRecoveryError
from services.store.instances import InstanceStore, KnownInstance
from services.store.journal import JournalStore
from services.store.migrate import _run_migrations
from services.store.recoveries import Outcome, RecoveryFilter, RecoveryStore
from services.store.registrations import RegistrationStore
from services.store.schema import METADATA, RECOVERIES, VERSION_TABLE
from services.store.times import shifted
from services.topology.records import (
    AuditEntry,
    CandidateRule,
    DeposedMaster,
    Downtime,
    JournalEntry,
    JournalPhase,
)
from tests.servers import StandaloneServer
from tests.unit.store.samples import MASTER, OTHER, REPLICA, T0, detection, entry, recovery

T = TypeVar("T")


class Blocking:
    """Has the methods of ``engine.Database`` that the parts of the store use."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def read(self, work: Callable[[Connection], T], *, limit_seconds: float = 5.0) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    write = read


@pytest.fixture
def database(mysql_server: StandaloneServer) -> Iterator[Blocking]:
    url = URL.create(
        "mysql+pymysql",
        username=mysql_server.user,
        password=mysql_server.password,
        host=mysql_server.host,
        port=mysql_server.port,
    )
    with create_engine(url).begin() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS orchestray_store")
        connection.exec_driver_sql("CREATE DATABASE orchestray_store")
    engine = create_engine(url.set(database="orchestray_store"))
    with engine.begin() as connection:
        _run_migrations(connection)
    yield Blocking(engine)
    engine.dispose()


def test_migrations_make_all_tables(database: Blocking) -> None:
    tables = set(inspect(database.engine).get_table_names())
    assert tables == {*METADATA.tables, VERSION_TABLE}


async def test_known_things_are_written_over_and_read(database: Blocking) -> None:
    instances = InstanceStore(database)  # type: ignore[arg-type]
    await instances.upsert_many([KnownInstance(MASTER, "1"), KnownInstance(REPLICA, "☃" * 30_000)])
    await instances.upsert_many([KnownInstance(MASTER, "2", "c1", T0)])
    loaded = await instances.load_all()
    assert loaded == (KnownInstance(MASTER, "2", "c1", T0), KnownInstance(REPLICA, "☃" * 30_000))
    await instances.forget([MASTER])
    assert len(await instances.load_all()) == 1

    registrations = RegistrationStore(database)  # type: ignore[arg-type]
    for rule in ("prefer", "must_not"):
        registered = CandidateRule(
            key=MASTER, promotion_rule=rule, last_suggested=T0, expires_at=shifted(T0, 60)
        )
        await registrations.register_candidate(registered)
    assert await registrations.candidates(T0) == (registered,)
    downtime = Downtime(key=MASTER, owner="me", reason="r", begins_at=T0, ends_at=shifted(T0, 60))
    await registrations.begin_downtime(downtime)
    assert await registrations.downtimes(T0) == (downtime,)
    assert await registrations.end_downtime(MASTER)
    await registrations.disable_recoveries()
    assert not await registrations.recoveries_enabled()


async def test_texts_differ_by_their_bytes(database: Blocking) -> None:
    clusters = ClusterStore(database)  # type: ignore[arg-type]
    for name in ("c", "C", "ć"):
        await clusters.create(ClusterRecord(id=name, master_key=MASTER))
    assert len(await clusters.load()) == 3


async def test_a_promotion_and_what_it_deposed(database: Blocking) -> None:
    clusters = ClusterStore(database)  # type: ignore[arg-type]
    deposed = DeposedMaster(
        cluster_id="c1", key=MASTER, deposed_at=T0, until=shifted(T0, 9), term=1, recovery_uid="1:a"
    )
    for _ in range(2):
        await clusters.promote("c1", expected=MASTER, master=REPLICA, at=T0, term=1, deposed=deposed)
    assert await clusters.deposed_masters() == (deposed,)
    assert await clusters.seen_again("c1", MASTER, T0)
    assert not await clusters.seen_again("c1", MASTER, T0)
    assert await clusters.rejoined("c1", MASTER)


async def test_the_life_of_a_recovery(database: Blocking) -> None:
    recoveries = RecoveryStore(database)  # type: ignore[arg-type]
    journal = JournalStore(database)  # type: ignore[arg-type]
    detections = DetectionStore(database)  # type: ignore[arg-type]
    noticed = await detections.register(detection(), active_seconds=60)
    assert noticed.is_new
    assert not (await detections.register(detection(), active_seconds=60)).is_new
    begun = await recoveries.register(recovery("1:a", detection=noticed.detection.id))
    with pytest.raises(ClusterBusyError):
        await recoveries.register(recovery("2:b"))
    assert [one.blocking_recovery_id for one in await recoveries.blocked(T0)] == [begun.id]
    with pytest.raises(UnknownRecoveryError):
        await journal.add_step("9:z", "step", at=T0)
    await journal.add_step("1:a", "step", at=T0)
    line = JournalEntry(
        recovery_uid="1:a", term=1, step_no=1, kind="k", phase=JournalPhase.INTENT, detail="{}", at=T0
    )
    await journal.write(line)
    (left_open,) = await journal.open_recoveries()
    assert (left_open.recovery, len(left_open.journal)) == (begun, 1)

    end = Outcome(is_successful=True, successor_key=REPLICA, all_errors=("é",))
    for _ in range(2):
        ended = await recoveries.resolve("1:a", end, at=T0, term=1, block_seconds=60)
    assert await recoveries.page(RecoveryFilter(unacknowledged=True), now=T0) == (ended,)
    with pytest.raises(ClusterBlockedError):
        await recoveries.register(recovery("2:b"))
    which = RecoveryFilter(cluster_alias="shop")
    assert await recoveries.acknowledge(which, owner="me", comment="seen", at=T0) == 1
    await recoveries.register(recovery("2:b", about=entry(failed=OTHER)))

    audit = AuditStore(database)  # type: ignore[arg-type]
    await audit.add(AuditEntry(at=T0, type="x"))
    assert await audit.purge(shifted(T0, 10**6), days=1) == 3
    assert await journal.steps("1:a") == ()
    assert [one.uid for one in await recoveries.page(now=T0)] == ["2:b"]


async def test_the_lease_is_a_compare_and_set_that_fences(database: Blocking) -> None:
    first, second = Lease("a", 1, 1, 3000), Lease("b", 2, 2, 3000)
    for expected, new, done in (
        (None, first, True),
        (None, second, False),
        (second, second, False),
        (first, second, True),
        (first, second, False),
    ):
        assert await database.write(lambda c, e=expected, n=new: replace(c, e, n)) is done  # type: ignore[misc]
    assert await database.read(read) == second
    with pytest.raises(StaleTermError):
        await RecoveryStore(database).register(recovery(term=1))  # type: ignore[arg-type]


async def test_the_lock_on_a_cluster_is_the_databases_own(database: Blocking) -> None:
    """Not a check before the insert, which two transactions side by side would both pass."""
    recoveries = RecoveryStore(database)  # type: ignore[arg-type]
    await recoveries.register(recovery("1:a"))
    row = await database.read(lambda c: dict(c.execute(RECOVERIES.select()).mappings().one()))
    del row["id"]
    row["uid"] = "2:b"
    with pytest.raises(IntegrityError, match="uq_recoveries_active_slot"):
        await database.write(lambda c: c.execute(insert(RECOVERIES).values(row)))
