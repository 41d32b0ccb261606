"""A client that writes all the time to whichever server takes it, and remembers what was acknowledged."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pymysql

from services.sandbox.accounts import Account
from services.sandbox.server import MySQLServer
from tests.servers import connect

__all__ = ["TABLE", "WritingClient", "writing"]

TABLE = "CREATE TABLE app.acknowledged (id BIGINT PRIMARY KEY)"
_ANSWER_SECONDS = 20.0
_PAUSE_SECONDS = 0.005


class WritingClient:
    """``acknowledged``: by the port of the server, the rows whose INSERT was answered with OK."""

    def __init__(
        self, servers: Sequence[MySQLServer], account: Account, *, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self.acknowledged: defaultdict[int, list[int]] = defaultdict(list)
        self._servers = list(servers)
        self._account = account
        self._pause_seconds = pause_seconds
        self._connections: dict[int, pymysql.Connection] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_ANSWER_SECONDS + 5)
        assert not self._thread.is_alive(), "the client hangs in a write"
        for connection in self._connections.values():
            with contextlib.suppress(pymysql.Error):
                connection.close()

    def missing_on(self, server: MySQLServer) -> set[int]:
        """Acknowledged rows that this server does not have."""
        rows = {row for each in list(self.acknowledged.values()) for row in list(each)}
        return rows - {int(row["id"]) for row in server.query("SELECT id FROM app.acknowledged")}

    def _run(self) -> None:
        row = turn = 0
        while not self._stop.is_set():
            row += 1  # never used twice: one that failed may have been committed
            server = self._servers[turn % len(self._servers)]
            if self._write(server, row):
                self.acknowledged[server.port].append(row)
            else:
                turn += 1
            time.sleep(self._pause_seconds)

    def _write(self, server: MySQLServer, row: int) -> bool:
        try:
            if server.port not in self._connections:
                connection = connect(server, self._account, timeout_seconds=_ANSWER_SECONDS)
                self._connections[server.port] = connection
            with self._connections[server.port].cursor() as cursor:
                cursor.execute("INSERT INTO app.acknowledged (id) VALUES (%s)", (row,))
        except (pymysql.Error, OSError):
            self._connections.pop(server.port, None)
            return False
        return True


@contextlib.contextmanager
def writing(servers: Sequence[MySQLServer], account: Account) -> Iterator[WritingClient]:
    """The first of the servers is the master; the table is made there."""
    servers[0].execute(TABLE)
    client = WritingClient(servers, account)
    client.start()
    try:
        yield client
    finally:
        client.stop()
