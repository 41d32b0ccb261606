"""A raft setup of whole nodes on loopback, each with a Ray head and a SQLite file of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.namespaces import Namespace
from tests.node import Node, settings_of
from tests.servers import Stage, short_directory, wait_until

__all__ = ["SECRET", "HostNode", "RaftNodes", "raft_settings"]

SECRET = "the secret of raft in a test"


def raft_settings(
    folder: Path, ports: Sequence[int], number: int, addresses: Sequence[str] = ()
) -> dict[str, object]:
    """``addresses`` of the members, without which all are 127.0.0.1."""
    members = [
        f"{address}:{port}" for address, port in zip(addresses or repeat("127.0.0.1"), ports, strict=False)
    ]
    return {
        "RaftEnabled": True,
        "RaftDataDir": str(folder / "raft"),
        "RaftBind": members[number],
        "RaftNodes": members,
        "RaftSecret": SECRET,
    }


class HostNode(Node):
    """A node on a host of its own: in a namespace, in which it is asked too."""

    def __init__(self, folder: Path, settings: dict[str, object], host: Namespace) -> None:
        self.host = host
        super().__init__(folder, settings, within=host.within)

    def get(self, path: str, timeout_seconds: float = 20) -> tuple[int, Any]:
        with self.host.inside():
            return super().get(path, timeout_seconds)


class RaftNodes:
    """Nodes that watch one topology."""

    def __init__(
        self,
        folder: Path,
        topology: MySQLTopology,
        endings: ExitStack,
        *,
        size: int = 3,
        hosts: Sequence[Namespace] = (),
        own: Callable[[int], Mapping[str, object]] = lambda number: {},
        **more: object,
    ) -> None:
        """``hosts``: one for each node, else all are on loopback. ``own`` settings of each, by its number."""
        self.topology = topology
        self.hosts = hosts
        self.ports = [free_port() for _ in range(size)]
        account = topology.accounts.orchestray
        self.nodes: list[Node] = []
        for number in range(size):
            place = folder / str(number)
            place.mkdir()
            addresses = [host.address for host in hosts]
            settings = settings_of(
                account,
                topology.master,
                **{**raft_settings(place, self.ports, number, addresses), **more, **own(number)},
            )
            node = HostNode(place, settings, hosts[number]) if hosts else Node(place, settings)
            endings.callback(node.destroy)
            self.nodes.append(node)
        endings.callback(self._kill_all)  # which is sooner than to stop them one by one

    def start(self) -> None:
        """One after another (Ray heads that look for ports at the same time meet); until one acts and all
        have seen all servers."""
        for node in self.nodes:
            node.start()
        wait_until(lambda: self.acting, 30, self.story)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.wait_instances(self.topology.servers), self.nodes))

    def _kill_all(self) -> None:
        for node in self.living:
            node.marked.kill_all()

    @property
    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.marked.processes()]

    @property
    def acting(self) -> Node | None:
        """The only one that says so."""
        found = [node for node in self.living if node.leads]
        return found[0] if len(found) == 1 else None

    def leader(self, seconds: float = 20) -> Node:
        return wait_until(lambda: self.acting, seconds, self.story)

    def others(self, *besides: Node) -> list[Node]:
        return [node for node in self.nodes if node not in besides]

    def member(self, node: Node) -> str:
        number = self.nodes.index(node)
        return f"{self.hosts[number].address if self.hosts else '127.0.0.1'}:{self.ports[number]}"

    @classmethod
    @contextmanager
    def started(cls, mysqld: Mysqld, *, replicas: int = 2, size: int = 3) -> Iterator[RaftNodes]:
        """With a topology of their own, within the block."""
        stage, folder = Stage(mysqld), short_directory()
        with ExitStack() as endings:
            endings.callback(shutil.rmtree, folder, ignore_errors=True)
            endings.callback(stage.clear)
            nodes = cls(folder, stage.topology(TopologySpec(replicas=replicas)), endings, size=size)
            nodes.start()
            yield nodes

    @staticmethod
    def kill(node: Node) -> None:
        """SIGKILL to all its processes, as if its host had gone."""
        node.marked.kill_all()
        node.wait_exit(10)

    def forget_state(self, node: Node) -> None:
        """As after the loss of its disk."""
        assert not node.marked.processes()
        for file in node.folder.glob("orchestray.db*"):
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
        shutil.rmtree(node.folder / "raft")

    def story(self) -> str:
        return "\n".join(f"--- {self.member(node)}\n{node.said}" for node in self.nodes)
