"""Makes a database on a MySQL or MariaDB server ready, as ``migrate`` does a file.

Blocking, for a thread. Nodes that come at once go one after another (``GET_LOCK``). Where the servers of a
cluster know no such lock (Galera) they go side by side, and who finds that another is further begins again.
DDL commits by itself there: a migration that stopped halfway is gone through again (``migrations.resuming``).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from services.store.backend import MySQLBackend
from services.store.errors import (
    StoreAccessError,
    StoreBusyError,
    StoreConflictError,
    StoreError,
    StoreSchemaError,
    StoreUnavailableError,
    StoreUnusableError,
)
from services.store.migrate import OPEN_LIMIT_SECONDS, run_migrations, version_in
from services.store.mysql import GUARD_TABLE, tls_text
from services.store.mysql_errors import LOST, NO_SUCH_DATABASE, NOT_READY, from_mysql, number_of
from services.store.mysql_session import Session
from services.store.schema import SCHEMA_VERSION

__all__ = ["prepare_mysql", "verify_mysql"]

_OURS = frozenset({GUARD_TABLE})
_IDLE_SECONDS = 60
_RETRY_SECONDS = 0.1
_GUARD_DDL = (
    f"CREATE TABLE IF NOT EXISTS {GUARD_TABLE} (id INT NOT NULL PRIMARY KEY, writes BIGINT NOT NULL) "
    "ENGINE=InnoDB"
)


def prepare_mysql(backend: MySQLBackend) -> None:
    """Create the store, or bring it up to date. Raises StoreError."""
    _connected(backend, _upgrade, may_create=True)


def verify_mysql(backend: MySQLBackend) -> None:
    """See that it is there with the schema of this program. Raises StoreError."""
    _connected(backend, _compare, may_create=False)


def _connected(
    backend: MySQLBackend, work: Callable[[Connection, MySQLBackend, float], None], *, may_create: bool
) -> None:
    """Run ``work``; again, for a while, when something came between that may be over in a moment."""
    deadline = time.monotonic() + OPEN_LIMIT_SECONDS
    while True:
        try:
            with _connection(backend) as connection:
                work(connection, backend, deadline)
                return
        except (SQLAlchemyError, pymysql.err.MySQLError) as error:
            raised = error.orig if isinstance(error, DBAPIError) else error
            number = number_of(raised)
            failure: StoreError = from_mysql(raised, backend.name)
        except StoreConflictError as error:
            failure, number = error, 0
        except OSError as error:
            raise StoreAccessError(tls_text(backend, error)) from error
        if may_create and number in NO_SUCH_DATABASE:
            _create(backend, failure)
            may_create = False
            continue
        unlucky = isinstance(failure, StoreBusyError) or number in LOST | NOT_READY | {1062}
        if not unlucky or time.monotonic() > deadline:
            raise failure
        time.sleep(_RETRY_SECONDS)


@contextlib.contextmanager
def _connection(backend: MySQLBackend) -> Iterator[Connection]:
    session = Session(backend, idle_seconds=_IDLE_SECONDS, database=backend.database)
    session.connect()
    engine = create_engine(
        "mysql+pymysql://", creator=lambda: session.driver, poolclass=NullPool, hide_parameters=True
    )
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        session.driver.close()


def _create(backend: MySQLBackend, refused: StoreError) -> None:
    """The database, if the account may. Otherwise raises ``refused``, which says what to do."""
    name = backend.database.replace("`", "``")
    try:
        session = Session(backend, idle_seconds=_IDLE_SECONDS, database=None)
        session.connect()
        try:
            with session.driver.cursor() as cursor:
                cursor.execute(
                    f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
                )
        finally:
            session.driver.close()
    except pymysql.err.MySQLError as error:
        failure = from_mysql(error, backend.name)
        raise (refused if isinstance(failure, StoreUnusableError) else failure) from error


def _upgrade(connection: Connection, backend: MySQLBackend, deadline: float) -> None:
    if not backend.deploys_schema:
        return _compare(connection, backend, deadline)
    if _version(connection, backend.name) == SCHEMA_VERSION:
        return None
    with _locked(connection, backend, deadline):
        if _version(connection, backend.name) != SCHEMA_VERSION:  # nobody did it meanwhile
            connection.exec_driver_sql(_GUARD_DDL)
            run_migrations(connection)
            connection.commit()
    return None


def _compare(connection: Connection, backend: MySQLBackend, _deadline: float) -> None:
    version = _version(connection, backend.name)
    if version != SCHEMA_VERSION:
        raise StoreSchemaError(
            f"the store {backend.name} has schema {version or 'none'}, this program needs {SCHEMA_VERSION}: "
            "a node's leader makes it when it starts, unless SkipOrchestratorDatabaseUpdate is set"
        )


def _version(connection: Connection, name: str) -> str:
    """The schema of the database, empty if it has none yet. StoreSchemaError if it is not for us."""
    mend = "name another in MySQLOrchestratorDatabase"
    version = version_in(connection, name, what="database", mend=mend, ours=_OURS)
    connection.rollback()  # the next look is a new one
    return version


@contextlib.contextmanager
def _locked(connection: Connection, backend: MySQLBackend, deadline: float) -> Iterator[None]:
    name = "orchestray:" + hashlib.sha256(backend.database.encode()).hexdigest()[:32]
    wait = max(1, int(deadline - time.monotonic()))
    held: Any = None
    with contextlib.suppress(DBAPIError):  # a cluster that knows no such lock, or allows none
        held = connection.exec_driver_sql(f"SELECT GET_LOCK('{name}', {wait})").scalar()
        if not held:
            raise StoreUnavailableError(
                f"another node makes the store {backend.name} ready and has not come to an end: try again"
            )
    try:
        yield
    finally:
        if held:
            with contextlib.suppress(SQLAlchemyError):
                connection.exec_driver_sql(f"DO RELEASE_LOCK('{name}')")
