"""Three raft nodes in containers, cut off by ``docker network disconnect`` and frozen by ``docker pause``.

Skipped where no engine runs and none can be started. The image is imported, not pulled: a frame of folders
into which this machine's programs, the virtual environment and the sources are mounted, read-only. The nodes
watch no servers here: what is shown is who acts.
"""

from __future__ import annotations

import io
import json
import secrets
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.sandbox.containers import connected_engine
from tests.docker_engine import engine
from tests.node import ask
from tests.servers import short_directory, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
_IMAGE = "orchestray-test-frame:1"
_OWN = ("/usr/sbin",)
"""The engine puts its init there, which it could not in a folder of this machine's."""
_USR = sorted(str(path) for path in Path("/usr").iterdir() if str(path) not in _OWN)
_LENT = (*_USR, "/bin", "/sbin", "/lib", "/lib64", "/etc/ssl", "/etc/ld.so.cache")
"""Of this machine: what is a link there is one in the image."""


@dataclass(frozen=True)
class Member:
    container: Any
    address: str

    @property
    def leads(self) -> bool:
        try:
            return ask(f"http://{self.address}:3000/api/leader-check", 1)[0] == 200
        except OSError:
            return False


@dataclass(frozen=True)
class Setup:
    members: tuple[Member, ...]
    network: Any

    def acting(self, *without: Member) -> Member | None:
        leading = [one for one in self.members if one not in without and one.leads]
        assert len(leading) <= 1, [one.address for one in leading]
        return leading[0] if leading else None

    def story(self) -> str:
        return "\n".join(one.container.logs(tail=15).decode(errors="replace") for one in self.members)


def _frame() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("tmp", "proc", "sys", "dev", "etc", "var", "root", "usr", *(own[1:] for own in _OWN)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            archive.addfile(entry)
        for path in map(Path, _LENT):
            if path.is_symlink():
                entry = tarfile.TarInfo(str(path).lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
                archive.addfile(entry)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size, entry.mode = len(passwd), 0o644
        archive.addfile(entry, io.BytesIO(passwd))
    return content.getvalue()


def _lent() -> dict[str, dict[str, str]]:
    lent = [path for path in map(Path, _LENT) if path.exists() and not path.is_symlink()]
    mounted = {*lent, Path(sys.prefix), Path(sys.base_prefix), ROOT}
    return {str(path): {"bind": str(path), "mode": "ro"} for path in sorted(mounted)}


@pytest.fixture(scope="module")
def setup() -> Iterator[Setup]:
    folder = short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        if not endings.enter_context(engine(folder)):
            pytest.skip("no Docker engine runs, and none can be started (as root, with dockerd on PATH)")
        import docker

        client = connected_engine(120)
        endings.callback(client.close)
        client.api.import_image_from_data(
            _frame(), repository=_IMAGE.partition(":")[0], tag=_IMAGE.partition(":")[2]
        )
        subnet = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        pool = docker.types.IPAMPool(subnet=f"{subnet}.0/24", gateway=f"{subnet}.1")
        name = f"orc-{secrets.token_hex(4)}"
        network = client.networks.create(
            name, driver="bridge", internal=True, ipam=docker.types.IPAMConfig(pool_configs=[pool])
        )
        endings.callback(network.remove)
        addresses = [f"{subnet}.{number}" for number in (11, 12, 13)]
        settings = json.loads((ROOT / "deploy" / "docker" / "orchestray.conf.json").read_text())
        members = []
        for number, address in enumerate(addresses, start=1):
            own = folder / str(number)
            own.mkdir()
            changed = {**settings, "RaftNodes": addresses, "RaftAdvertise": address}
            (own / "orchestray.conf.json").write_text(json.dumps(changed))
            container = client.containers.create(
                _IMAGE,
                [sys.executable, "-m", "api.cli.main", "serve", "--config", f"{own}/orchestray.conf.json"],
                init=True,
                shm_size="128m",
                working_dir=str(ROOT),
                environment={
                    "ORCHESTRAY_RAFT_SECRET": "the secret of raft in a test",
                    "ORCHESTRAY_PASSWORD": "none",
                    "PATH": "/usr/bin:/bin",
                },
                volumes={**_lent(), str(own): {"bind": str(own), "mode": "ro"}},
                tmpfs={"/var/lib/orchestray": "", "/tmp": "exec"},
                network=name,
                networking_config={name: client.api.create_endpoint_config(ipv4_address=address)},
            )
            endings.callback(container.remove, force=True)
            container.start()
            members.append(Member(container, address))
        made = Setup(tuple(members), network)
        wait_until(made.acting, 120, made.story)
        yield made


def test_paused(setup: Setup) -> None:
    """`docker pause`: another acts; who wakes up does not, not for a moment."""
    first = wait_until(setup.acting, 30, setup.story)
    first.container.pause()
    try:
        second = wait_until(lambda: setup.acting(first), 10, setup.story)
    finally:
        first.container.unpause()
    wait_until(lambda: ask(f"http://{first.address}:3000/api/lb-check", 2)[0] == 200, 30)
    assert wait_until(setup.acting, 10) == second


def test_disconnected(setup: Setup) -> None:
    """`docker network disconnect`: as seen from within, too, it does not act; healed, all agree again."""
    first = wait_until(setup.acting, 30, setup.story)
    setup.network.disconnect(first.container)
    try:
        wait_until(lambda: setup.acting(first), 10, setup.story)
        asked = (
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/api/leader-check').status)"
        )
        code, said = first.container.exec_run([sys.executable, "-c", asked])
        assert code != 0, said
        assert b"404" in said
    finally:
        setup.network.connect(first.container, ipv4_address=first.address)
    healed = f"http://{first.address}:3000/api/raft-health"
    wait_until(lambda: _status(healed) == 200, 30, setup.story)
    assert wait_until(setup.acting, 10) is not None


def _status(url: str) -> int:
    try:
        return ask(url, 2)[0]
    except OSError:
        return 0
