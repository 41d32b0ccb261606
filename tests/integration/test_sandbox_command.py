"""``orchestray sandbox``, and the processes it starts: none is left, none of others is touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.processes import Process, spawn
from services.sandbox.serve import start_for_serve
from services.sandbox.topology import TopologySpec
from tests.servers import short_directory, wait_until


def test_servers_die_with_the_process_that_started_them(mysqld: Mysqld) -> None:
    """Killed, not ended: no handler of it runs. Started from a thread that has ended since."""
    folder = short_directory()
    code = f"""
import threading, sys
from pathlib import Path
from services.sandbox.binaries import find_mysqld
from services.sandbox.server import MySQLServer
server = MySQLServer(find_mysqld(), Path({str(folder)!r}) / "s", die_with_parent=True)
thread = threading.Thread(target=server.start)
thread.start(); thread.join()
server.query("SELECT 1")
print("up", flush=True)
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"up\n"
            process = Process.read(folder / "s" / "process")
            assert process is not None
            assert process.is_alive  # it outlived the thread
        finally:
            parent.kill()
    assert process.wait_gone(10)
    shutil.rmtree(folder)


def test_a_process_is_more_than_its_pid(tmp_path: Path) -> None:
    child = spawn(["/bin/sleep", "60"], log=tmp_path / "log", directory=tmp_path, die_with_parent=True)
    try:
        process = Process.of(child.pid)
        another = Process(process.pid, process.start_ticks - 1)  # who had this pid before
        assert not another.is_alive
        assert another.signal(signal.SIGKILL) is False
        assert process.is_alive
        assert process.signal(signal.SIGKILL) is True
        assert process.wait_gone(10)  # a zombie, until we reap it
    finally:
        child.kill()
        child.wait(timeout=10)
    assert process.signal(signal.SIGKILL) is False
    with pytest.raises(ProcessLookupError):
        Process.of(child.pid)


class Command:
    """``orchestray sandbox`` with a state folder of its own."""

    def __init__(self, state: Path) -> None:
        self.directory = state / "orchestray" / "sandbox"
        self._environment = {**os.environ, "XDG_STATE_HOME": str(state)}

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = "import sys; from api.cli.sandbox import run; sys.exit(run(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def sandbox(mysqld: Mysqld, tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    try:
        yield command
    finally:
        command("down")


def test_up_status_down(sandbox: Command) -> None:
    code, said, complaint = sandbox("up", "--replicas", "2")
    assert (code, complaint) == (0, "")
    state = json.loads((sandbox.directory / "sandbox.json").read_text())
    folder = Path(state["folder"])
    processes = _processes(folder)
    assert len(processes) == 3
    assert all(process.is_alive for process in processes)
    assert "3 of 3 servers run, lossless" in said
    passwords = [account["password"] for account in state["accounts"].values()]
    assert len(set(passwords)) == 3
    assert not [password for password in passwords if password in said]
    for file in sandbox.directory.glob("*.*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    # what it prints to type does what it says
    master = state["servers"][0]
    (kill,) = [line for line in said.splitlines() if line.startswith("kill the master:")]
    subprocess.run(kill.partition(":")[2].split(), check=True)
    wait_until(lambda: sum(process.is_alive for process in processes) == 2)
    code, said, _ = sandbox("status")
    assert code == 0
    assert "2 of 3 servers run" in said
    (line,) = [line for line in said.splitlines() if f"127.0.0.1:{master['port']} " in line]
    assert line.endswith("does not run")
    assert said.count(f"replica of 127.0.0.1:{master['port']}, not replicating") == 2

    code, said, _ = sandbox("down")
    assert (code, said) == (0, "sandbox: 2 servers ended, data removed\n")
    assert not any(process.is_alive for process in processes)
    assert not folder.exists()
    assert not list(sandbox.directory.glob("*.*"))
    code, _, complaint = sandbox("down")
    assert code == 1
    assert "no sandbox is up" in complaint


def test_up_and_status_of_mariadb(sandbox: Command, mariadbd: Mysqld) -> None:
    assert "--image: only for docker" in sandbox("up", "mariadb", "--image", "x")[2]
    options = ("--replicas", "1", "--intermediate", "--no-semi-sync")
    code, said, complaint = sandbox("up", "mariadb", *options)
    assert (code, complaint) == (0, "")
    assert "sandbox (mariadb): 3 of 3 servers run, asynchronous" in said
    state = json.loads((sandbox.directory / "sandbox.json").read_text())
    master, middle, leaf = (f"127.0.0.1:{server['port']}" for server in state["servers"])
    roles = {words[0]: line for line in said.splitlines() if (words := line.split())}
    assert roles[master].endswith(" master")
    assert roles[middle].endswith(f" replica of {master}")
    assert roles[leaf].endswith(f" replica of {middle}")
    processes = _processes(Path(state["folder"]))
    assert sandbox("down")[1] == "sandbox: 3 servers ended, data removed\n"
    assert not any(process.is_alive for process in processes)


def test_a_second_sandbox_is_refused_and_the_first_left_alone(sandbox: Command) -> None:
    assert sandbox("up", "--replicas", "1")[0] == 0
    code, _, complaint = sandbox("up")
    assert code == 1
    assert "up already" in complaint
    assert "2 of 2 servers run" in sandbox("status")[1]


def test_down_finds_the_servers_of_a_start_that_was_killed(sandbox: Command) -> None:
    code = "import sys; from api.cli.sandbox import run; sys.exit(run(['up']))"
    with subprocess.Popen([sys.executable, "-c", code], env=sandbox._environment) as starting:
        try:
            folder = wait_until(lambda: _folder_of(sandbox), 30)
            wait_until(lambda: list(folder.glob("*/process")), 30)
        finally:
            starting.kill()
    processes = _processes(folder)
    assert sandbox("status")[0] == 1
    assert sandbox("down")[0] == 0
    assert not any(process.is_alive for process in processes)
    assert not folder.exists()


def _processes(folder: Path) -> list[Process]:
    found = [Process.read(file) for file in folder.glob("*/process")]
    return [process for process in found if process is not None]


def _folder_of(sandbox: Command) -> Path | None:
    file = sandbox.directory / "sandbox.json"
    return Path(json.loads(file.read_text())["folder"]) if file.exists() else None


# ---- serve --sandbox


def test_the_sandbox_of_serve(mysqld: Mysqld, tmp_path: Path) -> None:
    leftover = tmp_path / "servers" / "master"
    leftover.mkdir(parents=True)  # of one that was killed
    sandbox = start_for_serve(tmp_path, TopologySpec(replicas=1, semi_sync="lossless"))
    try:
        topology = sandbox.topology
        settings = sandbox.settings_overrides()
        assert sandbox.seed == topology.master.key
        assert settings["DiscoverySeeds"] == [str(topology.master.key)]
        lines = "\n".join(sandbox.describe())
        assert f"kill -9 {topology.master.pid}" in lines
        assert f"replica of {topology.master.key}" in lines
        assert settings["MySQLTopologyPassword"] not in lines
        processes = [Process.of(server.pid) for server in topology.servers]
    finally:
        sandbox.stop()
    assert not any(process.is_alive for process in processes)
    assert not list(tmp_path.iterdir())
