"""Quiet stays quiet: what is short, or was meant by somebody, is no failure; what is real is one failover.

The 10 minutes are a story from a seed: each disturbance is drawn, done and undone, under a writing client.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.node import Watched, watching
from tests.servers import connect, wait_until
from tests.writing_client import WritingClient, writing

pytestmark = pytest.mark.long

QUIET_SECONDS = 600
SEED = 20261127
HOLD_DOWN_MS = 5000
RESTART_SECONDS = 2.0


@pytest.fixture(scope="module")
def watched(mysqld: Mysqld) -> Iterator[Watched]:
    with watching(mysqld, TopologySpec(semi_sync="lossless"), InstancePollSeconds=5) as both:
        yield both


@pytest.fixture(scope="module")
def client(watched: Watched) -> Iterator[WritingClient]:
    topology = watched.topology
    with writing(topology.servers, topology.accounts.application) as client:
        yield client


class Disturbances:
    """What may happen to a healthy cluster on any day. Each ends with everything as it was."""

    def __init__(self, watched: Watched, chance: random.Random) -> None:
        self._topology = watched.topology
        self._chance = chance

    def any(self) -> Callable[[], None]:
        return self._chance.choice(
            [
                self.the_master_pauses,
                self.a_replica_pauses,
                self.a_replica_is_stopped_for_a_backup,
                self.all_receivers_are_stopped,
                self.a_replica_is_restarted,
                self.a_replica_is_locked,
                self.idle_sessions_are_killed,
            ]
        )

    def _replica(self) -> MySQLServer:
        return self._chance.choice(self._topology.replicas)

    def _pause(self, server: MySQLServer, seconds: float) -> None:
        server.pause()
        time.sleep(seconds)  # this long, neither more nor less, is the disturbance
        server.resume()

    def the_master_pauses(self) -> None:
        """Shorter than the heartbeat's time-out of 500 ms."""
        self._pause(self._topology.master, self._chance.uniform(0.05, 0.35))

    def a_replica_pauses(self) -> None:
        self._pause(self._replica(), self._chance.uniform(0.1, 3.0))

    def a_replica_is_stopped_for_a_backup(self) -> None:
        replica = self._replica()
        replica.execute("STOP REPLICA")
        time.sleep(self._chance.uniform(0.5, 4.0))
        replica.execute("START REPLICA")

    def all_receivers_are_stopped(self) -> None:
        """The client's writes wait meanwhile: semi-sync is lossless."""
        for replica in self._topology.replicas:
            replica.execute("STOP REPLICA IO_THREAD")
        time.sleep(self._chance.uniform(0.5, 4.0))
        for replica in self._topology.replicas:
            replica.execute("START REPLICA IO_THREAD")

    def a_replica_is_restarted(self) -> None:
        self._replica().restart()

    def a_replica_is_locked(self) -> None:
        replica = self._replica()
        with replica.root() as connection, connection.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
            time.sleep(self._chance.uniform(0.2, 2.0))
            cursor.execute("UNLOCK TABLES")

    def idle_sessions_are_killed(self) -> None:
        """Ours too: a connection that ends is a reason to look, not a death."""
        rows = self._topology.master.query(
            "SELECT ID AS id FROM information_schema.processlist WHERE COMMAND = 'Sleep'"
        )
        for row in rows:
            with connect(self._topology.master, self._topology.accounts.orchestray) as killer:
                killer.cursor().execute(f"KILL {int(row['id'])}")


@pytest.mark.timeout(QUIET_SECONDS + 300)
def test_ten_minutes_of_disturbances_and_no_failover(watched: Watched, client: WritingClient) -> None:
    node, topology = watched.node, watched.topology
    disturbances, happened = Disturbances(watched, random.Random(SEED)), Counter[str]()
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        disturbance = disturbances.any()
        disturbance()
        happened[disturbance.__name__] += 1
        node.wait_settled(topology.master, topology.replicas)
        written = len(client.acknowledged[topology.master.port])
        wait_until(lambda n=written: len(client.acknowledged[topology.master.port]) > n, 30)
    print(f"\n{dict(happened)}; {len(client.acknowledged[topology.master.port])} writes")
    assert node.api("audit-recovery") == []
    assert [port for port, rows in client.acknowledged.items() if rows] == [topology.master.port]
    assert not client.missing_on(topology.master)


def restart_at_once(master: MySQLServer) -> None:
    """Killed and started again, as by a supervisor."""
    began = time.monotonic()
    master.kill()
    master.start()
    assert time.monotonic() - began < RESTART_SECONDS, "the machine is too slow for this test"


@pytest.mark.alone
def test_with_hold_down_a_restarted_master_stays_master(watched: Watched, client: WritingClient) -> None:
    node, topology = watched.node, watched.topology
    node.configure(FailureHoldDownMilliseconds=HOLD_DOWN_MS)
    node.api("reload-configuration")
    restart_at_once(topology.master)
    # It was configured writable, and comes back so.
    node.wait_settled(topology.master, topology.replicas)
    until = time.monotonic() + HOLD_DOWN_MS / 1000
    wait_until(lambda: node.api("audit-recovery") != [] or time.monotonic() > until, HOLD_DOWN_MS / 1000 + 5)
    assert node.api("audit-recovery") == []


@pytest.mark.alone
def test_without_it_there_is_one_failover_and_the_old_master_is_fenced(
    watched: Watched, client: WritingClient
) -> None:
    """Rule 12: it comes back writable, as it was configured, while another is master already."""
    node, topology = watched.node, watched.topology
    node.configure(FailureHoldDownMilliseconds=0)
    node.api("reload-configuration")
    old = topology.master
    old.kill()
    successor = wait_until(
        lambda: next((one for one in topology.replicas if one.variable("read_only") == "0"), None), 10
    )
    old.start()
    wait_until(lambda: old.variable("super_read_only") == "1", 10)
    others = [one for one in topology.replicas if one is not successor]
    node.wait_settled(successor, others)
    (recovery,) = node.api("audit-recovery")
    assert recovery["IsSuccessful"]
    wait_until(lambda: client.acknowledged[successor.port], 20)
    assert not client.missing_on(successor)
