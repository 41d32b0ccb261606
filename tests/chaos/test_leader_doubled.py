"""A Leader frozen in a recovery, one that Ray has lost sight of, and one whose raylet is frozen.

Whatever its process does when it wakes up: on no server does a statement of a term come after one of a newer
term, and exactly one server is writable in the end. In a cluster as the systemd units start it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.node import settings_of
from tests.ray_cluster import RayCluster, ray_cluster
from tests.servers import Stage, general_log, start_general_log, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

_TERM = re.compile(r"/\* orchestray term=(\d+) step=")
LEASE_SECONDS = 3
WATCHDOG_SECONDS = 5
ORPHAN_SECONDS = 10


@dataclass(frozen=True)
class World:
    cluster: RayCluster
    topology: MySQLTopology
    folder: Path

    @property
    def hook_began(self) -> Path:
        return self.folder / "hook-began"

    @property
    def hook_ends(self) -> Path:
        return self.folder / "hook-ends"

    @property
    def term(self) -> int:
        return max(int(term) for term in re.findall(r"leads with term (\d+)", self.events()))

    def nobody_leads(self) -> bool:
        with suppress(OSError):
            return self.cluster.get("leader-check", 5)[0] == 404
        return False

    def events(self) -> str:
        return str(self.cluster.answers("events?since=0", 5))

    def writable(self) -> list[MySQLServer]:
        return [one for one in self.topology.replicas if one.is_running and one.variable("read_only") == "0"]

    def assert_fenced(self) -> list[int]:
        """No server has a statement of a term after one of a newer; the terms that did anything."""
        seen: set[int] = set()
        for server in self.topology.servers:
            terms = [int(found[1]) for one in general_log(server) if (found := _TERM.search(one.text))]
            assert terms == sorted(terms), (str(server.key), terms)
            seen |= set(terms)
        return sorted(seen)

    def wait_recovered(self, seconds: float) -> MySQLServer:
        (promoted,) = wait_until(self.writable, seconds, self.events)
        others = [one for one in self.topology.replicas if one is not promoted]
        self.cluster.wait_settled(promoted, others, 60)
        assert self.writable() == [promoted]
        return promoted


@pytest.fixture
def world(mysqld: Mysqld, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A healthy topology. A recovery waits in its first hook until ``hook_ends`` is there."""
    stage = Stage(mysqld)
    try:
        topology = stage.topology(TopologySpec(replicas=2, semi_sync="lossless"))
        hook = f"touch {tmp_path}/hook-began; until [ -e {tmp_path}/hook-ends ]; do sleep 0.05; done"
        settings = settings_of(
            topology.accounts.orchestray,
            topology.master,
            PreFailoverProcesses=[hook],
            HookTimeoutSeconds=60,
            **getattr(request, "param", {}),
        )
        with ray_cluster(settings) as cluster:
            cluster.start()
            cluster.wait_settled(topology.master, topology.replicas)
            for server in topology.servers:
                start_general_log(server)
            yield World(cluster, topology, tmp_path)
    finally:
        stage.clear()


def test_frozen_in_a_recovery_and_ended_by_the_watchdog(world: World) -> None:
    leader, term = world.cluster.actor("leader"), world.term
    world.topology.master.kill()
    wait_until(world.hook_began.exists, 20)
    assert leader.signal(signal.SIGSTOP)
    world.hook_ends.touch()
    assert leader.wait_gone(WATCHDOG_SECONDS * 4)
    world.wait_recovered(40)
    assert world.term > term
    world.assert_fenced()


@pytest.mark.parametrize("world", [{"RestartLeaderAfterSeconds": 60}], indirect=True)
def test_frozen_in_a_recovery_beyond_its_lease_and_woken(world: World) -> None:
    """Nobody ends it: it wakes up in the middle of what it did, and its right to act has run out.

    Nobody else was elected meanwhile, so that it takes its own term up again, and only then goes on."""
    leader = world.cluster.actor("leader")
    world.topology.master.kill()
    wait_until(world.hook_began.exists, 20)
    assert leader.signal(signal.SIGSTOP)
    world.hook_ends.touch()
    wait_until(world.nobody_leads, LEASE_SECONDS * 4)
    assert not world.writable()
    assert leader.signal(signal.SIGCONT)
    world.wait_recovered(40)
    assert world.cluster.actor("leader") == leader
    world.assert_fenced()


def test_orphaned_by_the_death_of_its_head(world: World) -> None:
    """Stopped, and so it does not follow its raylet: the head comes back, with a second Leader beside it.

    That waits for the lock, then ends it, and completes what it had begun.
    """
    cluster = world.cluster
    orphan, term = cluster.actor("leader"), world.term
    world.topology.master.kill()
    wait_until(world.hook_began.exists, 20)
    assert orphan.signal(signal.SIGSTOP)
    cluster.head.spared.add(orphan.pid)
    assert cluster.ray_process("raylet").signal(signal.SIGKILL)
    wait_until(lambda: not cluster.head.is_active, 20)
    world.hook_ends.touch()
    wait_until(lambda: len(cluster.actors("leader")) == 2, 60, cluster.marked.processes)
    assert orphan.is_alive
    assert not world.writable()
    assert orphan.wait_gone(ORPHAN_SECONDS * 4)
    world.wait_recovered(60)
    assert world.term > term
    world.assert_fenced()


def test_the_raylet_is_frozen_and_woken(world: World) -> None:
    """As in a partition: Ray takes the head's actors for lost, and they run on. When it wakes up, all end."""
    cluster = world.cluster
    raylet, leader, term = cluster.ray_process("raylet"), cluster.actor("leader"), world.term
    world.hook_ends.touch()
    assert raylet.signal(signal.SIGSTOP)
    log = next((world.cluster.folder / "lib" / "ray" / "session_latest" / "logs").glob("gcs_server.out"))
    wait_until(lambda: "marked dead" in log.read_text() or "is dead" in log.read_text(), 60, log.read_text)
    world.topology.master.kill()
    promoted = wait_until(world.writable, 40, world.events)
    assert cluster.actors("leader") == [leader]
    assert raylet.signal(signal.SIGCONT)
    wait_until(lambda: not leader.is_alive, 30)
    wait_until(lambda: cluster.head.restarts >= 1 and cluster.head.is_active, 60)
    wait_until(lambda: cluster.leads, 30)
    assert [world.wait_recovered(30)] == promoted
    assert len(cluster.actors("leader")) == 1
    assert len(world.assert_fenced()) == 1
    wait_until(lambda: world.term > term, 10)
