"""Two MariaDB servers that replicate in both directions, by statements, as the documentation has it."""

from __future__ import annotations

from typing import Any

from services.store.mysql import GUARD_TABLE
from services.store.schema import METADATA
from tests.servers import Stage, StandaloneServer, wait_until

__all__ = ["OPTIONS", "WITH_PAIR", "Pair"]

WITH_PAIR = "ORCHESTRAY_TEST_WITH_PAIR"
"""In the environment: ``statement_server`` is the first of a pair, and both are compared after each test."""

OPTIONS = {
    "log-bin": "binlog",
    "binlog-format": "STATEMENT",
    "auto-increment-increment": "2",
    "log-warnings": "9",
}
UNSAFE = ("unsafe statement", "1592")
"""What a server's log says of a statement that is not safe."""
_CAUGHT_UP_SECONDS = 20


class Pair:
    """``account`` and ``password`` are the same on both, so that either can be in use."""

    account, password = "backend", "the password of both"

    def __init__(self, stage: Stage) -> None:
        self.servers = tuple(
            stage.server({**OPTIONS, "gtid-domain-id": str(number), "auto-increment-offset": str(number)})
            for number in (1, 2)
        )
        self.first, self.second = self.servers
        for server in self.servers:
            server.execute(
                "SET SESSION sql_log_bin = 0",
                f"CREATE USER '{self.account}'@'%' IDENTIFIED BY '{self.password}'",
                f"GRANT ALL PRIVILEGES ON orchestray.* TO '{self.account}'@'%'",
                "CREATE USER 'haproxy'@'%'",
                "SET GLOBAL innodb_flush_log_at_trx_commit = 2",  # what was committed survives a kill
                "SET GLOBAL sync_binlog = 0",
            )
        self.replicate(self.second, self.first)
        self.replicate(self.first, self.second)

    @staticmethod
    def replicate(replica: StandaloneServer, source: StandaloneServer) -> None:
        replica.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={source.port}, "
            f"MASTER_USER='{source.user}', MASTER_PASSWORD='{source.password}', "
            "MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos",
            "START SLAVE",
        )

    def other(self, server: StandaloneServer) -> StandaloneServer:
        return self.second if server is self.first else self.first

    @property
    def documented(self) -> dict[str, str]:
        """The addresses of the documentation's proxy, and those of the two."""
        return {f"db-{n}.example.com:3306": str(server.key) for n, server in enumerate(self.servers, 1)}

    def replicates(self) -> bool:
        """In both directions, at this moment."""
        return all(
            (status["Slave_IO_Running"], status["Slave_SQL_Running"]) == ("Yes", "Yes")
            for server in self.servers
            for status in server.query("SHOW SLAVE STATUS")
        )

    def await_caught_up(self) -> None:
        """Each has what the other has written."""
        for server in self.servers:
            domain = self.servers.index(server) + 1
            written = server.variable("gtid_binlog_state").split(",")
            own = [gtid for gtid in written if gtid.startswith(f"{domain}-{server.port}-")]
            if own:
                other = self.other(server)
                wait_until(
                    lambda other=other, gtid=own[0]: _reached(other, gtid),
                    _CAUGHT_UP_SECONDS,
                    lambda other=other: self.story(other),
                )

    def differences(self, database: str = "orchestray") -> list[str]:
        """Tables whose rows are not the same on both."""
        self.await_caught_up()
        return [
            name
            for name in (*METADATA.tables, GUARD_TABLE)
            if len({repr(_rows(server, database, name)) for server in self.servers}) > 1
        ]

    def complaints(self) -> list[str]:
        """What the servers' logs say of statements that are not safe, and why replication stopped."""
        found = []
        for server in self.servers:
            log = server.error_log.read_text(errors="replace").splitlines()
            found += [line for line in log if any(word in line.lower() for word in UNSAFE)]
            (status,) = server.query("SHOW SLAVE STATUS")
            found += [
                f"{name}: {status[name]}" for name in ("Last_SQL_Error", "Last_IO_Error") if status[name]
            ]
        return found

    @staticmethod
    def story(server: StandaloneServer) -> str:
        return f"{server.key}: {server.query('SHOW SLAVE STATUS')}\n{server.log_tail()}"


def _reached(server: StandaloneServer, gtid: str) -> bool:
    domain, _, number = gtid.split("-")
    return any(
        one.startswith(f"{domain}-") and int(one.rpartition("-")[2]) >= int(number)
        for one in server.variable("gtid_slave_pos").split(",")
        if one
    )


def _rows(server: StandaloneServer, database: str, table: str) -> list[dict[str, Any]]:
    if not server.query(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
        (database, table),
    ):
        return []
    return sorted(server.query(f"SELECT * FROM {database}.{table}"), key=repr)
