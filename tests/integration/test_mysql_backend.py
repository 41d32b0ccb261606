"""The store on a real MySQL or MariaDB that fails in the ways that servers do."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import Connection, insert, select

from services.config import Secret
from services.election.election import LeaseElection
from services.mysql.connection import TlsFiles
from services.store.backend import MySQLBackend
from services.store.errors import (
    StoreAccessError,
    StoreBusyError,
    StoreReadOnlyError,
    StoreSchemaError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from services.store.mysql import GUARD_TABLE
from services.store.mysql_session import WRITER_IDLE_SECONDS, Session
from services.store.rehearsal import rehearse
from services.store.schema import SETTINGS
from services.store.store import Store
from services.store.times import utc_now
from tests.backends import backend_on
from tests.servers import Stage, StandaloneServer, general_log, start_general_log, wait_until_async

LIMIT = 1.0
SLACK = 1.0


@pytest.fixture(params=["mysql", "mariadb"])
def own(request: pytest.FixtureRequest) -> StandaloneServer:
    """A server that the test may do anything with."""
    name = "stage" if request.param == "mysql" else "mariadb_stage"
    stage: Stage = request.getfixturevalue(name)
    return stage.server()


@pytest.fixture
async def store(own: StandaloneServer) -> AsyncIterator[Store]:
    opened = await Store.open(backend_on(own))
    yield opened
    await opened.close()


def write(connection: Connection, name: str = "a") -> None:
    connection.execute(insert(SETTINGS).values(name=name, value=""))


async def names(store: Store) -> list[str]:
    return await store.database.read(
        lambda c: list(c.execute(select(SETTINGS.c.name).order_by(SETTINGS.c.name)).scalars())
    )


def raw(backend: MySQLBackend) -> Session:
    """Another process's session."""
    session = Session(backend, idle_seconds=60, database=backend.database)
    session.connect()
    return session


async def test_it_goes_on_after_a_restart_of_the_server(own: StandaloneServer, store: Store) -> None:
    await store.database.write(write)
    own.restart()
    await store.database.write(lambda c: write(c, "b"))
    assert await names(store) == ["a", "b"]
    assert store.database.last_error == ""


async def test_a_server_that_is_down_fails_every_call_at_once(own: StandaloneServer, store: Store) -> None:
    own.kill()
    for call in (store.database.read(lambda c: None), store.database.write(write)):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=f"{own.port}/orchestray .*(not reached|was lost)"):
            await call
        assert time.monotonic() - began < LIMIT
    assert "is not reached" in store.database.last_error
    own.start()
    await store.database.write(write)
    assert await names(store) == ["a"]
    assert store.database.last_error == ""


async def test_a_server_that_hangs_holds_up_no_call_and_no_thread(
    own: StandaloneServer, store: Store
) -> None:
    await store.database.write(write)
    await names(store)
    own.pause()
    for _ in range(3):
        for call in (store.database.read, store.database.write):
            began = time.monotonic()
            with pytest.raises(StoreTimeoutError, match=r"did not answer within 0\.5 s"):
                await call(lambda c: write(c, "late"), limit_seconds=0.5)
            assert time.monotonic() - began < 0.5 + SLACK
    own.resume()
    await wait_until_async(lambda: _works(store), 10)
    assert await names(store) == ["a"], "what was given up is not done later"


async def _works(store: Store) -> bool:
    try:
        await names(store)
    except StoreUnavailableError:
        return False
    return True


async def test_a_deadlock_is_a_lost_attempt_that_is_run_again(own: StandaloneServer, store: Store) -> None:
    """Only somebody who does not begin with the guard can be in a deadlock with us."""
    await store.database.write(write)
    with closing(raw(backend_on(own)).driver) as other:
        other.query("UPDATE settings SET value = 'x' WHERE name = 'a'")
        for number in range(50):  # what changed less is given up
            other.query(f"INSERT INTO settings VALUES ('filler {number}', '')")
        attempts = 0

        def work(connection: Connection) -> None:
            nonlocal attempts
            attempts += 1
            write(connection, "b")
            connection.exec_driver_sql("UPDATE settings SET value = 'y' WHERE name = 'a'")

        writing = asyncio.create_task(store.database.write(work))
        await wait_until_async(lambda: attempts == 1, 5)
        waiting = "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        await wait_until_async(lambda: asyncio.to_thread(own.query, waiting), 5)
        crossing = asyncio.create_task(
            asyncio.to_thread(other.query, f"UPDATE {GUARD_TABLE} SET writes = writes + 1")
        )
        await asyncio.wait_for(crossing, 5)
        other.query("COMMIT")
        await writing
    assert attempts == 2
    assert (await names(store))[:2] == ["a", "b"]


async def test_another_write_that_takes_too_long_is_told_as_that(own: StandaloneServer, store: Store) -> None:
    with closing(raw(backend_on(own)).driver) as other:
        other.query(f"INSERT INTO {GUARD_TABLE} VALUES (1, 1) ON DUPLICATE KEY UPDATE writes = writes + 1")
        with pytest.raises(StoreBusyError, match=r"writes to the store .* for too long"):
            await store.database.write(write)
        assert await names(store) == [], "reads go on"
        other.query("ROLLBACK")
    await store.database.write(write)


async def test_a_process_that_stops_in_the_middle_of_a_write_holds_nobody_for_long(
    own: StandaloneServer, store: Store
) -> None:
    """The server ends its session: ``wait_timeout``."""
    backend = backend_on(own)
    stopped = Session(backend, idle_seconds=WRITER_IDLE_SECONDS, database=backend.database)
    stopped.connect()
    stopped.driver.query(f"REPLACE INTO {GUARD_TABLE} VALUES (1, 1)")
    began = time.monotonic()

    async def written() -> bool:
        try:
            await store.database.write(write)
        except StoreBusyError:
            return False
        return True

    await wait_until_async(written, 10)
    assert time.monotonic() - began < WRITER_IDLE_SECONDS + SLACK
    stopped.driver.close()


@pytest.mark.parametrize("rejects", [False, True])
async def test_a_read_only_server(own: StandaloneServer, rejects: bool) -> None:
    own.execute(
        "CREATE DATABASE orchestray",
        "CREATE USER 'orc'@'%' IDENTIFIED BY 'secret'",
        "GRANT ALL PRIVILEGES ON orchestray.* TO 'orc'@'%'",
    )
    limited = backend_on(own, user="orc", password=Secret("secret"), rejects_read_only=rejects)
    store = await Store.open(limited)
    await store.database.write(write)
    before = await store.database.write(_session_id)
    own.execute("SET GLOBAL read_only = ON")
    with pytest.raises(StoreReadOnlyError, match=r"is read-only .*name its writer"):
        await store.database.write(lambda c: write(c, "b"))
    assert await names(store) == ["a"], "it can be read"
    own.execute("SET GLOBAL read_only = OFF")
    after = await store.database.write(_session_id)
    assert (after != before) == rejects, "MySQLOrchestratorRejectReadOnly: a new connection"
    await store.close()


def _session_id(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one())


async def test_what_the_account_may_not_is_told_with_the_mend(own: StandaloneServer) -> None:
    own.execute("CREATE USER 'orc'@'%' IDENTIFIED BY 'secret'")
    wrong = backend_on(own, user="orc", password=Secret("not-the-secret"))
    with pytest.raises(StoreAccessError, match=r"refuses the account .*see MySQLOrchestratorUser") as refused:
        await Store.open(wrong)
    assert "not-the-secret" not in str(refused.value)
    assert "not-the-secret" not in repr(wrong)
    right = replace(wrong, password=Secret("secret"))
    with pytest.raises(StoreAccessError, match="create the database, and grant ALL"):
        await Store.open(right)
    own.execute("GRANT ALL PRIVILEGES ON orchestray.* TO 'orc'@'%'")
    await (await Store.open(right)).close()  # which made the database


async def test_the_database_of_another_program_is_left_alone(own: StandaloneServer) -> None:
    own.execute("CREATE DATABASE orchestray", "CREATE TABLE orchestray.dashboards (id INT PRIMARY KEY)")
    with pytest.raises(StoreSchemaError, match=r"belongs to another program .*dashboards"):
        await Store.open(backend_on(own))


async def test_nodes_that_come_at_once_to_an_empty_server_all_find_a_store(own: StandaloneServer) -> None:
    stores = await asyncio.gather(*(Store.open(backend_on(own)) for _ in range(4)))
    for number, store in enumerate(stores):
        await store.database.write(lambda c, n=number: write(c, str(n)))  # type: ignore[misc]
    assert await names(stores[0]) == ["0", "1", "2", "3"]
    for store in stores:
        await store.close()


async def test_a_migration_that_stopped_halfway_is_brought_to_its_end(own: StandaloneServer) -> None:
    backend = backend_on(own)
    await (await Store.open(backend)).close()
    own.execute(
        "DELETE FROM orchestray.orchestray_schema",
        "DROP TABLE orchestray.lease",
        "DROP INDEX ix_audit_log_host ON orchestray.audit_log",
    )
    store = await Store.open(backend)
    await LeaseElection(store.database, "a").step()
    indexes = own.query("SHOW INDEX FROM orchestray.audit_log")
    assert "ix_audit_log_host" in {row["Key_name"] for row in indexes}
    await store.close()


async def test_a_reader_makes_nothing(own: StandaloneServer) -> None:
    with pytest.raises(StoreAccessError, match="is not there for the account"):
        await Store.open(backend_on(own), read_only=True)
    own.execute("CREATE DATABASE orchestray")
    skipping = backend_on(own, deploys_schema=False)
    with pytest.raises(StoreSchemaError, match=r"has schema none.*SkipOrchestratorDatabaseUpdate"):
        await Store.open(skipping)
    assert own.query("SHOW TABLES FROM orchestray") == []


async def test_the_servers_clock_is_asked_by_no_statement(own: StandaloneServer, store: Store) -> None:
    """So a clock that jumps, or differs between servers, changes nothing (availability reference 2.1)."""
    start_general_log(own)
    for seat in (LeaseElection(store.database, "a"), LeaseElection(store.database, "b")):
        await seat.step()
        await seat.step()
        await seat.release()
    await rehearse(store.database)
    await store.audit.purge(utc_now(), days=1)
    own.execute("SET GLOBAL general_log = OFF")
    said = [entry.text for entry in general_log(own) if entry.command in ("Query", "Execute")]
    assert any("UPDATE lease" in text for text in said)
    asked = re.compile(r"\b(NOW|SYSDATE|CURRENT_\w+|CURDATE|CURTIME|UNIX_TIMESTAMP|UTC_\w+|LOCALTIME\w*)\b")
    assert [text for text in said if asked.search(text)] == []


async def test_it_speaks_tls(stage: Stage) -> None:
    server = stage.server()  # its certificates are made at its first start
    ca = str(server.data_directory / "ca.pem")
    backend = backend_on(server, tls=TlsFiles(ca=ca))
    server.execute("CREATE USER 'orc'@'%' IDENTIFIED BY 'secret' REQUIRE SSL")
    server.execute("GRANT ALL PRIVILEGES ON orchestray.* TO 'orc'@'%'")
    over_tls = replace(backend, user="orc", password=Secret("secret"))
    store = await Store.open(over_tls)
    assert await store.database.write(lambda c: c.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").one()[1])
    await store.close()
    with pytest.raises(StoreAccessError, match="MySQLOrchestratorSSLCAFile"):
        await Store.open(replace(backend, tls=TlsFiles(ca="/none.pem")))
    with pytest.raises(StoreAccessError, match="refuses the account"):
        await Store.open(replace(over_tls, tls=None))
    server.execute("SET GLOBAL require_secure_transport = ON")
    with pytest.raises(StoreAccessError, match="set MySQLOrchestratorUseMutualTLS"):
        await Store.open(replace(backend, tls=None))
