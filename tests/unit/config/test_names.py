"""Names of keys: any case, repeated, misspelt, obsolete, unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.config import KEYS, ConfigurationError, from_mapping, load
from services.config.names import IGNORED_KEYS, nearest_key
from tests.unit.config.helpers import problem_with, problems_of, write

OBSOLETE = [
    "DatabaselessMode__experimental",
    "BufferBinlogEvents",
    "BinlogFileHistoryDays",
    "MaintenanceOwner",
    "ReadLongRunningQueries",
    "DiscoveryPollSeconds",
    "ActiveNodeExpireSeconds",
    "AuditPageSize",
    "SlaveStartPostWaitMilliseconds",
    "MySQLTopologyMaxPoolConnections",
    "MaintenancePurgeDays",
    "MaintenanceExpireMinutes",
    "HttpTimeoutSeconds",
    "AgentAutoDiscover",
    "PseudoGTIDCoordinatesHistoryHeuristicMinutes",
    "PseudoGTIDPreferIndependentMultiMatch",
    "MaxOutdatedKeysToShow",
    "StatusSimpleHealth",
]


@pytest.mark.parametrize("written", ["instancepollseconds", "INSTANCEPOLLSECONDS", "instancePollSeconds"])
def test_names_match_in_any_case(written: str) -> None:
    assert from_mapping({written: 7}).settings.InstancePollSeconds == 7


def test_a_key_given_twice_is_an_error_that_names_both_spellings(tmp_path: Path) -> None:
    assert problems_of('{"Debug": true, "debug": true}', tmp_path) == [
        "Debug and debug are the same key; keep one of them"
    ]
    assert problems_of('{"Debug": true, "Debug": true}', tmp_path) == [
        "Debug is given twice; keep one of them"
    ]


def test_unknown_keys_may_be_repeated_as_old_files_do_for_comments(tmp_path: Path) -> None:
    path = write(
        tmp_path / "f", '{"#": "one", "Debug": true, "#": "two", "AuditPageSize": 1, "AuditPageSize": 2}'
    )
    loaded = load([path])
    assert loaded.settings.Debug
    assert [warning.split(": ")[1] for warning in loaded.warnings] == ['"#"', "AuditPageSize"]


def test_a_name_given_twice_in_a_map_is_an_error(tmp_path: Path) -> None:
    assert problems_of('{"ClusterNameToAlias": {"a": "b", "a": "c"}}', tmp_path) == [
        'ClusterNameToAlias: has "a" twice; keep one'
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("InstancePollSecond", "InstancePollSeconds"),
        ("InstancePolSecond", "InstancePollSeconds"),
        ("InstnacePollSeconds", "InstancePollSeconds"),
        ("xInstancePollSecondsx", "InstancePollSeconds"),
        ("recovermasterclusterfilter", "RecoverMasterClusterFilters"),
        ("ExpectFailureAnalysisConsensus", "ExpectFailureAnalysisConcensus"),
        ("FailureHoldDownMiliseconds", "FailureHoldDownMilliseconds"),
        ("MySQLTopologyUsers", "MySQLTopologyUser"),
    ],
)
def test_a_misspelt_key_is_an_error_that_names_the_right_one(written: str, meant: str) -> None:
    assert problem_with({written: 1}) == f"{written}: is not a known key; did you mean {meant}?"


def test_another_unknown_key_is_a_warning() -> None:
    loaded = from_mapping({"RecoveryPollSeconds": 10, "_comment": "mine"}, "f")
    assert loaded.warnings == (
        "f: RecoveryPollSeconds: is not a known key and is ignored; remove it or correct its name",
        "f: _comment: is not a known key and is ignored; remove it or correct its name",
    )


def test_three_edits_are_no_misspelling() -> None:
    assert nearest_key("InstancePollSec") is None
    assert nearest_key("xyzDebug") is None
    assert nearest_key("") is None


@pytest.mark.parametrize("name", OBSOLETE)
def test_an_obsolete_key_is_known_and_ignored(name: str) -> None:
    loaded = from_mapping({name.upper(): object()}, "f")
    assert loaded.warnings == (
        f"f: {name.upper()}: was a key of earlier versions of orchestrator and has no effect; "
        "it can be removed",
    )


def test_the_obsolete_keys_are_those_of_the_reference() -> None:
    assert sorted(IGNORED_KEYS) == sorted(OBSOLETE)
    assert not set(IGNORED_KEYS) & set(KEYS)


@pytest.mark.parametrize("name", ["RecoveryPollSeconds", "AuditPageSize"])
def test_strict_makes_warnings_about_names_errors(name: str, tmp_path: Path) -> None:
    (problem,) = problems_of({name: 1, "Debug": True}, tmp_path, strict=True)
    assert problem.startswith(f"{name}: ")
    with pytest.raises(ConfigurationError):
        from_mapping({name: 1}, strict=True)


def test_a_strange_name_is_shown_harmlessly() -> None:
    (warning,) = from_mapping({"a\nb" + "x" * 500: 1}, "f").warnings
    assert "\n" not in warning
    assert len(warning) < 200


def test_a_file_of_thousands_of_keys_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {f"MySQLTopologyUse{number}": 1 for number in range(5000)})
    with pytest.raises(ConfigurationError, match=r"f: has 5000 keys; is it a configuration file\?$"):
        load([path])


def test_the_distance_is_that_of_a_plain_computation() -> None:
    def plain(left: str, right: str) -> int:
        row = list(range(len(right) + 1))
        for i, a in enumerate(left, 1):
            above, row = row, [i]
            for j, b in enumerate(right, 1):
                row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        return row[-1]

    for name in (
        "ReadOly",
        "UseSSH",
        "UseTLS",
        "RaftBid",
        "Debugger",
        "PowerAuthUser",
        "ZkAdres",
        "SSLCertFiles",
    ):
        distance, meant = min((plain(name.lower(), known.lower()), known) for known in KEYS)
        found = nearest_key(name)
        assert (found is None) == (distance > 2), name
        if found is not None:
            assert plain(name.lower(), found.lower()) == distance, (name, meant)
