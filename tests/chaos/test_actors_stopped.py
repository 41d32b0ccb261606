"""Each kind of actor is stopped (SIGSTOP): Ray never notices that. It is ended and replaced."""

from __future__ import annotations

import signal

import pytest

from services.sandbox.processes import Process
from tests.chaos.parts import assert_one_of_each
from tests.node import Watched
from tests.promises import Promise
from tests.servers import wait_until

REPLACED_SECONDS = 10
PROBE_REPLACED_SECONDS = 20
"""One poll interval and 2 s of silence, 5 s for an answer, then Ray takes 5 s to end what does not react."""

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("remembered")]


def stop(victim: Process) -> None:
    assert victim.signal(signal.SIGSTOP)
    assert victim.wait_paused(5)


def test_leader(watched: Watched) -> None:
    node = watched.node
    victim = node.actor("leader")
    stop(victim)
    promise = Promise(REPLACED_SECONDS)
    wait_until(lambda: node.get("leader-check")[0] == 404, 10)  # its right to act has run out by itself
    promise.kept(lambda: not victim.is_alive and node.leads, lambda: node.said)
    node.wait_said(r"supervision +leader did not answer for 5 s: ended")


def test_topology(watched: Watched) -> None:
    node = watched.node
    victim = node.actor("topology")
    stop(victim)
    promise = Promise(REPLACED_SECONDS)

    def fresh() -> bool:
        known = node.instances()
        return len(known) == len(watched.topology.servers) and all(
            one["IsLastCheckValid"] and one["SecondsSinceLastSeen"]["Int64"] <= 2 for one in known.values()
        )

    promise.kept(lambda: not victim.is_alive and fresh(), lambda: node.said)
    node.wait_said(r"supervision +topology did not answer for 5 s: ended")


def test_gateway(watched: Watched) -> None:
    node = watched.node
    victim = node.actor("gateway")
    stop(victim)
    promise = Promise(REPLACED_SECONDS)
    promise.kept(lambda: not victim.is_alive and node.answers("all-instances"), lambda: node.said)
    node.wait_said(r"supervision +gateway:head did not answer for 5 s: ended")


def test_probe(watched: Watched) -> None:
    """The polls of the other servers go on in time meanwhile."""
    node, replica = watched.node, watched.topology.replicas[-1]
    name = str(replica.key)
    victim = node.probe_of(replica)
    stop(victim)
    promise = Promise(PROBE_REPLACED_SECONDS)
    late: set[str] = set()

    def replaced() -> bool:
        known = node.instances()
        late.update(
            other
            for other, one in known.items()
            if other != name and not (one["IsLastCheckValid"] and one["SecondsSinceLastSeen"]["Int64"] <= 4)
        )
        return not victim.is_alive and known[name]["SecondsSinceLastSeen"]["Int64"] <= 2

    promise.kept(replaced, lambda: node.instances().get(name, {}).get("SecondsSinceLastSeen"))
    assert not late
    assert_one_of_each(watched)
