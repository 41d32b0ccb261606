"""A real Galera cluster of three MariaDB servers (Debian's ``galera-4``)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pymysql

from services.sandbox.binaries import Mysqld
from services.sandbox.ports import LOOPBACK, free_port
from services.sandbox.server import Options
from tests.clusters import JOIN_SECONDS, LIBFAKETIME, SIZE, SynchronousCluster
from tests.servers import StandaloneServer, wait_until

__all__ = ["PROVIDER", "Galera"]

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
RECOVER_SECONDS = 60
_HERE = Path(__file__).parent
_OPTIONS: dict[str, str | None] = {
    "wsrep-on": "ON",
    "wsrep-provider": str(PROVIDER),
    "wsrep-cluster-name": "orchestray-test",
    "wsrep-node-address": LOOPBACK,
    "wsrep-sst-method": "catchup",
    "binlog-format": "ROW",
    "innodb-autoinc-lock-mode": "2",
    "innodb-flush-log-at-trx-commit": "2",  # processes are killed here, hosts are not
}
EVS = (
    "evs.keepalive_period=PT0.3S",
    "evs.inactive_check_period=PT0.3S",
    "evs.suspect_timeout=PT1S",
    "evs.inactive_timeout=PT3S",
    "evs.install_timeout=PT3S",
)
"""As docs/deployment.md has them: a member that died is left out before a lease runs out."""


class Galera(SynchronousCluster):
    clocks_can_jump = LIBFAKETIME is not None

    def __init__(self, mariadbd: Mysqld) -> None:
        self._ports = [free_port() for _ in range(SIZE)]
        self._receivers = [free_port() for _ in range(SIZE)]
        super().__init__(mariadbd, PATH=f"{_HERE}{os.pathsep}{os.environ['PATH']}")
        self.mariadbd = mariadbd

    def _options(self, number: int) -> Options:
        provider = (
            f"gmcast.listen_addr=tcp://{LOOPBACK}:{self._ports[number]}",
            f"ist.recv_addr={LOOPBACK}:{self._receivers[number]}",
            "gcache.size=16M",
            "pc.recovery=no",
            *EVS,
        )
        return {
            **_OPTIONS,
            "wsrep-cluster-address": f"gcomm://{','.join(f'{LOOPBACK}:{port}' for port in self._ports)}",
            "wsrep-node-name": f"s{number}",
            "wsrep-sst-receive-address": f"{LOOPBACK}:{self._receivers[number]}",
            "wsrep-provider-options": ";".join(provider),
        }

    def start(self) -> None:
        first, *others = self.servers
        first.options["wsrep-new-cluster"] = None
        first.set_up()
        first.stop()
        for server in others:
            shutil.rmtree(server.data_directory)
            copy = ["cp", "--archive", "--sparse=always", first.data_directory, server.data_directory]
            subprocess.run(copy, check=True, timeout=RECOVER_SECONDS)
            for own in ("gvwstate.dat", "galera.cache"):
                (server.data_directory / own).unlink(missing_ok=True)
        first.start()
        del first.options["wsrep-new-cluster"]
        for server in others:
            server.start()
        self.wait_whole()

    def rejoin(self, server: StandaloneServer) -> None:
        """A server that was killed does not know where it was: InnoDB does."""
        log = self.folder / "recover.log"
        log.unlink(missing_ok=True)
        command = [self.mariadbd.path, f"--defaults-file={server.configuration_file}"]
        subprocess.run(
            [*command, "--wsrep-recover", f"--log-error={log}"],
            check=True,
            timeout=RECOVER_SECONDS,
            capture_output=True,
        )
        position = log.read_text().rpartition("Recovered position:")[2].split()[0]
        server.options["wsrep-start-position"] = position
        server.start()
        del server.options["wsrep-start-position"]
        wait_until(lambda: self.is_member(server), JOIN_SECONDS, server.log_tail)

    def is_member(self, server: StandaloneServer) -> bool:
        return _status(server, "wsrep_ready") == "ON" and _status(server, "wsrep_local_state") == "4"

    def members_seen_by(self, server: StandaloneServer) -> int:
        return int(_status(server, "wsrep_cluster_size") or 0)

    def isolate(self, number: int, cut_off: bool) -> None:
        """Galera's own switch: nothing from or to the other members, clients as before."""
        self.servers[number].execute(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={int(cut_off)}'")


def _status(server: StandaloneServer, name: str) -> str:
    try:
        return server.status(name)
    except (pymysql.MySQLError, OSError):
        return ""
