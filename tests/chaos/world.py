"""What a run consists of: nodes, servers, a backend, who writes; and the record of what happened."""

from __future__ import annotations

import re
import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Process
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.chaos.history import Election, History, Life, Trouble, read_general_log
from tests.chaos.hosted import HostedBackend, HostedTopology
from tests.chaos.network import Host, Network
from tests.node import Node, settings_of
from tests.servers import wait_until
from tests.writing_client import TABLE, WritingClient

__all__ = ["SETUPS", "ChaosNode", "World"]

SETUPS = ("raft", "shared")
REPLICAS = 3
_RAFT_PORT = 10008
_WRITE_PAUSE_SECONDS = 0.03
_START_SECONDS = 180
_STARTS = 8
_SAID = re.compile(r"^(\d\d):(\d\d):(\d\d) leader +leads with term (\d+)$", re.MULTILINE)


class ChaosNode(Node):
    """A node on a host; what each of its lives printed is kept."""

    def __init__(self, name: str, host: Host, folder: Path, settings: dict[str, object]) -> None:
        super().__init__(folder, settings, within=host.within)
        self.name, self.host = name, host
        self.url = f"http://{host.address}:{self.port}"
        if host.within:
            self.configure(ListenAddress=f":{self.port}")
        self.lives: list[str] = []

    def launch(self) -> ChaosNode:
        self._keep()
        super().launch()
        return self

    def _keep(self) -> None:
        if self.output.exists():
            self.lives.append(self.said)

    def all_said(self) -> list[str]:
        """By each of its lives."""
        return [*self.lives, self.said]

    def start_again(self) -> None:
        """As a supervisor does: until it serves, a few times."""
        for remaining in reversed(range(_STARTS)):
            self.marked.kill_all()
            if self._process is not None:
                self.wait_exit(20)
            self.launch()
            with suppress(AssertionError):
                wait_until(lambda: self.exited or "serving http" in self.said, _START_SECONDS)
                if not self.exited:
                    return
            assert remaining, f"{self.name} does not start:\n{self.said}"

    @property
    def runs(self) -> bool:
        return self._process is not None and not self.exited

    def freeze(self) -> list[Process]:
        """SIGSTOP to all that it consists of. Returns whom to wake."""
        stopped: dict[int, Process] = {}
        for _ in range(3):  # what it started meanwhile
            for pid in self.marked.processes():
                if pid not in stopped:
                    with suppress(ProcessLookupError):
                        stopped[pid] = Process.of(pid)
                        stopped[pid].signal(signal.SIGSTOP)
        return list(stopped.values())


class World:
    """``start`` makes all of it, the ``endings`` end it. Times in its history are this host's."""

    def __init__(
        self, mysqld: Mysqld, folder: Path, network: Network, endings: ExitStack, *, setup: str,
        lossless: bool, net_timeout: int | None, nodes: int = 3,
    ) -> None:  # fmt: skip
        self.folder, self.network, self.setup = folder, network, setup
        self.history = History(lossless=lossless)
        self.began = time.time()
        self.by_hand: list[str] = []
        self._recording = threading.Lock()
        self._endings = endings
        spec = TopologySpec(
            replicas=REPLICAS, semi_sync="lossless" if lossless else None, replica_net_timeout=net_timeout
        )
        self.topology = HostedTopology(mysqld, folder / "servers", spec, network)
        self.backend = (
            HostedBackend(mysqld, folder / "backend", network.host("backend"), own_port=network.can_cut)
            if setup == "shared"
            else None
        )
        hosts = [network.host(f"n{number}") for number in range(1, nodes + 1)]
        self.nodes = [self._node(host, hosts) for host in hosts]
        self.client: WritingClient

    def start(self) -> None:
        """Until everything is there, seen by all nodes, and written to."""
        self._endings.callback(self.topology.stop)
        self.topology.start()
        self._lives_so_far()
        if self.backend is not None:
            self._endings.callback(self.backend.destroy)
            self.backend.set_up()
        self._endings.callback(self._kill_nodes)
        for node in self.nodes:
            node.configure(**self._settings(node))
            node.start_again()
        self._endings.callback(self._stop_writing)
        self.topology.master.execute(TABLE)
        account = self.topology.accounts.application
        self.client = WritingClient(self.servers, account, pause_seconds=_WRITE_PAUSE_SECONDS)
        self.client.start()

    def _stop_writing(self) -> None:
        if hasattr(self, "client"):
            with suppress(AssertionError):
                self.client.stop()

    def _kill_nodes(self) -> None:
        for node in self.nodes:
            node.marked.kill_all()
        for node in self.nodes:
            node.destroy()

    def _lives_so_far(self) -> None:
        for server in self.servers:
            self.note_life(server, begins=True, writable=server is self.topology.master)

    # its parts

    @property
    def servers(self) -> tuple[MySQLServer, ...]:
        return self.topology.servers

    def server(self, name: str) -> MySQLServer | None:
        """Of this ``host:port``."""
        return next((one for one in self.servers if str(one.key) == name), None)

    def acting(self) -> ChaosNode | None:
        """The only node that says so."""
        found = [node for node in self.nodes if node.leads]
        return found[0] if len(found) == 1 else None

    def writable(self) -> list[MySQLServer]:
        """Those that say so, asked side by side; who does not answer is none of them."""

        def is_open(server: MySQLServer) -> bool:
            try:
                with server.root(2.0) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT @@global.read_only AS closed")
                    row = cursor.fetchone()
            except Exception:  # it is down, or hangs
                return False
            return row is not None and str(row["closed"]) == "0"

        with ThreadPoolExecutor(len(self.servers)) as pool:
            answers = pool.map(is_open, self.servers)
        return [server for server, answer in zip(self.servers, answers, strict=True) if answer]

    def host_of(self, thing: ChaosNode | MySQLServer) -> str:
        """Its name in the network."""
        return thing.host.name if isinstance(thing, ChaosNode) else self.topology.hosts[thing.name].name

    # what happens to servers

    def kill(self, server: MySQLServer) -> None:
        self.note_life(server, begins=False)
        server.kill()

    def stop(self, server: MySQLServer) -> None:
        self.note_life(server, begins=False)
        server.stop()

    def start_server(self, server: MySQLServer) -> None:
        """As its supervisor does."""
        server.start(timeout_seconds=120)
        self.note_life(server, begins=True, writable=self.topology.flavour.read_only not in server.options)

    def note_life(self, server: MySQLServer, *, begins: bool, writable: bool = False) -> None:
        with self._recording:
            self.history.lives.append(Life(time.time(), str(server.key), begins, writable))

    def note_trouble(self, trouble: Trouble) -> None:
        with self._recording:
            self.history.troubles.append(trouble)

    def note_by_hand(self, what: str) -> None:
        with self._recording:
            self.by_hand.append(what)

    # the history

    def collect(self) -> History:
        """All of it, at the end. The client has stopped."""
        history = self.history
        for server in self.servers:
            with server.general_log_file.open(errors="replace") as lines:
                history.add_log(read_general_log(str(server.key), lines))
        for node in self.nodes:
            for life, said in enumerate(node.all_said()):
                history.elections += self._elections(node.name, life, said)
        history.writes = sum(len(rows) for rows in self.client.acknowledged.values())
        writable = self.writable()
        if len(writable) == 1:  # else that is told already
            history.missing = sorted(self.client.missing_on(writable[0]))
        return history

    def _elections(self, name: str, life: int, said: str) -> list[Election]:
        found: dict[int, Election] = {}  # a line may be told again after the loss of a gateway
        for hours, minutes, seconds, term in _SAID.findall(said):
            at = self._near_the_run(int(hours), int(minutes), int(seconds))
            found.setdefault(int(term), Election(at, name, life, int(term)))
        return list(found.values())

    def _near_the_run(self, hours: int, minutes: int, seconds: int) -> float:
        began = datetime.fromtimestamp(self.began, timezone.utc)
        at = began.replace(hour=hours, minute=minutes, second=seconds, microsecond=0)
        return (at + timedelta(days=1 if at < began - timedelta(minutes=5) else 0)).timestamp()

    # settings

    def _node(self, host: Host, hosts: list[Host]) -> ChaosNode:
        folder = self.folder / host.name
        folder.mkdir()
        settings: dict[str, object] = {
            "RecoveryPeriodBlockSeconds": 1,
            "AuthenticationMethod": "basic",
            "HTTPAuthUser": "chaos",
            "HTTPAuthPassword": secrets.token_urlsafe(12),
            "CandidateInstanceExpireMinutes": 24 * 60,
        }
        node = ChaosNode(host.name, host, folder, settings)
        if self.setup == "raft":
            ports = [_RAFT_PORT + (0 if host.within else number) for number in range(len(hosts))]
            members = [f"{each.address}:{port}" for each, port in zip(hosts, ports, strict=True)]
            node.configure(
                RaftEnabled=True, RaftDataDir=str(folder / "raft"), RaftNodes=members,
                RaftBind=members[hosts.index(host)], RaftSecret="the secret of raft in a test",
            )  # fmt: skip
        node.configure(HTTPAdvertise=node.url)
        return node

    def _settings(self, node: ChaosNode) -> dict[str, object]:
        """What is known only when the servers are there."""
        found = settings_of(self.topology.accounts.orchestray, self.topology.master)
        if self.backend is not None:
            backend = self.backend
            found |= {
                "BackendDB": "mysql", "MySQLOrchestratorHost": backend.host,
                "MySQLOrchestratorPort": backend.port, "MySQLOrchestratorDatabase": "orchestray",
                "MySQLOrchestratorUser": backend.user, "MySQLOrchestratorPassword": backend.password,
                "NodeDirectory": str(node.folder / "node"),
            }  # fmt: skip
        return found
