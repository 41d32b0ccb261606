"""A real group of three MySQL servers (Group Replication, what an InnoDB Cluster is made of)."""

from __future__ import annotations

import secrets
import uuid

import pymysql

from services.sandbox.binaries import Mysqld
from services.sandbox.ports import LOOPBACK, free_port
from services.sandbox.server import Options
from services.topology.gtid import GtidSet
from tests.clusters import JOIN_SECONDS, SIZE, SynchronousCluster
from tests.servers import StandaloneServer, wait_until

__all__ = ["GroupReplication"]

_MEMBERS = "performance_schema.replication_group_members"
_OPTIONS: dict[str, str | None] = {
    "performance-schema": "ON",
    "plugin-load-add": "group_replication.so",
    "log-bin": "binlog",
    "innodb-flush-log-at-trx-commit": "2",  # processes are killed here, hosts are not
    "sync-binlog": "0",
    "loose-group-replication-start-on-boot": "OFF",
    "loose-group-replication-recovery-get-public-key": "ON",
    "loose-group-replication-member-expel-timeout": "0",  # as docs/deployment.md has it
}
_MULTI_PRIMARY: dict[str, str | None] = {
    "loose-group-replication-single-primary-mode": "OFF",
    "loose-group-replication-enforce-update-everywhere-checks": "ON",
}


_BACK_SECONDS = 25.0
"""It takes four to seven."""


class GroupReplication(SynchronousCluster):
    """``multi_primary``: each member takes writes."""

    def __init__(self, mysqld: Mysqld, *, multi_primary: bool) -> None:
        self._ports = [free_port() for _ in range(SIZE)]
        self._name = str(uuid.uuid4())
        self._password = secrets.token_urlsafe(12)
        self._multi_primary = multi_primary
        super().__init__(mysqld)

    def _options(self, number: int) -> Options:
        return {
            **_OPTIONS,
            **(_MULTI_PRIMARY if self._multi_primary else {}),
            "loose-group-replication-group-name": self._name,
            "loose-group-replication-local-address": f"{LOOPBACK}:{self._ports[number]}",
            "loose-group-replication-group-seeds": ",".join(f"{LOOPBACK}:{port}" for port in self._ports),
        }

    def start(self) -> None:
        for server in self.servers:
            self._set_up(server)
        self._found(self.servers[0])

    def _set_up(self, server: StandaloneServer) -> None:
        """It has nothing, and what it needs to join."""
        server.set_up()
        server.execute(
            "SET SESSION sql_log_bin = 0",
            f"CREATE USER 'recovery'@'%' IDENTIFIED BY '{self._password}'",
            "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM "
            "ON *.* TO 'recovery'@'%'",
            "RESET BINARY LOGS AND GTIDS",
            f"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'recovery', SOURCE_PASSWORD = '{self._password}' "
            "FOR CHANNEL 'group_replication_recovery'",
        )

    def _found(self, first: StandaloneServer) -> None:
        """A group that begins with that server. No other is in one."""
        first.execute(
            "SET GLOBAL group_replication_bootstrap_group = ON",
            "START GROUP_REPLICATION",
            "SET GLOBAL group_replication_bootstrap_group = OFF",
            timeout_seconds=JOIN_SECONDS,
        )
        for server in self.servers:
            if server is not first:
                server.execute("START GROUP_REPLICATION", timeout_seconds=JOIN_SECONDS)
        self.wait_whole()

    def rejoin(self, server: StandaloneServer) -> None:
        if not server.is_running:
            server.start()
        try:
            server.execute("STOP GROUP_REPLICATION", "START GROUP_REPLICATION", timeout_seconds=_BACK_SECONDS)
            wait_until(lambda: self.is_member(server), _BACK_SECONDS, server.log_tail)
        except (pymysql.MySQLError, OSError, AssertionError):
            self.found_anew()

    def found_anew(self) -> None:
        """After a majority was away at once the plugin of a server may hang for good.

        With several primaries each may have applied what the others have only received, so that no server
        has all, and none may join another: all but the first are made anew.
        """
        for server in self.servers:
            server.kill()
        for server in self.servers:
            server.start()
        first = max(self.servers, key=lambda one: GtidSet.parse(one.variable("gtid_executed")).count)
        for server in self.servers:
            if server is not first:
                server.empty()
                self._set_up(server)
        self._found(first)

    def is_member(self, server: StandaloneServer) -> bool:
        return self._own(server, "member_state") == "ONLINE"

    def is_primary(self, server: StandaloneServer) -> bool:
        return self.is_member(server) and self._own(server, "member_role") == "PRIMARY"

    def members_seen_by(self, server: StandaloneServer) -> int:
        return len(_rows(server, f"SELECT 1 FROM {_MEMBERS} WHERE member_state = 'ONLINE'"))

    def _own(self, server: StandaloneServer, column: str) -> str:
        rows = _rows(server, f"SELECT {column} AS value FROM {_MEMBERS} WHERE member_id = @@server_uuid")
        return str(rows[0]["value"]) if rows else ""


def _rows(server: StandaloneServer, sql: str) -> list[dict[str, object]]:
    try:
        return server.query(sql)
    except (pymysql.MySQLError, OSError):
        return []
