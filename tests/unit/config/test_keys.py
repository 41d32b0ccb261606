"""All keys of the reference exist, typed, with its defaults; and each one is really read."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from services.config import KEYS, OWN_KEYS, FrozenMap, Secret, Settings, from_mapping
from tests.unit.config.helpers import problem_with
from tests.unit.config.reference_keys import REFERENCE_KEYS

TYPES = {
    "bool": bool,
    "int": int,
    "uint": int,
    "int64": int,
    "float": float,
    "string": str,
    "[]string": tuple,
    "[]regex": tuple,
    "map": FrozenMap,
}
SECRETS = {
    "MySQLOrchestratorPassword",
    "MySQLTopologyPassword",
    "HTTPAuthPassword",
    "ConsulAclToken",
    "OAuthClientSecret",
    "RaftSecret",
}
OWN_DEFAULTS = {
    "InstanceHeartbeatMilliseconds": 500,
    "FailureHoldDownMilliseconds": 0,
    "FailureHoldDownMillisecondsByCluster": FrozenMap(),
    "ProbeActorsMax": 64,
    "LeaseMilliseconds": 3000,
    "LeaseRenewMilliseconds": 1000,
    "NodeDirectory": "",
    "WitnessWaitMilliseconds": 500,
    "RecoveryRetryMaxSeconds": 60,
    "SetupName": "orchestray",
    "FenceOldMasterSeconds": 86400,
    "RestartLeaderAfterSeconds": 5,
    "FenceProcesses": (),
    "FenceProcessesRequired": True,
    "HookTimeoutSeconds": 60,
    "HookAsyncTimeoutSeconds": 3600,
    "HookOutputBytes": 4096,
    "RaftSecret": Secret(""),
    "RaftSSLCertFile": "",
    "RaftSSLPrivateKeyFile": "",
    "RaftSSLCAFile": "",
    "RaftQuorumOfEyes": True,
}


def _as_json(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, FrozenMap) else value


def test_the_table_has_the_201_keys_of_the_reference_and_ours() -> None:
    names = [name for name, _, _ in REFERENCE_KEYS]
    assert len(names) == len(set(names)) == 201
    assert set(KEYS) == set(names) | set(OWN_DEFAULTS)
    assert len(KEYS) == len(names) + len(OWN_DEFAULTS)


@pytest.mark.parametrize(("name", "kind", "default"), REFERENCE_KEYS)
def test_a_key_of_the_reference_has_its_type_and_default(name: str, kind: str, default: object) -> None:
    value = getattr(Settings(), name)
    assert type(value) is (Secret if name in SECRETS else TYPES[kind])
    assert _as_json(value) == default
    assert KEYS[name].is_secret == (name in SECRETS)
    assert type(KEYS[name].kind.read(default)) is type(value)


@pytest.mark.parametrize(("name", "default"), OWN_DEFAULTS.items())
def test_a_key_of_ours_has_its_default_and_a_meaning(name: str, default: object) -> None:
    (key,) = (key for key in OWN_KEYS if key.name == name)
    assert getattr(Settings(), name) == key.default == default
    assert key.meaning
    assert key.unit or not isinstance(default, int) or isinstance(default, bool)


@pytest.mark.parametrize(("name", "kind", "default"), REFERENCE_KEYS)
def test_every_key_refuses_a_value_of_another_type(name: str, kind: str, default: object) -> None:
    wrong: object = "no" if kind in ("bool", "int", "uint", "int64", "float") else 17
    assert problem_with({name: wrong}).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kind, _ in REFERENCE_KEYS if kind == "uint"]
)
def test_unsigned_keys_refuse_negative_numbers(name: str, kind: str) -> None:
    problem = problem_with({name: -1})
    assert problem.startswith(f"{name}: -1 is out of range; give a whole number from ")


def test_settings_cannot_be_changed() -> None:
    settings = from_mapping({"ClusterNameToAlias": {"a": "b"}}).settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.Debug = True  # type: ignore[misc]
    assert not hasattr(settings, "__dict__")
    with pytest.raises(TypeError):
        settings.ClusterNameToAlias["a"] = "c"  # type: ignore[index]


def test_settings_travel_to_other_processes_unchanged() -> None:
    settings = from_mapping(
        {
            "ClusterNameToAlias": {"a": "b"},
            "MySQLTopologyPassword": "secret",
            "RecoverMasterClusterFilters": ["*"],
        }
    ).settings
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert hash(copy) == hash(settings)
    assert copy.MySQLTopologyPassword.reveal() == "secret"


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Settings()) == "Settings()"
    assert (
        repr(Settings(InstancePollSeconds=1, ReadOnly=True))
        == "Settings(ReadOnly=True, InstancePollSeconds=1)"
    )
