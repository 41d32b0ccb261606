"""The OpenAPI document against a live node with real servers: no crash, no hang, no actor that is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.fuzzing import fuzz
from tests.node import Watched, watching
from tests.servers import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

EXAMPLES = 8
_ACTORS = ("leader", "topology", "gateway")


@pytest.fixture(scope="module")
def live(mysqld: Mysqld) -> Iterator[Watched]:
    """A master and a replica that is found again when it is forgotten."""
    # Actors are not replaced for being slow: one that is new in the end was lost.
    settings = {"RestartLeaderAfterSeconds": 60, "AuditToBackendDB": True}
    with watching(mysqld, TopologySpec(replicas=1), **settings) as both:
        yield both


def test_whatever_is_asked_is_answered_as_described(live: Watched) -> None:
    wait_until(lambda: live.node.leads, 60)
    actors = {kind: live.node.actor(kind).pid for kind in _ACTORS}
    document = live.node.api("openapi.json")
    real = [(server.host, server.port) for server in live.topology.servers]
    began = time.monotonic()
    counts = fuzz(live.node.url, document, real=real, examples=EXAMPLES)
    print(f"{counts.total()} requests in {time.monotonic() - began:.0f} s: {dict(counts)}")
    assert counts.total() > 4 * len(document["paths"])
    assert counts["200"] > 0
    assert {kind: live.node.actor(kind).pid for kind in _ACTORS} == actors, live.node.said
    wait_until(lambda: live.node.leads, 60)
    assert live.node.api("lb-check") == "OK"
    for server in live.topology.servers:  # it may have been forgotten; whatever was, it can be found
        live.node.api(f"discover/{server.host}/{server.port}")
    live.node.wait_settled(live.topology.master, live.topology.replicas)
