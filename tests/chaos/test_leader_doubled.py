"""A Leader frozen in a recovery, one that Ray has lost sight of, and one whose raylet is frozen.

Whatever its process does when it wakes up: on no server does a statement of a term come after one of a newer
term, and exactly one server is writable in the end. In a cluster as the systemd units start it, whose
masters die one after the other.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.node import settings_of
from tests.ray_cluster import RayCluster, ray_cluster
from tests.servers import Stage, general_log, start_general_log, wait_until

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(400)]

_TERM = re.compile(r"/\* orchestray term=(\d+) step=")
LEASE_SECONDS = 3
WATCHDOG_SECONDS = 5
ORPHAN_SECONDS = 10
GIVEN_UP_SECONDS = 20
"""Until Ray takes a raylet that hangs for dead (5 × (1 + 2) s), and Topology sees that."""
BACK_SECONDS = 150
"""A head that was killed, on a busy machine: how fast it is, is measured elsewhere."""


@dataclass
class World:
    """``lost`` are former masters. A recovery waits in its first hook until ``hook_ends`` is there."""

    cluster: RayCluster
    topology: MySQLTopology
    master: MySQLServer
    lost: list[MySQLServer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hook_began = self.cluster.folder / "hook-began"
        self.hook_ends = self.cluster.folder / "hook-ends"

    @property
    def alive(self) -> list[MySQLServer]:
        return [one for one in self.topology.servers if one not in self.lost]

    @property
    def term(self) -> int:
        """The newest that the head's gateway has been told of; awaited."""
        terms = wait_until(lambda: re.findall(r"leads with term (\d+)", self.events()), 20, self.events)
        return max(int(term) for term in terms)

    def begin(self) -> None:
        for file in (self.hook_began, self.hook_ends):
            file.unlink(missing_ok=True)
        replicas = [one for one in self.alive if one is not self.master]
        wait_until(lambda: self.cluster.leads, BACK_SECONDS, self.cluster.story)
        self.cluster.wait_settled(self.master, replicas, 60)

    def kill_master(self) -> None:
        self.master.kill()
        self.lost.append(self.master)

    def nobody_leads(self) -> bool:
        with suppress(OSError):
            return self.cluster.get("leader-check", 5)[0] == 404
        return False

    def events(self) -> str:
        return str(self.cluster.answers("events?since=0", 5))

    def writable(self) -> list[MySQLServer]:
        return [one for one in self.alive if one.variable("read_only") == "0"]

    def assert_fenced(self) -> None:
        """No server has a statement of a term after one of a newer."""
        for server in self.topology.servers:
            terms = [int(found[1]) for one in general_log(server) if (found := _TERM.search(one.text))]
            assert terms == sorted(terms), (str(server.key), terms)

    def wait_recovered(self, seconds: float) -> None:
        """One is promoted and all others replicate from it; so it stays."""
        (promoted,) = wait_until(self.writable, seconds, lambda: f"{self.events()} {self.cluster.story()}")
        self.cluster.wait_settled(promoted, [one for one in self.alive if one is not promoted], 60)
        assert self.writable() == [promoted]
        self.assert_fenced()
        self.master = promoted


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[World]:
    stage = Stage(mysqld)
    try:
        topology = stage.topology(TopologySpec(replicas=5, semi_sync="lossless"))
        # One probe for all: the fewer actors a head has, the sooner it is back.
        settings = settings_of(topology.accounts.orchestray, topology.master, ProbeActorsMax=1)
        with ray_cluster(settings) as cluster:
            world = World(cluster, topology, topology.master)
            hook = f"touch {world.hook_began}; until [ -e {world.hook_ends} ]; do sleep 0.05; done"
            configure(cluster, PreFailoverProcesses=[hook], HookTimeoutSeconds=60)
            cluster.start()
            for server in topology.servers:
                start_general_log(server)
            yield world
    finally:
        stage.clear()


@pytest.fixture
def world(shared: World) -> World:
    shared.begin()
    return shared


def configure(cluster: RayCluster, **more: object) -> None:
    """For who reads it from now on."""
    file = cluster.folder / "etc" / "orchestray.conf.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


@contextmanager
def no_watchdog(cluster: RayCluster) -> Iterator[None]:
    configure(cluster, RestartLeaderAfterSeconds=60)
    cluster.api("reload-configuration")
    try:
        yield
    finally:
        configure(cluster, RestartLeaderAfterSeconds=WATCHDOG_SECONDS)
        cluster.api("reload-configuration")


def test_frozen_in_a_recovery_and_ended_by_the_watchdog(world: World) -> None:
    leader, term = world.cluster.actor("leader"), world.term
    world.kill_master()
    wait_until(world.hook_began.exists, 20)
    assert leader.signal(signal.SIGSTOP)
    world.hook_ends.touch()
    assert leader.wait_gone(WATCHDOG_SECONDS * 4)
    world.wait_recovered(40)
    assert world.term > term


def test_frozen_in_a_recovery_beyond_its_lease_and_woken(world: World) -> None:
    """Nobody ends it: it wakes up in the middle of what it did, and its right to act has run out.

    Nobody else was elected meanwhile, so that it takes its own term up again, and only then goes on."""
    leader = world.cluster.actor("leader")
    with no_watchdog(world.cluster):
        world.kill_master()
        wait_until(world.hook_began.exists, 20)
        assert leader.signal(signal.SIGSTOP)
        world.hook_ends.touch()
        wait_until(world.nobody_leads, LEASE_SECONDS * 4)
        assert not world.writable()
        assert leader.signal(signal.SIGCONT)
        world.wait_recovered(40)
        assert world.cluster.actor("leader") == leader


def test_orphaned_by_the_death_of_its_head(world: World) -> None:
    """Frozen before it sees that its raylet is gone, so that it does not follow: the head comes back, with a
    second Leader beside it.

    That waits for the lock, then ends it, and completes what it had begun.
    """
    cluster = world.cluster
    orphan, term = cluster.actor("leader"), world.term
    world.kill_master()
    wait_until(world.hook_began.exists, 20)
    cluster.head.spared.add(orphan.pid)
    # In this order: one that is stopped already is woken and hung up by the kernel when its parent dies.
    assert cluster.ray_process("raylet").signal(signal.SIGKILL)
    wait_until(lambda: parent_of(orphan.pid) != "raylet", 5)
    assert orphan.signal(signal.SIGSTOP)
    wait_until(lambda: not cluster.head.is_active, 20)
    world.hook_ends.touch()
    wait_until(lambda: len(cluster.actors("leader")) == 2, BACK_SECONDS, cluster.marked.processes)
    doubled_at = time.monotonic()
    assert orphan.is_alive
    assert not world.writable()
    assert orphan.wait_gone(ORPHAN_SECONDS * 4)
    print(f"two Leaders for {time.monotonic() - doubled_at:.1f} s")
    world.wait_recovered(BACK_SECONDS)
    assert world.term > term


def test_the_raylet_is_frozen(world: World) -> None:
    """As in a partition: Ray takes the head's actors for lost, and they run on, deaf.

    Until the raylet, given up by Ray, is ended: the head comes back, and recovers what died meanwhile."""
    cluster = world.cluster
    raylet, leader, restarts = cluster.ray_process("raylet"), cluster.actor("leader"), cluster.head.restarts
    world.hook_ends.touch()
    assert raylet.signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    assert raylet.wait_gone(GIVEN_UP_SECONDS * 3)
    print(f"raylet frozen, ended after {time.monotonic() - frozen_at:.1f} s")
    world.kill_master()
    assert leader.wait_gone(10)
    world.wait_recovered(BACK_SECONDS)
    print(f"recovered {time.monotonic() - frozen_at:.1f} s after the raylet froze")
    assert cluster.head.restarts == restarts + 1
    assert len(cluster.actors("leader")) == 1


def parent_of(pid: int) -> str:
    """Name of the process that is the parent of this one."""
    with suppress(OSError):
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return Path(f"/proc/{parent}/comm").read_text().strip()
    return ""
