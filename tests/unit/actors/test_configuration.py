"""The configuration in force: what the actors of a node go on with, whatever becomes of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.spec import Configuration, NodeSpec
from services.config import ConfigurationError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "conf.json", InstancePollSeconds=7)


def write(path: Path, **settings: object) -> Path:
    content = {"BackendDB": "sqlite", "SQLite3DataFile": "orc.db", "ListenAddress": ":3000", **settings}
    path.write_text(json.dumps(content))
    return path


def begin(file: Path) -> tuple[NodeSpec, Configuration]:
    spec = NodeSpec.make(file.parent / "node", strict=False)
    spec.folder.mkdir()
    return spec, Configuration.begin(spec, (file,))


def test_a_restarted_actor_has_what_the_others_have(file: Path) -> None:
    spec, _ = begin(file)
    write(file, InstancePollSeconds=9)
    assert Configuration(spec).settings.InstancePollSeconds == 7
    file.write_text("{ spoilt")
    assert Configuration(spec).settings.InstancePollSeconds == 7
    file.unlink()
    assert Configuration(spec).settings.InstancePollSeconds == 7


def test_a_reload_is_for_all(file: Path) -> None:
    spec, first = begin(file)
    other = Configuration(spec)
    write(file, InstancePollSeconds=9)
    assert first.reload() == ()
    assert first.settings.InstancePollSeconds == 9
    other.adopt()
    assert other.settings.InstancePollSeconds == 9
    assert Configuration(spec).settings.InstancePollSeconds == 9


def test_a_further_file_stays_with_the_node(file: Path) -> None:
    spec, configuration = begin(file)
    extra = file.parent / "extra.json"
    extra.write_text(json.dumps({"InstancePollSeconds": 11}))
    configuration.reload("extra.json")
    restarted = Configuration(spec)
    assert restarted.settings.InstancePollSeconds == 11
    assert restarted.loaded.sources == (file, extra)
    restarted.reload()
    assert restarted.settings.InstancePollSeconds == 11


def test_all_or_nothing(file: Path) -> None:
    spec, configuration = begin(file)
    write(file, InstancePollSeconds="often", ReasonableReplicationLagSeconds=3)
    with pytest.raises(ConfigurationError, match=f"^{file}: InstancePollSeconds: "):
        configuration.reload()
    for one in (configuration, Configuration(spec)):
        assert one.settings.InstancePollSeconds == 7
        assert one.settings.ReasonableReplicationLagSeconds == 10
    with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
        configuration.reload("nowhere.json")
    write(file, InstancePollSeconds=8)
    configuration.reload()
    assert Configuration(spec).settings.InstancePollSeconds == 8


def test_what_needs_a_restart_keeps_its_value(file: Path) -> None:
    """An actor that Ray restarts is not a restart of the node."""
    spec, configuration = begin(file)
    write(file, ListenAddress=":4000", InstancePollSeconds=9)
    assert configuration.reload() == ("ListenAddress",)
    for one in (configuration, Configuration(spec)):
        assert one.settings.ListenAddress == ":3000"
        assert one.settings.InstancePollSeconds == 9
    assert configuration.reload() == ("ListenAddress",), "it still waits"
    _, started_again = begin_again(spec, file)
    assert started_again.settings.ListenAddress == ":4000"


def begin_again(spec: NodeSpec, file: Path) -> tuple[NodeSpec, Configuration]:
    return spec, Configuration.begin(spec, (file,))


def test_warnings_and_errors_name_the_files_not_the_copies(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_SECRET", "x")
    write(file, MyOwnKey=1, MySQLTopologyPassword="${ORC_SECRET}")
    spec, configuration = begin(file)
    assert [warning.startswith(f"{file}: MyOwnKey") for warning in configuration.loaded.warnings] == [True]
    monkeypatch.delenv("ORC_SECRET")  # the actor runs where the environment is another
    with pytest.raises(ConfigurationError, match=f"^{file}: .*ORC_SECRET"):
        Configuration(spec)


def test_copies_are_private_and_few(file: Path) -> None:
    spec, configuration = begin(file)
    for seconds in range(1, 6):
        write(file, InstancePollSeconds=seconds)
        configuration.reload()
    kept = sorted(path for path in spec.folder.rglob("*") if path.is_file())
    assert len({path.parent for path in kept}) == 3, "the first, the one before, the one in force"
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)


def test_relative_paths_count_from_where_the_node_was_started(
    file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = begin(file)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    settings = Configuration(spec).settings
    assert Path(settings.SQLite3DataFile).absolute() == file.parent / "orc.db"
