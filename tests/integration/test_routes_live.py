"""The API of a live node with real servers while all is well, against the reference (http-api.md).

The other tests with this node leave it as it was.
"""

from __future__ import annotations

import gzip
import json

import pytest

from services.sandbox.server import MySQLServer
from tests.integration.registered_live import what_is_registered
from tests.live_routes import (
    JSON,
    NOT_FOUND,
    TEXT,
    Reply,
    bare,
    by_key,
    client,
    enveloped,
    get,
    key,
    misfits_of,
    refused,
)  # fmt: skip
from tests.node import Watched, key_of, keys_of
from tests.reference_routes import ROUTES, counts
from tests.reference_shapes import names_of
from tests.servers import wait_until

# transport (1)


def test_bytes_on_the_wire(live: Watched) -> None:
    """Compact, no newline, text that a page could run escaped; closing slash and HEAD on every route."""
    reply = get(live, "clusters-info")
    assert reply.type == JSON
    assert reply.body == json.dumps(reply.json, separators=(",", ":"), ensure_ascii=False).encode()
    assert get(live, "clusters-info/").body == reply.body
    reply = get(live, "instance/<&>/1")
    assert rb"\u003c\u0026\u003e" in reply.body
    for word in (b"<", b">", b"&"):
        assert word not in reply.body
    head = Reply(live.node, "/api/clusters-info", "HEAD")
    assert (head.status, head.type, head.body) == (200, JSON, b"")


def test_compression_is_for_who_asks(live: Watched) -> None:
    plain, packed = get(live, "all-instances"), get(live, "all-instances", accept_encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert keys_of(json.loads(gzip.decompress(packed.body))) == keys_of(plain.json)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/no-such-route"), ("GET", "/api"), ("GET", "/api/instance/a"), ("GET", "/api/cluster"),
        ("GET", "/api/instance/a/1/2"), ("GET", "/api/clusters/x"), ("GET", "/api//clusters"),
        ("GET", "/api/cluster/a%2Fb/c"), ("GET", "/api/instance/a%23b/1"), ("GET", "/api/instance/a%3Fb/1"),
        ("GET", "/api/instance//3306"), ("GET", "/api/cluster/" + 100 * "a/"), ("GET", "/metrics-of-nobody"),
        ("GET", "/api/audit-recovery-steps"), ("GET", "/api/register-candidate/a/1"), ("HEAD", "/api"),
        ("GET", "/api/topology/a/1/2"), ("GET", "/api/ack-recovery"), ("GET", "/api/recover/a/1/b"),
        ("POST", "/api/clusters"), ("PUT", "/api/clusters"), ("DELETE", "/api/forget/a/1"),
        ("PATCH", "/api/clusters"), ("OPTIONS", "/api/clusters"), ("POST", "/api/no-such-route"),
    ],
)  # fmt: skip
def test_no_such_route(live: Watched, method: str, target: str) -> None:
    reply = Reply(live.node, target, method)
    assert (reply.status, reply.type) == (404, TEXT)
    assert reply.body == (b"" if method == "HEAD" else NOT_FOUND)


def test_what_the_client_looks_for_first(live: Watched) -> None:
    """It asks HEAD of the endpoint as it was given; anything but 401 lets it go on."""
    assert Reply(live.node, "/", "HEAD").status == 302
    root = Reply(live.node, "/")
    assert (root.status, root.headers["location"]) == (302, "/web/clusters")
    assert Reply(live.node, "/web/").headers["location"] == "/web/clusters"


# instances and clusters (5.5, 5.6)

MEMBERS = ["all-instances", "cluster/{cluster}", "cluster/alias/{cluster}", "cluster/instance/{leaf}"]


@pytest.mark.parametrize("path", [*MEMBERS, "search?s=", "search/127.0.0"])
def test_lists_of_all_instances(live: Watched, path: str) -> None:
    found = bare(live, path, "[Instance]")
    assert sorted(keys_of(found)) == by_key(live.topology.servers)
    for instance in found:
        assert list(instance) == names_of("Instance")
    if path in MEMBERS:
        assert keys_of(found) == by_key(live.topology.servers), "by host, then port"
    else:
        assert [one["ReplicationDepth"] for one in found] == [0, 1, 1, 2]
        assert keys_of(found)[1] == str(live.topology.replicas[1].key), "more replicas, earlier"


@pytest.mark.parametrize("hint", ["{cluster}", "{alone}", "{other}"])
def test_a_cluster_is_found_by_its_name_or_a_member(live: Watched, hint: str) -> None:
    leaf = live.topology.below[0]
    path = "cluster/" + hint.replace("{alone}", str(leaf.key)).replace("{other}", f"0.0.1:{leaf.port}")
    assert len(bare(live, path, "[Instance]")) == 4


def test_instances_as_they_are(live: Watched) -> None:
    """The values that the servers themselves tell, in both forms: as kept, and as probed."""
    master, (one, two), leaf = live.topology.master, live.topology.replicas, live.topology.below[0]
    top = bare(live, "instance/{master}", "Instance")
    assert top["Key"] == key(master)
    assert top["MasterKey"] == {"Hostname": "", "Port": 0}
    assert top["SlaveHosts"] == top["Replicas"] == sorted((key(one), key(two)), key=lambda each: each["Port"])
    assert (top["ReplicationSQLThreadState"], top["ReplicationIOThreadState"]) == (-1, -1)
    assert top["SecondsBehindMaster"] == {"Int64": 0, "Valid": False}
    assert (top["Version"], top["FlavorName"]) == (master.variable("version"), "MySQL")
    assert (top["ServerUUID"], top["ReadOnly"]) == (master.variable("server_uuid"), False)
    assert top["SemiSyncMasterEnabled"] and top["SemiSyncMasterClients"] == 2
    assert top["Problems"] == []
    below = bare(live, "instance/{leaf}/", "Instance")
    assert below["MasterKey"] == key(two)
    assert below["ReplicationDepth"] == 2
    assert below["LastSQLError"] == below["LastIOError"] == ""
    assert below["SecondsSinceLastSeen"]["Valid"]
    for twins in (
        "Slave_IO_Running ReplicationIOThreadRuning",
        "Slave_SQL_Running ReplicationSQLThreadRuning",
    ):
        assert [below[name] for name in twins.split()] == [True, True]
    uuids = [server.variable("server_uuid") for server in (master, two, leaf)]
    assert below["AncestryUUID"] == ",".join(uuids)
    assert keys_of(bare(live, "instance-replicas/{master}", "[Instance]")) == by_key((one, two))
    assert bare(live, "instance-replicas/{leaf}", "[Instance]") == []
    probed = enveloped(live, "discover/{leaf}", "Instance")
    assert probed["Key"] == key(leaf)
    assert enveloped(live, "async-discover/{leaf}", "null") is None
    assert enveloped(live, "refresh/{leaf}", "Key") == key(leaf)
    assert enveloped(live, "resolve/{leaf}", "Key") == key(leaf)


def test_clusters(live: Watched) -> None:
    name = str(live.topology.master.key)
    assert bare(live, "clusters", "[str]") == [name]
    (info,) = bare(live, "clusters-info", "[ClusterInfo]")
    assert (info["ClusterName"], info["ClusterAlias"], info["CountInstances"]) == (name, name, 4)
    assert (info["HasAutomatedMasterRecovery"], info["HasAutomatedIntermediateMasterRecovery"]) == (
        True,
        False,
    )
    for path in ("cluster-info/{cluster}", "cluster-info/alias/{cluster}", f"cluster-info/{name}"):
        assert bare(live, path, "ClusterInfo") == info
    assert keys_of(bare(live, "masters", "[Instance]")) == [name]
    for hint in ("{cluster}", str(live.topology.below[0].key)):
        assert key_of(bare(live, f"master/{hint}", "Instance")["Key"]) == name
    for path in (
        "problems",
        "problems/{cluster}",
        "downtimed",
        "downtimed/{cluster}",
        "search/nothing-like-it",
    ):
        assert bare(live, path, "[Instance]") == []


def drawn(watched: Watched) -> list[tuple[str, list[str]]]:
    """Name and six tokens of each line, from the servers (client-commands.md 6)."""
    master, (one, two), leaf = watched.topology.master, watched.topology.replicas, watched.topology.below[0]
    version = master.variable("version")

    def line(prefix: str, server: MySQLServer, mode: str, extra: str) -> tuple[str, list[str]]:
        tokens = ["0s", "ok", version, mode, "ROW", f">>,GTID{extra}"]
        return f"{prefix}{server.key}", tokens

    def semi(server: MySQLServer) -> str:
        return ",semi:replica" if server.status("Rpl_semi_sync_replica_status") == "ON" else ""

    branches = {one: [line("+ ", one, "ro", semi(one))]}
    branches[two] = [line("+ ", two, "ro", semi(two)), line("  + ", leaf, "ro", semi(leaf))]
    lines = [line("", master, "rw", ",semi:master")]
    for replica in sorted(branches, key=lambda server: server.key):
        lines += branches[replica]
    return lines


def test_text_forms(live: Watched) -> None:
    """Exactly: prefix, order, tokens, and the padding of both forms."""
    lines = drawn(live)
    widest = max(len(name) for name, _ in lines)
    tree = "\n".join(f"{name:{widest}} [{','.join(tokens)}]" for name, tokens in lines)
    for path in ("topology/{cluster}", "topology/{leaf}", "topology/{cluster}/"):
        assert enveloped(live, path, "str") == tree
    rows = [[name, *tokens] for name, tokens in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = "\n".join(
        "|".join(f"{cell:{'>' if at == 1 else '<'}{widths[at]}}" for at, cell in enumerate(row))
        for row in rows
    )
    for path in ("topology-tabulated/{cluster}", "topology-tabulated/{leaf}"):
        assert enveloped(live, path, "str") == table
    for command, text in (("topology", tree), ("topology-tabulated", table)):
        for hint in (["-a", live.node.api("clusters")[0]], ["-i", str(live.topology.below[0].key)]):
            assert client(live, command, *hint) == (0, text.splitlines(), "")


# this node (5.12)


def test_health(live: Watched) -> None:
    wait_until(lambda: live.node.leads, 30)
    health = enveloped(live, "health", "HealthStatus")
    status = enveloped(live, "status", "HealthStatus")
    assert health["Healthy"] and health["IsActiveNode"]
    assert health["ActiveNode"]["Token"] == health["Token"] == status["Token"]
    assert [node["Hostname"] for node in health["AvailableNodes"]] == [health["Hostname"]]
    assert health["ActiveNode"]["DBBackend"] == str(live.node.database)


def test_checks(live: Watched) -> None:
    wait_until(lambda: live.node.leads, 30)
    ok = ("lb-check", "_ping", "leader-check", "leader-check/503", "leader-check/abc", "routed-leader-check")
    for path in ok:
        wait_until(lambda: live.node.leads, 30)
        reply = get(live, path)
        assert (reply.status, reply.type, reply.body) == (200, JSON, b'"OK"')
        assert Reply(live.node, f"/api/{path}", "HEAD").status == 200
    for route in ("raft-state", "raft-leader", "raft-peers", "raft-health", "raft-status", "raft-snapshot"):
        refused(live, route, f"{route}: not running with raft setup")
    shown = get(live, "headers", x_Test="a", Authorization="Basic c2VjcmV0").json
    assert shown["X-Test"] == ["a"]
    assert shown["Authorization"] == ["***"], "no secret is shown"


def test_reload_configuration(live: Watched) -> None:
    """All or nothing, with a text that names key, value and mend; then what waits for a restart."""
    assert enveloped(live, "reload-configuration", "empty") == ""
    extra = live.node.folder / "extra.json"
    extra.write_text('{"RecoveryIgnoreHostnameFilters": ["nobody"]}')
    assert enveloped(live, f"reload-configuration?config={extra}", "str") == str(extra)
    filters = enveloped(live, "automated-recovery-filters", "Filters")
    assert filters["RecoveryIgnoreHostnameFilters"] == ["nobody"]
    extra.write_text('{"InstancePollSeconds": "often"}')
    refused(live, f"reload-configuration?config={extra}", 'InstancePollSeconds: "often" is a string')
    refused(live, "reload-configuration?config=/no/such/file", "/no/such/file")
    extra.write_text("{}")  # it belongs to the files that are read from then on
    enveloped(live, "reload-configuration", "empty")
    assert enveloped(live, "automated-recovery-filters", "Filters")["RecoveryIgnoreHostnameFilters"] == []


# what is registered, and the whole reference


def test_registrations(live: Watched) -> None:
    """Every route and command that registers; the same as on MariaDB (test_mariadb_node)."""
    what_is_registered(live)


@pytest.mark.parametrize("group", dict.fromkeys(route.group for route in ROUTES))
def test_every_route_of_the_reference(live: Watched, group: str) -> None:
    """Status, envelope and shape; and as the OpenAPI document says."""
    wait_until(lambda: live.node.leads, 60)
    wrong = [each for route in ROUTES if route.group == group for each in misfits_of(live, route)]
    assert wrong == []


def test_how_many_routes_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """Printed for whoever reads the log; a route that was answered once stays so."""
    with capsys.disabled():
        print("", *counts(), sep="\n")
    assert sum(route.state == "answered" for route in ROUTES) >= 143
