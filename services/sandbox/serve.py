"""The sandbox of ``orchestray serve --sandbox``: it lives and dies with that process."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from services.sandbox.binaries import Mysqld
from services.sandbox.describe import ServerView, server_lines, usage_lines
from services.sandbox.kinds import DEFAULT_KIND, program_for
from services.sandbox.server import MySQLServer
from services.sandbox.state import settings_for, write_client_options
from services.sandbox.topology import LONGEST_TOPOLOGY_FOLDER, MySQLTopology, TopologySpec, new_folder
from services.topology.keys import InstanceKey

__all__ = ["ServeSandbox", "start_for_serve"]


class ServeSandbox:
    """A running topology; ``stop`` ends it. If this process is killed, the kernel kills the servers."""

    def __init__(self, topology: MySQLTopology, client_options: Path) -> None:
        self.topology = topology
        self._client_options = client_options

    @property
    def seed(self) -> InstanceKey:
        """The server from which the others are found."""
        return self.topology.master.key

    def settings_overrides(self) -> dict[str, Any]:
        """Configuration keys with which orchestray finds, watches and recovers it. Holds a password."""
        return settings_for(self.topology.accounts.orchestray, self.seed)

    def describe(self) -> list[str]:
        """Lines for the terminal: what runs where, how to write to it, how to kill its master."""
        spec = self.topology.spec
        how = "lossless semi-sync" if spec.semi_sync else "asynchronous"
        views = [_view(server, source) for server, source in self.topology.links()]
        title = self.topology.flavour.title
        head = f"sandbox: {spec.servers} {title} servers, {how} replication with GTID"
        return [head, *server_lines(views), *usage_lines(views, self._client_options)]

    def stop(self) -> None:
        """Kill the servers and remove their data."""
        self.topology.stop()
        self._client_options.unlink(missing_ok=True)


def start_for_serve(
    directory: Path, spec: TopologySpec | None = None, mysqld: Mysqld | None = None
) -> ServeSandbox:
    """Start a sandbox, by default one MySQL master and three replicas with lossless semi-sync.

    Its servers live under ``directory`` (made if missing; what a killed predecessor left is removed), or in
    a temporary folder if that path is too long for sockets. Raises SandboxError; then nothing is left.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = directory.resolve() / "servers"
    shutil.rmtree(folder, ignore_errors=True)
    if len(os.fsencode(folder)) > LONGEST_TOPOLOGY_FOLDER:
        folder = new_folder("orchestray-")
    program = mysqld or program_for(DEFAULT_KIND)
    topology = MySQLTopology(
        program, folder, spec or TopologySpec(semi_sync="lossless"), die_with_parent=True
    )
    topology.start()
    return ServeSandbox(topology, write_client_options(topology.accounts.application, directory))


def _view(server: MySQLServer, source: MySQLServer | None) -> ServerView:
    """A server as it was set up just now."""
    if source is None:
        return ServerView(server.name, server.key, server.pid, answers=True, writable=True)
    return ServerView(server.name, server.key, server.pid, answers=True, source=source.key, replicating=True)
