"""Makes a SQLite file ready: creates it, brings its schema up to date, refuses what it must not touch.

Blocking, for a thread. Several processes may do it to one file at once: the first holds the file
exclusively while it migrates, in one transaction; the others wait and find the work done.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, NullPool, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from services.store.errors import (
    StoreBusyError,
    StoreConflictError,
    StoreError,
    StorePathError,
    StoreSchemaError,
    StoreUnavailableError,
    from_sqlite,
)
from services.store.schema import SCHEMA_VERSION, VERSION_TABLE
from services.store.sqlite import BUSY_LIMIT_SECONDS, sqlite_url

__all__ = [
    "MIGRATIONS",
    "OPEN_LIMIT_SECONDS",
    "prepare",
    "run_migrations",
    "verify",
    "version_in",
]

MIGRATIONS = Path(__file__).parent / "migrations"
OPEN_LIMIT_SECONDS = 10.0
_RETRY_SECONDS = 0.05

# orchestrator's own store may become ours too: none of our tables bears the name of one of its
_ORCHESTRATORS_TABLE = "database_instance"

_alembic = Lock()  # it keeps the migration under way in a global


def prepare(path: Path) -> None:
    """Create the store at ``path``, or bring it up to date. Raises StoreError."""
    try:
        _refuse_directory(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorePathError(
            f"the store {path} cannot be made ({error.strerror}): make its directory, writable for this "
            "user, or name another file"
        ) from error
    _connected(path, "rwc", _upgrade)


def verify(path: Path) -> None:
    """See that ``path`` is there with the schema of this program. Raises StoreError."""
    try:
        _refuse_directory(path)
        if not path.exists():
            raise StorePathError(f"there is no store {path} yet: the node's leader makes it when it starts")
    except OSError as error:
        raise StorePathError(f"the store {path} cannot be read ({error.strerror})") from error
    _connected(path, "rw", _compare)


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise StorePathError(f"the store {path} is a directory: name a file in it")


def _connected(path: Path, mode: str, work: Callable[[Connection, Path], None]) -> None:
    """Run ``work`` on a connection; again, for a while, when another process holds the file."""
    engine = create_engine(
        sqlite_url("sqlite+pysqlite", str(path), mode),
        connect_args={"isolation_level": None, "timeout": BUSY_LIMIT_SECONDS},
        poolclass=NullPool,
    )
    deadline = time.monotonic() + OPEN_LIMIT_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                work(connection, path)
                return
        except (SQLAlchemyError, sqlite3.Error) as error:
            failure = _translated(error, path)
            if not isinstance(failure, StoreBusyError) or time.monotonic() > deadline:
                raise failure from error
        time.sleep(_RETRY_SECONDS)  # for a change of the journal mode SQLite does not wait by itself


def _translated(error: Exception, path: Path) -> StoreError:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return from_sqlite(error.orig, str(path))
    if isinstance(error, sqlite3.Error):
        return from_sqlite(error, str(path))
    return StoreUnavailableError(f"the store {path} failed: {error}")


def _upgrade(connection: Connection, path: Path) -> None:
    if _version(connection, path) == SCHEMA_VERSION:
        return
    journal = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
    if journal != "wal":
        raise StorePathError(
            f"the store {path} cannot have a write-ahead log there (journal mode {journal}): put it on a "
            "local disk"
        )
    connection.exec_driver_sql("BEGIN EXCLUSIVE")
    if _version(connection, path) != SCHEMA_VERSION:  # nobody did it meanwhile
        run_migrations(connection)
    connection.commit()


def _compare(connection: Connection, path: Path) -> None:
    version = _version(connection, path)
    if version != SCHEMA_VERSION:
        raise StoreSchemaError(
            f"the store {path} has schema {version or 'none'}, this program needs {SCHEMA_VERSION}: the "
            "node's leader brings it up to date when it starts"
        )


def _version(connection: Connection, path: Path) -> str:
    return version_in(connection, str(path), what="file", mend="name another file for the store")


def version_in(
    connection: Connection, name: str, *, what: str, mend: str, ours: frozenset[str] = frozenset()
) -> str:
    """The schema of the store ``name``, empty if it has none yet; tables of ``ours`` are no schema.

    Raises StoreSchemaError if it is not for this program: with ``what`` it is and the ``mend``, if it is
    another's.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        foreign = tables - ours
        if foreign and _ORCHESTRATORS_TABLE not in tables:
            raise StoreSchemaError(
                f"the {what} {name} belongs to another program (it has a table {min(foreign)}): {mend}"
            )
        return ""
    version = str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or "")  # noqa: S608
    if version and (not version.isdigit() or int(version) > int(SCHEMA_VERSION)):
        raise StoreSchemaError(
            f"the store {name} was written by a newer version (schema {version}, this program knows up to "
            f"{SCHEMA_VERSION}): run that version, or put back the copy made before the upgrade"
        )
    return version


def run_migrations(connection: Connection, version: str = "head") -> None:
    """All that are missing, up to ``version``. Raises StoreConflictError: another server did it meanwhile."""
    from alembic import command  # 0.1 s, and seldom needed
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _alembic:
        try:
            command.upgrade(config, version)
        except CommandError as error:  # the version is not the one any more that it began with
            raise StoreConflictError(f"others change the schema of the store too ({error})") from error
