"""What orchestray's account must be allowed to do, shown on a real server: all of it, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pymysql
import pytest
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from services.sandbox.accounts import Account
from services.sandbox.binaries import Mysqld
from services.sandbox.flavours import MYSQL
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.conftest import MakeTopology
from tests.servers import Stage, connect, wait_until

# what a server answers to who lacks a privilege
_ACCESS_DENIED = 1227
_NOT_OWNER_OF_THREAD = 1095
_TOO_MANY_CONNECTIONS = 1040

Work = Callable[[MySQLTopology, MySQLServer], object]


def _as_orchestray(*statements: str) -> Work:
    def run(topology: MySQLTopology, server: MySQLServer) -> None:
        with connect(server, topology.accounts.orchestray) as session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                cursor.fetchall()

    return run


def _sees_sessions_of_others(topology: MySQLTopology, server: MySQLServer) -> None:
    with (
        connect(server, topology.accounts.application) as other,
        connect(server, topology.accounts.orchestray) as session,
        session.cursor() as cursor,
    ):
        cursor.execute("SELECT ID FROM information_schema.processlist")
        if other.thread_id() not in {row["ID"] for row in cursor.fetchall()}:
            raise pymysql.OperationalError(_ACCESS_DENIED, "the list lacks other users' sessions")


def _ends_a_session_of_another(topology: MySQLTopology, server: MySQLServer) -> None:
    with (
        connect(server, topology.accounts.application) as other,
        connect(server, topology.accounts.orchestray) as session,
        session.cursor() as cursor,
    ):
        cursor.execute(f"KILL {other.thread_id()}")


def _logs_in_to_a_full_server(topology: MySQLTopology, server: MySQLServer) -> None:
    with server.root() as keeper, keeper.cursor() as cursor:
        cursor.execute("SET @before = @@global.max_connections")
        cursor.execute("SET GLOBAL max_connections = 2")
        try:
            with wait_until(lambda: _second_session(server, topology.accounts.application)):
                connect(server, topology.accounts.orchestray).close()
        finally:
            cursor.execute("SET GLOBAL max_connections = @before")


def _second_session(server: MySQLServer, account: Account) -> Connection[DictCursor] | None:
    """The last that is allowed; None while the server still counts one that is being closed."""
    try:
        return connect(server, account)
    except pymysql.OperationalError as error:
        if error.args[0] != _TOO_MANY_CONNECTIONS:
            raise
        return None


_CHANGE = "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, SOURCE_AUTO_POSITION = 1"

_USES: dict[str, dict[str, Work]] = {
    "PROCESS": {"processlist": _sees_sessions_of_others},
    "REPLICATION CLIENT": {
        "replica status": _as_orchestray("SHOW REPLICA STATUS"),
        "binary log status": _as_orchestray("SHOW BINARY LOG STATUS"),
    },
    "REPLICATION SLAVE": {"replicas": _as_orchestray("SHOW REPLICAS")},
    "REPLICATION_SLAVE_ADMIN": {
        "stop receiver": _as_orchestray("STOP REPLICA IO_THREAD"),
        "stop": _as_orchestray("STOP REPLICA"),
        "change source": _as_orchestray(_CHANGE),
        "start": _as_orchestray("START REPLICA"),
        "start receiver": _as_orchestray("START REPLICA IO_THREAD"),
        "stop again": _as_orchestray("STOP REPLICA"),
    },
    "RELOAD": {"reset": _as_orchestray("RESET REPLICA ALL")},
    "SYSTEM_VARIABLES_ADMIN": {
        name: _as_orchestray(f"SET GLOBAL {name} = {value}")
        for name, value in {
            "super_read_only": "IF(SYSDATE(6) < '2100-01-01', 0, @@global.super_read_only)",
            "read_only": "IF(SYSDATE(6) < '2100-01-01', 0, @@global.read_only)",
            "rpl_semi_sync_source_wait_point": "AFTER_SYNC",
            "rpl_semi_sync_source_wait_for_replica_count": "1",
            "rpl_semi_sync_source_timeout": "18446744073709551615",
            "rpl_semi_sync_source_enabled": "1",
            "rpl_semi_sync_replica_enabled": "1",
            "replica_net_timeout": "2",
        }.items()
    },
    "CONNECTION_ADMIN": {
        "kill": _ends_a_session_of_another,
        "log in to a full server": _logs_in_to_a_full_server,
    },
}

_WITHOUT_PRIVILEGE = _as_orchestray(
    "SELECT @@global.read_only, @@global.gtid_executed, @@global.server_uuid",
    "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'",
    "SHOW GLOBAL STATUS LIKE 'rpl_semi_sync_%'",
    "SET SESSION wait_timeout = 28800, lock_wait_timeout = 1",
    "SELECT GET_LOCK('orchestray:x', 0), IS_USED_LOCK('orchestray:x'), RELEASE_LOCK('orchestray:x')",
)


@pytest.fixture(scope="module")
def served(mysqld: Mysqld) -> Iterator[MySQLTopology]:
    """One topology for the tests of privileges; they use its replica, and put back what they take."""
    stage = Stage(mysqld)
    try:
        yield stage.topology(TopologySpec(replicas=1, semi_sync="lossless"))
    finally:
        stage.clear()


def test_the_list_of_grants_is_the_list_of_uses(served: MySQLTopology) -> None:
    assert set(_USES) == set(MYSQL.grants)
    rows = served.replicas[0].query("SHOW GRANTS FOR orchestray@'%'")
    texts = [str(text) for row in rows for text in row.values()]
    granted = [grant for text in texts for grant in re.split(", ?", text[len("GRANT ") : text.index(" ON ")])]
    assert sorted(granted) == sorted(MYSQL.grants)


@pytest.mark.parametrize("privilege", MYSQL.grants)
def test_each_privilege_is_needed(served: MySQLTopology, privilege: str) -> None:
    replica = served.replicas[0]
    _as_root(replica, f"REVOKE {privilege} ON *.* FROM orchestray@'%'")
    try:
        for name, work in _USES[privilege].items():
            with pytest.raises(pymysql.MySQLError) as caught:
                work(served, replica)
            refusals = {_ACCESS_DENIED, _NOT_OWNER_OF_THREAD, _TOO_MANY_CONNECTIONS}
            assert caught.value.args[0] in refusals, f"{name} without {privilege}: {caught.value}"
        _WITHOUT_PRIVILEGE(served, replica)
    finally:
        _as_root(replica, f"GRANT {privilege} ON *.* TO orchestray@'%'")


def test_with_all_of_them_everything_works(make_topology: MakeTopology) -> None:
    topology = make_topology(replicas=1)
    for works in _USES.values():
        for work in works.values():
            work(topology, topology.replicas[0])
    _WITHOUT_PRIVILEGE(topology, topology.replicas[0])


def _as_root(server: MySQLServer, statement: str) -> None:
    server.execute(
        "SET GLOBAL super_read_only = OFF",
        "SET SESSION sql_log_bin = 0",
        statement,
        "SET GLOBAL super_read_only = ON",
    )
