"""One server under several names, on real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.mysql.connection import Login
from services.mysql.names import is_same_server, looked_up
from services.mysql.watcher import Watcher, WatchPolicy
from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from services.sandbox.topology import TopologySpec
from services.topology.instance import Observation
from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy
from tests.node import Watched, watching
from tests.servers import StandaloneServer, wait_until, wait_until_async

QUICK = WatchPolicy(poll=0.2, heartbeat=0.5, connect_timeout=1.0, read_timeout=1.0)


@pytest.mark.parametrize("fixture", ["mysql_server", "mariadb_server"])
async def test_whether_two_endpoints_are_one_server(request: pytest.FixtureRequest, fixture: str) -> None:
    server: StandaloneServer = request.getfixturevalue(fixture)
    login, other = Login(server.user, server.password), InstanceKey("localhost", server.port)
    assert await is_same_server(server.key, other, login, timeout=5) is True
    closed = InstanceKey("127.0.0.1", free_port())
    assert await is_same_server(server.key, closed, login, timeout=5) is None


async def test_two_servers_are_never_one_though_they_say_the_same_of_themselves(
    mysql_server: StandaloneServer, mariadb_server: StandaloneServer
) -> None:
    name, password = "same", "x"
    for server in (mysql_server, mariadb_server):
        server.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'")
    try:
        login = Login(name, password)
        assert await is_same_server(mysql_server.key, mariadb_server.key, login, timeout=5) is False
    finally:
        for server in (mysql_server, mariadb_server):
            server.execute(f"DROP USER '{name}'@'%'")


async def test_a_watcher_tells_where_its_server_wants_to_be_known(mysql_server: StandaloneServer) -> None:
    """It reports 127.0.0.1 as its host."""
    seen: list[Observation] = []
    policy = replace(QUICK, names=NamePolicy(own_method="@@report_host"))
    login = Login(mysql_server.user, mysql_server.password)
    for host, own in (("localhost", mysql_server.key), ("127.0.0.1", None)):
        seen.clear()
        watcher = Watcher(InstanceKey(host, mysql_server.port), login, policy, seen.append)
        watcher.start()
        try:
            await wait_until_async(lambda: len(seen) >= 2)
        finally:
            await watcher.stop()
        assert [one.own_key for one in seen] == [own] * len(seen)
        assert all(one.error == "" for one in seen)


async def test_looking_up_names() -> None:
    assert await looked_up("localhost", "ip", timeout=5) == "127.0.0.1"
    assert await looked_up("127.0.0.1", "ip", timeout=5) == "127.0.0.1"
    assert await looked_up("localhost", "cname", timeout=5)
    for method in ("ip", "cname"):
        assert await looked_up("no host name..", method, timeout=5) is None


# in a node


@pytest.fixture(scope="module")
def renamed(mysqld: Mysqld) -> Iterator[Watched]:
    """Servers that call themselves localhost; they were found, and replicate, as 127.0.0.1."""
    spec = TopologySpec(replicas=2, options={"report-host": "localhost"})
    settings: dict[str, object] = {
        "MySQLHostnameResolveMethod": "@@report_host",
        "DiscoverByShowSlaveHosts": True,
    }
    known_as = {"known_as": lambda key: f"localhost:{key.port}"}
    with watching(mysqld, spec, **known_as, **settings) as both:  # type: ignore[arg-type]
        yield both


@pytest.mark.long
def test_servers_are_known_under_their_own_names_and_stay_one_cluster(renamed: Watched) -> None:
    node, topology = renamed.node, renamed.topology
    own = {f"localhost:{server.port}" for server in topology.servers}
    master = f"localhost:{topology.master.port}"

    def settled() -> bool:
        known = node.instances()
        return set(known) == own and {one["ClusterName"] for one in known.values()} == {master}

    wait_until(settled, 30, lambda: str({k: v["ClusterName"] for k, v in node.instances().items()}))
    assert [one["ClusterName"] for one in node.api("clusters-info")] == [master]
    found = node.api(f"instance/127.0.0.1/{topology.master.port}")
    assert found["Key"] == {"Hostname": "localhost", "Port": topology.master.port}, (
        "found under its other name"
    )


@pytest.mark.long
def test_the_names_are_shown_reset_and_learned_again(renamed: Watched) -> None:
    node = renamed.node
    cache = node.api("hostname-resolve-cache")
    assert cache["127.0.0.1"]["Object"] == "localhost"
    in_an_hour = time.time_ns() + 3600 * 10**9
    assert in_an_hour - 600 * 10**9 < cache["127.0.0.1"]["Expiration"] <= in_an_hour
    assert node.api("reset-hostname-resolve-cache") is None
    wait_until(lambda: "127.0.0.1" in node.api("hostname-resolve-cache"), 30)
    master = f"localhost:{renamed.topology.master.port}"
    wait_until(lambda: {one["ClusterName"] for one in node.instances().values()} == {master}, 30)
    assert node.leads
