"""A head and a worker, as the systemd units start them: gateways, probes, and the death of either.

systemd itself does not run here; ``tests/units.py`` does what it would do with the same unit files.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Process
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.node import ask, settings_of
from tests.promises import Promise, contention
from tests.ray_cluster import RayCluster, ray_cluster
from tests.servers import Stage, wait_until

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(400)]

WORKER = "127.0.0.12"
HEAD_SECONDS = 10
"""From the death of the head to its API, with all actors. With head, worker and four servers on two
processors 6.3 to 7.4 s were measured, most of it processor time of Ray and of the actors that start.
"""
PROBES_SECONDS = 30
"""Until each server has been looked at again."""
MOVED_SECONDS = 20
"""From the death of a worker: 5 to 6 s until Ray believes it, then the start of the probes."""


@dataclass(frozen=True)
class World:
    """Three probes at most on a Ray node: too few for four servers on the head alone."""

    cluster: RayCluster
    topology: MySQLTopology


@pytest.fixture(scope="module")
def head(mysqld: Mysqld) -> Iterator[World]:
    """A head, with a worker from the first test on."""
    stage = Stage(mysqld)
    try:
        topology = stage.topology(TopologySpec(semi_sync="lossless"))
        settings = settings_of(topology.accounts.orchestray, topology.master, ProbeActorsMax=3)
        with ray_cluster(settings) as cluster:
            cluster.start()
            cluster.wait_instances(topology.servers)
            yield World(cluster, topology)
    finally:
        stage.clear()


@pytest.fixture(scope="module")
def world(head: World) -> World:
    """With the worker."""
    if not head.cluster.workers:
        head.cluster.add_worker(WORKER)
    return head


def probes_on(world: World) -> tuple[int, int]:
    """How many run on the head, and on the worker."""
    worker = world.cluster.workers[WORKER].marked
    titles = list(worker.processes().values())
    return len(world.cluster.actors("probe")), sum("Probe(" in title for title in titles)


def spread(world: World) -> bool:
    return probes_on(world) == (2, 2)


def all_fresh(world: World) -> bool:
    known = world.cluster.instances()
    return len(known) == len(world.topology.servers) and all(
        one["IsLastCheckValid"] and one["SecondsSinceLastSeen"]["Int64"] <= 2 for one in known.values()
    )


def wait_spread(world: World) -> None:
    wait_until(
        lambda: spread(world) and all_fresh(world), 90, lambda: f"{probes_on(world)} {world.cluster.story()}"
    )


def worker_get(world: World, path: str) -> tuple[int, object]:
    try:
        return ask(f"{world.cluster.worker_url(WORKER)}/api/{path}", 5)
    except OSError as error:
        return 0, str(error)


def titles_of_probes(world: World) -> list[str]:
    titles = list(world.cluster.marked.processes().values())
    if WORKER in world.cluster.workers:
        titles += world.cluster.workers[WORKER].marked.processes().values()
    return sorted(found[1] for title in titles if (found := re.match(r"ray::Probe\(([\w.:]+)\)", title)))


def test_a_worker_is_room_for_as_many_probes_again(head: World) -> None:
    """Three actors on a node share four servers; on two nodes each server has one of its own. Those that
    leave go on until the others report."""
    cluster = head.cluster

    def story() -> str:
        return f"{titles_of_probes(head)} {cluster.story()}"

    wait_until(lambda: titles_of_probes(head) == ["0", "1", "2"], 40, story)
    cluster.add_worker(WORKER)
    servers = sorted(str(server.key) for server in head.topology.servers)
    stale: set[str] = set()

    def shared_out() -> bool:
        known = cluster.instances()
        late = 4 * contention()
        stale.update(name for name, one in known.items() if one["SecondsSinceLastSeen"]["Int64"] > late)
        return titles_of_probes(head) == servers

    wait_until(shared_out, 90, story)
    assert not stale


def test_probes_spread_over_the_nodes(world: World) -> None:
    wait_spread(world)


def test_the_worker_serves_the_api(world: World) -> None:
    wait_until(
        lambda: worker_get(world, "leader-check") == (200, "OK"), 30, lambda: worker_get(world, "status")
    )
    status, instances = worker_get(world, "all-instances")
    assert status == 200
    assert isinstance(instances, list)
    assert len(instances) == len(world.topology.servers)
    # The store is a file of the head's.
    assert worker_get(world, "audit-recovery") == (200, [])
    # A change, from where it was asked for to the actors of the head.
    replica = world.topology.replicas[0]
    assert worker_get(world, f"register-candidate/127.0.0.1/{replica.port}/prefer")[0] == 200
    wait_until(lambda: world.cluster.instances()[str(replica.key)]["PromotionRule"] == "prefer", 10)


def test_the_leader_stops_and_the_worker_says_in_time_that_nobody_leads(world: World) -> None:
    leader = world.cluster.actor("leader")
    assert leader.signal(signal.SIGSTOP)
    promise = Promise(4)  # a lease of 3 s
    promise.kept(lambda: worker_get(world, "leader-check")[0] == 404)
    wait_until(lambda: not leader.is_alive, 20)
    wait_until(lambda: worker_get(world, "leader-check")[0] == 200, 20)


def test_a_gateway_of_a_worker_that_is_killed_serves_again(world: World) -> None:
    pids = [
        pid
        for pid, title in world.cluster.workers[WORKER].marked.processes().items()
        if title.startswith("ray::Gateway")
    ]
    assert len(pids) == 1
    assert Process.of(pids[0]).signal(signal.SIGKILL)
    Promise(5).kept(lambda: worker_get(world, "all-instances")[0] == 200)


def test_the_death_of_a_worker_moves_its_probes(world: World) -> None:
    """Its host dies: every process at once. When it is back, so are gateway and probes."""
    wait_spread(world)
    promise = Promise(MOVED_SECONDS)
    world.cluster.workers[WORKER].die()
    promise.kept(lambda: probes_on(world) == (4, 0) and all_fresh(world), lambda: probes_on(world))
    print(f"probes moved after {promise.elapsed:.1f} s")
    world.cluster.add_worker(WORKER)
    wait_spread(world)
    wait_until(lambda: worker_get(world, "leader-check") == (200, "OK"), 30)


@pytest.mark.parametrize("victim", ["gcs_server", "ray start"])
def test_the_head_is_killed_and_is_back_with_its_actors(world: World, victim: str) -> None:
    """Detached actors included; what the worker has goes on, until probes are spread anew."""
    cluster = world.cluster
    wait_spread(world)
    before = cluster.head.restarts
    on_worker = {
        pid for pid, title in cluster.workers[WORKER].marked.processes().items() if "Probe(" in title
    }
    former = [cluster.actor(kind) for kind in ("topology", "leader", "gateway")]
    process = cluster.head_process() if victim == "ray start" else cluster.ray_process(victim)
    assert process.signal(signal.SIGKILL)
    assert process.wait_gone(5)
    promise = Promise(HEAD_SECONDS)
    # They may answer for a moment longer.
    wait_until(lambda: not cluster.head.is_active and not any(one.is_alive for one in former), 20)
    print(f"gone after {promise.elapsed:.1f} s")
    assert on_worker <= set(cluster.workers[WORKER].marked.processes())
    promise.kept(lambda: cluster.leads, cluster.story)
    print(f"{victim} killed: leads after {promise.elapsed:.1f} s")
    wait_until(lambda: all_fresh(world), PROBES_SECONDS, cluster.story)
    print(f"and has looked at all servers after {promise.elapsed:.1f} s")
    wait_until(lambda: cluster.head.is_active, 30, cluster.story)
    assert cluster.head.restarts == before + 1
    wait_until(lambda: worker_get(world, "leader-check") == (200, "OK"), 30)
    wait_spread(world)
