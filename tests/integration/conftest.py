"""One node and one topology for as many tests as possible: a Ray head takes seconds of CPU to start."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.node import Node, settings_of
from tests.servers import Stage, short_directory

_NODES = pytest.StashKey[list[Node]]()

MakeNode = Callable[..., Node]


@dataclass(frozen=True)
class Watched:
    """A node that watches a topology: a master, two replicas and one more below the second of them."""

    node: Node
    topology: MySQLTopology


@pytest.fixture(scope="package")
def watched(mysqld: Mysqld) -> Iterator[Watched]:
    """Started with the dashboard; from the leaf as its seed."""
    stage, folder = Stage(mysqld), short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(stage.clear)
        topology = stage.topology(TopologySpec(replicas=2, below_last=1, semi_sync="lossless"))
        account = topology.accounts.orchestray
        node = Node(folder, settings_of(account, topology.below[0]), "--dashboard")
        endings.callback(node.destroy)
        node.start()
        node.wait_instances(topology.servers)
        yield Watched(node, topology)


@pytest.fixture
def make_node(request: pytest.FixtureRequest) -> Iterator[MakeNode]:
    """``make_node(settings, *options)``: a node of one test, configured and not started yet."""
    with ExitStack() as endings:
        made: list[Node] = []
        request.node.stash[_NODES] = made

        def make(settings: dict[str, object] | None = None, *options: str, **more: object) -> Node:
            folder = short_directory()
            endings.callback(shutil.rmtree, folder, ignore_errors=True)
            node = Node(folder, settings, *options, **more)  # type: ignore[arg-type]
            made.append(node)
            endings.callback(node.destroy)
            return node

        yield make
