"""The shell script that orchestrator-client sources is read here too."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli import client_profile
from api.cli.client_options import ClientError, parse
from api.cli.client_profile import environment_with_profile

HERE = {"PATH": "/usr/bin:/bin", "ORCHESTRATOR_API": "http://here:3000"}


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator-client.sh"


def test_without_one_nothing_changes(profile: Path) -> None:
    assert environment_with_profile(HERE, profile) == HERE


def test_it_decides_as_it_does_in_a_shell(profile: Path) -> None:
    profile.write_text(
        "#!/bin/sh\n# endpoints\nHOSTS='a b'\n"
        'for h in $HOSTS; do ORCHESTRATOR_API="${all} http://$h:3000/api"; all=$ORCHESTRATOR_API; done\n'
        'export ORCHESTRATOR_AUTH_USER=ann ORCHESTRATOR_AUTH_PASSWORD="p\'w \\$x"\n'
        'ORCHESTRATOR_INSTANCE="${ORCHESTRATOR_INSTANCE:-db1}"\necho said\nread line\n'
    )
    found = environment_with_profile(HERE, profile)
    options = parse(["-c", "topology"], found)
    assert options.api.split() == ["http://a:3000/api", "http://b:3000/api"]
    assert (options.auth, options.instance) == ("ann:p'w $x", "db1")
    assert found["PATH"] == HERE["PATH"]
    assert environment_with_profile({**HERE, "ORCHESTRATOR_INSTANCE": "db2"}, profile)[
        "ORCHESTRATOR_INSTANCE"
    ] == "db2"  # fmt: skip


def test_what_it_does_not_set_stays(profile: Path) -> None:
    profile.write_text("unset ORCHESTRATOR_AUTH_USER\n")
    assert parse([], environment_with_profile(HERE, profile)).api == "http://here:3000"


def test_one_that_ends_the_shell_is_told(profile: Path) -> None:
    profile.write_text("exit 3\n")
    with pytest.raises(ClientError, match="ends with status 3"):
        environment_with_profile(HERE, profile)


def test_one_that_hangs_is_told(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_profile, "_SECONDS", 0.3)
    profile.write_text("while :; do :; done\n")
    with pytest.raises(ClientError, match="does not come to an end"):
        environment_with_profile(HERE, profile)
