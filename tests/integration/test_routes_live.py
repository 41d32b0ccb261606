"""Every route of the API on a live node with real servers, against the reference (http-api.md): status,
envelope, field names, types and order; before a failure, and with the audit of two recoveries.

One topology and one node. The tests go on from what the one before left: first all is well, then the master
dies, then the next is recovered by hand, and at the end nothing can be promoted any more.
"""

from __future__ import annotations

import gzip
import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.integration.registered_live import what_is_registered
from tests.live_routes import JSON, Reply, bare, by_key, client, enveloped, get, key, refused
from tests.node import Watched, key_of, keys_of, watching
from tests.reference_shapes import misfits, names_of
from tests.servers import wait_until

TEXT = "text/plain; charset=utf-8"
NOT_FOUND = b"404 page not found\n"


@pytest.fixture(scope="module")
def live(mysqld: Mysqld) -> Iterator[Watched]:
    """A master, two replicas and one more below the second."""
    spec = TopologySpec(replicas=2, below_last=1, semi_sync="lossless")
    # On a busy machine no actor is replaced for being slow: that is not what is tested here.
    settings = {"RecoverIntermediateMasterClusterFilters": ["shop"], "RestartLeaderAfterSeconds": 30}
    with watching(mysqld, spec, **settings) as both:
        both.node.wait_settled(both.topology.master, both.topology.replicas)
        yield both


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


# what makes no sense

_LONG = "x" * 3000
_DIGITS = "9" * 6000


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("instance/{nobody}", "Cannot read instance: 127.0.0.1:1"),
        ("instance/no.such.host/3306", "Cannot read instance: no.such.host:3306"),
        *((f"instance/127.0.0.1/{port}", f"Invalid port: {port}") for port in ("0", "65536", "70000", "x")),
        (f"instance/127.0.0.1/{_DIGITS}", "Invalid port"),
        ("instance-replicas/127.0.0.1/0", "Invalid port"),
        (f"instance/{_LONG}/3306", "Cannot read instance"),
        ("instance/a%00b/3306", "Cannot read instance"),
        ("instance/%FF%FE/3306", "Cannot read instance"),
        *(
            (f"{route}/no-such-cluster", "Unable to determine cluster name by hint: no-such-cluster")
            for route in (
                "cluster", "cluster-info", "master", "topology", "topology-tabulated", "downtimed",
                "forget-cluster",
            )
        ),
        ("cluster/alias/nobody", "No cluster has the alias nobody"),
        ("cluster-info/alias/nobody", "No cluster has the alias nobody"),
        ("ack-recovery/cluster/alias/nobody?comment=x", "No cluster has the alias nobody"),
        ("cluster/instance/{nobody}", "Unable to determine cluster name by hint: 127.0.0.1:1"),
        ("topology/{nobody}", "Unable to determine cluster name by hint: 127.0.0.1:1"),
        ("topology-tabulated/{nobody}", "Unable to determine cluster name by hint: 127.0.0.1:1"),
        (f"cluster/127.0.0.1:{_DIGITS}", "Unable to determine cluster name by hint"),
        ("cluster/:3306", "Unable to determine cluster name by hint"),
        ("cluster/127.0.0.1:0", "Unable to determine cluster name by hint"),
        ("cluster/%20", "Unable to determine cluster name by hint"),
        ("discover/127.0.0.1/0", "Invalid port: 0"),
        ("async-discover/127.0.0.1/70000", "Invalid port: 70000"),
        ("forget/127.0.0.1/x", "Invalid port: x"),
        ("forget/{nobody}", "127.0.0.1:1"),
        ("refresh/{nobody}", "127.0.0.1:1"),
        ("register-candidate/{leaf}/must", "must is unsupported"),
        ("register-candidate/{leaf}/perfer", "Invalid CandidatePromotionRule: perfer"),
        ("register-candidate/127.0.0.1/0/prefer", "Invalid port: 0"),
        ("recover/127.0.0.1/0", "Invalid port: 0"),
        ("recover/{leaf}/127.0.0.1/70000", "Invalid port: 70000"),
        ("recover-lite/127.0.0.1/x", "Invalid port: x"),
        ("ack-all-recoveries", "No acknowledge comment given"),
        ("ack-all-recoveries?comment=%20", "No acknowledge comment given"),
        ("ack-all-recoveries?coment=typo", "No acknowledge comment given"),
        ("ack-recovery/1", "No acknowledge comment given"),
        ("ack-recovery/uid/1", "No acknowledge comment given"),
        ("ack-recovery/cluster/{cluster}", "No acknowledge comment given"),
        ("ack-recovery/instance/{leaf}?comment=", "No acknowledge comment given"),
        ("ack-recovery/x?comment=x", "Not a recovery id: x"),
        (f"ack-recovery/{_DIGITS}?comment=x", "Not a recovery id"),
        ("ack-recovery/cluster/nobody?comment=x", "Unable to determine cluster name by hint"),
        ("audit-recovery/id/x", "Not an id: x"),
        (f"audit-recovery/id/{_DIGITS}", "Not an id"),
        ("audit-failure-detection/id/-1", "Not an id: -1"),
        ("recently-active-instance-recovery/a/0", "Invalid port: 0"),
        ("replication-analysis/instance/a/0", "Invalid port: 0"),
        ("events?since=x", "since must be the number of an event"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error_envelope(live: Watched, path: str, text: str) -> None:
    refused(live, path, text)


@pytest.mark.parametrize(
    "path",
    [
        "discover/{nobody}", f"discover/{_LONG}/3306", "discover/a%00b/3306", "discover/%20/3306",
        "discover/%FF/3306", "discover/x..y/3306", "recover/{nobody}", "recover/{master}",
        "recover/{leaf}/{two}", "recover-lite/{master}", "recover/a%00b/1",
    ],
)  # fmt: skip
def test_what_cannot_be_done_names_the_server(live: Watched, path: str) -> None:
    """Refused with the key of the server that it is about, and nothing has changed."""
    enveloped(live, path, "Key", "ERROR")
    assert sorted(live.node.instances()) == by_key(live.topology.servers)
    assert bare(live, "audit-recovery", "[Recovery]") == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("resolve/{nobody}", "null"), ("resolve/a%00b/1", "null"), (f"resolve/{_LONG}/1", "null"),
        ("resolve/x..y/1", "null"),
    ],
)  # fmt: skip
def test_what_cannot_be_resolved(live: Watched, path: str, kind: str) -> None:
    enveloped(live, path, kind, "ERROR")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(
            (f"{route}{page}", "none")
            for route in ("audit-recovery", "audit-failure-detection")
            for page in (
                "", "/0", "/7", "/x", f"/{'9' * 18}", f"/{_DIGITS}", "/id/7", "/id/" + "9" * 18,
                "/alias/nobody", "/alias/nobody/1",
            )
        ),
        ("audit-recovery/uid/nobody", "none"), ("audit-recovery/cluster/nobody", "none"),
        ("audit-recovery/cluster/{cluster}/3", "none"), ("audit-recovery?unacknowledged=true", "none"),
        ("audit-recovery?unacknowledged=maybe&page=x", "none"), ("audit-recovery-steps/nobody", "none"),
        (f"audit-recovery-steps/{_LONG}", "none"), ("blocked-recoveries", "none"),
        ("blocked-recoveries/cluster/nobody", "none"), ("active-cluster-recovery/{cluster}", "none"),
        ("recently-active-cluster-recovery/nobody", "none"),
        ("recently-active-instance-recovery/{leaf}", "none"),
        ("instance-replicas/{nobody}", "none"),
    ],
)  # fmt: skip
def test_lists_of_what_there_is_not_are_empty(live: Watched, path: str, kind: str) -> None:
    bare(live, path, kind)


def test_paths_that_are_very_long(live: Watched) -> None:
    """One that a server of HTTP takes is answered as any other; what is longer is cut off, and no more."""
    refused(live, "cluster/" + "a" * 30_000, "Unable to determine cluster name by hint")
    with suppress(ConnectionError):
        assert 400 <= Reply(live.node, "/api/cluster/" + "a" * 1_000_000).status < 500
    assert get(live, "lb-check").body == b'"OK"'


def test_the_client_tells_what_is_wrong(live: Watched) -> None:
    nobody = ["-i", "127.0.0.1:1"]
    status, said, complaint = client(live, "which-master", *nobody)
    assert (status, said, complaint) == (1, [], "Cannot read instance: 127.0.0.1:1\n")
    status, said, complaint = client(live, "recover", *nobody)
    assert (status, said) == (1, ['{ "Hostname": "127.0.0.1", "Port": 1 }'])
    assert complaint.startswith("Recovery not attempted")
    for words in (["forget", *nobody], ["discover", *nobody], ["topology", *nobody]):
        status, said, complaint = client(live, *words)
        assert status == 1
        assert complaint.count("\n") == 1
    status, said, complaint = client(live, "api", "-P", "instance/127.0.0.1/0")
    assert (status, complaint) == (1, "")
    assert json.loads(said[0]) == {"Code": "ERROR", "Message": "Invalid port: 0", "Details": None}
    for words, complaint in (
        (["discover"], "instance must be provided"),
        (["ack-all-recoveries"], "reason must be provided"),
        (["api"], "path must be provided"),
        (["no-such"], "Unsupported command no-such"),
    ):
        status, said, told = client(live, *words)
        assert (status, said) == (1, [])
        assert re.fullmatch(rf"\S+\[\d+\]: {re.escape(complaint)}\n", told)


# changes, and what the client prints of a topology that is well


def test_forgetting_and_finding(live: Watched) -> None:
    """A leaf, which is found again by whom it replicates from; then the cluster, which is not."""
    leaf, two = live.topology.below[0], live.topology.replicas[1]
    assert enveloped(live, "forget/{leaf}", "Key") == key(leaf)
    others = [server for server in live.topology.servers if server is not leaf]
    live.node.wait_instances(others)
    live.node.wait_instances(live.topology.servers, 90)  # its master shows it again
    assert client(live, "forget", "-i", str(leaf.key)) == (0, [], "")
    live.node.wait_instances(others)
    assert client(live, "discover", "-i", str(leaf.key)) == (0, [str(leaf.key)], "")
    live.node.wait_instances(live.topology.servers)
    assert enveloped(live, "forget-cluster/{cluster}", "null") is None
    assert enveloped(live, f"discover/{two.host}/{two.port}", "Instance")["Key"] == key(two)
    live.node.wait_settled(live.topology.master, live.topology.replicas)
    live.node.wait_instances(live.topology.servers)


def test_registering_a_candidate(live: Watched) -> None:
    one = live.topology.replicas[0]
    for rule in ("must_not", "prefer_not", "neutral"):
        assert enveloped(live, "register-candidate/{one}/" + rule, "Key") == key(one)
        wait_until(lambda rule=rule: live.node.instances()[str(one.key)]["PromotionRule"] == rule, 10)
    assert client(live, "register-candidate", "-i", str(one.key), "-R", "prefer") == (0, [str(one.key)], "")
    wait_until(lambda: live.node.instances()[str(one.key)]["IsCandidate"], 10)
    assert live.node.instances()[str(one.key)]["PromotionRule"] == "prefer"


def test_registrations(live: Watched) -> None:
    """Every route and command that registers; the same as on MariaDB (test_mariadb_node)."""
    what_is_registered(live)


def test_the_client_where_all_is_well(live: Watched) -> None:
    master, (one, two), leaf = live.topology.master, live.topology.replicas, live.topology.below[0]
    expected = {
        ("clusters",): [str(master.key)],
        ("all-instances",): by_key(live.topology.servers),
        ("which-cluster-master", "-i", str(leaf.key)): [str(master.key)],
        ("which-cluster-master", "-a", str(master.key)): [str(master.key)],
        ("which-master", "-i", str(leaf.key)): [str(two.key)],
        ("which-master", "-i", str(master.key)): [":0"],
        ("which-replicas", "-i", str(master.key)): by_key((one, two)),
        ("which-slaves", "-i", str(leaf.key)): [],
        ("replication-analysis",): [],
        ("ack-all-recoveries", "-r", "nothing to do"): ["nothing to do"],
        ("api", "-P", "clusters"): [f'[ "{master.key}" ]'],
    }
    for words, lines in expected.items():
        assert (words, *client(live, *words)) == (words, 0, lines, "")
    for path in (
        "replication-analysis", "replication-analysis/{cluster}", "replication-analysis/instance/{master}",
        "replication-analysis/nobody",
    ):  # fmt: skip
        assert enveloped(live, path, "[ReplicationAnalysis]") == []
    assert enveloped(live, "check-global-recoveries", "str") == "enabled"


# the master dies


def test_a_recovery_as_the_audit_has_it(live: Watched) -> None:
    master, (one, two), cluster = live.topology.master, live.topology.replicas, live.topology.master.key
    master.kill()
    recovery = wait_until(lambda: ended(live), 60, lambda: live.node.said)
    assert misfits(recovery, "Recovery") == []
    assert recovery["IsSuccessful"]
    assert recovery["SuccessorKey"] == key(one)
    assert recovery["LostReplicas"] == []
    assert recovery["AllErrors"] == [""]
    assert recovery["RecoveryEndTimestamp"] > ""
    assert recovery["Acknowledged"] is False
    assert set(map(key_of, recovery["ParticipatingInstanceKeys"])) <= set(by_key(live.topology.servers))
    entry = recovery["AnalysisEntry"]
    assert list(entry) == names_of("ReplicationAnalysis")
    assert (entry["AnalyzedInstanceKey"], entry["Analysis"]) == (key(master), "DeadMaster")
    assert entry["ClusterDetails"]["ClusterName"] == str(cluster)
    assert entry["CountReplicas"] == 2
    assert sorted(map(key_of, entry["Replicas"])) == by_key((one, two))

    # The recovery had the store to itself: its detection is noted behind it.
    detection = wait_until(lambda: led_to(live, recovery["Id"]), 10)
    recovery = bare(live, "audit-recovery", "[Recovery]")[0]
    assert detection["Id"] == recovery["LastDetectionId"]
    assert detection["IsActive"] is False, "its active period ended with the recovery"
    assert detection["AnalysisEntry"]["Analysis"] == "DeadMaster"
    assert detection["AnalysisEntry"]["StartActivePeriod"] == detection["RecoveryStartTimestamp"]
    live.node.wait_settled(one, [two])


def led_to(watched: Watched, recovery: int) -> dict[str, Any] | None:
    """The detection of which the audit says that it led to that recovery."""
    found = bare(watched, "audit-failure-detection", "[Detection]")
    return next((each for each in found if each["RelatedRecoveryId"] == recovery), None)


def ended(watched: Watched) -> dict[str, Any] | None:
    """The newest recovery, once it is over."""
    found = watched.node.api("audit-recovery")
    return found[0] if found and found[0]["RecoveryEndTimestamp"] else None


def test_forms_of_the_audit(live: Watched) -> None:
    # Its block is over then, after which nothing of it changes any more.
    wait_until(lambda: not bare(live, "audit-recovery", "[Recovery]")[0]["IsActive"], 20)
    (recovery,) = bare(live, "audit-recovery", "[Recovery]")
    old, uid = live.topology.master.key, recovery["UID"]
    quoted = urllib.parse.quote(uid)
    for form in (
        "/0", f"/id/{recovery['Id']}", f"/uid/{uid}", f"/uid/{quoted}", f"/cluster/{old}",
        f"/cluster/{old}/0", f"/alias/{old}", f"/alias/{old}/0", "?unacknowledged=true",
    ):  # fmt: skip
        assert bare(live, f"audit-recovery{form}", "[Recovery]") == [recovery], form
    for form in ("/1", f"/id/{recovery['Id'] + 1}", f"/cluster/{old}/1", f"/alias/{old}/1"):
        assert bare(live, f"audit-recovery{form}", "[Recovery]") == [], form
    detections = bare(live, "audit-failure-detection", "[Detection]")
    assert [each["Id"] for each in detections] == sorted((each["Id"] for each in detections), reverse=True)
    for form in ("/0", f"/alias/{old}", f"/alias/{old}/0"):
        assert bare(live, f"audit-failure-detection{form}", "[Detection]") == detections, form
    newest = detections[0]
    assert bare(live, f"audit-failure-detection/id/{newest['Id']}", "[Detection]") == [newest]

    steps = bare(live, f"audit-recovery-steps/{uid}", "[RecoveryStep]")
    assert len(steps) > 3
    assert [step["Id"] for step in steps] == sorted(step["Id"] for step in steps), "oldest first"
    assert {step["RecoveryUID"] for step in steps} == {uid}
    assert bare(live, f"audit-recovery-steps/{quoted}/", "[RecoveryStep]") == steps
    for form in (f"cluster-recovery/{old}", f"instance-recovery/{host(live.topology.replicas[0])}"):
        assert [each["Id"] for each in bare(live, f"recently-active-{form}", "[Recovery]")] == [
            recovery["Id"]
        ]


def host(server: MySQLServer) -> str:
    return f"{server.host}/{server.port}"


def test_the_topology_after_it(live: Watched) -> None:
    """The cluster goes by the name of its new master; the dead server is told of as what it is."""
    master, (one, two), leaf = live.topology.master, live.topology.replicas, live.topology.below[0]
    assert str(one.key) in bare(live, "clusters", "[str]")
    assert client(live, "which-cluster-master", "-i", str(leaf.key)) == (0, [str(one.key)], "")
    assert key_of(bare(live, f"master/{one.key}", "Instance")["Key"]) == str(one.key)
    members = bare(live, f"cluster/{one.key}", "[Instance]")
    assert keys_of(members) == by_key((one, two, leaf))
    dead = bare(live, "instance/{master}", "Instance")
    assert not dead["IsLastCheckValid"]
    assert "last_check_invalid" in dead["Problems"]
    # Lost in recovery is downtimed, and what is downtimed is no problem.
    assert bare(live, "problems", "[Instance]") == []
    assert bare(live, "downtimed", "[Instance]")[0]["Key"] == key(master)
    assert (dead["IsDowntimed"], dead["DowntimeReason"]) == (True, "lost-in-recovery")
    assert dead["DowntimeOwner"] == live.node.api("health")["Hostname"]
    assert misfits(dead["DowntimeEndTimestamp"], "computed") == []
    assert dead["ElapsedDowntime"] > 0
    tree = enveloped(live, f"topology/{one.key}", "str").splitlines()
    assert [line.split(" [")[0].rstrip() for line in tree] == [
        str(one.key), f"+ {two.key}", f"  + {leaf.key}",
    ]  # fmt: skip


def test_asking_for_what_is_done_already(live: Watched) -> None:
    """The old client asks each recovery twice; who asks for another outcome is refused."""
    one, two = live.topology.replicas
    assert enveloped(live, "recover/{master}", "Key") == key(one)
    assert enveloped(live, "recover/{master}/{one}", "Key") == key(one)
    assert enveloped(live, "recover-lite/{master}?skipProcesses=true", "Key") == key(one)
    assert enveloped(live, "recover/{master}/{two}", "Key", "ERROR") == key(live.topology.master)
    assert enveloped(live, "recover/{two}", "Key", "ERROR") == key(two)
    assert client(live, "recover", "-i", str(live.topology.master.key)) == (0, [str(one.key)], "")
    assert len(bare(live, "audit-recovery", "[Recovery]")) == 1


def test_acknowledging(live: Watched) -> None:
    (recovery,) = bare(live, "audit-recovery", "[Recovery]")
    assert enveloped(live, f"ack-recovery/{recovery['Id']}?comment=%3Cb%3E%20%26co", "str") == str(
        recovery["Id"]
    )
    (seen,) = bare(live, "audit-recovery", "[Recovery]")
    assert seen["Acknowledged"]
    assert (seen["AcknowledgedComment"], seen["AcknowledgedBy"]) == (
        "<b> &co",
        live.node.api("health")["Hostname"],
    )
    assert misfits(seen["AcknowledgedAt"], "time") == []
    assert bare(live, "audit-recovery?unacknowledged=true", "[Recovery]") == []
    # What is acknowledged stays as it was; unknown ids are OK too.
    uid, one = recovery["UID"], live.topology.replicas[0]
    for form, details in (
        (f"ack-recovery/uid/{uid}", uid), ("ack-recovery/4711", "4711"),
        ("ack-recovery/uid/nobody", "nobody"),
        (f"ack-recovery/cluster/{one.key}", str(one.key)),
        (f"ack-recovery/cluster/alias/{one.key}", str(one.key)), ("ack-all-recoveries", "again"),
    ):  # fmt: skip
        assert enveloped(live, f"{form}?comment=again", "str") == details
    assert enveloped(live, "ack-recovery/instance/{master}?comment=again", "Key") == key(live.topology.master)
    assert bare(live, "audit-recovery", "[Recovery]") == [seen]


# recovered by hand


def test_a_recovery_by_hand(live: Watched) -> None:
    """While automatic ones are disabled, a dead master is told of and left; the client has it recovered."""
    (one, two), leaf = live.topology.replicas, live.topology.below[0]
    assert client(live, "disable-global-recoveries") == (0, ["disabled"], "")
    wait_until(lambda: enveloped(live, "check-global-recoveries", "str") == "disabled", 10)
    one.kill()
    line = f"{one.key} (cluster {one.key}): DeadMaster"
    wait_until(lambda: line in client(live, "replication-analysis")[1], 30, lambda: live.node.said)
    for path in (
        "replication-analysis", f"replication-analysis/{one.key}", "replication-analysis/instance/{one}",
    ):  # fmt: skip
        found = {key_of(each["AnalyzedInstanceKey"]): each for each in analyses(live, path)}
        entry = found[str(one.key)]
        assert list(entry) == names_of("ReplicationAnalysis")
        assert (entry["Analysis"], entry["IsMaster"], entry["LastCheckValid"]) == ("DeadMaster", True, False)
        assert entry["StructureAnalysis"] is None or entry["StructureAnalysis"]
        assert entry["ClusterDetails"]["CountInstances"] == 0
        assert entry["Replicas"] == entry["SlaveHosts"] == [key(two)]
    assert len(bare(live, "audit-recovery", "[Recovery]")) == 1, "nothing was done"

    assert client(live, "recover", "-i", str(one.key), "-d", str(two.key)) == (0, [str(two.key)], "")
    recovery, first = bare(live, "audit-recovery", "[Recovery]")
    assert recovery["Id"] > first["Id"]
    assert recovery["SuccessorKey"] == key(two)
    (alone,) = bare(live, "audit-recovery?unacknowledged=true", "[Recovery]")
    assert alone["UID"] == recovery["UID"]
    assert client(live, "ack-all-recoveries", "-r", "by hand") == (0, ["by hand"], "")
    assert bare(live, "audit-recovery", "[Recovery]")[0]["AcknowledgedComment"] == "by hand"
    assert enveloped(live, "enable-global-recoveries", "str") == "enabled"
    live.node.wait_settled(two, [leaf])


def analyses(watched: Watched, path: str) -> list[dict[str, Any]]:
    found = enveloped(watched, path, "[ReplicationAnalysis]")
    assert isinstance(found, list)
    return found


def test_nobody_is_left(live: Watched) -> None:
    """Tried or not, nothing is promoted: an error with the key of the failed."""
    two, leaf = live.topology.replicas[1], live.topology.below[0]
    leaf.kill()
    two.kill()
    wait_until(
        lambda: any(
            each["AnalyzedInstanceKey"] == key(two) for each in analyses(live, "replication-analysis")
        ),
        30,
    )
    assert enveloped(live, "recover/{two}", "Key", "ERROR") == key(two)
    assert enveloped(live, "recover/{two}/{leaf}", "Key", "ERROR") == key(two)
    status, said, complaint = client(live, "recover", "-i", str(two.key))
    assert (status, said) == (1, [f'{{ "Hostname": "{two.host}", "Port": {two.port} }}'])
    assert complaint.startswith("Recovery not attempted")
    bare(live, "audit-recovery", "[Recovery]")
    bare(live, "audit-failure-detection", "[Detection]")
    bare(live, "blocked-recoveries", "[BlockedRecovery]")
    bare(live, "all-instances", "[Instance]")
