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
TAKEN_OVER_SECONDS = 1.1 * LEASE_SECONDS + 1
"""The lease, for the case that clocks differ, four looks a second, and being told."""


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


def test_each_knows_that_the_other_lives(pair: Pair) -> None:
    """And who acts, with all that it says of itself."""
    both = (pair.acting, pair.other)

    def tokens(node: Node) -> set[str]:
        return {one["Token"] for one in node.api("health")["AvailableNodes"]}

    wanted = {node.api("health")["Token"] for node in both}
    assert len(wanted) == 2
    for node in both:
        wait_until(lambda node=node: tokens(node) == wanted, 10, lambda node=node: node.get("health"))
    acting, seen = (node.api("health")["ActiveNode"] for node in both)
    for name in ("Hostname", "Token", "AppVersion", "DBBackend"):
        assert seen[name] == acting[name] != ""


@pytest.mark.parametrize("order", ["acting", "other"])
def test_a_change_is_made_whichever_is_asked(pair: Pair, order: str) -> None:
    """As if local: the same answer, and seen at once by who made it, where it was made."""
    master, replica = pair.topology.master, pair.topology.replicas[0]
    asked: Node = getattr(pair, order)
    for rule in ("must_not", "neutral"):
        status, reply = asked.get(f"register-candidate/127.0.0.1/{replica.port}/{rule}")
        assert (status, reply["Code"]) == (200, "OK")
        assert key_of(reply["Details"]) == str(replica.key)
        assert asked.instances()[str(replica.key)]["PromotionRule"] == rule
    for word in ("disable", "enable"):
        assert asked.api(f"{word}-global-recoveries") == f"{word}d"
        for node in (pair.acting, pair.other):
            wait_until(
                lambda node=node, word=word: node.api("check-global-recoveries") == f"{word}d", TOLD_SECONDS
            )
    assert asked.api("ack-all-recoveries?comment=x%20y") == "x y"
    assert key_of(asked.api(f"discover/127.0.0.1/{master.port}")["Key"]) == str(master.key)
    status, reply = asked.get(f"recover/127.0.0.1/{master.port}")
    assert status == 500
    assert f"nothing is wrong with {master.key}" in reply["Message"]
    assert key_of(reply["Details"]) == str(master.key)
    assert asked.get(f"register-candidate/127.0.0.1/{replica.port}/must")[0] == 500


def test_the_leader_is_found_through_either(pair: Pair) -> None:
    for node in (pair.acting, pair.other):
        assert node.get("routed-leader-check") == (200, "OK")


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
    pair.other.api(f"forget/127.0.0.1/{replica.port}")  # which passes it on
    for node in (pair.acting, pair.other):
        wait_until(lambda node=node: str(replica.key) not in node.instances(), TOLD_SECONDS)
        wait_until(lambda node=node: len(node.actors("probe")) == 2, TOLD_SECONDS)
        node.configure(DiscoveryIgnoreReplicaHostnameFilters=None)
        node.api("reload-configuration")
    pair.acting.api(f"discover/127.0.0.1/{replica.port}")
    for node in (pair.acting, pair.other):
        node.wait_instances(pair.topology.servers)


def test_the_election_can_be_grabbed(pair: Pair) -> None:
    """By the one that does not act: the other gives it up first."""
    acting, other = pair.acting, pair.other
    for node, loser in ((other, acting), (acting, other)):
        assert node.get("grab-election")[0] == 200
        wait_until(lambda node=node, loser=loser: node.leads and not loser.leads, 10)


def _newest_term(node: Node, *, than: Node) -> int | None:
    """Of the terms that it says to lead with, if it is newer than those of the other."""
    own, others = (
        max(map(int, re.findall(r"leads with term (\d+)", one.said)), default=0) for one in (node, than)
    )
    return own if own > others else None


def test_the_other_takes_over(pair: Pair) -> None:
    """The acting node is killed as a whole, and a master after it: it is recovered once, by the other."""
    acting, other, topology = pair.acting, pair.other, pair.topology
    term = wait_until(lambda: _newest_term(acting, than=other), 10)
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
