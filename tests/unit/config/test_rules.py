"""What must hold between keys, and what one key takes from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.config import ConfigurationError, load
from tests.unit.config.helpers import loaded, problem_with, write

_GIVE_A_SECRET = (
    'who leads; give all members the same secret (as "${VARIABLE}", or in a file that only the service '
    "reads), or the RaftSSL… files"
)
_RAFT: dict[str, object] = {"RaftEnabled": True, "RaftDataDir": "/r"}
VIOLATIONS: tuple[tuple[dict[str, object], str], ...] = (
    (
        {"ReplicationLagQuery": "select 1", "SlaveLagQuery": "select 2"},
        "ReplicationLagQuery: differs from its synonym SlaveLagQuery; remove SlaveLagQuery",
    ),
    (
        {
            "FailMasterPromotionIfSQLThreadNotUpToDate": True,
            "DelayMasterPromotionIfSQLThreadNotUpToDate": True,
        },
        "FailMasterPromotionIfSQLThreadNotUpToDate: is true, and so is "
        "DelayMasterPromotionIfSQLThreadNotUpToDate; set one of them false",
    ),
    (
        {"FailMasterPromotionOnLagMinutes": 3},
        "FailMasterPromotionOnLagMinutes: 3 requires ReplicationLagQuery; set that too, or this to 0",
    ),
    (
        {"PostponeReplicaRecoveryOnLagMinutes": 3, "PostponeSlaveRecoveryOnLagMinutes": 4},
        "PostponeReplicaRecoveryOnLagMinutes: 3 differs from 4 of its synonym "
        "PostponeSlaveRecoveryOnLagMinutes; remove the synonym",
    ),
    (
        {"BackendDB": "sqlite3"},
        'SQLite3DataFile: is empty, while BackendDB is "sqlite"; give the path of a file',
    ),
    (
        {"MySQLOrchestratorHost": "db", "MySQLOrchestratorUser": "orc"},
        'MySQLOrchestratorDatabase: is empty, while BackendDB is "mysql"; give the name of a database for '
        "orchestray alone",
    ),
    (
        {"BackendDB": "mysql", "MySQLOrchestratorDatabase": "orc", "MySQLOrchestratorUser": "orc"},
        'MySQLOrchestratorHost: is empty, while BackendDB is "mysql"; give the host of the backend\'s server',
    ),
    (
        {"MySQLOrchestratorUseMutualTLS": True, "MySQLOrchestratorSSLCertFile": "/c.pem"},
        "MySQLOrchestratorSSLPrivateKeyFile: is empty, while MySQLOrchestratorSSLCertFile is set; give the "
        "file that belongs to it",
    ),
    (
        {"RaftEnabled": True},
        "RaftDataDir: is empty, while RaftEnabled is true; give the path of a directory",
    ),
    (
        {"RaftEnabled": True, "RaftDataDir": "/r", "RaftBind": ""},
        'RaftBind: is empty, while RaftEnabled is true; give this node\'s address as "host:port"',
    ),
    (
        {"InstancePollSeconds": 301},
        "DeadInstancePollSecondsMax: 300 is less than 301 of InstancePollSeconds; make it at least as large",
    ),
    (
        {"LeaseMilliseconds": 1999},
        "LeaseMilliseconds: 1999 is less than twice the 1000 of LeaseRenewMilliseconds, so that one slow "
        "renewal would lose the lease; make it longer",
    ),
    (
        {**_RAFT, "RaftNodes": ["127.0.0.1:1", "127.0.0.1:2"]},
        'RaftNodes: does not name this node, "127.0.0.1:10008" (RaftAdvertise, or RaftBind); add it, written '
        "alike on every node, or set RaftAdvertise to the entry that means this node",
    ),
    (
        {**_RAFT, "RaftNodes": ["127.0.0.1", "127.0.0.1:2", "127.0.0.1:10008"]},
        'RaftNodes: names "127.0.0.1:10008" twice (a missing port is 10008); name each once',
    ),
    (
        {**_RAFT, "RaftBind": "10.0.0.1"},
        'RaftSecret: is empty, and "10.0.0.1:10008" is not of the loopback: whoever reaches it could decide '
        + _GIVE_A_SECRET,
    ),
    (
        {**_RAFT, "RaftNodes": ["127.0.0.1", "b.example", "c.example"]},
        'RaftSecret: is empty, and "b.example:10008" is not of the loopback: whoever reaches it could decide '
        + _GIVE_A_SECRET,
    ),
    ({**_RAFT, "RaftSecret": "short"}, "RaftSecret: can be guessed; give at least 16 characters"),
    (
        {**_RAFT, "RaftSSLCertFile": "/c", "RaftSSLCAFile": "/a"},
        "RaftSSLPrivateKeyFile: is empty, while RaftSSLCertFile is set; TLS between members needs all three "
        "files",
    ),
    (
        {"AuthenticationMethod": "multi"},
        'HTTPAuthUser: is empty, while AuthenticationMethod is "multi"; give a user name',
    ),
)
SOUND: tuple[dict[str, object], ...] = (
    {"ReplicationLagQuery": "select 1", "SlaveLagQuery": "select 1"},
    {"FailMasterPromotionIfSQLThreadNotUpToDate": True},
    {"FailMasterPromotionOnLagMinutes": 3, "ReplicationLagQuery": "select 1"},
    {"FailMasterPromotionOnLagMinutes": 3, "SlaveLagQuery": "select 1"},
    {"PostponeReplicaRecoveryOnLagMinutes": 3, "PostponeSlaveRecoveryOnLagMinutes": 3},
    {"BackendDB": "sqlite3", "SQLite3DataFile": "/o.db"},
    {"MySQLOrchestratorHost": "db", "MySQLOrchestratorUser": "orc", "MySQLOrchestratorDatabase": "orc"},
    {"BackendDB": "sqlite", "SQLite3DataFile": "/o.db", "MySQLOrchestratorHost": "left over"},
    {"RaftEnabled": True, "RaftDataDir": "/r"},
    {
        **_RAFT,
        "RaftBind": "0.0.0.0",
        "RaftAdvertise": "a",
        "RaftNodes": ["a", "b", "c:7"],
        "RaftSecret": "s" * 16,
    },
    {"RaftNodes": ["a", "a"]},
    {"InstancePollSeconds": 300},
    {"LeaseMilliseconds": 2000},
    {"AuthenticationMethod": "multi", "HTTPAuthUser": "u"},
)


@pytest.mark.parametrize(("values", "problem"), VIOLATIONS)
def test_a_violated_rule_refuses_the_configuration(values: dict[str, object], problem: str) -> None:
    assert problem_with(values) == problem


@pytest.mark.parametrize("values", SOUND)
def test_a_kept_rule_does_not(values: dict[str, object]) -> None:
    assert loaded(**values).warnings == ()


@pytest.mark.parametrize(
    "url", ["http://h:3000", "https://h.example.com:443", "http://[::1]:3000", "HTTP://10.0.0.1:80", ""]
)
def test_an_advertised_address(url: str) -> None:
    assert loaded(HTTPAdvertise=url).settings.HTTPAdvertise == url


@pytest.mark.parametrize(
    "url",
    [
        "h:3000",
        "ftp://h:1",
        "http://h",
        "http://:3000",
        "http://h:3000/",
        "http://h:3000/x",
        "http://h:99999",
    ],
)
def test_an_advertised_address_has_scheme_host_and_port_and_nothing_else(url: str) -> None:
    assert problem_with({"HTTPAdvertise": url}).startswith(f'HTTPAdvertise: "{url}" has ')


def test_no_rule_speaks_of_a_key_that_is_wrong_in_itself(tmp_path: Path) -> None:
    assert problem_with({"BackendDB": "sqlite", "SQLite3DataFile": 3}).startswith("SQLite3DataFile: 3 is")
    misspelt = problem_with({"BackendDB": "sqlite", "SQLite3DataFil": "/o.db"})
    assert misspelt.startswith("SQLite3DataFil: is not a known key")


def test_a_rule_names_the_files_that_set_its_keys(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"InstancePollSeconds": 50})
    two = write(tmp_path / "two", {"DeadInstancePollSecondsMax": 40})
    with pytest.raises(ConfigurationError) as caught:
        load([one, two])
    assert str(caught.value).startswith(f"{two} and {one}: DeadInstancePollSecondsMax: 40 is less than 50")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("", ""), ("/", ""), ("x", "/x"), ("/x", "/x"), ("/x/", "/x"), ("//x/y//", "/x/y")],
)
def test_the_url_prefix_gets_one_leading_and_no_trailing_slash(written: str, meant: str) -> None:
    assert loaded(URLPrefix=written).settings.URLPrefix == meant


@pytest.mark.parametrize(
    ("written", "meant"), [("mysql/master", "mysql/master/"), ("a//", "a/"), ("/", "/"), ("", "/")]
)
def test_the_key_prefix_gets_exactly_one_trailing_slash(written: str, meant: str) -> None:
    assert loaded(KVClusterMasterPrefix=written).settings.KVClusterMasterPrefix == meant
    assert loaded().settings.KVClusterMasterPrefix == "mysql/master/"


def test_raft_advertises_where_it_binds_unless_told() -> None:
    assert loaded().settings.RaftAdvertise == "127.0.0.1:10008"
    assert loaded(RaftBind="10.0.0.1").settings.RaftAdvertise == "10.0.0.1"
    assert loaded(RaftBind="10.0.0.1", RaftAdvertise="h:1").settings.RaftAdvertise == "h:1"


def test_minutes_of_the_recovery_block_count_only_if_the_seconds_are_0() -> None:
    assert loaded().settings.RecoveryPeriodBlockSeconds == 3600
    both = loaded(RecoveryPeriodBlockSeconds=0, RecoveryPeriodBlockMinutes=5)
    assert both.settings.RecoveryPeriodBlockSeconds == 300
    assert both.warnings == ()
    assert loaded(RecoveryPeriodBlockSeconds=0).settings.RecoveryPeriodBlockSeconds == 3600
    assert (
        loaded(RecoveryPeriodBlockSeconds=7, RecoveryPeriodBlockMinutes=5).settings.RecoveryPeriodBlockSeconds
        == 7
    )
    assert loaded(RecoveryPeriodBlockSeconds=300, RecoveryPeriodBlockMinutes=5).warnings == ()
    alone = loaded(RecoveryPeriodBlockMinutes=5)
    assert alone.settings.RecoveryPeriodBlockSeconds == 3600
    assert alone.warnings == (
        "x: RecoveryPeriodBlockMinutes: has no effect, because RecoveryPeriodBlockSeconds is 3600; "
        "set RecoveryPeriodBlockSeconds instead",
    )


def test_the_time_of_a_locked_master_is_the_reasonable_lag_unless_told() -> None:
    assert loaded().settings.ReasonableLockedSemiSyncMasterSeconds == 10
    assert loaded(ReasonableReplicationLagSeconds=7).settings.ReasonableLockedSemiSyncMasterSeconds == 7
    assert loaded(ReasonableLockedSemiSyncMasterSeconds=3).settings.ReasonableLockedSemiSyncMasterSeconds == 3


@pytest.mark.parametrize(("written", "meant"), [(-3, 5), (4, 5), (5, 5), (64, 64), (65, 64)])
def test_the_consul_batch_is_clamped(written: int, meant: int) -> None:
    result = loaded(ConsulMaxKVsPerTransaction=written)
    assert result.settings.ConsulMaxKVsPerTransaction == meant
    assert bool(result.warnings) == (written != meant)


def test_synonyms_fill_in_the_key_that_replaced_them() -> None:
    settings = loaded(SlaveLagQuery="select 1", PostponeSlaveRecoveryOnLagMinutes=4).settings
    assert settings.ReplicationLagQuery == "select 1"
    assert settings.PostponeReplicaRecoveryOnLagMinutes == 4
    assert loaded(MasterFailoverDetachSlaveMasterHost=True).settings.MasterFailoverDetachReplicaMasterHost
    assert loaded(MasterFailoverDetachReplicaMasterHost=True).settings.MasterFailoverDetachReplicaMasterHost
    assert not loaded().settings.MasterFailoverDetachReplicaMasterHost


def test_lost_replicas_are_detached_unless_the_synonym_is_false_too() -> None:
    assert loaded().settings.DetachLostReplicasAfterMasterFailover
    assert not loaded(
        DetachLostSlavesAfterMasterFailover=False
    ).settings.DetachLostReplicasAfterMasterFailover
    assert loaded(
        DetachLostSlavesAfterMasterFailover=False, DetachLostReplicasAfterMasterFailover=True
    ).settings.DetachLostReplicasAfterMasterFailover
    one_false = loaded(DetachLostReplicasAfterMasterFailover=False)
    assert one_false.settings.DetachLostReplicasAfterMasterFailover
    assert one_false.warnings == (
        "x: DetachLostReplicasAfterMasterFailover: false has no effect while "
        "DetachLostSlavesAfterMasterFailover is true; set DetachLostSlavesAfterMasterFailover to false",
    )


def test_automatic_pseudo_gtid_overrides_four_keys() -> None:
    result = loaded(AutoPseudoGTID=True, PseudoGTIDPattern="mine", DetectPseudoGTIDQuery="mine")
    assert result.settings.PseudoGTIDPattern == "drop view if exists `_pseudo_gtid_`"
    assert result.settings.PseudoGTIDPatternIsFixedSubstring is True
    assert result.settings.PseudoGTIDMonotonicHint == "asc:"
    assert result.settings.DetectPseudoGTIDQuery == "select 1"
    assert loaded(DetectPseudoGTIDQuery="mine").settings.DetectPseudoGTIDQuery == "mine"


@pytest.mark.parametrize(
    "values",
    [
        {"ServeAgentsHttp": True},
        {"AutoPseudoGTID": True},
        {"PseudoGTIDPattern": "x"},
        {"SkipMaxScaleCheck": False},
        {"GraphiteAddr": "h:2003"},
        {"ConsulCrossDataCenterDistribution": True},
    ],
)
def test_what_is_not_supported_says_so(values: dict[str, object]) -> None:
    (name,) = values
    assert loaded(**values).warnings[0] == (
        f"x: {name}: has no effect: orchestray does not support this; remove it"
    )


def test_basic_authentication_without_a_user_is_remarked() -> None:
    assert loaded(AuthenticationMethod="basic").warnings == (
        'x: AuthenticationMethod: is "basic", while HTTPAuthUser is empty; give a user name',
    )


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (
            {"PreventCrossDataCenterMasterFailover": True},
            "PreventCrossDataCenterMasterFailover: has no effect, because nothing tells where servers are; "
            "set DataCenterPattern or DetectDataCenterQuery",
        ),
        (
            {"PreventCrossRegionMasterFailover": True, "DataCenterPattern": "(.)"},
            "PreventCrossRegionMasterFailover: has no effect, because nothing tells where servers are; "
            "set RegionPattern or DetectRegionQuery",
        ),
        (
            {"MasterFailoverDetachReplicaMasterHost": True},
            "MasterFailoverDetachReplicaMasterHost: has no effect while "
            "ApplyMySQLPromotionAfterMasterFailover is true, because the promoted server forgets its source; "
            "remove it",
        ),
    ],
)
def test_a_setting_about_promotion_that_cannot_do_what_it_says_is_remarked(
    values: dict[str, object], warning: str
) -> None:
    assert loaded(**values).warnings == (f"x: {warning}",)


def test_settings_about_promotion_that_do_what_they_say_are_not_remarked() -> None:
    assert not loaded(
        PreventCrossDataCenterMasterFailover=True,
        DetectDataCenterQuery="select 'x'",
        PreventCrossRegionMasterFailover=True,
        RegionPattern="(.)",
        MasterFailoverDetachReplicaMasterHost=True,
        ApplyMySQLPromotionAfterMasterFailover=False,
    ).warnings


def test_an_even_number_of_raft_members_is_warned_of() -> None:
    nodes = ["127.0.0.1", "127.0.0.1:2"]
    (warning,) = loaded(**_RAFT, RaftNodes=nodes, RaftSecret="s" * 16).warnings
    assert "RaftNodes: names 2 members, which survive the loss of no more than 1 would" in warning


def test_members_that_cannot_pass_changes_on_are_warned_of() -> None:
    nodes = ["127.0.0.1", "127.0.0.1:2", "127.0.0.1:3"]
    (warning,) = loaded(**_RAFT, RaftNodes=nodes).warnings
    assert "RaftSecret: is empty: a node that does not lead refuses changes" in warning
    assert not loaded(**_RAFT, RaftNodes=nodes[:1]).warnings
