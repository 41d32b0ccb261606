"""``scripts/install-mysql``: what it refuses, what it leaves, and (--long) that it fetches a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "install-mysql"
_MEND = "install a mysqld and put it on PATH"
_needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
_NEEDED_FIRST = ("bash", "uname", "env", "timeout")


def _start(target: Path, **environment: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [_SCRIPT, target], stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}
    )


def _finish(process: subprocess.Popen[str], timeout_seconds: float = 60) -> tuple[int, str, str]:
    with process:
        try:
            said, complaint = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, said, complaint


def test_a_server_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    server = tmp_path / "mysql" / "mysqld"
    server.parent.mkdir()
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    assert _finish(_start(server.parent)) == (0, f"{server}\n", "")


def test_without_apt_it_names_the_mend(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in _NEEDED_FIRST:
        (tools / tool).symlink_to(shutil.which(tool) or "")
    code, said, complaint = _finish(_start(tmp_path / "mysql", PATH=str(tools)))
    assert (code, said) == (1, "")
    assert "apt-get is missing" in complaint
    assert _MEND in complaint
    assert list(tmp_path.iterdir()) == [tools]


@_needs_apt
def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").touch()
    code, _, complaint = _finish(_start(tmp_path))
    assert code == 1
    assert "holds something else" in complaint
    assert [file.name for file in tmp_path.iterdir()] == ["letters"]


@_needs_apt
def test_a_mirror_that_does_not_answer_leaves_nothing(tmp_path: Path) -> None:
    """And it is this machine's own apt set-up that names the mirror."""
    (tmp_path / "none").mkdir()
    sources, configuration = tmp_path / "sources.list", tmp_path / "apt.conf"
    sources.write_text("deb http://127.0.0.1:9/debian stable main\n")
    configuration.write_text(
        f'Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "{tmp_path}/none"; Acquire::Retries "0";'
    )
    target = tmp_path / "cache" / "mysql"
    code, said, complaint = _finish(_start(target, APT_CONFIG=str(configuration)))
    assert (code, said) == (1, "")
    assert "127.0.0.1:9" in complaint
    assert _MEND in complaint
    assert [file.name for file in target.parent.iterdir()] == [".install-mysql.lock"]


@pytest.mark.long
@pytest.mark.timeout(900)
@_needs_apt
def test_two_at_once_fetch_one_server_that_runs(tmp_path: Path) -> None:
    """As on a machine whose lists were never updated."""
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::State::lists "{tmp_path}/lists";')
    target = tmp_path / "cache" / "mysql"
    both = [_start(target, APT_CONFIG=str(configuration)) for _ in range(2)]
    ends = [_finish(process, 800) for process in both]
    assert [(code, said) for code, said, _ in ends] == [(0, f"{target / 'mysqld'}\n")] * 2
    assert sum("fetching" in complaint for _, _, complaint in ends) == 1
    ask = [target / "mysqld", "--no-defaults", "--version"]
    version = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60)
    assert "MariaDB" not in version.stdout
    assert sorted(file.name for file in target.parent.iterdir()) == [".install-mysql.lock", "mysql"]
