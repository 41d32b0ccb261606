"""One node and one topology for as many tests as possible: a Ray head takes seconds of CPU to start."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.node import Node, Watched, watching
from tests.servers import short_directory

MakeNode = Callable[..., Node]


@pytest.fixture(scope="package")
def watched(mysqld: Mysqld) -> Iterator[Watched]:
    """A master, two replicas and one more below the second of them, found from that leaf; with dashboard."""
    spec = TopologySpec(replicas=2, below_last=1, semi_sync="lossless")
    # On a busy machine no actor is replaced for being slow: that is not what is tested with it.
    settings = {"RestartLeaderAfterSeconds": 30, "AuditToBackendDB": True}
    with watching(mysqld, spec, "--dashboard", seed=lambda topology: topology.below[0], **settings) as both:
        yield both


@pytest.fixture
def live(watched: Watched) -> Watched:
    """The same, once it is settled."""
    watched.node.wait_settled(watched.topology.master, watched.topology.replicas)
    return watched


@pytest.fixture
def make_node() -> Iterator[MakeNode]:
    """``make_node(settings, *options)``: a node of one test, configured and not started yet."""
    with ExitStack() as endings:

        def make(settings: dict[str, object] | None = None, *options: str, **more: object) -> Node:
            folder = short_directory()
            endings.callback(shutil.rmtree, folder, ignore_errors=True)
            node = Node(folder, settings, *options, **more)  # type: ignore[arg-type]
            endings.callback(node.destroy)
            return node

        yield make
