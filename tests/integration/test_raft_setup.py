"""Three whole nodes that agree by raft, each with its own SQLite file. The tests go on from what the one
before left."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.documented_haproxy import HAProxy
from tests.integration.registered_live import known_to_all
from tests.node import Node, ask, key_of
from tests.promises import Promise, contention
from tests.raft_nodes import SECRET, RaftNodes
from tests.servers import Stage, short_directory, wait_until

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

TOLD_SECONDS = 10
RECOVERED_SECONDS = 3.0
NEXT_ACTS_SECONDS = 1.5
FOLLOWED_SECONDS = 1.0
"""HAProxy looks each half a second who leads."""


@pytest.fixture(scope="module")
def setup(mysqld: Mysqld) -> Iterator[RaftNodes]:
    stage, folder = Stage(mysqld), short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(stage.clear)
        topology = stage.topology(TopologySpec(replicas=2, semi_sync="lossless"))
        setup = RaftNodes(folder, topology, endings)
        setup.start()
        yield setup


def _alike(nodes: list[Node], path: str) -> Any:
    """The reply, when it is the same from all."""

    def same() -> list[Any] | None:
        replies = [node.answers(path, 5) for node in nodes]
        return replies if replies[0] is not None and all(one == replies[0] for one in replies) else None

    return wait_until(same, TOLD_SECONDS, lambda: [node.answers(path, 5) for node in nodes])[0]


def _cluster(node: Node, server: MySQLServer) -> str:
    known = node.instances().get(str(server.key))
    return str(known["ClusterName"]) if known else ""


def _term(node: Node) -> int:
    """The newest that it said to lead in, 0 if none yet."""
    return max(map(int, re.findall(r"leads with term (\d+)", node.said)), default=0)


def test_one_acts_and_all_know_it(setup: RaftNodes) -> None:
    leader = setup.leader()
    address, followers = setup.member(leader), setup.others(leader)
    for node in setup.nodes:
        status = wait_until(
            lambda node=node: (s := node.api("raft-status"))["LeaderURI"] == leader.url and s, TOLD_SECONDS
        )
        assert status == {
            "RaftBind": setup.member(node),
            "RaftAdvertise": setup.member(node),
            "State": "Leader" if node is leader else "Follower",
            "Healthy": True,
            "IsPartOfQuorum": True,
            "Leader": address,
            "LeaderURI": leader.url,
            "Peers": sorted(map(setup.member, setup.nodes)),
        }
        assert node.api("raft-leader") == address
        assert node.api("raft-health") == "healthy"
        health = node.api("health")
        assert health["ActiveNode"]["Hostname"] == address
        wait_until(lambda node=node: len(node.api("health")["AvailableNodes"]) == 3, TOLD_SECONDS)
        assert len(node.actors("probe")) == 3, "every node watches for itself"
    for node in followers:
        assert node.get("leader-check") == (404, "Not leader")
        assert node.get("routed-leader-check") == (200, "OK")
    assert SECRET not in setup.story()


def test_what_is_decided_on_one_is_decided_on_all(setup: RaftNodes) -> None:
    """Whichever is asked: a follower passes it on, and answers as the leader does."""
    leader, preferred = setup.leader(), setup.topology.replicas[1]
    first, second = setup.others(leader)
    path = f"register-candidate/127.0.0.1/{preferred.port}/prefer"
    assert first.get(path) == leader.get(path)
    known_to_all(first, setup.nodes, preferred)
    assert second.get("disable-global-recoveries") == (
        200,
        {"Code": "OK", "Message": "Disabled global recoveries", "Details": "disabled"},
    )
    refused = f"recover/127.0.0.1/{preferred.port}"
    assert first.get(refused) == leader.get(refused)
    assert first.get(refused)[0] == 500
    for node in setup.nodes:
        wait_until(
            lambda node=node: node.instances()[str(preferred.key)]["PromotionRule"] == "prefer", TOLD_SECONDS
        )
        wait_until(lambda node=node: node.api("check-global-recoveries") == "disabled", TOLD_SECONDS)
    leader.api("enable-global-recoveries")
    for node in setup.nodes:
        wait_until(lambda node=node: node.api("check-global-recoveries") == "enabled", TOLD_SECONDS)


def test_a_master_and_the_acting_node_killed_together(setup: RaftNodes) -> None:
    """The next node acts within 1.5 s, and has the master recovered within 3 s (issue 4)."""
    topology, leader = setup.topology, setup.leader()
    preferred = topology.replicas[1]
    left, term = setup.others(leader), _term(leader)
    promise = Promise(RECOVERED_SECONDS)
    began = time.monotonic()
    setup.kill(leader)
    topology.master.kill()
    acting = wait_until(lambda: next((node for node in left if node.leads), None), 20, setup.story)
    acts_after = time.monotonic() - began
    promise.kept(lambda: preferred.variable("read_only") == "0", setup.story)
    print(f"next acts after {acts_after:.2f} s, recovered after {promise.elapsed:.2f} s")
    assert acts_after <= NEXT_ACTS_SECONDS * contention() * 1.2  # of one round; the median is a long test
    wait_until(lambda: _term(acting) > term, 10, setup.story)
    acting.wait_said(rf"promoted {preferred.key} in place of {topology.master.key} ", 30)
    acting.wait_settled(preferred, [topology.replicas[0]])
    (recovery,) = _alike(left, "audit-recovery")
    assert recovery["IsSuccessful"]
    assert key_of(recovery["SuccessorKey"]) == str(preferred.key)
    assert len(_alike(left, f"audit-recovery-steps/{recovery['UID']}")) > 5
    wait_until(lambda: _alike(left, "audit-failure-detection"), TOLD_SECONDS)  # what is urgent comes first
    for node in left:
        wait_until(lambda node=node: node.instances()[str(topology.master.key)]["IsDowntimed"], TOLD_SECONDS)
        assert node.instances()[str(preferred.key)]["PromotionRule"] == "prefer"
        wait_until(
            lambda node=node: _cluster(node, preferred) == str(preferred.key), TOLD_SECONDS, setup.story
        )


@pytest.mark.long
def test_the_killed_node_catches_up(setup: RaftNodes) -> None:
    (killed,) = [node for node in setup.nodes if node not in setup.living]
    killed.start()
    _same_everywhere(setup)
    assert not killed.leads or setup.acting is killed


@pytest.mark.long
def test_a_node_that_lost_all_its_data_gets_it_from_the_others(setup: RaftNodes) -> None:
    lost = setup.others(setup.leader())[0]
    assert lost.stop() == 0
    setup.forget_state(lost)
    lost.start()
    _same_everywhere(setup)


def _same_everywhere(setup: RaftNodes) -> None:
    (recovery,) = _alike(setup.nodes, "audit-recovery")
    assert _alike(setup.nodes, f"audit-recovery-steps/{recovery['UID']}")
    preferred = setup.topology.replicas[1]
    for node in setup.nodes:
        wait_until(
            lambda node=node: (
                (one := node.instances().get(str(preferred.key))) and one["PromotionRule"] == "prefer"
            ),
            20,
            setup.story,
        )
        wait_until(lambda node=node: _cluster(node, preferred) == str(preferred.key), 20, setup.story)
        wait_until(lambda node=node: node.get("health")[0] == 200, 20, lambda node=node: node.get("health"))


@pytest.mark.long
def test_a_leader_process_started_again_never_goes_on_in_its_term(setup: RaftNodes) -> None:
    leader = setup.leader()
    term = max(map(_term, setup.nodes))
    leader.actor("leader").signal(signal.SIGKILL)
    wait_until(lambda: (now := setup.acting) and _term(now) > term, 20, setup.story)


@pytest.mark.long
def test_yielding_and_reelection(setup: RaftNodes) -> None:
    leader = setup.leader()
    successor = setup.others(leader)[0]
    wait_until(lambda: len(leader.api("health")["AvailableNodes"]) == 3, 30, setup.story)
    leader.api(f"raft-yield/{setup.member(successor)}")
    wait_until(lambda: setup.acting is successor, 10, setup.story)
    assert leader.get(f"raft-yield/{setup.member(leader)}")[0] == 500
    wait_until(lambda: _term(successor) > _term(leader), 10, setup.story)
    term = _term(successor)
    successor.api("reelect")
    wait_until(lambda: (now := setup.acting) and _term(now) > term, 10, setup.story)
    assert setup.leader().api("raft-snapshot") == "snapshot created"


@pytest.mark.long
def test_a_minority_serves_reads_and_does_not_act(setup: RaftNodes) -> None:
    last, *killed = sorted(setup.nodes, key=lambda node: not node.leads)
    for node in killed:
        setup.kill(node)
    promise = Promise(2.0)
    promise.kept(lambda: not last.leads, setup.story)
    wait_until(lambda: last.get("raft-health")[0] == 500, 5)
    assert last.api("raft-state") == "Candidate"
    assert "is not reached" in last.get("raft-health")[1]["Message"]
    assert len(last.api("all-instances")) == 3
    status, reply = last.get("disable-global-recoveries")
    assert (status, reply["Code"]) == (500, "ERROR")
    for node in killed:
        node.launch()
    wait_until(lambda: setup.acting, 60, setup.story)
    for node in killed:
        node.wait_said("serving http", 90)


@pytest.mark.long
def test_who_leads_with_a_store_that_fails_hands_over(setup: RaftNodes) -> None:
    """Another process holds its file: it says so, does not act, and leaves nothing out."""
    leader, replica = setup.leader(), setup.topology.replicas[0]
    others = setup.others(leader)
    with closing(sqlite3.connect(leader.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        wait_until(lambda: any(node.leads for node in others), 20, setup.story)
        status, reply = leader.get("health")
        assert status == 500
        assert "held by another process" in reply["Message"]
        acting = next(node for node in others if node.leads)
        acting.api(f"register-candidate/127.0.0.1/{replica.port}/prefer_not")
    for node in setup.nodes:
        wait_until(
            lambda node=node: node.instances()[str(replica.key)]["PromotionRule"] == "prefer_not",
            20,
            setup.story,
        )
        wait_until(lambda node=node: node.get("health")[0] == 200, 20, lambda node=node: node.get("health"))


@pytest.mark.long
def test_a_corrupt_log_is_told_and_takes_no_part(setup: RaftNodes) -> None:
    node = setup.others(setup.leader())[0]
    assert node.stop() == 0
    file = node.folder / "raft" / "orchestray-raft.db"
    for part in file.parent.glob("orchestray-raft.db*"):
        part.unlink()
    file.write_bytes(b"this is no database" * 1000)
    node.start()
    wait_until(lambda: node.answers("raft-state") == "Shutdown", 20, setup.story)
    for path in ("health", "raft-health"):
        status, reply = node.get(path)
        assert status == 500
        assert str(file) in reply["Message"]
        assert "move the file" in reply["Message"]
    assert len(node.api("all-instances")) == 3
    for part in file.parent.glob("orchestray-raft.db*"):
        part.unlink()  # the mend, upon which it goes on by itself
    wait_until(lambda: node.answers("raft-health") == "healthy", 20, setup.story)
    wait_until(lambda: node.get("health")[0] == 200, 20, lambda: node.get("health"))
    assert node.stop() == 0
    node.start()
    _same_everywhere(setup)


@pytest.mark.long
def test_a_proxy_follows_the_node_that_acts(setup: RaftNodes) -> None:
    """HAProxy as the documentation configures it: changes go through it before and after a leader's death."""
    leader = setup.leader(60)
    left = setup.others(leader)
    for node in left:
        wait_until(lambda node=node: node.answers("raft-health") == "healthy", 30, setup.story)
    servers = {
        f"orc-{number}.example.com:3000": f"127.0.0.1:{node.port}"
        for number, node in enumerate(setup.nodes, 1)
    }
    proxy = HAProxy(setup.nodes[0].folder, "orchestray", "bind :80", servers)
    try:
        url = f"http://127.0.0.1:{proxy.port}/api"

        def token() -> str | None:
            with suppress(OSError):
                status, reply = ask(f"{url}/health", 2)
                return str(reply["Details"]["Token"]) if status == 200 else None
            return None

        def through(path: str) -> int:
            with suppress(OSError):
                return ask(f"{url}/{path}", 5)[0]
            return 0

        first = leader.api("health")["Token"]
        wait_until(lambda: token() == first, 10, lambda: proxy.said)
        assert through("disable-global-recoveries") == 200
        setup.kill(leader)
        promise = Promise(NEXT_ACTS_SECONDS + FOLLOWED_SECONDS)
        promise.kept(lambda: through("enable-global-recoveries") == 200, lambda: proxy.said + setup.story())
        print(f"a change through the proxy {promise.elapsed:.2f} s after the leader's death")
        acting = setup.leader()
        assert token() == acting.api("health")["Token"] != first
    finally:
        proxy.stop()
    leader.start()
    wait_until(lambda: leader.answers("raft-state") == "Follower", 30, setup.story)


@pytest.mark.long
def test_ten_times_the_acting_node_is_killed(setup: RaftNodes) -> None:
    """Median of at most 1.5 s from SIGKILL of its processes to the next that acts (issue 4)."""
    took, alone = [], []  # the latter as on a machine that does nothing else
    for _ in range(10):
        leader = setup.leader(60)
        left = setup.others(leader)
        for node in left:
            wait_until(lambda node=node: node.answers("raft-health") == "healthy", 30, setup.story)
        busy = contention()
        began = time.monotonic()
        setup.kill(leader)
        wait_until(lambda left=left: any(node.leads for node in left), 20, setup.story)
        took.append(time.monotonic() - began)
        alone.append(took[-1] / busy)
        leader.start()
        wait_until(lambda node=leader: node.answers("raft-state") == "Follower", 30, setup.story)
    print(f"next acts after {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert statistics.median(alone) <= NEXT_ACTS_SECONDS, took
