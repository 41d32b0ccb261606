"""Benchmarks on real servers; run by scripts/bench.

failover: a 1+3 topology with lossless semi-sync and clients that write all the time. The master is killed
(``--how kill``: SIGKILL) or hangs (``--how stop``: SIGSTOP); measured from there: until another server has
acknowledged a write, until all remaining replicas receive from it; and how many acknowledged writes are
missing at the end. Then the old master comes back, started again or by SIGCONT, with a client that goes on
writing to it: for how long it is writable, and how many writes it acknowledges that the new master does not
have, are reported. Each round fails two masters in a row, so that the second failover shows whether the first
left things protected.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pymysql
from bench_processes import processor_seconds

from services.mysql.dialect import modern_columns
from services.sandbox.binaries import find_mariadbd, find_mysqld
from services.sandbox.ports import free_port
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec

_READ_ONLY = (1290, 1836)
_WRITE = "INSERT INTO app.acknowledged (id) VALUES (%s)"
_LIMIT_SECONDS = 60.0
_REST = 0.25
"""Processor seconds in a second: less is what watching four servers takes."""


@dataclass(frozen=True)
class Failover:
    """Seconds from the failure, and what was lost. The last two are about the old master's return."""

    write: float
    replicas: float
    missing: int
    acknowledged: int
    writable: float
    late: int


class Writer:
    """A client for each server, which writes there whenever it can, and notes what was acknowledged."""

    def __init__(self, servers: list[MySQLServer], user: str, password: str) -> None:
        self._login = (user, password)
        self._stop = threading.Event()
        self._rows = itertools.count(1)  # never used twice: one that failed may have been committed
        self.acknowledged: dict[int, tuple[int, float]] = {}  # row -> port of the server, when
        self._last = 0.0  # when a write was acknowledged last
        self.first_at: dict[int, float] = {}  # port -> when it acknowledged its first write
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in servers]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(10)

    def late(self, port: int, since: float, present: set[int]) -> int:
        """How many writes that are not ``present`` a server has acknowledged since then.

        One that was under way may be acknowledged late, because a replica had it: then it is present.
        """
        found = dict(self.acknowledged).items()
        return sum(by == port and at > since and row not in present for row, (by, at) in found)

    def _run(self, server: MySQLServer) -> None:
        connection: pymysql.Connection | None = None
        while not self._stop.is_set():
            row = next(self._rows)
            try:
                connection = connection or self._connect(server)
                with connection.cursor() as cursor:
                    cursor.execute(_WRITE, (row,))
            except (pymysql.Error, OSError) as error:
                if not (error.args and error.args[0] in _READ_ONLY):  # then the connection is fine
                    connection = None
                # Seldom while one of them writes: it would be load of our own making.
                time.sleep(0.01 if time.perf_counter() - self._last > 0.02 else 0.05)
            else:
                now = self._last = time.perf_counter()
                self.acknowledged[row] = server.port, now
                self.first_at.setdefault(server.port, now)
                time.sleep(0.001)

    def _connect(self, server: MySQLServer) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1", port=server.port, user=self._login[0], password=self._login[1],
            autocommit=True, connect_timeout=1, read_timeout=10, ssl_disabled=True,
        )  # fmt: skip


class Service:
    """``orchestray serve`` with the defaults that matter, on a free port."""

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = folder / "orchestray.json"
        config.write_text(
            json.dumps(
                {
                    "BackendDB": "sqlite",
                    "SQLite3DataFile": str(folder / "orchestray.db"),
                    "ListenAddress": self.url.removeprefix("http://"),
                    "RecoverMasterClusterFilters": ["*"],
                    "RecoveryPeriodBlockSeconds": 1,
                    **settings,
                }
            )
        )
        config.chmod(0o600)
        self._log = (folder / "serve.log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", "serve", "--config", str(config)],
            stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            wait_for("the API", lambda: self.get("lb-check") == "OK")
        except SystemExit:
            print(self.said(), file=sys.stderr)
            self.stop()
            raise

    def get(self, path: str) -> object:
        with urllib.request.urlopen(f"{self.url}/api/{path}", timeout=20) as reply:
            return json.load(reply)

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        """What it has printed so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._log.close()


def wait_for(what: str, condition: Callable[[], bool], pause: float = 0.05) -> float:
    """Wait until it holds; the moment at which it was seen to. Ends the benchmark if it does not."""
    deadline = time.perf_counter() + _LIMIT_SECONDS
    while time.perf_counter() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError, pymysql.Error):
            if condition():
                return time.perf_counter()
        time.sleep(pause)
    sys.exit(f"bench: {what} did not come within {_LIMIT_SECONDS:g} s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    commands = parser.add_subparsers(dest="command", required=True)
    failover = commands.add_parser("failover", help="have masters fail and measure")
    failover.add_argument("--how", choices=("kill", "stop"), default="kill", help="SIGKILL or SIGSTOP (kill)")
    failover.add_argument("--flavour", choices=("mysql", "mariadb"), default="mysql")
    failover.add_argument("--replica-net-timeout", type=int, metavar="N", help="of all servers (60)")
    failover.add_argument("--rounds", type=int, default=10, metavar="N")
    failover.add_argument("--poll-seconds", type=int, default=5, help="InstancePollSeconds (5)")
    arguments = parser.parse_args()
    failovers = list(run_failovers(arguments))
    report(failovers)
    sys.exit(1 if any(one.missing or one.late for one in failovers) else 0)


def run_failovers(arguments: argparse.Namespace) -> Iterator[Failover]:
    mysqld = find_mysqld() if arguments.flavour == "mysql" else find_mariadbd()
    spec = TopologySpec(semi_sync="lossless", replica_net_timeout=arguments.replica_net_timeout)
    for number in range(1, arguments.rounds + 1):
        with tempfile.TemporaryDirectory(prefix="ob-", dir="/tmp") as name:
            topology = MySQLTopology(mysqld, Path(name) / "t", spec, die_with_parent=True)
            try:
                topology.start()
                yield from one_round(number, topology, Path(name), arguments)
            finally:
                topology.stop()


def one_round(
    number: int, topology: MySQLTopology, folder: Path, arguments: argparse.Namespace
) -> Iterator[Failover]:
    servers = list(topology.servers)
    topology.master.execute("CREATE TABLE app.acknowledged (id BIGINT PRIMARY KEY)")
    account = topology.accounts.orchestray
    service = Service(
        folder,
        {
            "InstancePollSeconds": arguments.poll_seconds,
            "MySQLTopologyUser": account.user,
            "MySQLTopologyPassword": account.password,
            "DiscoverySeeds": [str(topology.master.key)],
        },
    )
    application = topology.accounts.application
    writer = Writer(servers, application.user, application.password)
    try:
        master = topology.master
        wait_settled(service, master, servers)
        wait_at_rest(service)
        writer.start()
        wait_for("the first write", lambda: master.port in writer.first_at)
        for turn in (1, 2):
            time.sleep(1.0)
            others = [server for server in servers if server is not master]
            result, successor = one_failover(master, others, service, writer, arguments.how)
            servers, master = others, successor
            print(
                f"round {number} failover {turn}: write after {result.write:.3f} s, replicas after "
                f"{result.replicas:.3f} s, {result.missing} of {result.acknowledged} acknowledged writes "
                f"missing; the old master came back writable for {result.writable:.3f} s and acknowledged "
                f"{result.late} writes",
                flush=True,
            )
            yield result
    except SystemExit:
        print(service.said(), file=sys.stderr)
        for server in topology.servers:
            describe(server)
        raise
    finally:
        writer.stop()
        service.stop()


def one_failover(
    master: MySQLServer, others: list[MySQLServer], service: Service, writer: Writer, how: str
) -> tuple[Failover, MySQLServer]:
    failed_at = time.perf_counter()
    os.kill(master.pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    wait_for("a write elsewhere", lambda: any(s.port in writer.first_at for s in others), 0.01)
    successor = next(server for server in others if server.port in writer.first_at)
    promoted_at = writer.first_at[successor.port]
    remaining = [server for server in others if server is not successor]
    at = wait_for("the replicas", partial(all_receive, remaining, successor), 0.01)
    wait_settled(service, successor, others)
    writable = come_back(master, master.resume if how == "stop" else partial(restart, master))
    acknowledged = dict(writer.acknowledged)
    present = {row["id"] for row in successor.query("SELECT id FROM app.acknowledged")}
    missing = sum(row not in present for row in acknowledged)
    late = writer.late(master.port, promoted_at, present)
    result = Failover(promoted_at - failed_at, at - failed_at, missing, len(acknowledged), writable, late)
    return result, successor


def restart(master: MySQLServer) -> None:
    """As its supervisor does, as soon as it is gone."""
    master.kill()
    master.start()


def come_back(master: MySQLServer, bring_back: Callable[[], None]) -> float:
    """Bring the old master back; for how long it was seen to be writable until it was fenced for good."""
    bringing = threading.Thread(target=bring_back, daemon=True)
    bringing.start()
    writable: list[float] = []

    def fenced() -> bool:
        if master.variable("read_only") == "0":
            writable.append(time.perf_counter())
            return False
        return True

    at = wait_for("the old master to be fenced", fenced, 0.005)
    bringing.join(60)
    time.sleep(0.5)  # whatever clients still try
    return at - writable[0] if writable else 0.0


def all_receive(replicas: list[MySQLServer], source: MySQLServer) -> bool:
    return all(receives(replica, source) for replica in replicas)


def receives(replica: MySQLServer, source: MySQLServer) -> bool:
    row = modern_columns(replica.query("SHOW REPLICA STATUS")[0])
    return row["Source_Port"] == source.port and row["Replica_IO_Running"] == "Yes"


def wait_settled(service: Service, master: MySQLServer, servers: list[MySQLServer]) -> None:
    """Until the service sees this master and all the others under it, running."""

    def settled() -> bool:
        cluster = service.get(f"cluster/{master.key}")
        good = [
            one
            for one in cluster
            if one["IsLastCheckValid"]
            and (one["Key"]["Port"] == master.port or one["ReplicationIOThreadRuning"])
        ]
        return len(good) == len(servers) and all(
            one["SemiSyncMasterStatus"] for one in good if one["Key"]["Port"] == master.port
        )

    wait_for(f"the service to see {len(servers)} servers under {master.key}", settled)


def wait_at_rest(service: Service) -> None:
    """Until what Ray and the actors do when they start is over."""

    def at_rest() -> bool:
        before = processor_seconds(service.pid)
        time.sleep(1.0)
        return processor_seconds(service.pid) - before < _REST

    wait_for("the service to be at rest", at_rest)


def describe(server: MySQLServer) -> None:
    """What a server says of itself, for a benchmark that did not come to its end."""
    for sql in (
        "SELECT @@port, @@read_only",
        "SHOW GLOBAL VARIABLES LIKE 'gtid_%'",
        "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_%'",
        "SHOW REPLICA STATUS",
        "SHOW FULL PROCESSLIST",
    ):
        with contextlib.suppress(pymysql.Error, OSError):
            for row in server.query(sql):
                print({name: value for name, value in row.items() if value}, file=sys.stderr)


def report(failovers: list[Failover]) -> None:
    rows = {
        "write accepted elsewhere, s": [one.write for one in failovers],
        "all replicas under it, s": [one.replicas for one in failovers],
        "acknowledged writes missing": [float(one.missing) for one in failovers],
        "old master writable again, s": [one.writable for one in failovers],
        "writes it acknowledged then": [float(one.late) for one in failovers],
    }
    print(f"\n{len(failovers)} failovers{'':<22}{'min':>8}{'median':>8}{'max':>8}")
    for name, values in rows.items():
        figures = (min(values), statistics.median(values), max(values))
        print(f"{name:<34}" + "".join(f"{figure:>8.3f}" for figure in figures))


if __name__ == "__main__":
    main()
