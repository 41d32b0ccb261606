"""A whole node for tests: ``orchestray serve`` as a subprocess, its API, and the processes it consists of.

What belongs to a node is told by a mark in the environment that all its processes inherit, so that those
are found that lost their parent as well. A node dies with the test process (``PR_SET_PDEATHSIG``).
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.sandbox.accounts import Account
from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from services.sandbox.processes import Process, spawn
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from services.topology.keys import InstanceKey
from tests.servers import Stage, short_directory, wait_until

__all__ = [
    "ORCHESTRAY",
    "Marked",
    "Node",
    "Watched",
    "ask",
    "key_of",
    "keys_of",
    "orchestray",
    "settings_of",
    "watching",
]

ORCHESTRAY = str(Path(sys.executable).with_name("orchestray"))
START_SECONDS = 90
STOP_SECONDS = 10
_MARK = "ORCHESTRAY_TEST_MARK"
_ACTORS = {"leader": "LeaderActor", "topology": "TopologyActor", "gateway": "Gateway", "probe": "Probe"}
"""Kind of actor: its class, which is in the title of its process."""


class Marked:
    """Environment of a process whose descendants can all be found, whoever their parent is by now.

    A process that writes its title over its environment (Ray's agents do) is found by its ``session``.
    """

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self.session = 0

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**inherited, _MARK: self.mark}

    def processes(self) -> dict[int, str]:
        """Pid and command line of all that live."""
        wanted = f"{_MARK}={self.mark}".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0") or self._is_in_session(entry):
                    title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(entry.name)] = title.strip()
            except OSError:  # it ended meanwhile
                continue
        return found

    def _is_in_session(self, entry: Path) -> bool:
        if self.session == 0:  # which is that of the kernel's threads, and of who started everything
            return False
        state, *fields = (entry / "stat").read_text().rpartition(")")[2].split()
        return int(fields[2]) == self.session and state not in "ZX"

    def kill_all(self) -> None:
        """For the clearing away after a failed test."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def ask(url: str, timeout_seconds: float = 20, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and parsed body of a GET; a body that is not JSON as text. Raises OSError without a reply."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as reply:
            return reply.status, _parsed(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _parsed(error.read())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def orchestray(
    *words: str, environment: Mapping[str, str] | None = None, timeout_seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [ORCHESTRAY, *words],
        env=dict(environment or os.environ),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def settings_of(account: Account, *seeds: MySQLServer | InstanceKey, **more: object) -> dict[str, object]:
    """Settings of a node that finds these servers, polls each second and recovers everything."""
    return {
        "MySQLTopologyUser": account.user,
        "MySQLTopologyPassword": account.password,
        "DiscoverySeeds": [str(seed.key if isinstance(seed, MySQLServer) else seed) for seed in seeds],
        "RecoverMasterClusterFilters": ["*"],
        "RecoveryPeriodBlockSeconds": 1,
        "InstancePollSeconds": 1,
        **more,
    }


def key_of(value: Mapping[str, Any]) -> str:
    """``host:port`` of a Key in JSON."""
    return f"{value['Hostname']}:{value['Port']}"


def keys_of(instances: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key_of(instance["Key"]) for instance in instances]


class Node:
    """One ``orchestray serve``. Its files are in ``folder``, whose path must be short."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object] | None = None,
        *options: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """``within``: a command that runs the one that follows it, elsewhere."""
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / f"orchestray-{self.port}.json"
        self.database = folder / "orchestray.db"
        self.output = folder / f"serve-{self.port}.log"
        self.http_password = str((settings or {}).get("HTTPAuthPassword", ""))
        self.marked = Marked()
        self._options = options
        self._within = within
        self._environment = {**self.marked.environment, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, object] = {
            "BackendDB": "sqlite",
            "SQLite3DataFile": str(self.database),
            "ListenAddress": f"127.0.0.1:{self.port}",
            **(settings or {}),
        }
        self.configure()
        for name in ("actors", "api", "services"):  # names that other projects have too
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "__init__.py").write_text("raise ImportError('imported from the wrong folder')")

    def configure(self, **changes: object) -> None:
        """Write the configuration file; None removes a key."""
        self.settings.update(changes)
        self.settings = {name: value for name, value in self.settings.items() if value is not None}
        self.config.write_text(json.dumps(self.settings, indent=1))
        self.config.chmod(0o600)

    def node_file(self, name: str) -> Path:
        """A file of the node's directory; ``.`` is that itself."""
        return Path(f"{self.database}.node-{self.port}") / name

    # life

    def launch(self) -> Node:
        """Start it and do not wait. What an earlier run printed is forgotten."""
        self.output.unlink(missing_ok=True)
        self._process = spawn(
            [
                *self._within,
                sys.executable,
                ORCHESTRAY,
                "serve",
                "--config",
                str(self.config),
                *self._options,
            ],
            log=self.output,
            directory=self.folder,
            die_with_parent=True,
            environment=self._environment,
        )
        return self

    def start(self) -> Node:
        """Start it and wait until it serves."""
        self.launch()
        wait_until(lambda: self.exited or "serving http" in self.said, START_SECONDS, lambda: self.said)
        assert not self.exited, f"serve ended with {self.exit_code}:\n{self.said}"
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    @property
    def exited(self) -> bool:
        return self.exit_code is not None

    def wait_exit(self, timeout_seconds: float) -> int:
        """Its exit status, awaited that long."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"serve lives after {timeout_seconds} s:\n{self.said}") from None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> int:
        """SIGTERM and wait; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(STOP_SECONDS)

    def destroy(self) -> None:
        """End whatever is left of it."""
        if self._process is not None:
            with suppress(ProcessLookupError, AssertionError):
                if not self.exited:
                    self.stop()
            self.marked.kill_all()
            self._process.wait(10)
            wait_until(lambda: not self.marked.processes(), 10, self.marked.processes)

    # what it says

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_said(self, pattern: str, timeout_seconds: float = 15) -> re.Match[str]:
        return wait_until(
            lambda: re.search(pattern, self.said), timeout_seconds, lambda: f"{pattern} in:\n{self.said}"
        )

    def get(self, path: str, timeout_seconds: float = 20) -> tuple[int, Any]:
        """Status and parsed reply of ``/api/<path>``. Raises OSError without a reply."""
        headers = {}
        if self.settings.get("AuthenticationMethod") == "basic":
            pair = f"{self.settings['HTTPAuthUser']}:{self.http_password}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return ask(f"{self.url}/api/{path}", timeout_seconds, headers)

    def api(self, path: str, timeout_seconds: float = 20) -> Any:
        """The parsed reply, of an envelope its ``Details``. An ERROR fails the test."""
        status, reply = self.get(path, timeout_seconds)
        assert status == 200, f"{path}: {status} {reply}"
        if isinstance(reply, dict) and set(reply) == {"Code", "Message", "Details"}:
            assert reply["Code"] == "OK", f"{path}: {reply}"
            return reply["Details"]
        return reply

    def answers(self, path: str, timeout_seconds: float = 1) -> Any:
        """As ``api``, but None if there is no good reply now: for waiting."""
        with suppress(OSError, AssertionError):
            return self.api(path, timeout_seconds)
        return None

    def instances(self) -> dict[str, dict[str, Any]]:
        """By ``host:port``; empty while it does not answer."""
        return {key_of(one["Key"]): one for one in self.answers("all-instances", 5) or []}

    @property
    def leads(self) -> bool:
        return self.answers("leader-check") == "OK"

    def wait_instances(
        self,
        servers: Sequence[MySQLServer],
        timeout_seconds: float = 40,
        known_as: Callable[[InstanceKey], str] = str,
    ) -> dict[str, dict[str, Any]]:
        """Until exactly these are known, and seen well."""
        wanted = {known_as(server.key) for server in servers}

        def seen() -> dict[str, dict[str, Any]] | None:
            known = self.instances()
            well = set(known) == wanted and all(one["IsLastCheckValid"] for one in known.values())
            return known if well else None

        return wait_until(seen, timeout_seconds, lambda: self._story(wanted))

    def wait_settled(
        self, master: MySQLServer, replicas: Sequence[MySQLServer], timeout_seconds: float = 40
    ) -> None:
        """Until this master is seen with these replicas directly under it, receiving and applying."""

        def settled() -> bool:
            known = self.instances()
            top = known.get(str(master.key))
            return (
                top is not None
                and top["IsLastCheckValid"]
                and not top["ReadOnly"]
                and all(
                    (one := known.get(str(replica.key))) is not None
                    and one["IsLastCheckValid"]
                    and key_of(one["MasterKey"]) == str(master.key)
                    and one["ReplicationIOThreadRuning"]
                    and one["ReplicationSQLThreadRuning"]
                    and one["ClusterName"] == str(master.key)
                    for replica in replicas
                )
            )

        wanted = f"{[str(replica.key) for replica in replicas]} under {master.key}"
        wait_until(settled, timeout_seconds, lambda: self._story(wanted))

    def _story(self, wanted: object) -> str:
        known = {
            name: (key_of(one["MasterKey"]), one["LastCheckOutcome"], one["Problems"])
            for name, one in self.instances().items()
        }
        return f"wanted {wanted}, known {known}; it said:\n{self.said}"

    # what it consists of

    def actors(self, kind: str) -> list[Process]:
        """The living processes of a kind of actor."""
        actor_class = _ACTORS[kind]
        found = []
        for pid, title in self.marked.processes().items():
            words = re.split(r"[:.\s(]", title.removeprefix("ray::"))
            if title.startswith("ray::") and actor_class in words:
                with suppress(ProcessLookupError):
                    found.append(Process.of(pid))
        return [process for process in found if process.is_alive]

    def actor(self, kind: str) -> Process:
        """The only process of that kind, awaited."""
        return wait_until(
            lambda: found[0] if len(found := self.actors(kind)) == 1 else None,
            20,
            lambda: f"one {kind}: {self.marked.processes()}",
        )

    def probe_of(self, server: MySQLServer) -> Process:
        """The probe that has a connection to this server; awaited."""
        return wait_until(
            lambda: next((one for one in self.actors("probe") if _is_connected(one.pid, server.port)), None),
            20,
            f"a probe connected to {server.key}",
        )

    def ray_process(self, part: str) -> Process:
        """The process of the Ray head whose command line has ``part``: gcs_server, raylet, …"""
        pids = [pid for pid, title in self.marked.processes().items() if part in title.split(" ")[0]]
        assert len(pids) == 1, (part, self.marked.processes())
        return Process.of(pids[0])

    def head_process(self) -> Process:
        """``ray start --block``."""
        pids = [pid for pid, title in self.marked.processes().items() if " start --head " in title]
        assert len(pids) == 1, self.marked.processes()
        return Process.of(pids[0])


@dataclass(frozen=True)
class Watched:
    """A node, and the topology that it watches."""

    node: Node
    topology: MySQLTopology


@contextmanager
def watching(
    mysqld: Mysqld,
    spec: TopologySpec,
    *options: str,
    seed: Callable[[MySQLTopology], MySQLServer] = lambda topology: topology.master,
    known_as: Callable[[InstanceKey], str] = str,
    **settings: object,
) -> Iterator[Watched]:
    """A topology, and a node that has found all of it from one seed, under the names that are said."""
    stage, folder = Stage(mysqld), short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(stage.clear)
        topology = stage.topology(spec)
        account = topology.accounts.orchestray
        node = Node(folder, settings_of(account, seed(topology), **settings), *options)
        endings.callback(node.destroy)
        node.start()
        node.wait_instances(topology.servers, known_as=known_as)
        yield Watched(node, topology)


def _is_connected(pid: int, port: int) -> bool:
    """Whether the process has an established TCP connection to this local port."""
    sockets = set()
    with suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets.add(str(fd.readlink()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote_port = int(fields[2].rpartition(":")[2], 16)
        if remote_port == port and fields[3] == "01" and f"socket:[{fields[9]}]" in sockets:
            return True
    return False
