"""``orchestray analyze FILE``: a saved topology in, findings out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.cli.analyze import run

MASTER, BROKEN = 22293, "error connecting to master 'repl@db:22293' - retry-time: 1 retries: 86400"


def instance(port: int, source: int = 0, depth: int = 0, **fields: Any) -> dict[str, Any]:
    """A server as the reference shows it when its own test topology is read from the backend."""
    is_replica = source != 0
    return {
        "Key": {"Hostname": "db", "Port": port},
        "ServerID": port,
        "Version": "5.6.28-log",
        "Binlog_format": "STATEMENT",
        "LogBinEnabled": True,
        "LogSlaveUpdatesEnabled": True,
        "LogReplicationUpdatesEnabled": True,
        "MasterKey": {"Hostname": "db" if is_replica else "", "Port": source},
        "ReplicationSQLThreadRuning": is_replica,
        "ReplicationIOThreadRuning": is_replica,
        "ReplicationSQLThreadState": 1 if is_replica else -1,
        "ReplicationIOThreadState": 1 if is_replica else -1,
        "LastIOError": '""',
        "GTIDMode": "OFF",
        "UsingPseudoGTID": True,
        "SlaveLagSeconds": {"Int64": 0, "Valid": is_replica},
        "ReplicationLagSeconds": {"Int64": 0, "Valid": is_replica},
        "ClusterName": f"db:{MASTER}",
        "ReplicationDepth": depth,
        "IsLastCheckValid": True,
        "LastCheckPartialSuccess": False,
    } | fields


def topology(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """22293 with replicas 22294, 22296, 22297, and 22295 below 22294; ``p22294={…}`` changes one."""
    servers = [
        instance(22293),
        instance(22294, 22293, 1),
        instance(22295, 22294, 2),
        instance(22296, 22293, 1, LogBinEnabled=False),
        instance(22297, 22293, 1),
    ]
    return [server | changes.get(f"p{server['Key']['Port']}", {}) for server in servers]


@pytest.fixture
def analyze(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run it on a value; returns exit status, stdout, stderr."""

    def call(value: Any, *options: str) -> tuple[int, str, str]:
        file = tmp_path / "instances.json"
        file.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        status = run([*options, str(file)])
        out, err = capsys.readouterr()
        return status, out, err

    return call


LOST = {"IsLastCheckValid": False}
PARTIAL = {"IsLastCheckValid": False, "LastCheckPartialSuccess": True}
# The reference's own tests change the flags and leave the states as they were.
NO_RECEIVER = {"ReplicationIOThreadRuning": False}
NO_APPLIER = {"ReplicationSQLThreadRuning": False}
CANNOT_CONNECT = {"ReplicationIOThreadRuning": False, "LastIOError": BROKEN}
LAG = {name: {"Int64": 600, "Valid": True} for name in ("SlaveLagSeconds", "ReplicationLagSeconds")}
SEMI_SYNC = {
    "SemiSyncMasterEnabled": True,
    "SemiSyncMasterWaitForReplicaCount": 2,
    "SemiSyncMasterClients": 1,
}
LOCKED = SEMI_SYNC | {"SemiSyncMasterStatus": True}


def replicas(change: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"p22294": change, "p22296": change, "p22297": change}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"p22293": LOST, **replicas(NO_RECEIVER)}, ["22293 DeadMaster"]),
        ({"p22293": PARTIAL, **replicas(NO_RECEIVER)}, ["22293 DeadMaster"]),
        (
            {"p22293": LOST, **replicas(NO_APPLIER), "p22296": LOST},
            ["22293 DeadMasterAndSomeReplicas"],
        ),
        (
            {"p22293": LOST, **replicas(LOST)},
            ["22293 DeadMasterAndReplicas", "22294 UnreachableIntermediateMaster"],
        ),
        ({"p22293": LOST}, ["22293 UnreachableMaster"]),
        ({"p22293": PARTIAL}, []),
        (
            {"p22293": PARTIAL, "p22294": CANNOT_CONNECT},
            ["22293 UnreachableMaster", "22294 FirstTierReplicaFailingToConnectToMaster"],
        ),
        ({"p22293": LOST, **replicas(LAG)}, ["22293 UnreachableMasterWithLaggingReplicas"]),
        ({"p22293": LOST, "p22294": LAG, "p22296": LAG}, ["22293 UnreachableMaster"]),
        (
            {"p22293": LOST, **replicas(LAG), "p22297": LAG | {"SQLDelay": 600}},
            ["22293 UnreachableMasterWithLaggingReplicas"],
        ),
        ({"p22293": LOST, **replicas(LAG | {"SQLDelay": 600})}, ["22293 UnreachableMaster"]),
        (replicas(NO_RECEIVER), ["22293 AllMasterReplicasNotReplicating"]),
        (replicas(NO_RECEIVER) | {"p22297": LOST}, ["22293 AllMasterReplicasNotReplicatingOrDead"]),
        ({"p22293": LOCKED}, ["22293 LockedSemiSyncMasterHypothesis"]),
        (
            {"p22293": LOCKED | {"BinlogCoordinatesStaleSeconds": 60}, "p22296": LOST},
            ["22293 LockedSemiSyncMaster"],
        ),
        ({"p22293": SEMI_SYNC}, ["22293 NotEnoughValidSemiSyncReplicasStructureWarning"]),
        ({"p22293": SEMI_SYNC | {"SemiSyncMasterClients": 2}}, []),
        (
            {"p22294": LOST, "p22295": CANNOT_CONNECT},
            ["22294 DeadIntermediateMasterWithSingleReplicaFailingToConnect"],
        ),
        ({"p22294": LOST, "p22295": NO_APPLIER}, ["22294 DeadIntermediateMasterWithSingleReplica"]),
        ({"p22294": LOST, "p22295": LOST}, ["22294 DeadIntermediateMasterAndReplicas"]),
        ({"p22294": LOST}, ["22294 UnreachableIntermediateMaster"]),
        ({"p22294": PARTIAL}, []),
        ({"p22294": LOST, "p22295": LAG}, ["22294 UnreachableIntermediateMasterWithLaggingReplicas"]),
        ({"p22295": NO_APPLIER}, ["22294 AllIntermediateMasterReplicasNotReplicating"]),
        (
            {"p22295": NO_APPLIER | {"IsDowntimed": True}},
            ["22294 AllIntermediateMasterReplicasNotReplicating"],  # listed, though skippable
        ),
        ({"p22294": CANNOT_CONNECT}, ["22294 FirstTierReplicaFailingToConnectToMaster"]),
        ({"p22297": {"Version": "5.7.8"}}, ["22293 MultipleMajorVersionsLoggingReplicasStructureWarning"]),
        ({"p22297": {"Binlog_format": "ROW"}}, ["22293 StatementAndRowLoggingReplicasStructureWarning"]),
        ({"p22296": {"Binlog_format": "ROW"}}, []),  # it writes no binary log
        ({"p22293": {"ReadOnly": True}}, ["22293 NoWriteableMasterStructureWarning"]),
        ({"p22293": {"UsingPseudoGTID": False}}, ["22293 NoFailoverSupportStructureWarning"]),
        (replicas({"LogReplicationUpdatesEnabled": False}), ["22293 NoLoggingReplicasStructureWarning"]),
        (
            {"p22294": {"GtidErrant": "00020194-3333-3333-3333-333333333333:1-2"}},
            ["22293 ErrantGTIDStructureWarning"],
        ),
        (
            {"p22294": {"GtidErrant": "00020194-3333-3333-3333-333333333333:1-2", "IsDowntimed": True}},
            [],
        ),
        ({"p22297": {"GTIDMode": "ON"}}, ["22293 DifferentGTIDModesStructureWarning"]),
    ],
)
def test_the_answer_is_that_of_the_client(
    analyze: Any, changes: dict[str, dict[str, Any]], expected: list[str]
) -> None:
    lines = [f"db:{port} (cluster db:22293): {text}" for port, text in map(str.split, expected)]
    assert analyze(topology(**changes)) == (0, "".join(f"{line}\n" for line in lines), "")


def test_old_names_and_states_alone_do(analyze: Any) -> None:
    servers = [
        {"Key": {"Hostname": "m", "Port": 1}, "IsLastCheckValid": False},
        {
            "Key": {"Hostname": "a", "Port": 1},
            "MasterKey": {"Hostname": "m", "Port": 1},
            "IsLastCheckValid": True,
            "Slave_IO_Running": False,
            "Slave_SQL_Running": True,
        },
    ]
    assert analyze(servers)[1] == "m:1 (cluster m:1): DeadMaster\n"
    servers[1] |= {"Slave_IO_Running": True}
    assert analyze(servers)[1] == "m:1 (cluster m:1): UnreachableMaster\n"
    servers[1] |= {"Slave_IO_Running": None, "Slave_SQL_Running": None, "ReplicationIOThreadState": 1}
    servers[1] |= {"ReplicationSQLThreadState": 1}
    assert analyze(servers)[1] == "m:1 (cluster m:1): UnreachableMaster\n"
    servers[1] |= {"ReplicationIOThreadState": 2}
    assert analyze(servers)[1] == "m:1 (cluster m:1): DeadMaster\n"


def test_places_and_clusters_are_derived_where_the_file_has_none(analyze: Any) -> None:
    missing = ("ClusterName", "ReplicationDepth")
    bare = [
        {name: value for name, value in server.items() if name not in missing}
        for server in topology(p22294=CANNOT_CONNECT)
    ]
    assert analyze(bare)[1] == "db:22294 (cluster db:22293): FirstTierReplicaFailingToConnectToMaster\n"
    blank = [server | {"ClusterName": ""} for server in bare]
    assert analyze(blank)[1] == analyze(bare)[1]


def test_places_and_clusters_in_the_file_are_taken_as_given(analyze: Any) -> None:
    named = [server | {"ClusterName": "shop"} for server in topology(p22294=CANNOT_CONNECT)]
    assert analyze(named)[1] == "db:22294 (cluster shop): FirstTierReplicaFailingToConnectToMaster\n"
    assert analyze(topology(p22294=CANNOT_CONNECT | {"ReplicationDepth": 3}))[1] == ""
    flagged = topology(p22293=LOST, p22294=NO_RECEIVER | {"IsCoMaster": True}, p22296=LOST, p22297=LOST)
    (entry, *_) = json.loads(analyze(flagged, "--json")[1])
    assert (entry["Analysis"], entry["IsCoMaster"]) == ("DeadMasterAndSomeReplicas", True)


def test_the_master_of_a_replica_need_not_be_in_the_file(analyze: Any) -> None:
    assert analyze([instance(1, 9, 1), instance(2, 9) | CANNOT_CONNECT]) == (0, "", "")


def test_objects_of_the_api(analyze: Any) -> None:
    servers = topology(p22293=LOST | {"SuggestedClusterAlias": "shop"}, **replicas(CANNOT_CONNECT))
    status, out, err = analyze(servers, "--json")
    assert (status, err) == (0, "")
    entries = json.loads(out)
    assert [entry["Analysis"] for entry in entries] == [
        "DeadMaster",
        *["FirstTierReplicaFailingToConnectToMaster"] * 3,
    ]
    master = entries[0]
    assert master["CountReplicasFailingToConnectToMaster"] == 3
    assert master["ClusterDetails"]["ClusterAlias"] == "shop"
    assert [key["Port"] for key in master["Replicas"]] == [22294, 22296, 22297]
    assert analyze(topology(), "--json")[1] == "[]\n"


def test_a_reply_of_the_api_as_it_is_saved(analyze: Any) -> None:
    envelope = {"Code": "OK", "Message": "", "Details": topology(p22293=LOST)}
    assert analyze(envelope)[1] == "db:22293 (cluster db:22293): UnreachableMaster\n"
    with_mark = b"\xef\xbb\xbf" + json.dumps(topology(p22293=LOST)).encode()
    assert analyze(with_mark)[1] == analyze(envelope)[1]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = io.TextIOWrapper(io.BytesIO(json.dumps(topology(p22293=LOST)).encode()))
    monkeypatch.setattr(sys, "stdin", text)
    assert run(["-"]) == 0
    assert capsys.readouterr().out == "db:22293 (cluster db:22293): UnreachableMaster\n"


def test_a_configuration_sets_thresholds_and_filters(analyze: Any, tmp_path: Path) -> None:
    config = tmp_path / "orchestray.conf.json"

    def lines(changes: dict[str, Any], **settings: Any) -> list[str]:
        config.write_text(json.dumps(settings))
        status, out, err = analyze(topology(**changes), "--config", str(config))
        assert (status, err) == (0, "")
        return [line.rpartition(" ")[2] for line in out.splitlines()]

    lagging = {"p22293": LOST, **replicas(LAG)}
    assert lines(lagging) == ["UnreachableMasterWithLaggingReplicas"]
    assert lines(lagging, ReasonableReplicationLagSeconds=600) == ["UnreachableMaster"]
    locked = {"p22293": LOCKED | {"BinlogCoordinatesStaleSeconds": 60}}
    assert lines(locked) == ["LockedSemiSyncMaster"]
    assert lines(locked, ReasonableLockedSemiSyncMasterSeconds=90) == ["LockedSemiSyncMasterHypothesis"]
    too_many = {"p22293": LOCKED | {"SemiSyncMasterClients": 3}}
    assert lines(too_many, EnforceExactSemiSyncReplicas=True) == ["MasterWithTooManySemiSyncReplicas"]
    read_only = {"p22293": {"ReadOnly": True}}
    assert lines(read_only, RecoverNonWriteableMaster=True) == ["NoWriteableMasterStructureWarning"]
    assert lines(lagging, RecoveryIgnoreHostnameFilters=["^db$"]) == []


def test_the_configuration_says_what_is_recovered(analyze: Any, tmp_path: Path) -> None:
    config = tmp_path / "orchestray.conf.json"
    config.write_text(json.dumps({"RecoverMasterClusterFilters": ["alias=shop"]}))
    servers = topology(p22293=LOST | {"SuggestedClusterAlias": "shop"})
    (entry,) = json.loads(analyze(servers, "--json", "--config", str(config))[1])
    assert entry["ClusterDetails"]["HasAutomatedMasterRecovery"] is True
    assert entry["ClusterDetails"]["HasAutomatedIntermediateMasterRecovery"] is False


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON: Expecting value (line 1, column 1)"),
        (b'[{"Key": ]', "is not JSON: Expecting value (line 1, column 10)"),
        (b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        (b"[" * 100_000, "is not JSON that can be read: "),
        (b"7", "expected a JSON array of instances, or an object with one in Details"),
        (b"null", "expected a JSON array of instances, or an object with one in Details"),
        (b"{}", "expected a JSON array of instances, or an object with one in Details"),
        (b'{"Code":"ERROR","Message":"no such"}', "holds an error reply of the API, not instances: no such"),
        (b"[7]", "instance 0: expected an object, found 7"),
        (b"[{}]", "instance 0: Key: expected a hostname and a port, found null"),
    ],
)
def test_a_file_that_cannot_be_analysed_is_an_error_on_one_line(
    analyze: Any, content: bytes, complaint: str
) -> None:
    status, out, err = analyze(content)
    assert (status, out) == (1, "")
    assert err.startswith("orchestray analyze: /")
    assert f"instances.json: {complaint}" in err
    assert err.count("\n") == 1


def test_wrong_types_are_named(analyze: Any) -> None:
    status, out, err = analyze(topology(p22296={"IsLastCheckValid": "yes"}))
    assert (status, out) == (1, "")
    assert err.endswith(': instance 3 (db:22296): IsLastCheckValid: expected true or false, found "yes"\n')


def test_a_server_that_is_there_twice_is_an_error(analyze: Any) -> None:
    status, _, err = analyze([*topology(), instance(22295)])
    assert status == 1
    assert err.endswith("instance 5 (db:22295) is there already, as instance 2\n")


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing")
    assert run([missing]) == 1
    assert (
        capsys.readouterr().err
        == f"orchestray analyze: {missing}: cannot be read: No such file or directory\n"
    )
    (tmp_path / "instances").write_text("[]")
    assert run(["--config", missing, str(tmp_path / "instances")]) == 1
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "status"), [([], 2), (["--nonsense", "x"], 2), (["--help"], 0)])
def test_a_wrong_command_line(argv: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == status
    out, err = capsys.readouterr()
    assert "usage: orchestray analyze" in out + err


def test_it_starts_light(tmp_path: Path) -> None:
    file, config = tmp_path / "instances.json", tmp_path / "conf.json"
    file.write_text(json.dumps(topology(p22293=LOST)))
    config.write_text("{}")
    heavy = {"ray", "fastapi", "sqlalchemy", "pymysql", "asyncio", "structlog"}
    script = (
        "import sys; from api.cli.analyze import run; status = run(sys.argv[1:]);"
        f" print(sorted({heavy!r} & set(sys.modules))); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--config", str(config), str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
