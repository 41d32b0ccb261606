"""What is alike on SQLite, MySQL and MariaDB only because somebody saw to it."""

from __future__ import annotations

import asyncio
import os

import pytest
from sqlalchemy import Connection, insert, inspect, update

from services.election.lease import Lease
from services.election.row import read, replace
from services.store.backend import Backend, MySQLBackend
from services.store.clusters import ClusterRecord
from services.store.errors import StaleTermError, StoreRefusedError
from services.store.instances import KnownInstance
from services.store.mysql import GUARD_TABLE
from services.store.schema import METADATA, SETTINGS, VERSION_TABLE
from services.store.store import Store
from services.topology.registrations import CandidateRule
from tests.pairs import WITH_PAIR
from tests.unit.store.samples import MASTER, REPLICA, T0, recovery


async def test_the_migrations_make_all_tables(store: Store, backend: Backend) -> None:
    tables = await store.database.read(lambda c: set(inspect(c).get_table_names()))
    engines_own = {GUARD_TABLE} if isinstance(backend, MySQLBackend) else {"sqlite_sequence"}
    assert tables - engines_own == {*METADATA.tables, VERSION_TABLE}


async def test_long_texts_of_any_language(store: Store) -> None:
    written = (KnownInstance(MASTER, "1"), KnownInstance(REPLICA, "☃😀" * 30_000))
    await store.instances.upsert_many(written)
    assert await store.instances.load_all() == written


async def test_texts_differ_by_their_bytes(store: Store) -> None:
    for name in ("c", "C", "\u0107"):
        await store.clusters.create(ClusterRecord(id=name, master_key=MASTER))
    assert len(await store.clusters.load()) == 3


async def test_an_update_counts_the_rows_that_it_found(store: Store) -> None:
    await store.clusters.create(ClusterRecord(id="c", master_key=MASTER))
    for _ in range(2):
        assert await store.clusters.set_alias("c", "a")
    assert not await store.clusters.set_alias("none", "a")


async def test_the_lease_is_a_compare_and_set_that_fences(store: Store) -> None:
    first, second = Lease("a", 1, 1, 3000), Lease("b", 2, 2, 3000)
    for expected, new, done in (
        (None, first, True),
        (None, second, False),
        (second, second, False),
        (first, second, True),
        (first, second, False),
    ):
        assert await store.database.write(lambda c, e=expected, n=new: replace(c, e, n)) is done  # type: ignore[misc]
    assert await store.database.read(read) == second
    with pytest.raises(StaleTermError):
        await store.recoveries.register(recovery(term=1))


async def test_nothing_is_cut_to_fit(store: Store, backend: Backend) -> None:
    """What SQLite takes whole, MySQL refuses, instead of keeping a part."""
    rule = CandidateRule(
        key=MASTER, promotion_rule="x" * 65, last_suggested=T0, expires_at="2030-01-01T00:00:00Z"
    )
    if isinstance(backend, MySQLBackend):
        with pytest.raises(StoreRefusedError, match="takes no value as long as this"):
            await store.registrations.register_candidate(rule)
        assert await store.registrations.candidates(T0) == ()
    else:
        await store.registrations.register_candidate(rule)


async def test_a_statement_that_is_not_safe_would_be_noticed(
    store: Store, backend: Backend, request: pytest.FixtureRequest, unsafe_statements: list[str]
) -> None:
    """The test of ``unsafe_statements``."""
    if "mariadb" not in request.node.name:
        pytest.skip("its binary log has other formats")
    if os.environ.get(WITH_PAIR):
        pytest.skip("the pair would differ, as it should")
    await store.registrations.disable_recoveries()

    def work(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE settings SET value = UUID() LIMIT 1")

    await store.database.write(work)
    assert set(unsafe_statements) == {"UPDATE settings SET value = UUID() LIMIT 1"}
    unsafe_statements.clear()


async def test_a_failure_on_the_way_leaves_nothing(store: Store) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(SETTINGS).values(name="a", value=""))
        raise LookupError("on the way")

    with pytest.raises(LookupError):
        await store.database.write(work)
    assert await store.database.read(lambda c: c.execute(SETTINGS.select()).all()) == []


async def test_writes_of_one_process_lose_nothing(store: Store) -> None:
    """Read, then write: on a level that lets two do so side by side, one would be lost."""

    def count_up(connection: Connection) -> None:
        value = connection.execute(SETTINGS.select().with_only_columns(SETTINGS.c.value)).scalar() or "0"
        if value == "0":
            connection.execute(insert(SETTINGS).values(name="n", value="1"))
        else:
            connection.execute(update(SETTINGS).values(value=str(int(value) + 1)))

    await asyncio.gather(*(store.database.write(count_up) for _ in range(20)))
    assert await store.database.read(lambda c: c.execute(SETTINGS.select()).one().value) == "20"
