"""Who may change something while ``AuthenticationMethod`` is empty: a node and its callers in network
namespaces, so that the address of a caller really is what it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.namespaces import Namespace, why_none, wired
from tests.node import Node, ask
from tests.servers import short_directory, wait_until

CHANGES = [
    "discover/127.0.0.1/1", "async-discover/127.0.0.1/1", "refresh/127.0.0.1/1", "forget/127.0.0.1/1",
    "forget-cluster/nobody", "recover/127.0.0.1/1", "recover/127.0.0.1/1/127.0.0.1/2",
    "recover-lite/127.0.0.1/1",
    "recover-lite/127.0.0.1/1/127.0.0.1/2", "register-candidate/127.0.0.1/1/prefer",
    "ack-recovery/1?comment=x",
    "ack-recovery/uid/1?comment=x", "ack-recovery/cluster/nobody?comment=x",
    "ack-recovery/cluster/alias/nobody?comment=x", "ack-recovery/instance/127.0.0.1/1?comment=x",
    "ack-all-recoveries?comment=x", "disable-global-recoveries", "enable-global-recoveries",
    "reload-configuration",
]  # fmt: skip
READS = {
    "clusters": [], "clusters-info": [], "all-instances": [], "masters": [], "audit-recovery": [],
    "audit-failure-detection": [], "blocked-recoveries": [], "lb-check": "OK", "leader-check": "OK",
}  # fmt: skip


@dataclass(frozen=True)
class Between:
    node: Node
    home: Namespace
    abroad: Namespace

    def ask(self, path: str, *, of: str, at: Namespace, **headers: str) -> tuple[int, Any]:
        """Ask the node by one of its addresses, from a namespace."""
        with at.inside():
            return ask(f"http://{of}:{self.node.port}/api/{path}", 10, headers)


@pytest.fixture(scope="module")
def between() -> Iterator[Between]:
    """A node without servers that listens on all addresses of a namespace."""
    reason = why_none()
    if reason:
        pytest.skip(reason)
    with ExitStack() as endings:
        home, abroad = endings.enter_context(wired())
        folder = short_directory()
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        node = Node(folder, within=home.within)
        node.configure(ListenAddress=f":{node.port}")
        endings.callback(node.destroy)
        node.start()
        found = Between(node, home, abroad)
        wait_until(lambda: found.ask("leader-check", of="127.0.0.1", at=home) == (200, "OK"), 20)
        yield found


@pytest.fixture(params=["another host", "its own outer address"])
def stranger(between: Between, request: pytest.FixtureRequest) -> Callable[..., tuple[int, Any]]:
    """A caller that is not on loopback: from elsewhere, or from here by an address that is not."""
    at = between.abroad if request.param == "another host" else between.home
    return lambda path, **headers: between.ask(path, of=between.home.address, at=at, **headers)


@pytest.mark.parametrize("path", CHANGES)
def test_a_stranger_changes_nothing(stranger: Callable[..., tuple[int, Any]], path: str) -> None:
    """Refused, with the keys that would allow it, before the request is looked at."""
    status, reply = stranger(path)
    assert (status, reply["Code"], reply["Details"]) == (500, "ERROR", None)
    assert reply["Message"].startswith("Unauthorized: no authentication is configured; ")
    for word in ("AuthenticationMethod", "HTTPAuthUser", "HTTPAuthPassword", "127.0.0.1"):
        assert word in reply["Message"]
    assert stranger(path, Host="127.0.0.1") == (status, reply), "what it says of itself does not count"
    assert stranger("check-global-recoveries")[1]["Details"] == "enabled"


def test_a_stranger_may_read(stranger: Callable[..., tuple[int, Any]]) -> None:
    for path, value in READS.items():
        assert stranger(path) == (200, value)
    assert stranger("no-such-route") == (404, "404 page not found\n")


def test_loopback_may_change(between: Between) -> None:
    for path, details in (("disable-global-recoveries", "disabled"), ("enable-global-recoveries", "enabled")):
        status, reply = between.ask(path, of="127.0.0.1", at=between.home)
        assert (status, reply["Code"], reply["Details"]) == (200, "OK", details)
    proxied = {"X-Forwarded-For": between.abroad.address}
    status, reply = between.ask("disable-global-recoveries", of="127.0.0.1", at=between.home, **proxied)
    assert status == 500, "a proxy on this host is not the caller"
    assert reply["Message"].startswith("Unauthorized")


def test_the_keys_that_are_named_allow_it(between: Between) -> None:
    """With them a stranger that knows the password may, and nobody else even reads."""
    between.node.configure(AuthenticationMethod="basic", HTTPAuthUser="dba", HTTPAuthPassword="s3cret")
    assert between.ask("reload-configuration", of="127.0.0.1", at=between.home)[0] == 200
    credentials = {"Authorization": "Basic ZGJhOnMzY3JldA=="}
    where = {"of": between.home.address, "at": between.abroad}
    assert between.ask("clusters", **where) == (401, "Not Authorized")  # type: ignore[arg-type]
    status, reply = between.ask("disable-global-recoveries", **where, **credentials)  # type: ignore[arg-type]
    assert (status, reply["Details"]) == (200, "disabled")
