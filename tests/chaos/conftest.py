"""One node and one topology for the tests that kill and stop the node's parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.chaos.parts import assert_one_of_each, memory
from tests.node import Watched, watching
from tests.servers import wait_until


@pytest.fixture(scope="package")
def watched(mysqld: Mysqld) -> Iterator[Watched]:
    """A master and three replicas."""
    with watching(mysqld, TopologySpec(semi_sync="lossless")) as both:
        yield both


@pytest.fixture
def remembered(watched: Watched) -> Iterator[Any]:
    """The memory of the node after the test is that before it, and each of its parts is there once."""
    node, preferred = watched.node, watched.topology.replicas[0]
    wait_until(lambda: node.leads, 20)
    node.api(f"register-candidate/127.0.0.1/{preferred.port}/prefer")
    wait_until(lambda: node.instances()[str(preferred.key)]["PromotionRule"] == "prefer", 10)
    before = memory(node)
    yield before
    wait_until(lambda: memory(node) == before, 10, lambda: f"{memory(node)} == {before}")
    assert_one_of_each(watched)
