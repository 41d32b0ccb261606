"""A recovery of servers that are known under other names than those by which their replicas know them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.node import Watched, key_of, watching
from tests.servers import wait_until


@pytest.fixture
def renamed(mysqld: Mysqld) -> Iterator[Watched]:
    """Servers that call themselves localhost; they were found, and replicate, as 127.0.0.1."""
    spec = TopologySpec(replicas=2, options={"report-host": "localhost"})
    settings: dict[str, object] = {"MySQLHostnameResolveMethod": "@@report_host"}
    known_as = {"known_as": lambda key: f"localhost:{key.port}"}
    with watching(mysqld, spec, **known_as, **settings) as both:  # type: ignore[arg-type]
        yield both


@pytest.mark.long
def test_a_master_that_its_replicas_know_by_another_name_is_recovered(renamed: Watched) -> None:
    node, topology = renamed.node, renamed.topology
    own = {server.port: f"localhost:{server.port}" for server in topology.servers}
    master = own[topology.master.port]

    def settled() -> bool:
        known = node.instances()
        return set(known) == set(own.values()) and {one["ClusterName"] for one in known.values()} == {master}

    wait_until(settled, 30, lambda: str(node.instances()))
    topology.master.kill()

    def promoted() -> str:
        known = node.instances()
        tops = [name for name, one in known.items() if not one["ReadOnly"] and one["IsLastCheckValid"]]
        return tops[0] if len(tops) == 1 and tops[0] != master else ""

    successor = wait_until(promoted, 20, lambda: str(node.api("audit-recovery")) + node.said[-3000:])
    (other,) = set(own.values()) - {master, successor}

    def follows() -> bool:
        one = node.instances()[other]
        return bool(key_of(one["MasterKey"]) == successor and one["ReplicationIOThreadRuning"])

    wait_until(follows, 20, lambda: str(node.instances()))


@pytest.fixture
def plain(mysqld: Mysqld) -> Iterator[Watched]:
    with watching(mysqld, TopologySpec(replicas=2)) as both:
        yield both


@pytest.mark.long
def test_replicas_get_the_name_that_is_registered_and_their_source_stays_one_server(plain: Watched) -> None:
    node, topology = plain.node, plain.topology
    master = topology.master
    node.wait_settled(master, topology.replicas)
    node.api(f"register-hostname-unresolve/{master.host}/{master.port}/localhost")
    wait_until(
        lambda: node.api("hostname-resolve-cache").get("localhost", {}).get("Object") == master.host, 20
    )
    master.kill()
    successor = wait_until(
        lambda: next((one for one in topology.replicas if one.variable("read_only") == "0"), None), 20
    )
    (other,) = (one for one in topology.replicas if one is not successor)
    node.wait_settled(successor, [other])
    (channel,) = other.query("SHOW REPLICA STATUS")
    assert channel["Source_Host"] == "localhost"
    assert set(node.instances()) == {str(server.key) for server in topology.servers}
