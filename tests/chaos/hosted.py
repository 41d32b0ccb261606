"""A topology of MySQL servers, each on a host of its own."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from services.sandbox.accounts import account_statements
from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Child, spawn
from services.sandbox.server import MySQLServer
from services.sandbox.template import copy_template
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.chaos.network import Host, Network
from tests.servers import StandaloneServer

__all__ = ["HostedBackend", "HostedTopology"]

_FIRST_PORT = 3301
_REBUILT_BEYOND = 100_000
_FAST: dict[str, str | None] = {
    # what a killed process has written is there; nobody cuts the power
    "innodb-flush-log-at-trx-commit": "2",
    "sync-binlog": "0",
}
_LOGGED: dict[str, str | None] = {"general-log": "ON", "log-output": "FILE"}


@dataclass(frozen=True, slots=True)
class _MysqldWithin(Mysqld):
    within: tuple[str, ...] = ()

    def spawn(self, arguments: list[str], *, log: Path, directory: Path, die_with_parent: bool) -> Child:  # type: ignore[override]
        command = [*self.within, str(self.path), *arguments]
        return spawn(command, log=log, directory=directory, die_with_parent=die_with_parent)


def _on(host: Host, mysqld: Mysqld) -> Mysqld:
    values = {each.name: getattr(mysqld, each.name) for each in dataclasses.fields(Mysqld)}
    return _MysqldWithin(**values, within=host.within)


class HostedTopology(MySQLTopology):
    """With general logs, as all of it is judged by them."""

    def __init__(self, mysqld: Mysqld, folder: Path, spec: TopologySpec, network: Network) -> None:
        spec = dataclasses.replace(spec, options={**_FAST, **_LOGGED, **spec.options})
        super().__init__(mysqld, folder, spec, die_with_parent=True)
        names = ["master", *(f"replica{n}" for n in range(1, spec.servers))]
        self._rebuilt = 0
        self.hosts = {name: network.host(name) for name in names}
        self._ports = (
            {name: _FIRST_PORT + number for number, name in enumerate(names)} if network.can_cut else {}
        )

    def _make(self, name: str) -> MySQLServer:
        host = self.hosts[name]
        options = self._options(is_master=name == "master")
        server = MySQLServer(_on(host, self._mysqld), self.folder / name, options, die_with_parent=True)
        server.host = host.address
        server.port = self._ports.get(name, server.port)
        with self._making:
            self._made.append(server)
        server.start()
        server.execute(*account_statements(self.accounts, self.flavour.grants))
        return server

    def rebuild(self, server: MySQLServer, source: MySQLServer) -> None:
        """From nothing, with all that its new source has ever done. As an administrator would clone it."""
        server.kill()
        self.configure(server, is_master=False)
        shutil.rmtree(server.data_directory)
        copy_template(self._mysqld, server.data_directory)
        self._rebuilt += 1  # another number: what carried its former one it would not take from others
        server.options["server-id"] = str(server.port + _REBUILT_BEYOND * self._rebuilt)
        closed = server.options.pop(self.flavour.read_only)
        server.options["skip-networking"] = None  # nobody sees it before it has its accounts and is read-only
        server.start()
        server.execute(*account_statements(self.accounts, self.flavour.grants))
        server.stop()
        del server.options["skip-networking"]
        server.options[self.flavour.read_only] = closed
        server.start()
        self._replicate(server, source)

    def configure(self, server: MySQLServer, *, is_master: bool) -> None:
        """What it will be after its next start."""
        if self.spec.semi_sync:
            server.options[self.flavour.semi_sync_source] = "ON" if is_master else "OFF"
        if is_master:
            server.options.pop(self.flavour.read_only, None)
        else:
            server.options[self.flavour.read_only] = "ON"
        server.write_configuration()


class HostedBackend(StandaloneServer):
    """orchestray's own database."""

    def __init__(self, mysqld: Mysqld, folder: Path, host: Host, *, own_port: bool) -> None:
        super().__init__(_on(host, mysqld), folder, dict(_FAST))
        self.host = host.address
        if own_port:
            self.port = _FIRST_PORT - 1
