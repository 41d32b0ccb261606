"""What the options of a sandbox ask for."""

from __future__ import annotations

import pytest

from api.cli import sandbox, serve
from api.cli.sandbox_options import sandbox_image, sandbox_spec
from services.sandbox.topology import TopologySpec

_DEFAULT = TopologySpec(replicas=3, semi_sync="lossless")


@pytest.mark.parametrize(
    ("words", "kind", "spec"),
    [
        ("--sandbox", "mysql", _DEFAULT),
        ("--sandbox --config file", "mysql", _DEFAULT),
        ("--sandbox mysql", "mysql", _DEFAULT),
        ("--sandbox mariadb --semi-sync", "mariadb", _DEFAULT),
        ("--sandbox=docker --replicas 1", "docker", TopologySpec(replicas=1, semi_sync="lossless")),
        ("--sandbox --no-semi-sync", "mysql", TopologySpec(replicas=3)),
        ("--sandbox --intermediate", "mysql", TopologySpec(replicas=3, below_last=1, semi_sync="lossless")),
        ("--sandbox --replicas 0", "mysql", TopologySpec(replicas=0)),
    ],
)
def test_serve(words: str, kind: str, spec: TopologySpec) -> None:
    arguments = serve._parse(words.split())
    assert (arguments.sandbox, sandbox_spec(arguments)) == (kind, spec)


@pytest.mark.parametrize(
    ("words", "kind", "spec"),
    [
        ("up", "mysql", _DEFAULT),
        ("up mariadb --no-semi-sync", "mariadb", TopologySpec(replicas=3)),
        (
            "up --replicas 2 --intermediate",
            "mysql",
            TopologySpec(replicas=2, below_last=1, semi_sync="lossless"),
        ),
    ],
)
def test_sandbox_up(words: str, kind: str, spec: TopologySpec) -> None:
    arguments = sandbox._parser().parse_args(words.split())
    assert (arguments.kind, sandbox_spec(arguments)) == (kind, spec)


def test_the_image_of_docker() -> None:
    assert sandbox_image(serve._parse(["--sandbox", "docker"])) == "mysql:8.4"
    assert sandbox_image(serve._parse(["--sandbox", "docker", "--image", "mine:1"])) == "mine:1"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--sandbox postgres", "invalid choice: 'postgres'"),
        ("--replicas 2 --no-semi-sync", "--replicas, --semi-sync: only with --sandbox"),
        ("--image mine:1 --sandbox mariadb", "--image: only with --sandbox docker"),
    ],
)
def test_what_does_not_go_together(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.run(words.split()) == 2
    assert complaint in capsys.readouterr().err
