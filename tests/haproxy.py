"""HAProxy in front of a synchronous store, with the configuration that docs/haproxy has."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pymysql

from services.sandbox.binaries import cache_directory
from services.sandbox.ports import LOOPBACK, free_port
from services.sandbox.processes import spawn
from services.store.backend import MySQLBackend
from tests.clusters import SynchronousCluster
from tests.servers import wait_until

__all__ = ["CONFIGURATION", "HAProxy", "why_no_haproxy"]

CONFIGURATION = Path(__file__).parents[1] / "docs" / "haproxy"
_CLIENT = cache_directory() / "mysql"
_SYSTEM = "/usr/sbin:/usr/local/sbin"
CONNECT_SECONDS = 3
START_SECONDS = 20
STOP_SECONDS = 10


def _program() -> str | None:
    return shutil.which("haproxy", path=f"{os.environ['PATH']}:{_SYSTEM}")


def why_no_haproxy() -> str:
    """Empty if it can be run."""
    if _program() is None:
        return "no haproxy on PATH"
    if shutil.which("mysql", path=f"{_CLIENT}:{os.environ['PATH']}") is None:
        return "no mysql client on PATH"
    return ""


class HAProxy:
    """``start`` it when the cluster is there; ``key`` is where nodes connect to."""

    def __init__(self, cluster: SynchronousCluster) -> None:
        self._cluster = cluster
        self._folder = cluster.folder / "haproxy"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        shutil.copytree(CONFIGURATION, self._folder)
        server = self._cluster.servers[0]
        account = self._folder / "check-writer.cnf"
        account.write_text(
            f"[client]\nuser = {server.user}\npassword = {server.password}\nssl-mode = DISABLED\n"
            f"get-server-public-key\nplugin-dir = {_CLIENT}/root/usr/lib/mysql/plugin\n"
        )
        account.chmod(0o600)
        program = _program()
        assert program is not None
        self._process = spawn(
            [program, "-db", "-f", str(self._folder / "backend.cfg")],
            log=self._folder / "log",
            directory=self._folder,
            die_with_parent=True,
            environment={
                **os.environ,
                "LISTEN": f"{LOOPBACK}:{self.port}",
                "CHECK": str(self._folder / "check-writer"),
                "CHECK_PATH": f"{_CLIENT}:/usr/local/bin:/usr/bin:/bin",
                **{f"DB_{at}": str(each.key) for at, each in enumerate(self._cluster.servers, start=1)},
            },
        )
        wait_until(self._listens, START_SECONDS, self.said)

    def backend(self) -> MySQLBackend:
        return self._cluster.backend(0, port=self.port, rejects_read_only=True)

    def leads_to(self) -> int:
        """The port of the server that a new connection is given; 0 if to none."""
        server = self._cluster.servers[0]
        try:
            with (
                pymysql.connect(
                    host=LOOPBACK,
                    port=self.port,
                    user=server.user,
                    password=server.password,
                    ssl_disabled=True,
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=CONNECT_SECONDS,
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("SELECT @@port")
                row = cursor.fetchone()
        except (pymysql.MySQLError, OSError):
            return 0
        return int(row[0]) if row else 0

    def said(self) -> str:
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((LOOPBACK, self.port)) == 0
