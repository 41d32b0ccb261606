"""Many servers that do not answer do not delay the polls of those that do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise

import pytest

from services.sandbox.accounts import Accounts
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from services.topology.keys import InstanceKey
from tests.bad_servers import Blackhole, Hung, closed_port
from tests.node import Node, settings_of
from tests.servers import short_directory, wait_until

CLUSTERS, REPLICAS = 5, 6  # 35 servers of 70 MB
CLOSED, UNREACHABLE, HUNG = 9, 8, 8
POLL_SECONDS, ACTORS = 1.0, 4
MEASURED_SECONDS = 60.0
_POLLS = (
    "SELECT event_time AS at FROM mysql.general_log "
    "WHERE argument LIKE 'SELECT @@global.server_id AS server_id%' ORDER BY event_time"
)


@pytest.fixture
def topologies(mariadbd: Mysqld) -> Iterator[list[MySQLTopology]]:
    accounts, made = Accounts.random(), []
    with ExitStack() as endings:
        folder = short_directory()
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        for number in range(CLUSTERS):
            spec = TopologySpec(replicas=REPLICAS)
            topology = MySQLTopology(mariadbd, folder / f"t{number}", spec, die_with_parent=True)
            topology.accounts = accounts
            endings.callback(topology.stop)
            made.append(topology.start())
        yield made


@pytest.fixture
def bad() -> Iterator[tuple[list[InstanceKey], list[Hung]]]:
    holes, hung = [Blackhole() for _ in range(UNREACHABLE)], [Hung() for _ in range(HUNG)]
    keys = [closed_port() for _ in range(CLOSED)]
    yield [*keys, *(one.key for one in holes), *(one.key for one in hung)], hung
    for hole in holes:
        hole.close()
    for one in hung:
        one.close()


def staleness(gaps: Sequence[float], share: float) -> float:
    """What the time since the last poll does not exceed in this share of all time, in seconds."""
    total = sum(gaps)
    low, high = 0.0, max(gaps)
    while high - low > 0.001:
        middle = (low + high) / 2
        if sum(max(0.0, gap - middle) for gap in gaps) / total > 1 - share:
            low = middle
        else:
            high = middle
    return high


def polls_of(servers: Sequence[MySQLServer], seconds: float) -> list[float]:
    """The pauses between the polls of each, as its own general log has them."""
    for server in servers:
        server.execute(
            "SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON"
        )
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, seconds + 30)
    gaps = []
    for server in servers:
        server.execute("SET GLOBAL general_log = OFF")
        times = [row["at"].timestamp() for row in server.query(_POLLS)]
        assert len(times) > seconds / POLL_SECONDS / 2, f"{server.key} was polled {len(times)} times"
        gaps += [after - before for before, after in pairwise(times)]
    return gaps


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_sixty_servers_of_which_twenty_five_are_bad(
    topologies: list[MySQLTopology],
    bad: tuple[list[InstanceKey], list[Hung]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys, hung = bad
    healthy = [server for topology in topologies for server in topology.servers]
    seeds: list[MySQLServer | InstanceKey] = [topology.master for topology in topologies]
    seeds += keys
    more: dict[str, object] = {
        "InstancePollSeconds": int(POLL_SECONDS),
        "ProbeActorsMax": ACTORS,
        "DeadInstancePollSecondsMultiplyFactor": 2,
        "DeadInstancePollSecondsMax": 15,
    }
    with ExitStack() as endings:
        folder = short_directory()
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        node = Node(folder, settings_of(topologies[0].accounts.orchestray, *seeds, **more))
        endings.callback(node.destroy)
        node.start()

        def all_known() -> bool:
            known = node.instances()
            seen = [key for key, one in known.items() if one["IsLastCheckValid"]]
            return len(known) == len(healthy) + len(keys) and len(seen) == len(healthy)

        wait_until(all_known, 120, lambda: f"{len(node.instances())} known; {node.said[-3000:]}")
        wait_until(lambda: len(node.actors("probe")) == ACTORS, 30, lambda: str(node.actors("probe")))
        began = time.monotonic()
        gaps = polls_of(healthy, MEASURED_SECONDS)
        known = node.instances()
        processes = len(node.actors("probe"))
    p99, p50 = staleness(gaps, 0.99), staleness(gaps, 0.5)
    pauses = [
        after - before
        for one in hung
        for before, after in pairwise([at for at in one.dialled if at > began - 30])
    ]
    with capsys.disabled():
        print(
            f"\n{len(healthy)} healthy, {len(keys)} bad, {ACTORS} actors, a poll each {POLL_SECONDS:g} s:\n"
            f"staleness, s: median {p50:.3f}, 99 % {p99:.3f}, longest pause between polls {max(gaps):.3f}\n"
            f"hung ones dialled each {sum(pauses) / len(pauses):.1f} s, {max(pauses):.1f} s apart at most"
        )
    assert processes == ACTORS
    assert p99 < 1.5 * POLL_SECONDS
    assert max(pauses) > 5 * POLL_SECONDS, "with backoff"
    outcomes = {str(key): known[str(key)]["LastCheckOutcome"] for key in keys}
    assert set(outcomes.values()) == {"refused", "unreachable", "silent"}, outcomes
    assert all(known[str(server.key)]["IsLastCheckValid"] for server in healthy)
