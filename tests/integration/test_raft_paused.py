"""The Leader of the acting node is stopped (SIGSTOP) for longer than raft leaves it the right to act, and
goes on after another node has been elected and has recovered the master: nothing of the older term takes
effect on any server, by the servers' own general logs. Three whole nodes.

The tests go on from what the one before left.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Process
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.node import Node
from tests.raft_nodes import RaftNodes
from tests.servers import Stage, general_log, short_directory, start_general_log, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

_OF_TERM = re.compile(r"/\* orchestray term=(\d+) step=\S+ \*/")


class Stop:
    """A hook that stops the Leader which runs it, if ``armed``, once."""

    def __init__(self, folder: Path) -> None:
        self._armed, self._done = folder / "armed", folder / "stopped"
        said = f"echo $PPID > {self._done}.new && mv {self._done}.new {self._done}"
        self.hook = f"if rm {self._armed} 2>/dev/null; then {said}; kill -STOP $PPID; fi"

    def arm(self) -> None:
        self._done.unlink(missing_ok=True)
        self._armed.touch()

    @property
    def stopped(self) -> bool:
        return self._done.exists() and Process.of(int(self._done.read_text())).is_paused


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = short_directory()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def stop(folder: Path) -> Stop:
    return Stop(folder)


@pytest.fixture(scope="module")
def setup(mysqld: Mysqld, folder: Path, stop: Stop) -> Iterator[RaftNodes]:
    stage = Stage(mysqld)
    with ExitStack() as endings:
        endings.callback(stage.clear)
        topology = stage.topology(TopologySpec(replicas=3, semi_sync="lossless"))
        setup = RaftNodes(
            folder,
            topology,
            endings,
            FenceProcesses=[stop.hook],  # run when all is ready, just before the candidate is opened
            RestartLeaderAfterSeconds=120,  # nobody ends it: it is to wake up
        )
        setup.start()
        yield setup


def _acting_besides(setup: RaftNodes, paused: Node) -> Node:
    return wait_until(
        lambda: next((node for node in setup.others(paused) if node.leads), None), 20, setup.story
    )


def _open(servers: list[MySQLServer]) -> list[MySQLServer]:
    return [server for server in servers if server.variable("read_only") == "0"]


def _assert_no_older_term_after_a_newer(servers: list[MySQLServer]) -> set[int]:
    """The terms that were seen. An entry is written before its statement is executed, in order."""
    seen: set[int] = set()
    for server in servers:
        newest = 0
        for entry in general_log(server, "orchestray term="):
            for term in map(int, _OF_TERM.findall(entry.text)):
                assert term >= newest, f"{server.key}: {entry} came after term {newest}"
                newest = max(newest, term)
                seen.add(term)
    return seen


def _wakes_up(setup: RaftNodes, paused: Node, leader: Process) -> None:
    """It goes on, and finds that it does not lead any more."""
    before = paused.said.count("does not lead any more")
    assert leader.signal(signal.SIGCONT)
    wait_until(lambda: paused.said.count("does not lead any more") > before, 20, setup.story)
    wait_until(lambda: paused.answers("raft-state") == "Follower", 20, setup.story)


def test_stopped_in_the_middle_of_its_recovery(setup: RaftNodes, stop: Stop) -> None:
    """Between the last preparation and the opening of the candidate."""
    topology, paused = setup.topology, setup.leader()
    leader = paused.actor("leader")
    for node in setup.nodes:
        node.wait_settled(topology.master, topology.replicas)
    for server in topology.replicas:
        start_general_log(server)
    stop.arm()
    topology.master.kill()
    wait_until(lambda: stop.stopped, 30, setup.story)
    assert leader.is_paused
    assert not _open(list(topology.replicas)), "nobody has been opened yet"
    acting = _acting_besides(setup, paused)
    (promoted,) = wait_until(lambda: _open(list(topology.replicas)), 30, setup.story)
    others = [server for server in topology.replicas if server is not promoted]
    acting.wait_settled(promoted, others)
    _wakes_up(setup, paused, leader)
    for node in setup.nodes:
        node.wait_settled(promoted, others)
    assert _open(list(topology.replicas)) == [promoted]
    terms = _assert_no_older_term_after_a_newer(list(topology.replicas))
    assert len(terms) == 2, f"the paused one had begun, and the other completed: {terms}"
    recoveries = [one for one in acting.api("audit-recovery") if one["IsSuccessful"]]
    assert len(recoveries) == 1
    wait_until(lambda: len(paused.api("audit-recovery")) == len(acting.api("audit-recovery")), 10)


def test_stopped_while_nothing_is_wrong(setup: RaftNodes) -> None:
    """The master dies meanwhile, and others recover it: what it still believes then changes nothing."""
    topology, paused = setup.topology, setup.leader()
    leader = paused.actor("leader")
    servers = list(topology.replicas)
    (master,) = _open(servers)
    rest = [server for server in servers if server is not master]
    for node in setup.nodes:
        node.wait_settled(master, rest)
    for server in rest:
        start_general_log(server)
    assert leader.signal(signal.SIGSTOP)
    assert leader.wait_paused(5)
    acting = _acting_besides(setup, paused)
    master.kill()
    (promoted,) = wait_until(lambda: _open(rest), 30, setup.story)
    (last,) = [server for server in rest if server is not promoted]
    acting.wait_settled(promoted, [last])
    _wakes_up(setup, paused, leader)
    for node in setup.nodes:
        node.wait_settled(promoted, [last])
    assert _open(rest) == [promoted]
    assert len(_assert_no_older_term_after_a_newer(rest)) == 1, "the paused one did nothing at all"
