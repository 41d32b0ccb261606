"""The files that are installed elsewhere: systemd units, the image, the compose file. Nothing is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from services.config import load
from tests.units import UNITS, Unit, environment_of

ROOT = Path(__file__).parents[2]
SECRETS = {"ORCHESTRAY_RAFT_SECRET": "sixteen-characters", "ORCHESTRAY_PASSWORD": "x"}
NAMES = [file.name for file in sorted(UNITS.glob("*.service"))]


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    """Of what stands in it; programs and users are those of this machine."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here")
    text = (UNITS / name).read_text()
    text = re.sub(r"/opt/orchestray/bin/\w+", "/bin/true", text)
    text = re.sub(r"(?m)^(User|Group)=.*$", r"\1=root", text)
    unit = tmp_path / name
    unit.write_text(text)
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_in_a_unit_would_be_seen(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here")
    unit = tmp_path / "wrong.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nKillMode=everything\n")
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, timeout=30, check=False)
    assert "kill mode" in done.stderr


def test_head_and_worker_are_supervised_and_speak_with_a_token() -> None:
    environment = environment_of(UNITS / "ray.env", {})
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_gcs_storage"] == "rocksdb"
    for name in ("orchestray-head", "orchestray-worker"):
        unit = Unit(UNITS / f"{name}.service", {})
        assert unit.get("Restart") == "always"
        assert unit.get("EnvironmentFile").lstrip("-").startswith("/etc/orchestray/")
        ((_, words),) = unit.commands("ExecStart", environment)
        assert words[:2] == ["/opt/orchestray/bin/ray", "start"]
        assert "--block" in words
        assert not [word for word in words if "$" in word]


def test_a_head_starts_no_server_for_ray_clients_and_its_dashboard_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the hook in ray.env, found as Ray does; it relies on what Ray has under these names."""
    from ray._common.utils import load_class
    from ray._private import services
    from ray._private.parameter import RayParams

    started = subprocess.Popen(["sleep", "60"])
    try:
        info = services.ProcessInfo(started, *(None,) * (len(services.ProcessInfo._fields) - 1))
        monkeypatch.setattr(services, "start_api_server", lambda *_, **__: ("url", info))
        hook = load_class(environment_of(UNITS / "ray.env", {})["RAY_START_HOOK"])
        worker = RayParams(ray_client_server_port=10001)
        hook(worker, False)
        assert worker.ray_client_server_port == 10001
        head = RayParams(ray_client_server_port=10001)
        hook(head, True)
        assert head.ray_client_server_port is None
        before = os.getpriority(os.PRIO_PROCESS, started.pid)
        assert services.start_api_server(True, port=8265) == ("url", info)
        assert os.getpriority(os.PRIO_PROCESS, started.pid) == 10 > before
    finally:
        started.kill()
        started.wait(10)


def _compose() -> list[str]:
    """The client that can check a compose file, without an engine."""
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return [docker, "compose"]
    old = shutil.which("docker-compose")
    if old is None:
        pytest.skip("neither `docker compose` nor docker-compose is here")
    return [old]


@pytest.mark.long
def test_the_compose_file_is_valid() -> None:
    done = subprocess.run(
        [*_compose(), "-f", str(ROOT / "compose.yaml"), "config", "--services"],
        env={**os.environ, **SECRETS}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["orc-1", "orc-2", "orc-3"]


@pytest.mark.long
def test_the_compose_file_wants_the_secrets() -> None:
    bare = {name: value for name, value in os.environ.items() if name not in SECRETS}
    done = subprocess.run(
        [*_compose(), "-f", str(ROOT / "compose.yaml"), "config"],
        env=bare, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "at least 16 characters" in done.stderr + done.stdout


@pytest.mark.parametrize("member", ["orc-1", "orc-2", "orc-3"])
def test_the_configurations_of_the_three_are_valid(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    folder = ROOT / "deploy" / "docker"
    loaded = load([folder / "orchestray.conf.json", folder / f"{member}.json"], strict=True)
    assert loaded.warnings == ()
    assert loaded.settings.RaftAdvertise == member
    assert member in loaded.settings.RaftNodes


def test_what_the_image_is_made_of_is_there() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [words[1] for line in text.splitlines() if (words := line.split())[:1] == ["COPY"]]
    sources = {source for source in copied if not source.startswith("--")}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == kept == {"pyproject.toml", "actors", "api", "services"}
    assert all((ROOT / source).exists() for source in sources)
