"""Two nodes on one SQLite file: one acts, both show the same; the other takes over. The tests go on from
what the one before left; the last ends the acting node."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.integration.registered_live import known_to_all
from tests.node import Node, key_of, orchestray, settings_of
from tests.promises import Promise
from tests.servers import Stage, short_directory, wait_until

pytestmark = pytest.mark.long

LEASE_SECONDS = 3.0
TOLD_SECONDS = 20
"""What one registers the other reads from the store each 5 s; more, for a machine that is busy."""
TAKEN_OVER_SECONDS = 1.1 * LEASE_SECONDS + 2
"""The lease, for the case that clocks differ, a look each second, and being told."""


@dataclass
class Pair:
    topology: MySQLTopology
    acting: Node
    other: Node


@pytest.fixture(scope="module")
def pair(mysqld: Mysqld) -> Iterator[Pair]:
    stage, folder = Stage(mysqld), short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(stage.clear)
        topology = stage.topology(TopologySpec(replicas=2, semi_sync="lossless"))
        account = topology.accounts.orchestray
        nodes = [Node(folder, settings_of(account, topology.master)), Node(folder, settings_of(account))]
        for node in nodes:
            endings.callback(node.destroy)
            node.start()
            node.wait_instances(topology.servers)
        acting, other = sorted(nodes, key=lambda node: not node.leads)
        yield Pair(topology, acting, other)


def test_exactly_one_acts(pair: Pair) -> None:
    assert pair.acting.get("leader-check") == (200, "OK")
    assert pair.other.get("leader-check") == (404, "Not leader")
    assert pair.other.get("leader-check/503") == (503, "Not leader")
    for no_body in (204, 304):
        assert pair.other.get(f"leader-check/{no_body}") == (no_body, "")
    ours, theirs = (node.api("health") for node in (pair.acting, pair.other))
    assert (ours["IsActiveNode"], theirs["IsActiveNode"]) == (True, False)
    assert ours["Healthy"]
    assert theirs["Healthy"]
    assert theirs["ActiveNode"]["Hostname"] == ours["ActiveNode"]["Hostname"] != ""


def test_both_show_the_topology(pair: Pair) -> None:
    """The second node was told of no server: it knows them from the store, and watches them itself."""
    cluster = str(pair.topology.master.key)
    for node in (pair.acting, pair.other):
        node.wait_settled(pair.topology.master, pair.topology.replicas)
        assert node.api("clusters") == [cluster]
        assert len(node.actors("probe")) == 3
    texts = [node.api(f"topology/{cluster}") for node in (pair.acting, pair.other)]
    assert texts[0] == texts[1]


def test_what_is_registered_on_one_is_seen_on_the_other(pair: Pair) -> None:
    replica = pair.topology.replicas[1]
    pair.acting.api(f"register-candidate/127.0.0.1/{replica.port}/prefer")
    name = str(replica.key)
    wait_until(lambda: pair.other.instances()[name]["PromotionRule"] == "prefer", TOLD_SECONDS)
    known_to_all(pair.acting, (pair.acting, pair.other), replica)
    pair.acting.api("disable-global-recoveries")
    wait_until(lambda: pair.other.api("check-global-recoveries") == "disabled", TOLD_SECONDS)
    pair.acting.api("enable-global-recoveries")
    wait_until(lambda: pair.other.api("check-global-recoveries") == "enabled", TOLD_SECONDS)


@pytest.mark.parametrize(
    "path",
    [
        "discover/{master}",
        "forget/{replica}",
        "forget-cluster/{cluster}",
        "recover/{master}",
        "register-candidate/{replica}/must_not",
        "disable-global-recoveries",
        "ack-all-recoveries?comment=x",
    ],
)
def test_the_one_that_does_not_act_refuses_changes(pair: Pair, path: str) -> None:
    master, replica = pair.topology.master, pair.topology.replicas[0]
    before = pair.other.instances().keys()
    status, reply = pair.other.get(
        path.format(
            master=f"127.0.0.1/{master.port}", replica=f"127.0.0.1/{replica.port}", cluster=master.key
        )
    )
    assert (status, reply["Code"]) == (500, "ERROR")
    assert "this node does not lead" in reply["Message"]
    assert str(pair.acting.port) in reply["Message"], "it says who does"
    for node in (pair.acting, pair.other):
        assert node.instances().keys() == before
        assert node.instances()[str(replica.key)]["PromotionRule"] == "neutral"
        assert node.api("check-global-recoveries") == "enabled"


def test_the_client_finds_the_one_that_acts(pair: Pair) -> None:
    for order in ([pair.other, pair.acting], [pair.acting, pair.other]):
        done = orchestray("-c", "which-api", "-U", " ".join(f"{node.url}/api" for node in order))
        assert done.stdout.strip() == f"{pair.acting.url}/api", done


def test_what_one_forgets_the_other_forgets(pair: Pair) -> None:
    """Also if it finds it again by itself later: as the one that acts would."""
    replica = pair.topology.replicas[0]
    for node in (pair.acting, pair.other):  # so that it is not found again while we look
        node.configure(DiscoveryIgnoreReplicaHostnameFilters=[f":{replica.port}"])
    pair.acting.api("reload-configuration")
    pair.other.api("reload-configuration")
    pair.acting.api(f"forget/127.0.0.1/{replica.port}")
    for node in (pair.acting, pair.other):
        wait_until(lambda node=node: str(replica.key) not in node.instances(), TOLD_SECONDS)
        wait_until(lambda node=node: len(node.actors("probe")) == 2, TOLD_SECONDS)
        node.configure(DiscoveryIgnoreReplicaHostnameFilters=None)
        node.api("reload-configuration")
    pair.acting.api(f"discover/127.0.0.1/{replica.port}")
    for node in (pair.acting, pair.other):
        node.wait_instances(pair.topology.servers)


def test_the_other_takes_over(pair: Pair) -> None:
    """The acting node is killed as a whole, and a master after it: it is recovered once, by the other."""
    acting, other, topology = pair.acting, pair.other, pair.topology
    term = int(re.findall(r"leads with term (\d+)", acting.said)[-1])
    assert "leads with term" not in other.said
    preferred = topology.replicas[1]
    acting.marked.kill_all()
    promise = Promise(TAKEN_OVER_SECONDS)
    topology.master.kill()
    promise.kept(lambda: other.leads, lambda: other.said)
    other.wait_said(rf"leads with term {term + 1}\n")
    other.wait_said(rf"promoted {preferred.key} in place of {topology.master.key} ", 30)
    (recovery,) = other.api("audit-recovery")
    assert recovery["IsSuccessful"]
    assert key_of(recovery["SuccessorKey"]) == str(preferred.key)
    other.wait_settled(preferred, [topology.replicas[0]])
