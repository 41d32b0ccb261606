"""The setups of a synchronous backend: which servers there are, and which way a node goes to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from services.sandbox.binaries import Mysqld, find_mariadbd, find_mysqld
from services.sandbox.errors import BinaryNotFoundError
from services.store.backend import MySQLBackend
from tests.clusters import SynchronousCluster
from tests.galera import PROVIDER, Galera
from tests.group_replication import GroupReplication
from tests.haproxy import HAProxy, why_no_haproxy
from tests.servers import wait_until

__all__ = ["SETUPS", "Setup", "absent", "opened_setup", "started_setup", "why_none"]

PROXY_SECONDS = 30
SETUPS = {
    "galera-multi-writer": ("galera", False),
    "galera-single-writer": ("galera", True),
    "group-multi-primary": ("group-multi", False),
    "group-single-primary": ("group-single", True),
}
"""Kind of cluster, and whether all nodes write through HAProxy to one server or each to its own."""


@dataclass
class Setup:
    cluster: SynchronousCluster
    proxy: HAProxy | None

    def backend(self, number: int) -> MySQLBackend:
        """The store of node ``number``."""
        return self.proxy.backend() if self.proxy is not None else self.cluster.backend(number)

    def writer_of(self, number: int) -> int:
        """The server that this node's writes go to."""
        if self.proxy is None:
            return number
        cluster = self.cluster
        if isinstance(cluster, GroupReplication):
            return next(at for at, server in enumerate(cluster.servers) if cluster.is_primary(server))
        return 0  # the first that works

    def make_whole(self) -> None:
        """Bring back what is away."""
        cluster = self.cluster
        for server in cluster.servers:
            if not server.is_running or not cluster.is_member(server):
                cluster.rejoin(server)
        cluster.wait_whole()
        proxy = self.proxy
        if proxy is not None:
            writer = cluster.servers[self.writer_of(0)]
            wait_until(lambda: proxy.leads_to() == writer.port, PROXY_SECONDS, proxy.said)


def why_none(name: str) -> str:
    """Why this setup cannot be made here; empty if it can."""
    kind, proxied = SETUPS[name]
    if kind == "galera" and not PROVIDER.exists():
        return f"no {PROVIDER} (on Debian: apt-get install galera-4)"
    try:
        _program(kind)
    except BinaryNotFoundError as error:
        return str(error)
    return why_no_haproxy() if proxied else ""


def _program(kind: str) -> Mysqld:
    return find_mariadbd() if kind == "galera" else find_mysqld()


@contextmanager
def opened_setup(name: str) -> Iterator[Setup]:
    """It runs within the block."""
    kind, proxied = SETUPS[name]
    with ExitStack() as endings:
        cluster = (
            Galera(_program(kind))
            if kind == "galera"
            else GroupReplication(_program(kind), multi_primary=kind == "group-multi")
        )
        endings.callback(cluster.destroy)
        try:
            cluster.start()
        except BaseException:
            print(cluster.error_logs())
            raise
        proxy = HAProxy(cluster) if proxied else None
        if proxy is not None:
            endings.callback(proxy.stop)
            proxy.start()
        yield Setup(cluster, proxy)


@contextmanager
def started_setup(name: str) -> Iterator[Setup]:
    """For a fixture: skipped where it cannot be made."""
    why = why_none(name)
    if why:
        absent(why)
    with opened_setup(name) as setup:
        yield setup


def absent(why: str) -> None:
    """The test cannot run here; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
