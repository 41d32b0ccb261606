"""Backends for tests of the store: a SQLite file, or a database on a server that the session shares."""

from __future__ import annotations

import pickle

import pytest

from services.config import Secret
from services.store.backend import Backend, MySQLBackend, SQLiteBackend
from services.store.mysql import GUARD_TABLE
from services.store.mysql_migrate import prepare_mysql
from services.store.schema import METADATA
from tests.servers import StandaloneServer

__all__ = ["FLAVOURS", "ONE_MYSQL", "SERVERS", "as_text", "backend_on", "empty_backend", "from_text"]

FLAVOURS = ("sqlite", "mysql", "mariadb")
SERVERS = {"mysql": "mysql_server", "mariadb": "statement_server"}
"""The fixture with a flavour's server; MariaDB's logs statements, which not every statement is fit for."""
ONE_MYSQL = ("sqlite", "mysql", pytest.param("mariadb", marks=pytest.mark.long))
"""For tests of whole processes, which take seconds: what differs between the servers, others tell."""
_DATABASE = "orchestray"
_COUNTED = [name for name, table in METADATA.tables.items() if table.autoincrement_column is not None]
_prepared: set[MySQLBackend] = set()


def backend_on(server: StandaloneServer, database: str = _DATABASE, **fields: object) -> MySQLBackend:
    """A database there, which need not be there yet."""
    return MySQLBackend(
        **{  # type: ignore[arg-type]
            "host": server.host,
            "port": server.port,
            "database": database,
            "user": server.user,
            "password": Secret(server.password),
            **fields,
        }
    )


def empty_backend(server: StandaloneServer) -> MySQLBackend:
    """The same database for every test, emptied: to make its schema takes a second."""
    backend = backend_on(server)
    if backend not in _prepared:
        server.execute(
            "SET GLOBAL innodb_flush_log_at_trx_commit = 0", "SET GLOBAL sync_binlog = 0"
        )  # nobody cuts its power
        prepare_mysql(backend)
        _prepared.add(backend)
    server.execute(
        "SET SESSION foreign_key_checks = 0",
        *(f"DELETE FROM {backend.database}.{name}" for name in (*METADATA.tables, GUARD_TABLE)),
        *(f"ALTER TABLE {backend.database}.{name} AUTO_INCREMENT = 1" for name in _COUNTED),
    )
    return backend


def as_text(backend: Backend) -> str:
    """For an argument of a process of ours."""
    return pickle.dumps(backend).hex()


def from_text(text: str) -> Backend:
    found = pickle.loads(bytes.fromhex(text))
    assert isinstance(found, (SQLiteBackend, MySQLBackend))
    return found
