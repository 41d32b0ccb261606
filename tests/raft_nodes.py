"""A raft setup of whole nodes on loopback, each with a Ray head and a SQLite file of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from services.sandbox.ports import free_port
from services.sandbox.topology import MySQLTopology
from tests.node import Node, settings_of
from tests.servers import wait_until

__all__ = ["RaftNodes", "raft_settings"]

SECRET = "the secret of raft in a test"


def raft_settings(folder: Path, ports: Sequence[int], number: int) -> dict[str, object]:
    return {
        "RaftEnabled": True,
        "RaftDataDir": str(folder / "raft"),
        "RaftBind": f"127.0.0.1:{ports[number]}",
        "RaftNodes": [f"127.0.0.1:{port}" for port in ports],
        "RaftSecret": SECRET,
    }


class RaftNodes:
    """Nodes that watch one topology."""

    def __init__(
        self, folder: Path, topology: MySQLTopology, endings: ExitStack, *, size: int = 3, **more: object
    ) -> None:
        self.topology = topology
        self.ports = [free_port() for _ in range(size)]
        account = topology.accounts.orchestray
        self.nodes: list[Node] = []
        for number in range(size):
            own = folder / str(number)
            own.mkdir()
            settings = settings_of(account, topology.master, **raft_settings(own, self.ports, number), **more)
            node = Node(own, settings)
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
        return f"127.0.0.1:{self.ports[self.nodes.index(node)]}"

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
