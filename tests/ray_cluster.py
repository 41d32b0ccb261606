"""A Ray cluster as it is run for real, on loopback addresses: a head and workers, by the units in ``deploy``.

What differs from a real one are addresses, ports and paths; and that nobody is a user of his own.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.sandbox.ports import free_port
from tests.node import Node
from tests.servers import short_directory
from tests.units import UNITS, Supervised, Unit, environment_of

__all__ = ["HEAD", "RayCluster", "ray_cluster"]

HEAD = "127.0.0.11"
_BIN = str(Path(sys.executable).parent)
_START_SECONDS = 120


class RayCluster(Node):
    """A node whose Ray has workers. Its ``url`` is that of the head's gateway."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        super().__init__(folder, settings)
        self.url = f"http://{HEAD}:{self.port}"
        self.configure(ListenAddress=f"{HEAD}:{self.port}", NodeDirectory=str(folder / "lib" / "node"))
        self.ray_port = free_port()
        self.workers: dict[str, Supervised] = {}
        etc = folder / "etc"
        etc.mkdir()
        (folder / "lib").mkdir()
        self.token = secrets.token_hex(32)
        (etc / "ray-token").write_text(self.token)
        shutil.copy(self.config, etc / "orchestray.conf.json")
        self._paths = {
            "/opt/orchestray/bin": _BIN,
            "/etc/orchestray": str(etc),
            "/var/lib/orchestray": str(folder / "lib"),
        }
        self.head = self._supervised("orchestray-head", HEAD, f"--dashboard-port={free_port()}")
        self.marked = self.head.marked
        self.output = self.head.output

    @property
    def ray_environment(self) -> dict[str, str]:
        """For whoever speaks to its Ray."""
        return environment_of(UNITS / "ray.env", self._paths)

    def _supervised(self, name: str, address: str, *options: str) -> Supervised:
        environment = environment_of(
            UNITS / "ray.env",
            self._paths,
            NODE_ADDRESS=address,
            HEAD_ADDRESS=HEAD,
            HEAD_PORT=str(self.ray_port),
            RAY_OPTIONS=" ".join(
                (
                    *options,
                    f"--dashboard-agent-listen-port={free_port()}",
                    "--min-worker-port=0",
                    "--max-worker-port=0",
                )
            ),
        )
        paths = {**self._paths}
        if address != HEAD:  # on one host they would share Ray's folder
            paths["/var/lib/orchestray/ray"] = str(self.folder / address.rpartition(".")[2])
        unit = Unit(UNITS / f"{name}.service", dict(sorted(paths.items(), reverse=True)))
        return Supervised(unit, environment, self.folder, f"{name}-{address}")

    def start(self) -> RayCluster:
        """Start the head, and wait until it serves."""
        self.head.start().wait_active(_START_SECONDS)
        return self

    def add_worker(self, address: str) -> Supervised:
        worker = self._supervised("orchestray-worker", address)
        self.workers[address] = worker
        return worker.start()

    def story(self) -> str:
        """What its parts have said last, for a test that failed: the units, and the actors' warnings."""
        parts = [
            f"--- {part.output.name}\n{part.said[-2000:]}" for part in (self.head, *self.workers.values())
        ]
        for log in sorted((self.folder / "lib" / "ray" / "session_latest" / "logs").glob("worker-*.err")):
            told = [line for line in log.read_text(errors="replace").splitlines() if '"level"' in line]
            worse = [line for line in told if '"level": "info"' not in line or "probes move" in line]
            if worse:
                parts.append(f"--- {log.name}\n" + "\n".join(worse[-20:]))
        return "\n".join(parts)

    def worker_url(self, address: str) -> str:
        return f"http://{address}:{self.port}"

    def destroy(self) -> None:
        for part in (*self.workers.values(), self.head):
            part.stop()


@contextmanager
def ray_cluster(settings: Mapping[str, object]) -> Iterator[RayCluster]:
    """Configured and not started yet."""
    folder = short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = RayCluster(folder, settings)
        endings.callback(cluster.destroy)
        yield cluster
