"""A replication topology of real servers: one master, its replicas, and replicas below the last of them.

As an administrator would set it up: GTID, the master writable, replicas read-only (MySQL: super), the
replica side of semi-sync prepared everywhere and its source side enabled on the master alone, all of it
also in each ``my.cnf``. A server that comes back after a crash comes back as it was configured.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from services.sandbox.accounts import SCHEMA, Accounts, account_statements
from services.sandbox.binaries import Mysqld
from services.sandbox.errors import ReplicationFailedError, SandboxError
from services.sandbox.server import MySQLServer
from services.topology.keys import InstanceKey

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["LONGEST_TOPOLOGY_FOLDER", "MySQLTopology", "TopologySpec", "new_folder"]

LONGEST_TOPOLOGY_FOLDER = 84
"""Bytes: what a folder of servers may have, so that each has room for its socket."""

REPLICATION_SECONDS = 60.0
_MOST_SERVERS = 16
_RANDOM_NAME = 10


@dataclass(frozen=True, slots=True)
class TopologySpec:
    """What to set up. ``replicas`` replicate from the master, ``below_last`` from the last of those.

    ``semi_sync="lossless"``: AFTER_SYNC, one acknowledgement awaited without end. ``options`` go into every
    ``my.cnf``; ``replica_net_timeout`` is in seconds (None: the server's default, 60).
    """

    replicas: int = 3
    below_last: int = 0
    semi_sync: Literal["lossless"] | None = None
    replica_net_timeout: int | None = None
    options: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.replicas < 0 or self.below_last < 0 or self.servers > _MOST_SERVERS:
            raise SandboxError(f"{self.servers} servers are too many or too few: 1 to {_MOST_SERVERS}")
        if not self.replicas and (self.below_last or self.semi_sync):
            raise SandboxError("without a replica there is none to replicate from, and none to acknowledge")

    @property
    def servers(self) -> int:
        return 1 + self.replicas + self.below_last


class MySQLTopology:
    """Servers in sub-folders of ``folder``; ``start`` makes them, ``stop`` ends them and removes the folder.

    ``master``, ``replicas`` and ``below`` say what was set up, not what became of it since.
    """

    def __init__(self, mysqld: Mysqld, folder: Path, spec: TopologySpec, *, die_with_parent: bool) -> None:
        self.folder = folder
        self.spec = spec
        self.flavour = mysqld.flavour
        self.accounts = Accounts.random()
        self.master: MySQLServer
        self.replicas: tuple[MySQLServer, ...] = ()
        self.below: tuple[MySQLServer, ...] = ()
        self._mysqld = mysqld
        self._die_with_parent = die_with_parent
        self._made: list[MySQLServer] = []
        self._making = threading.Lock()

    @property
    def servers(self) -> tuple[MySQLServer, ...]:
        """All of them, the master first."""
        return (self.master, *self.replicas, *self.below)

    def links(self) -> list[tuple[MySQLServer, MySQLServer | None]]:
        """Each server with the one it was made to replicate from."""
        direct = [(replica, self.master) for replica in self.replicas]
        return [(self.master, None), *direct, *((leaf, self.replicas[-1]) for leaf in self.below)]

    def server(self, key: InstanceKey) -> MySQLServer:
        """The one of that name. Raises KeyError."""
        return {server.key: server for server in self.servers}[key]

    def start(self) -> MySQLTopology:
        """Make and start everything, side by side, and wait until all replicas have what the master has.

        Raises ServerFailedError or ReplicationFailedError; then, or when it is interrupted, nothing is left.
        """
        try:
            names = [
                "master",
                *(f"replica{n}" for n in range(1, self.spec.replicas + self.spec.below_last + 1)),
            ]
            made = _side_by_side(self._make, names)
            self.master, direct = made[0], 1 + self.spec.replicas
            self.replicas, self.below = tuple(made[1:direct]), tuple(made[direct:])
            _side_by_side(lambda link: self._replicate(*link), self.links())
            self._await_replication()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill every server at once and remove the folder: the data are made to be thrown away."""
        with self._making:
            made = list(self._made)
        for server in made:
            server.signal_kill()
        for server in made:
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def abandon(self) -> None:
        """Leave the servers running when this process ends; they are not ours from now on."""
        for server in self._made:
            server.abandon()

    def error_logs(self) -> str:
        """The ends of all error logs, for a report of a failure."""
        return "\n".join(
            f"--- {server.folder.name} {server.key}\n{server.log_tail()}" for server in self._made
        )

    # ---- inside

    def _make(self, name: str) -> MySQLServer:
        server = MySQLServer(
            self._mysqld,
            self.folder / name,
            self._options(is_master=name == "master"),
            die_with_parent=self._die_with_parent,
        )
        with self._making:
            self._made.append(server)
        server.start()
        server.execute(*account_statements(self.accounts, self.flavour.grants))
        return server

    def _options(self, *, is_master: bool) -> dict[str, str | None]:
        options: dict[str, str | None] = {}
        if self.spec.replica_net_timeout is not None:
            options[self.flavour.net_timeout] = str(self.spec.replica_net_timeout)
        if self.spec.semi_sync == "lossless":
            options |= {
                **self.flavour.semi_sync,
                self.flavour.semi_sync_source: "ON" if is_master else "OFF",
            }
        return options | dict(self.spec.options)

    def _replicate(self, replica: MySQLServer, source: MySQLServer | None) -> None:
        if source is None:
            return
        account = self.accounts.replication
        replica.execute(
            self.flavour.change_source.format(
                host=source.host, port=source.port, user=account.user, password=account.password
            ),
            self.flavour.start_replica,
            f"SET GLOBAL {self.flavour.read_only.replace('-', '_')} = ON",
        )
        replica.options[self.flavour.read_only] = "ON"
        replica.write_configuration()

    def _await_replication(self) -> None:
        """A first transaction, and every replica has it; the master counts all semi-sync replicas."""
        deadline = time.monotonic() + REPLICATION_SECONDS
        if self.spec.semi_sync:
            wanted = str(len(self.replicas))
            _await(
                lambda: self.master.status(self.flavour.semi_sync_clients) == wanted,
                deadline,
                lambda: self._stuck(f"not all of {wanted} semi-sync replicas are connected"),
            )
        self.master.execute(f"CREATE DATABASE {SCHEMA}")
        variable = self.flavour.executed
        executed = self.master.variable(variable)
        _await(
            lambda: all(server.variable(variable) == executed for server in self.servers),
            deadline,
            lambda: self._stuck(f"not every replica has executed {executed}"),
        )

    def _stuck(self, what: str) -> ReplicationFailedError:
        return ReplicationFailedError(f"{what} after {REPLICATION_SECONDS} s\n{self.error_logs()}")


def new_folder(prefix: str) -> Path:
    """A new private folder for servers: in TMPDIR, unless that is too long a path for sockets."""
    wanted = tempfile.gettempdir()
    short_enough = len(os.fsencode(wanted)) + len(prefix) + _RANDOM_NAME < LONGEST_TOPOLOGY_FOLDER
    return Path(tempfile.mkdtemp(prefix=prefix, dir=wanted if short_enough else "/tmp"))  # noqa: S108


def _side_by_side(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(max_workers=_MOST_SERVERS, thread_name_prefix="sandbox") as pool:
        return list(pool.map(work, items))


def _await(condition: Callable[[], bool], deadline: float, failure: Callable[[], Exception]) -> None:
    while not condition():
        if time.monotonic() > deadline:
            raise failure()
        time.sleep(0.02)
