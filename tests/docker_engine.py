"""A Docker engine for tests, and an image for it made of what is on this machine: nothing is pulled."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.containers import connected_engine
from services.sandbox.errors import BinaryNotFoundError
from services.sandbox.processes import spawn

__all__ = ["engine", "import_mysql_image"]

_TOOLS = ("sh", "cat")
_START_SECONDS = 40.0


@contextmanager
def engine(folder: Path) -> Iterator[bool]:
    """Whether there is an engine: the usual one, or one started in ``folder``; DOCKER_HOST says where."""
    if _answers():
        yield True
        return
    dockerd = shutil.which("dockerd", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
    if os.geteuid() != 0 or dockerd is None:
        yield False
        return
    command = [
        *(dockerd, "--host", f"unix://{folder}/s", "--data-root", str(folder / "data")),
        *("--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")),
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),  # touch nothing of this machine's
    ]
    child = spawn(command, log=folder / "log", directory=folder, die_with_parent=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{folder}/s")
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not (up := _answers()) and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            yield up  # not on a machine where none is allowed to mount, say
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)
            for mounted in (folder / "exec").glob("netns/*"):  # which it leaves, and nobody could remove
                subprocess.run(["umount", mounted], check=False, timeout=10)


def _answers() -> bool:
    try:
        connected_engine(5).close()
    except BinaryNotFoundError:
        return False
    return True


def import_mysql_image(mysqld: Mysqld, image: str) -> None:
    """An image with the unpacked ``mysqld`` of this machine, its libraries, and a shell."""
    name, _, tag = image.partition(":")
    root = mysqld.path.resolve().parent / "root"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        libraries = "usr/lib/x86_64-linux-gnu"
        for path in ("usr/sbin/mysqld", "usr/share/mysql", "usr/lib/mysql", libraries, "usr/lib64"):
            if (root / path).exists():
                archive.add(root / path, path, filter=_no_bulk)
        for tool in _TOOLS:
            archive.add(Path(shutil.which(tool) or f"/bin/{tool}").resolve(), f"usr/bin/{tool}")
        for link in ("bin", "lib", "lib64"):
            archive.addfile(_link(link, f"usr/{link}"))
        for folder in ("tmp", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            archive.addfile(entry)
    private = f"ENV LD_LIBRARY_PATH=/{libraries}/mysql/private:/usr/lib/mysql/private"
    client = connected_engine(120)
    try:
        changes = [private, "ENV PATH=/usr/sbin:/usr/bin:/bin"]
        client.api.import_image_from_data(content.getvalue(), repository=name, tag=tag, changes=changes)
    finally:
        client.close()


def _link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def _no_bulk(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    bulky = ("/perl", "/gcc", "component_test")
    return None if any(word in entry.name for word in bulky) else entry
