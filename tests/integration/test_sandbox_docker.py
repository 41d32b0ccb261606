"""The sandbox in containers. Skipped where no engine runs and none can be started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.containers import connected_engine, find_in_image
from services.sandbox.errors import BinaryNotFoundError, ServerFailedError
from services.sandbox.processes import Process
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.docker_engine import engine, import_mysql_image
from tests.servers import short_directory, wait_until

_IMAGE = "orchestray-test-mysql:1"
_STARTED_HERE = """
import sys
from pathlib import Path
from services.sandbox.containers import find_in_image
from services.sandbox.topology import MySQLTopology, TopologySpec
folder, image = Path(sys.argv[1]), sys.argv[2]
topology = MySQLTopology(find_in_image(image), folder, TopologySpec(replicas=1), die_with_parent=True)
print(*(server.pid for server in topology.start().servers), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def image(mysqld: Mysqld) -> Iterator[str]:
    """MySQL in an image; DOCKER_HOST says where its engine is."""
    if not (mysqld.path.resolve().parent / "root").exists():
        pytest.skip("the image is made of the MySQL that scripts/install-mysql unpacks")
    folder = short_directory()
    try:
        with engine(folder) as found:
            if not found:
                pytest.skip("no Docker engine runs, and none can be started (as root, with dockerd on PATH)")
            import_mysql_image(mysqld, _IMAGE)
            yield _IMAGE
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _containers() -> int:
    with contextlib.closing(connected_engine(20)) as client:
        return len(client.api.containers(all=True, filters={"label": "orchestray.sandbox"}))


@pytest.mark.long
def test_a_topology_of_containers_is_one_like_any_other(image: str) -> None:
    topology = MySQLTopology(
        find_in_image(image),
        short_directory(),
        TopologySpec(replicas=1, below_last=1, semi_sync="lossless"),
        die_with_parent=True,
    )
    try:
        topology.start()
        assert _containers() == 3
        topology.master.execute("CREATE TABLE app.t (a INT PRIMARY KEY)")
        leaf = topology.below[0]
        wait_until(lambda: leaf.query("SHOW TABLES FROM app"), 20, describe=leaf.log_tail)
        os.kill(leaf.pid, signal.SIGKILL)  # what the sandbox tells people to type
        wait_until(lambda: not leaf.is_running)
        leaf.start()
        assert leaf.query("SHOW TABLES FROM app") != []
        leaf.pause()
        leaf.resume()
        assert leaf.variable("super_read_only") == "1"
    finally:
        topology.stop()
    assert not any(server.is_running for server in topology.servers)
    wait_until(lambda: _containers() == 0, 20)


@pytest.mark.long
def test_containers_end_with_the_process_that_started_them(image: str) -> None:
    folder = short_directory() / "t"
    command = [sys.executable, "-c", _STARTED_HERE, str(folder), image]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as starter:
        try:
            assert starter.stdout is not None
            processes = [Process.of(int(pid)) for pid in starter.stdout.readline().split()]
            assert len(processes) == 2
            assert all(process.is_alive for process in processes)
        finally:
            starter.kill()
    try:
        assert all(process.wait_gone(20) for process in processes)
        wait_until(lambda: _containers() == 0, 20)
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.mark.long
def test_up_and_down(image: str, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}

    def sandbox(*arguments: str) -> str:
        code = "import sys; from api.cli.sandbox import run; sys.exit(run(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=100, check=True
        ).stdout

    try:
        assert "sandbox (docker): 2 of 2 servers run" in sandbox(
            "up", "docker", "--image", image, "--replicas", "1"
        )
        state = json.loads((tmp_path / "orchestray" / "sandbox" / "sandbox.json").read_text())
        (
            Path(state["folder"]) / "replica1" / "process"
        ).unlink()  # as if it had been cut off while it started
    finally:
        said = sandbox("down")
    assert "1 server ended" in said
    wait_until(lambda: _containers() == 0, 20)
    assert not Path(state["folder"]).exists()


@pytest.mark.long
def test_a_server_that_cannot_start_says_why(image: str) -> None:
    spec = TopologySpec(replicas=0, options={"no-such-option": "1"})
    folder = short_directory()
    topology = MySQLTopology(find_in_image(image), folder, spec, die_with_parent=True)
    with pytest.raises(ServerFailedError, match="unknown variable 'no-such-option"):
        topology.start()
    assert _containers() == 0
    assert not folder.exists()


@pytest.mark.long
def test_an_image_without_a_usable_server_is_refused(image: str) -> None:
    with contextlib.closing(connected_engine(60)) as client:
        container = client.containers.create(image, ["-c", "exit"], entrypoint=["sh"])
        container.commit("orchestray-test-none", "1", changes="ENV PATH=/bin/none")
        container.remove()
        with pytest.raises(BinaryNotFoundError, match="mysqld"):
            find_in_image("orchestray-test-none:1")
        client.images.remove("orchestray-test-none:1")
    with pytest.raises(BinaryNotFoundError, match=r"could not be pulled.*--image"):
        find_in_image("registry.invalid/orchestray:1")


def test_without_an_engine_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    with pytest.raises(BinaryNotFoundError, match=r"no Docker engine answers .* DOCKER_HOST"):
        find_in_image("mysql:8.4")


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(BinaryNotFoundError, match=r"pip install 'orchestray\[docker\]'"):
        find_in_image("mysql:8.4")
