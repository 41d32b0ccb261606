"""A topology on two hosts: the master in one namespace, its replicas in another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.sandbox.accounts import account_statements
from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Child, spawn
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.namespaces import Namespace
from tests.servers import short_directory

__all__ = ["HostedTopology"]


@dataclass(frozen=True, slots=True)
class _HostedMysqld(Mysqld):
    """``within``: the command that starts it on its host."""

    within: tuple[str, ...] = ()

    def spawn(self, arguments: Sequence[str], *, log: Path, directory: Path, die_with_parent: bool) -> Child:
        return spawn(
            [*self.within, str(self.path), *arguments],
            log=log,
            directory=directory,
            die_with_parent=die_with_parent,
        )


class _HostedServer(MySQLServer):
    def __init__(self, host: Namespace, mysqld: Mysqld, *arguments: Any, **named: Any) -> None:
        self.host = host.address
        hosted = _HostedMysqld(
            path=mysqld.path,
            version=mysqld.version,
            settings=mysqld.settings,
            flavour=mysqld.flavour,
            system_tables=mysqld.system_tables,
            within=host.within,
        )
        super().__init__(hosted, *arguments, **named)


class HostedTopology(MySQLTopology):
    def __init__(
        self,
        mysqld: Mysqld,
        spec: TopologySpec,
        endings: ExitStack,
        *,
        master: Namespace,
        replicas: Namespace,
    ) -> None:
        super().__init__(mysqld, short_directory(), spec, die_with_parent=True)
        self._hosts = {True: master, False: replicas}
        endings.callback(self.stop)

    def _make(self, name: str) -> MySQLServer:
        is_master = name == "master"
        server = _HostedServer(
            self._hosts[is_master],
            self._mysqld,
            self.folder / name,
            self._options(is_master=is_master),
            die_with_parent=True,
        )
        with self._making:
            self._made.append(server)
        server.start()
        server.execute(*account_statements(self.accounts, self.flavour.grants))
        return server
