"""Reloading, the settings without a file, and what a change asks for."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from services.config import (
    KEYS,
    ConfigurationError,
    LoadedConfiguration,
    Settings,
    changed_keys,
    from_mapping,
    load,
    needs_restart,
    reload,
    settings_for_demo,
)
from tests.unit.config.helpers import write


def test_a_key_removed_from_the_file_returns_to_its_default(tmp_path: Path) -> None:
    """Known gap 10.2 of orchestrator: there it keeps its old value."""
    path = write(tmp_path / "f", {"InstancePollSeconds": 2, "Debug": True, "ClusterNameToAlias": {"a": "b"}})
    before = load([path])
    write(path, {"Debug": True, "ReadOnly": True})
    after = reload(before)
    assert after.settings.InstancePollSeconds == 5
    assert dict(after.settings.ClusterNameToAlias) == {}
    assert after.settings.ReadOnly
    assert changed_keys(before.settings, after.settings) == (
        "ReadOnly",
        "InstancePollSeconds",
        "ClusterNameToAlias",
    )


def test_a_reload_is_all_or_nothing(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"Debug": False})
    two = write(tmp_path / "two", {"InstancePollSeconds": 2})
    before = load([one, two])
    kept = dataclasses.replace(before.settings)
    write(one, {"Debug": True})
    write(two, {"InstancePollSeconds": -2})
    with pytest.raises(ConfigurationError, match="InstancePollSeconds: -2 is out of range"):
        reload(before)
    assert before.settings == kept
    two.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        reload(before)
    write(two, {})
    assert reload(before).settings.Debug


def test_an_extra_file_overrides_and_stays(tmp_path: Path) -> None:
    main = write(tmp_path / "main", {"InstancePollSeconds": 2, "Debug": True})
    extra = write(tmp_path / "extra", {"InstancePollSeconds": 3})
    once = reload(load([main]), extra)
    assert (once.settings.InstancePollSeconds, once.settings.Debug) == (3, True)
    assert once.sources == (main, extra)
    assert reload(once).settings.InstancePollSeconds == 3
    assert reload(once, extra).sources == (main, extra)


def test_a_missing_extra_file_is_an_error(tmp_path: Path) -> None:
    before = load([write(tmp_path / "main", {})])
    with pytest.raises(ConfigurationError, match="none: cannot be read"):
        reload(before, tmp_path / "none")


def test_the_same_files_are_read_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "f", {"Debug": True})
    before = load([Path("f")])
    assert before.sources == (tmp_path / "f",)
    monkeypatch.chdir(os.sep)
    assert reload(before).settings.Debug


def test_strictness_outlives_a_reload(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {})
    before = load([path], strict=True)
    write(path, {"AuditPageSize": 3})
    with pytest.raises(ConfigurationError, match="AuditPageSize"):
        reload(before)


def test_warnings_are_those_of_the_last_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {"AuditPageSize": 3})
    before = load([path])
    assert len(before.warnings) == 1
    write(path, {})
    assert reload(before).warnings == ()


def test_without_a_file_the_demo_settings_hold_and_reload(tmp_path: Path) -> None:
    demo = settings_for_demo(tmp_path / "o.db", "127.0.0.1:3100", {"InstancePollSeconds": 1})
    assert demo.settings.BackendDB == "sqlite"
    assert demo.settings.SQLite3DataFile == str(tmp_path / "o.db")
    assert demo.settings.ListenAddress == "127.0.0.1:3100"
    assert demo.settings.RecoverMasterClusterFilters == ("*",)
    assert demo.settings.InstancePollSeconds == 1
    assert (demo.sources, demo.warnings) == ((), ())
    assert demo.settings.node_directory() == tmp_path / "o.db.node-3100"
    assert reload(demo).settings == demo.settings
    extra = write(tmp_path / "extra", {"InstancePollSeconds": 9})
    assert reload(demo, extra).settings == dataclasses.replace(demo.settings, InstancePollSeconds=9)


def test_the_demo_listens_on_loopback(tmp_path: Path) -> None:
    assert settings_for_demo(tmp_path / "o.db").settings.listen_endpoint == ("127.0.0.1", 3000)


def test_overrides_are_checked_as_files_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^overrides: InstancePollSeconds: 0 is out of range"):
        settings_for_demo(tmp_path / "o.db", "127.0.0.1:3000", {"InstancePollSeconds": 0})
    with pytest.raises(ConfigurationError, match=r"^demo: ListenAddress: "):
        settings_for_demo(tmp_path / "o.db", "3000")


def test_nothing_changed() -> None:
    one, other = from_mapping({"Debug": True}).settings, from_mapping({"debug": True}).settings
    assert changed_keys(one, other) == ()


def test_a_changed_secret_is_a_change() -> None:
    old = from_mapping({"MySQLTopologyPassword": "a"}).settings
    new = from_mapping({"MySQLTopologyPassword": "b"}).settings
    assert changed_keys(old, new) == ("MySQLTopologyPassword",)


@pytest.mark.parametrize(
    "name",
    [
        "ListenAddress",
        "ListenSocket",
        "URLPrefix",
        "UseSSL",
        "SSLCertFile",
        "BackendDB",
        "SQLite3DataFile",
        "MySQLOrchestratorHost",
        "MySQLOrchestratorPassword",
        "RaftEnabled",
        "RaftBind",
        "RaftAdvertise",
        "RaftDataDir",
        "RaftNodes",
        "DefaultRaftPort",
        "NodeDirectory",
        "SetupName",
        "LeaseMilliseconds",
        "LeaseRenewMilliseconds",
        "ProbeActorsMax",
    ],
)
def test_keys_that_ask_for_a_restart(name: str) -> None:
    assert needs_restart(["Debug", name]) == (name,)


def test_keys_that_take_effect_at_once() -> None:
    keys = (
        "InstancePollSeconds",
        "RecoverMasterClusterFilters",
        "MySQLTopologyPassword",
        "AuthenticationMethod",
    )
    assert needs_restart(keys) == ()
    assert needs_restart(["NoSuchKey"]) == ()
    assert all(name in KEYS for name in keys)


def test_a_configuration_has_no_secrets_in_its_repr(tmp_path: Path) -> None:
    demo = settings_for_demo(tmp_path / "o.db", "127.0.0.1:3000", {"HTTPAuthPassword": "tops3cret"})
    assert "tops3cret" not in repr(demo)
    assert LoadedConfiguration(Settings()).settings == Settings()
