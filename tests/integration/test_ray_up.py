"""``ray up`` with the cluster.yaml of the repository, really: two hosts with sshd, a head and a worker.

Rewritten are only its addresses and ports; every path is below the home, which is the test's.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.node import ask, key_of, settings_of
from tests.servers import Stage, short_directory, wait_until
from tests.ssh_hosts import HOME, Launcher, SshHost, host, launched, make_key, why_none

ROOT = Path(__file__).parents[2]
FILE = ROOT / "cluster.yaml"
HEAD, WORKER = "127.0.0.21", "127.0.0.22"
_BIN = Path(sys.executable).parent
_REPLACED = {"10.0.0.11": HEAD, "[10.0.0.12, 10.0.0.13]": f"[{WORKER}]", "_workers: 2": "_workers: 1"}
AGENTS = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}
SSH = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
UP_SECONDS = 300
DOWN_SECONDS = 120
GONE_SECONDS = 40
"""Of the worker's Ray, which ends by itself 20 s after its head (RAY_gcs_rpc_server_reconnect_timeout_s)."""


def test_it_is_valid(tmp_path: Path) -> None:
    """By Ray's own rules, whatever can be started here."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load(FILE.read_text()))
    validate_config(prepared)
    (kind,) = prepared["available_node_types"].values()
    workers = prepared["provider"]["worker_ips"]
    assert kind["min_workers"] == kind["max_workers"] == prepared["max_workers"] == len(workers)
    commands = [*prepared["head_start_ray_commands"], *prepared["worker_start_ray_commands"]]
    assert not [command for command in commands if "ray stop" in command]
    starts = [command for command in commands if "bin/ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token " in command for command in starts)
    assert "RAY_enable_autoscaler_v2=0 " in starts[0]


def test_the_part_for_a_cloud_is_valid_too() -> None:
    """Uncommented, in place of what it replaces."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = FILE.read_text()
    commented = text[text.index("# provider:\n") :]
    cloud = yaml.safe_load(re.sub(r"(?m)^# ?", "", commented))
    local = yaml.safe_load(text)
    for replaced in ("provider", "auth", "min_workers", "max_workers"):
        del local[replaced]
    validate_config(prepare_config({**local, **cloud}))
    assert cloud["provider"]["type"] == "aws"
    types = cloud["available_node_types"]
    assert types["worker"]["min_workers"] == types["worker"]["max_workers"] == cloud["max_workers"]


@dataclass(frozen=True)
class World:
    launcher: Launcher
    head: SshHost
    worker: SshHost
    project: Path
    topology: MySQLTopology
    token: str
    port: int
    dashboard: str

    def ray(self, *words: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return self.launcher.run(str(_BIN / "ray"), *words, directory=self.project, seconds=seconds)

    def get(self, address: str, path: str) -> tuple[int, object]:
        try:
            return ask(f"http://{address}:{self.port}/api/{path}", 5)
        except OSError as error:
            return 0, str(error)

    def story(self) -> str:
        logs = sorted(self.head.home.glob("orchestray/ray/session_2*/logs/monitor.*"))
        return "\n".join(f"{log}:\n{log.read_text(errors='replace')[-4000:]}" for log in logs)


def _environment_is_there(home: Path) -> None:
    """A virtual environment at the path that cluster.yaml installs to, with all that orchestray needs and
    without orchestray: nothing is fetched."""
    subprocess.run([sys.executable, "-m", "venv", home / "orchestray"], check=True, timeout=120)
    packages = next((home / "orchestray").glob("lib/python*/site-packages"))
    (packages / "test-dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    script = (_BIN / "ray").read_text().splitlines(keepends=True)
    (home / "orchestray" / "bin" / "ray").write_text(
        "".join([f"#!{home}/orchestray/bin/python\n", *script[1:]])
    )
    (home / "orchestray" / "bin" / "ray").chmod(0o755)
    if find_spec("setuptools") is not None:
        (home / ".config" / "pip").mkdir(parents=True)
        (home / ".config" / "pip" / "pip.conf").write_text("[install]\nno-build-isolation = true\n")


def _project(folder: Path) -> Path:
    """The sources, as a person has them who edits cluster.yaml."""
    project = folder / "project"
    excluded = yaml.safe_load(FILE.read_text())["rsync_exclude"]
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(*excluded, "tests"))
    return project


@pytest.fixture(scope="module")
def world(mysqld: Mysqld) -> Iterator[World]:
    if why := why_none():
        pytest.skip(why)
    folder, ssh_port, port = short_directory(), free_port(), free_port()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        stage = Stage(mysqld)
        endings.callback(stage.clear)
        topology = stage.topology(TopologySpec(replicas=1, semi_sync="lossless"))
        key = make_key(folder)
        head = endings.enter_context(host(folder / "h", HEAD, ssh_port, key))
        worker = endings.enter_context(host(folder / "w", WORKER, ssh_port, key))
        launcher = endings.enter_context(launched(folder / "l", ssh_port, key))
        for each in (head, worker):
            _environment_is_there(each.home)
        project = _project(folder)
        token, ports = secrets.token_hex(32), {"6380": free_port(), "8265": free_port()}
        text = FILE.read_text()
        for old, new in {**_REPLACED, **{old: str(new) for old, new in ports.items()}}.items():
            assert old in text, old
            text = text.replace(old, new)
        for _ in range(2):  # the two share this host's ports, of which Ray gives 10002 and so on to workers
            ports_here = f"agent-listen-port={free_port()} --min-worker-port=0 --max-worker-port=0"
            text = text.replace("agent-listen-port=52365", ports_here, 1)
        (project / "cluster.yaml").write_text(text)
        settings = settings_of(
            topology.accounts.orchestray,
            topology.master,
            BackendDB="sqlite",
            SQLite3DataFile=str(HOME / "orchestray.db"),
            ListenAddress=f"{HEAD}:{port}",
        )
        (project / "orchestray.conf.json").write_text(json.dumps(settings))
        (launcher.home / ".ray").mkdir()
        (launcher.home / ".ray" / "auth_token").write_text(token)
        dashboard = f"http://127.0.0.1:{ports['8265']}"
        yield World(launcher, head, worker, project, topology, token, port, dashboard)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_up_and_down(world: World) -> None:
    done = world.ray("up", "-y", "cluster.yaml", seconds=UP_SECONDS)
    assert done.returncode == 0, done.stdout

    # The head serves and acts; the worker joins, serves, and has a probe.
    servers = {str(server.key) for server in world.topology.servers}

    def all_seen(address: str) -> bool:
        _, instances = world.get(address, "all-instances")
        return (
            isinstance(instances, list)
            and {key_of(one["Key"]) for one in instances if one["IsLastCheckValid"]} == servers
        )

    wait_until(lambda: all_seen(HEAD), 60, lambda: (world.get(HEAD, "all-instances"), done.stdout))
    wait_until(lambda: all_seen(WORKER), 120, lambda: (world.get(WORKER, "all-instances"), world.story()))
    assert world.get(HEAD, "leader-check") == (200, "OK")
    wait_until(lambda: world.get(WORKER, "leader-check") == (200, "OK"), 20)
    wait_until(lambda: _probes(world.worker) == 1 and _probes(world.head) == 1, 60, world.worker.processes)

    # The dashboard is where it should be, for who has the token.
    assert ask(f"{world.dashboard}/api/v0/nodes")[0] == 401
    status, reply = ask(f"{world.dashboard}/api/v0/nodes", headers={"Authorization": f"Bearer {world.token}"})
    assert status == 200
    assert isinstance(reply, dict)
    nodes = reply["data"]["result"]["result"]
    assert {node["node_ip"] for node in nodes if node["state"] == "ALIVE"} == {HEAD, WORKER}

    # A failover under it.
    master: MySQLServer = world.topology.master
    (replica,) = world.topology.replicas
    master.kill()
    wait_until(lambda: replica.variable("read_only") == "0", 30, lambda: world.get(HEAD, "audit-recovery"))

    address = re.search(r"orchestray up --ray-address (\S+)", (world.project / "cluster.yaml").read_text())
    assert address is not None
    down = world.ray(
        "exec", "cluster.yaml", f"orchestray down --ray-address {address[1]}", seconds=DOWN_SECONDS
    )
    assert down.returncode == 0, down.stdout
    assert _probes(world.worker) == 0
    ended = world.ray("down", "-y", "cluster.yaml", seconds=DOWN_SECONDS)
    assert ended.returncode == 0, ended.stdout
    # Ray's agents may outlive the worker's raylet; what the next ``ray up`` begins with ends them.
    wait_until(
        lambda: not world.head.processes() and not set(world.worker.processes().values()) - AGENTS,
        GONE_SECONDS,
        lambda: (world.head.processes(), world.worker.processes()),
    )
    stop = yaml.safe_load(FILE.read_text())["worker_start_ray_commands"][0]
    stopped = world.launcher.run("ssh", *SSH, WORKER, stop, directory=world.project, seconds=40)
    assert stopped.returncode == 0, stopped.stdout
    wait_until(lambda: not world.worker.processes(), 10, world.worker.processes)


def _probes(there: SshHost) -> int:
    return sum(title.startswith("ray::Probe(") for title in there.processes().values())
