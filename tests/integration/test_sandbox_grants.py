"""What orchestray's account must be allowed to do, shown on a real server: all of it, and no more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pymysql
import pytest
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from services.mysql.connection import Login
from services.mysql.poll import PartialPollError, PolledServer
from services.sandbox.accounts import Account
from services.sandbox.flavours import FLAVOURS, MARIADB, MYSQL
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.servers import Stage, connect

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
    with server.root() as keeper, keeper.cursor() as cursor, ExitStack() as filling:
        cursor.execute("SET @before = @@global.max_connections")
        cursor.execute("SET GLOBAL max_connections = 10")  # MariaDB's least
        try:
            while (session := _one_more(server, topology.accounts.application)) is not None:
                filling.enter_context(session)
            _admitted(server, topology.accounts.orchestray).close()
        finally:
            cursor.execute("SET GLOBAL max_connections = @before")


def _admitted(server: MySQLServer, account: Account) -> Connection[DictCursor]:
    """Whoever was refused before is counted until it has gone."""
    deadline = time.monotonic() + 2
    while (session := _one_more(server, account)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return session or connect(server, account)


def _one_more(server: MySQLServer, account: Account) -> Connection[DictCursor] | None:
    """None if the server is full."""
    try:
        return connect(server, account)
    except pymysql.OperationalError as error:
        if error.args[0] != _TOO_MANY_CONNECTIONS:
            raise
        return None


_OPENING = "IF(SYSDATE(6) < '2100-01-01', 0, @@global.read_only)"


def _settings(**values: str) -> dict[str, Work]:
    return {name: _as_orchestray(f"SET GLOBAL {name} = {value}") for name, value in values.items()}


_MYSQL_USES: dict[str, dict[str, Work]] = {
    "PROCESS": {"processlist": _sees_sessions_of_others},
    "REPLICATION CLIENT": {
        "replica status": _as_orchestray("SHOW REPLICA STATUS"),
        "binary log status": _as_orchestray("SHOW BINARY LOG STATUS"),
    },
    "REPLICATION SLAVE": {"replicas": _as_orchestray("SHOW REPLICAS")},
    "REPLICATION_SLAVE_ADMIN": {
        "stop receiver": _as_orchestray("STOP REPLICA IO_THREAD"),
        "stop": _as_orchestray("STOP REPLICA"),
        "change source": _as_orchestray(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1, SOURCE_AUTO_POSITION=1"
        ),
        "start": _as_orchestray("START REPLICA"),
        "start receiver": _as_orchestray("START REPLICA IO_THREAD"),
        "stop again": _as_orchestray("STOP REPLICA"),
    },
    "RELOAD": {"reset": _as_orchestray("RESET REPLICA ALL")},
    "SYSTEM_VARIABLES_ADMIN": _settings(
        super_read_only="IF(SYSDATE(6) < '2100-01-01', 0, @@global.super_read_only)",
        read_only=_OPENING,
        rpl_semi_sync_source_wait_point="AFTER_SYNC",
        rpl_semi_sync_source_wait_for_replica_count="1",
        rpl_semi_sync_source_timeout="18446744073709551615",
        rpl_semi_sync_source_enabled="1",
        rpl_semi_sync_replica_enabled="1",
        replica_net_timeout="2",
    ),
    "CONNECTION_ADMIN": {
        "kill": _ends_a_session_of_another,
        "log in to a full server": _logs_in_to_a_full_server,
    },
}

_MARIADB_USES: dict[str, dict[str, Work]] = {
    "PROCESS": {"processlist": _sees_sessions_of_others},
    "BINLOG MONITOR": {"binary log status": _as_orchestray("SHOW MASTER STATUS")},
    "SLAVE MONITOR": {"replica status": _as_orchestray("SHOW REPLICA STATUS")},
    "REPLICATION MASTER ADMIN": {
        "replicas": _as_orchestray("SHOW SLAVE HOSTS"),
        **_settings(
            rpl_semi_sync_master_wait_point="AFTER_SYNC",
            rpl_semi_sync_master_timeout="18446744073709551615",
            rpl_semi_sync_master_enabled="1",
        ),
    },
    "REPLICATION SLAVE ADMIN": {
        "stop receiver": _as_orchestray("STOP REPLICA IO_THREAD"),
        "stop": _as_orchestray("STOP REPLICA"),
        "change source": _as_orchestray(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USE_GTID=slave_pos"
        ),
        "start": _as_orchestray("START REPLICA"),
        "start receiver": _as_orchestray("START REPLICA IO_THREAD"),
        "stop again": _as_orchestray("STOP REPLICA"),
        **_settings(rpl_semi_sync_slave_enabled="1", slave_net_timeout="2"),
    },
    "RELOAD": {"reset": _as_orchestray("RESET REPLICA ALL")},
    "READ_ONLY ADMIN": _settings(read_only=_OPENING),
    "CONNECTION ADMIN": {
        "kill": _ends_a_session_of_another,
        "log in to a full server": _logs_in_to_a_full_server,
    },
}

_USES = {MYSQL.name: _MYSQL_USES, MARIADB.name: _MARIADB_USES}
_PRIVILEGES = [(name, privilege) for name, uses in _USES.items() for privilege in uses]

_WITHOUT_PRIVILEGE = _as_orchestray(
    "SELECT @@global.read_only, @@global.version",
    "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'",
    "SHOW GLOBAL STATUS LIKE 'rpl_semi_sync_%'",
    "SET SESSION wait_timeout = 28800, lock_wait_timeout = 1",
    "SELECT GET_LOCK('orchestray:x', 0), IS_USED_LOCK('orchestray:x'), RELEASE_LOCK('orchestray:x')",
)


_POSITIONS = {
    MYSQL.name: "SELECT @@global.gtid_executed, @@global.gtid_purged, @@global.server_uuid",
    MARIADB.name: "SELECT @@global.gtid_binlog_state, @@global.gtid_slave_pos, @@global.gtid_binlog_pos",
}

Served = Callable[[str], MySQLTopology]


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A topology of each flavour; tests use its replica, and put back what they take."""
    stages: dict[str, tuple[Stage, MySQLTopology]] = {}

    def get(flavour: str) -> MySQLTopology:
        if flavour not in stages:
            stage = Stage(request.getfixturevalue({"mysql": "mysqld", "mariadb": "mariadbd"}[flavour]))
            try:
                stages[flavour] = stage, stage.topology(TopologySpec(replicas=1, semi_sync="lossless"))
            except BaseException:
                stage.clear()
                raise
        return stages[flavour][1]

    try:
        yield get
    finally:
        for stage, _ in stages.values():
            stage.clear()


@pytest.mark.parametrize("flavour", _USES)
def test_the_list_of_grants_is_the_list_of_uses(served: Served, flavour: str) -> None:
    assert list(_USES[flavour]) == list(FLAVOURS[flavour].grants)
    rows = served(flavour).replicas[0].query("SHOW GRANTS FOR orchestray@'%'")
    texts = [str(text) for row in rows for text in row.values()]
    granted = [grant for text in texts for grant in re.split(", ?", text[len("GRANT ") : text.index(" ON ")])]
    assert sorted(granted) == sorted(FLAVOURS[flavour].grants)


@pytest.mark.parametrize(("flavour", "privilege"), _PRIVILEGES)
async def test_each_privilege_is_needed_and_missed(served: Served, flavour: str, privilege: str) -> None:
    """What needs it is refused, and the next poll names it with the mend: at once, or as what it refused."""
    topology = served(flavour)
    replica = topology.replicas[0]
    _as_root(replica, f"REVOKE {privilege} ON *.* FROM orchestray@'%'")
    try:
        for name, work in _USES[flavour][privilege].items():
            with pytest.raises(pymysql.MySQLError) as caught:
                work(topology, replica)
            refusals = {_ACCESS_DENIED, _NOT_OWNER_OF_THREAD, _TOO_MANY_CONNECTIONS}
            assert caught.value.args[0] in refusals, f"{name} without {privilege}: {caught.value}"
        _WITHOUT_PRIVILEGE(topology, replica)
        _as_orchestray(_POSITIONS[flavour])(topology, replica)
        assert f"GRANT {privilege} ON *.* TO " in await _told_by_a_poll(topology, replica)
    finally:
        _as_root(replica, f"GRANT {privilege} ON *.* TO orchestray@'%'")
    assert await _told_by_a_poll(topology, replica) == ""


@pytest.mark.parametrize("make", ["make_topology", "make_mariadb_topology"])
def test_with_all_of_them_everything_works(request: pytest.FixtureRequest, make: str) -> None:
    topology: MySQLTopology = request.getfixturevalue(make)(replicas=1)
    for works in _USES[topology.flavour.name].values():
        for work in works.values():
            work(topology, topology.replicas[0])
    _WITHOUT_PRIVILEGE(topology, topology.replicas[0])
    _as_orchestray(_POSITIONS[topology.flavour.name])(topology, topology.replicas[0])


@pytest.mark.parametrize("flavour", _USES)
async def test_roles_count_as_far_as_they_are_active(served: Served, flavour: str) -> None:
    """A role within a role gives what it has; one that is not active by default gives nothing."""
    topology, all_of_them = served(flavour), ", ".join(FLAVOURS[flavour].grants)
    replica, host = topology.replicas[0], "" if flavour == MARIADB.name else "@'%'"
    to_default = {
        MYSQL.name: "ALTER USER orchestray@'%' DEFAULT ROLE outer_role",
        MARIADB.name: "SET DEFAULT ROLE outer_role FOR orchestray@'%'",
    }[flavour]
    acting = FLAVOURS[flavour].grants[-1]
    _as_root(
        replica,
        f"CREATE ROLE outer_role{host}, inner_role{host}",
        f"GRANT {all_of_them} ON *.* TO inner_role{host}",
        f"GRANT inner_role{host} TO outer_role{host}",
        f"GRANT outer_role{host} TO orchestray@'%'",
        f"REVOKE {acting} ON *.* FROM orchestray@'%'",
    )
    try:
        told = await _told_by_a_poll(topology, replica)
        assert told.startswith(f"{acting}: GRANT {acting} ON *.* TO ")
        assert "make the role default" in told
        _as_root(replica, to_default)
        assert await _told_by_a_poll(topology, replica) == ""
    finally:
        _as_root(
            replica,
            f"DROP ROLE outer_role{host}, inner_role{host}",
            f"GRANT {acting} ON *.* TO orchestray@'%'",
        )


async def _told_by_a_poll(topology: MySQLTopology, server: MySQLServer) -> str:
    """What it says about privileges: that some lack, or that the poll was refused for want of them."""
    account = topology.accounts.orchestray
    polled = await PolledServer.connect(server.key, Login(account.user, account.password), timeout=5)
    try:
        return (await polled.poll(timeout=5)).lacking_privileges
    except PartialPollError as error:
        return str(error)
    finally:
        await polled.connection.close()


def _as_root(server: MySQLServer, *statements: str) -> None:
    name = "super_read_only" if "super-read-only" in server.options else "read_only"
    server.execute(
        f"SET GLOBAL {name} = OFF",
        "SET SESSION sql_log_bin = 0",
        *statements,
        f"SET GLOBAL {name} = ON",
    )
