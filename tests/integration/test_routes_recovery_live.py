"""The API of a live node through failures: before one, and with the audit of two recoveries.

One topology and one node. The tests go on from what the one before left: first all is well, then the master
dies, then the next is recovered by hand, and at the end nothing can be promoted any more.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from tests.live_routes import (
    bare,
    by_key,
    client,
    enveloped,
    key,
)  # fmt: skip
from tests.node import Watched, key_of, keys_of, watching
from tests.reference_shapes import misfits, names_of
from tests.servers import wait_until


@pytest.fixture(scope="module")
def live(mysqld: Mysqld) -> Iterator[Watched]:
    """A master, two replicas and one more below the second."""
    spec = TopologySpec(replicas=2, below_last=1, semi_sync="lossless")
    # On a busy machine no actor is replaced for being slow: that is not what is tested here.
    settings = {"RecoverIntermediateMasterClusterFilters": ["shop"], "RestartLeaderAfterSeconds": 30}
    with watching(mysqld, spec, **settings) as both:
        both.node.wait_settled(both.topology.master, both.topology.replicas)
        yield both


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
    ours = [
        each for each in detections if each["AnalysisEntry"]["ClusterDetails"]["ClusterAlias"] == str(old)
    ]
    assert ours
    for form, wanted in (("/0", detections), (f"/alias/{old}", ours), (f"/alias/{old}/0", ours)):
        assert bare(live, f"audit-failure-detection{form}", "[Detection]") == wanted, form
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
