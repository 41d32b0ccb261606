"""What makes no sense, asked of a live node: an error that says why, or an empty list (http-api.md 1)."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pytest

from tests.live_routes import (
    Reply,
    bare,
    by_key,
    client,
    enveloped,
    get,
    refused,
)  # fmt: skip
from tests.node import Watched
from tests.servers import wait_until

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
        "recover/{nobody}", "recover/{master}", "recover/{leaf}/{two}", "recover-lite/{master}",
        "recover/a%00b/1",
    ],
)  # fmt: skip
def test_a_recovery_that_cannot_be_done_names_the_server(live: Watched, path: str) -> None:
    """Refused with the key of the server that it is about, and nothing has changed."""
    enveloped(live, path, "Key", "ERROR")
    assert sorted(live.node.instances()) == by_key(live.topology.servers)
    assert bare(live, "audit-recovery", "[Recovery]") == []


@pytest.mark.parametrize(
    "server", ["{nobody}", f"{_LONG}/3306", "a%00b/3306", "%20/3306", "%FF/3306", "x..y/3306"]
)
def test_what_does_not_answer_is_not_taken_up(live: Watched, server: str) -> None:
    """Nor is it when it is to be looked at later, as from the reference: no cluster of nobody appears."""
    since = max((event["Seq"] for event in live.node.api("events")), default=0)
    enveloped(live, f"async-discover/{server}", "null")

    def told() -> list[str]:
        later = live.node.api(f"events?since={since}")
        return [event["Message"] for event in later if event["Message"].startswith("not taken up: ")]

    wait_until(lambda: len(told()) == 1, 30, told)
    enveloped(live, f"discover/{server}", "null", "ERROR")
    assert sorted(live.node.instances()) == by_key(live.topology.servers)


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
