"""Whole nodes on a synchronous backend: the acting node dies with its database and a master, and all goes on.

One setup where each node writes to a database of its own, one where all follow the primary through HAProxy.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.node import key_of, settings_of
from tests.servers import Stage, wait_until
from tests.synchronous import Setup, started_setup
from tests.takeover import acting, nodes_on, take_over

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

LEARNT_SECONDS = 40
RECOVERED_SECONDS = 60


@pytest.fixture(scope="module", params=["galera-multi-writer", "group-single-primary"])
def setup(request: pytest.FixtureRequest) -> Iterator[Setup]:
    with started_setup(request.param) as setup:
        yield setup


def test_the_next_node_takes_over_and_recovers(setup: Setup, mysqld: Mysqld) -> None:
    """The servers of the topology are named to a node that does not act, only."""
    stage = Stage(mysqld)
    try:
        topology = stage.topology(TopologySpec(replicas=2, semi_sync="lossless"))
        account = topology.accounts.orchestray
        told, untold = settings_of(account, topology.master), settings_of(account)
        with nodes_on(setup, (untold, untold, told)) as nodes:
            first = acting(nodes)
            assert first is nodes[0], "it was there before the others"
            for node in nodes:
                node.wait_instances(topology.servers, LEARNT_SECONDS)
            lost, taken, _ = take_over(setup, nodes, with_database=True, also=topology.master.signal_kill)
            assert lost is first
            promoted = wait_until(
                lambda: [one for one in topology.replicas if one.variable("read_only") == "0"],
                RECOVERED_SECONDS,
                lambda: taken.said,
            )
            assert len(promoted) == 1
            wait_until(
                lambda: [one for one in taken.answers("audit-recovery") or [] if one["IsSuccessful"]],
                RECOVERED_SECONDS,
                lambda: taken.said,
            )
            done = [one for one in taken.api("audit-recovery") if one["IsSuccessful"]]
            assert [key_of(one["SuccessorKey"]) for one in done] == [str(promoted[0].key)]
            assert [node for node in nodes if node is not lost and node.leads] == [taken]
            setup.make_whole()
            lost.destroy()
            lost.start()
            seen = {str(server.key): server is not topology.master for server in topology.servers}
            wait_until(
                lambda: {key: one["IsLastCheckValid"] for key, one in lost.instances().items()} == seen,
                LEARNT_SECONDS,
                lambda: lost.said,
            )
            assert [node for node in nodes if node.leads] == [taken]
    finally:
        stage.clear()
