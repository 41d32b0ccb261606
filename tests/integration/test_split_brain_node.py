"""The split brain that two stores allow, where it can be seen: on a server on which both would act."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from services.election.election import ASIDE_SECONDS
from services.sandbox.topology import TopologySpec
from tests.integration.conftest import MakeNode
from tests.node import settings_of
from tests.servers import Stage, general_log, start_general_log, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


def test_a_node_that_meets_a_newer_term_stops_acting_and_says_why(stage: Stage, make_node: MakeNode) -> None:
    """Another node of the setup acts, by a store that this one does not see: here, by its locks."""
    topology = stage.topology(TopologySpec(replicas=2, semi_sync="lossless"))
    node = make_node(settings_of(topology.accounts.orchestray, topology.master)).start()
    node.wait_settled(topology.master, topology.replicas)
    wait_until(lambda: node.leads, 10)
    term = int(re.findall(r"leads with term (\d+)", node.said)[-1])
    for replica in topology.replicas:
        start_general_log(replica)
    with ExitStack() as other:
        for replica in topology.replicas:
            connection = other.enter_context(replica.root())
            with connection.cursor() as cursor:
                for lock in (f"orchestray:orchestray:{term + 5}", "orchestray:orchestray"):
                    cursor.execute("SELECT GET_LOCK(%s, 0) AS taken", (lock,))
                    row = cursor.fetchone()
                    assert row is not None
                    assert row["taken"] == 1
        topology.master.kill()

        def complaint() -> str | None:
            status, reply = node.get("health")
            return str(reply["Message"]) if status == 500 else None

        said = wait_until(complaint, 20, lambda: node.said)
        assert f"a newer term than {term} acts on 127.0.0.1:" in said
        assert "another node of this setup uses another store" in said
        assert not node.leads
        status, reply = node.get("disable-global-recoveries")
        assert (status, reply["Message"].startswith("Unauthorized")) == (500, True), reply
        wait_until(lambda: "does not lead any more: a newer term" in node.said, 10, lambda: node.said)
        for replica in topology.replicas:
            assert replica.variable("read_only") == "1"
            acts = [one.text for one in general_log(replica, "orchestray term=")]
            assert acts == [], "who meets a newer term changes nothing, and ends no session of it"
    # Nobody is there any more: it stands for election again, and finds what is to be done.
    wait_until(
        lambda: "0" in [replica.variable("read_only") for replica in topology.replicas],
        ASIDE_SECONDS + 30,
        lambda: node.said,
    )
    assert node.leads
    wait_until(lambda: node.get("health")[0] == 200, 10, lambda: node.get("health"))
