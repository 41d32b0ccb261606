"""What single values may be, and what the refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.helpers import loaded, problem_with


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ReadOnly", 1, "ReadOnly: 1 is a number; give true or false, without quotes"),
        ("ReadOnly", "true", 'ReadOnly: "true" is a string; give true or false, without quotes'),
        ("ReadOnly", None, "ReadOnly: is null; give true or false, without quotes"),
        (
            "InstancePollSeconds",
            "5",
            'InstancePollSeconds: "5" is a string; give a whole number from 1 to 2147483647, without quotes',
        ),
        (
            "InstancePollSeconds",
            True,
            "InstancePollSeconds: true is true or false; "
            "give a whole number from 1 to 2147483647, without quotes",
        ),
        (
            "InstancePollSeconds",
            5.0,
            "InstancePollSeconds: 5.0 is not written as a whole number; "
            "give a whole number from 1 to 2147483647",
        ),
        (
            "InstancePollSeconds",
            0,
            "InstancePollSeconds: 0 is out of range; give a whole number from 1 to 2147483647",
        ),
        (
            "DefaultInstancePort",
            65536,
            "DefaultInstancePort: 65536 is out of range; give a whole number from 1 to 65535",
        ),
        ("DefaultRaftPort", 0, "DefaultRaftPort: 0 is out of range; give a whole number from 1 to 65535"),
        (
            "DeadInstancePollSecondsMultiplyFactor",
            0.5,
            "DeadInstancePollSecondsMultiplyFactor: 0.5 is out of range; give a number from 1 to 1000",
        ),
        (
            "InstanceWriteBufferSize",
            0,
            "InstanceWriteBufferSize: 0 is out of range; give a whole number from 1 to 2147483647",
        ),
        ("PowerAuthUsers", "joe", 'PowerAuthUsers: "joe" is a string; give a list of strings, such as ["…"]'),
        (
            "PowerAuthUsers",
            ["joe", 3],
            "PowerAuthUsers: entry 2: 3 is a number; give a string in double quotes",
        ),
        (
            "ClusterNameToAlias",
            ["a"],
            'ClusterNameToAlias: ["a"] is a list; give an object, such as {"…": …}',
        ),
        (
            "ClusterNameToAlias",
            {"a": 3},
            'ClusterNameToAlias: entry "a": 3 is a number; give a string in double quotes',
        ),
        (
            "AuthenticationMethod",
            "ldap",
            'AuthenticationMethod: "ldap" is not known; '
            'give one of "", "basic", "multi", "proxy", "token", "oauth"',
        ),
        ("BackendDB", "postgres", 'BackendDB: "postgres" is not known; give "sqlite" or "mysql"'),
        (
            "SQLite3DataFile",
            ":memory:",
            'SQLite3DataFile: ":memory:" does not outlive the process; give the path of a file',
        ),
        ("SQLite3DataFile", "a\0b", 'SQLite3DataFile: "a\\u0000b" holds a NUL character; remove it'),
        (
            "WebMessage",
            "\ud800",
            'WebMessage: "\\ud800" holds half a surrogate pair, which is no character; remove it',
        ),
        (
            "StatusEndpoint",
            "api/status",
            'StatusEndpoint: "api/status" is no absolute path of a URL; write it as "/path"',
        ),
        ("URLPrefix", "a b", 'URLPrefix: "a b" is no path of a URL; write it as "/prefix"'),
        (
            "DiscoverySeeds",
            ["db1:3306", "db1:0"],
            'DiscoverySeeds: entry 2: "db1:0" does not name a server; '
            'write "host:port", with a port within 1..65535',
        ),
        (
            "RaftBind",
            "a b:1",
            'RaftBind: "a b:1" does not name a server; write "host:port", with a port within 1..65535',
        ),
        (
            "SetupName",
            "my setup",
            'SetupName: "my setup" is not usable in a lock name; '
            "give 1 to 32 of the characters A-Z a-z 0-9 _ -",
        ),
        (
            "LeaseRenewMilliseconds",
            9,
            "LeaseRenewMilliseconds: 9 is out of range; give a whole number from 10 to 2147483647",
        ),
    ],
)
def test_an_impossible_value_is_named_with_key_value_and_mend(name: str, value: object, problem: str) -> None:
    assert problem_with({name: value}) == problem


@pytest.mark.parametrize("name", ["", "x" * 33, "a'b", "ä", "a\n"])
def test_the_setup_name_fits_a_lock_name(name: str) -> None:
    assert "is not usable in a lock name" in problem_with({"SetupName": name})
    assert loaded(SetupName="x" * 32).settings.SetupName == "x" * 32


@pytest.mark.parametrize(
    "name",
    [
        "DiscoveryIgnoreHostnameFilters",
        "DiscoveryIgnoreReplicaHostnameFilters",
        "DiscoveryIgnoreMasterHostnameFilters",
        "DiscoveryIgnoreReplicationUsernameFilters",
        "ProblemIgnoreHostnameFilters",
        "OSCIgnoreHostnameFilters",
        "RecoveryIgnoreHostnameFilters",
        "PromotionIgnoreHostnameFilters",
        "RecoverMasterClusterFilters",
        "RecoverIntermediateMasterClusterFilters",
    ],
)
def test_an_invalid_pattern_in_a_filter_list_is_refused(name: str) -> None:
    problem = problem_with({name: ["fine", "(open"]})
    assert problem.startswith(f'{name}: entry 2: "(open" is not a valid regular expression (')


@pytest.mark.parametrize("name", ["DataCenterPattern", "RegionPattern", "PhysicalEnvironmentPattern"])
def test_a_place_pattern_must_be_valid_and_have_a_group(name: str) -> None:
    assert "is not a valid regular expression" in problem_with({name: "(open"})
    assert "has no group" in problem_with({name: "dc[0-9]"})
    assert getattr(loaded(**{name: "(dc[0-9])"}).settings, name) == "(dc[0-9])"
    assert getattr(loaded(**{name: ""}).settings, name) == ""


def test_other_patterns_must_be_valid() -> None:
    assert "is not a valid regular expression" in problem_with({"RejectHostnameResolvePattern": "(open"})
    assert "is not a valid regular expression" in problem_with({"ClusterNameToAlias": {"(open": "x"}})
    assert '"(open" is not a valid' in problem_with({"FailureHoldDownMillisecondsByCluster": {"(open": 1}})


def test_what_python_reads_unlike_others_is_refused_as_a_pattern() -> None:
    assert "[[:alpha:]]; write it out" in problem_with({"RejectHostnameResolvePattern": "^[[:alpha:]]+$"})
    assert "is not a valid regular expression" in problem_with({"RejectHostnameResolvePattern": "[a--b]"})


def test_an_empty_entry_of_a_filter_list_is_refused() -> None:
    assert "would match every host" in problem_with({"DiscoveryIgnoreHostnameFilters": [""]})
    for entry in ("", "alias=", "alias~="):
        assert "names no cluster" in problem_with({"RecoverMasterClusterFilters": [entry]})


def test_words_are_taken_in_any_case_and_kept_in_one_spelling() -> None:
    settings = loaded(
        AuthenticationMethod="BASIC",
        HTTPAuthUser="u",
        PrependMessagesWithOrcIdentity="fqdn",
        HostnameResolveMethod="CName",
        MySQLHostnameResolveMethod="",
        ConsulScheme="HTTPS",
    ).settings
    assert settings.AuthenticationMethod == "basic"
    assert settings.PrependMessagesWithOrcIdentity == "FQDN"
    assert settings.HostnameResolveMethod == "cname"
    assert settings.MySQLHostnameResolveMethod == ""
    assert settings.ConsulScheme == "https"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("mysql", "mysql"), ("MySQL", "mysql"), ("sqlite3", "sqlite"), ("SQLite", "sqlite")],
)
def test_the_backend_has_one_spelling(written: str, meant: str) -> None:
    settings = loaded(BackendDB=written, SQLite3DataFile="/tmp/x.db").settings
    assert settings.BackendDB == meant
    assert settings.uses_sqlite == (meant == "sqlite")


def test_whole_numbers_serve_as_numbers_and_lists_become_tuples() -> None:
    settings = loaded(DeadInstancePollSecondsMultiplyFactor=2, PowerAuthUsers=["a", "b"]).settings
    assert settings.DeadInstancePollSecondsMultiplyFactor == 2.0
    assert isinstance(settings.DeadInstancePollSecondsMultiplyFactor, float)
    assert settings.PowerAuthUsers == ("a", "b")


def test_numbers_that_may_be_negative() -> None:
    settings = loaded(
        GraphitePollSeconds=-1, MySQLTopologyMaxAllowedPacket=-1, SeedAcceptableBytesDiff=-(2**63)
    ).settings
    assert settings.GraphitePollSeconds == -1
    assert settings.SeedAcceptableBytesDiff == -(2**63)
    assert "from -1 to" in problem_with({"MySQLTopologyMaxAllowedPacket": -2})


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loaded(SQLite3DataFile="data/o.db", RaftDataDir="/var/raft", SSLCertFile="").settings
    assert settings.SQLite3DataFile == str(tmp_path / "data" / "o.db")
    assert settings.RaftDataDir == "/var/raft"
    assert settings.SSLCertFile == ""


def test_a_long_value_is_cut_in_the_error() -> None:
    problem = problem_with({"ReadOnly": "x" * 100_000})
    assert len(problem) < 200
    assert "…" in problem


def test_the_node_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    file = {"BackendDB": "sqlite", "SQLite3DataFile": "/data/o.db", "ListenAddress": "h:3100"}
    assert loaded(**file).settings.node_directory() == Path("/data/o.db.node-3100")
    assert loaded(**file, NodeDirectory="/n").settings.node_directory() == Path("/n")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    mysql = loaded(BackendDB="mysql", SQLite3DataFile="/data/o.db", SetupName="west").settings
    assert mysql.node_directory() == Path("/state/orchestray/west.node-3000")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/o")
    assert mysql.node_directory() == Path("/home/o/.local/state/orchestray/west.node-3000")
