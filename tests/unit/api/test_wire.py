"""Instances and analyses in the JSON of the API, and back (http-api.md 6)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from api.wire import WireError, analysis_to_wire, dumps, instance_from_wire, instance_to_wire
from api.wire_kinds import quote, unquote
from services.analysis import AnalysisPolicy, analyze
from services.topology.channel import Channel, ChannelTls
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import TreePolicy, derive

A = InstanceKey("a.example.com", 3306)
B = InstanceKey("b.example.com", 3307)
WIRE_A = {"Hostname": "a.example.com", "Port": 3306}
WIRE_B = {"Hostname": "b.example.com", "Port": 3307}

INSTANCE_FIELDS = """
Key InstanceAlias Uptime ServerID ServerUUID Version VersionComment FlavorName ReadOnly Binlog_format
BinlogRowImage LogBinEnabled LogSlaveUpdatesEnabled LogReplicationUpdatesEnabled SelfBinlogCoordinates
MasterKey MasterUUID AncestryUUID IsDetachedMaster Slave_SQL_Running ReplicationSQLThreadRuning
Slave_IO_Running ReplicationIOThreadRuning ReplicationSQLThreadState ReplicationIOThreadState
HasReplicationFilters GTIDMode SupportsOracleGTID UsingOracleGTID UsingMariaDBGTID UsingPseudoGTID
ReadBinlogCoordinates ExecBinlogCoordinates IsDetached RelaylogCoordinates LastSQLError LastIOError
SecondsBehindMaster SQLDelay ExecutedGtidSet GtidPurged GtidErrant SlaveLagSeconds ReplicationLagSeconds
SlaveHosts Replicas ClusterName SuggestedClusterAlias DataCenter Region PhysicalEnvironment
ReplicationDepth IsCoMaster HasReplicationCredentials ReplicationCredentialsAvailable SemiSyncAvailable
SemiSyncPriority SemiSyncMasterPluginNewVersion SemiSyncReplicaPluginNewVersion SemiSyncMasterEnabled
SemiSyncReplicaEnabled SemiSyncMasterTimeout SemiSyncMasterWaitForReplicaCount SemiSyncMasterStatus
SemiSyncMasterClients SemiSyncReplicaStatus LastSeenTimestamp IsLastCheckValid IsUpToDate
IsRecentlyChecked SecondsSinceLastSeen CountMySQLSnapshots IsCandidate PromotionRule IsDowntimed
DowntimeReason DowntimeOwner DowntimeEndTimestamp ElapsedDowntime UnresolvedHostname AllowTLS
ReplicationSSLCAFile ReplicationSSLCAPath ReplicationSSLCert ReplicationSSLCipher ReplicationSSLCRLFile
ReplicationSSLCRLPath ReplicationSSLKey ReplicationTLSVersion ReplicationTLSCiphersuites
ReplicationSourcePublicKeyPath ReplicationSSLVerifyServerCert ReplicationGetSourcePublicKey Problems
LastDiscoveryLatency ReplicationGroupName ReplicationGroupIsSinglePrimary ReplicationGroupMemberState
ReplicationGroupMemberRole ReplicationGroupMembers ReplicationGroupPrimaryInstanceKey QSP
LastCheckPartialSuccess BinlogCoordinatesStaleSeconds LastCheckOutcome LastCheckError
ReplicationChannels
"""

ANALYSIS_FIELDS = """
AnalyzedInstanceKey AnalyzedInstanceMasterKey ClusterDetails AnalyzedInstanceDataCenter
AnalyzedInstanceRegion AnalyzedInstancePhysicalEnvironment AnalyzedInstanceBinlogCoordinates IsMaster
IsReplicationGroupMember IsCoMaster LastCheckValid LastCheckPartialSuccess CountReplicas
CountValidReplicas CountValidReplicatingReplicas CountReplicasFailingToConnectToMaster
CountDowntimedReplicas ReplicationDepth Replicas SlaveHosts IsFailingToConnectToMaster Analysis
Description StructureAnalysis IsDowntimed IsReplicasDowntimed DowntimeEndTimestamp
DowntimeRemainingSeconds IsBinlogServer PseudoGTIDImmediateTopology OracleGTIDImmediateTopology
MariaDBGTIDImmediateTopology BinlogServerImmediateTopology SemiSyncMasterEnabled SemiSyncMasterStatus
SemiSyncMasterWaitForReplicaCount SemiSyncMasterClients CountSemiSyncReplicasEnabled CountLoggingReplicas
CountStatementBasedLoggingReplicas CountMixedBasedLoggingReplicas CountRowBasedLoggingReplicas
CountDistinctMajorVersionsLoggingReplicas CountDelayedReplicas CountLaggingReplicas IsActionableRecovery
ProcessingNodeHostname ProcessingNodeToken CountAdditionalAgreeingNodes StartActivePeriod
SkippableDueToDowntime GTIDMode MinReplicaGTIDMode MaxReplicaGTIDMode MaxReplicaGTIDErrant CommandHint
IsReadOnly
"""

NOT_ON_THE_WIRE = {
    "super_read_only",
    "last_io_errno",
    "last_sql_errno",
    "retrieved_gtid_set",
    "gtid_binlog_state",
    "gtid_slave_pos",
    "gtid_io_pos",
    "master_server_id",
    "semi_sync_master_wait_point",
    "semi_sync_master_wait_no_replica",
    "semi_sync_master_no_tx",
    "semi_sync_unbroken",
    "lacking_privileges",
    "maintenance",
    "last_check_outcome",
    "last_check_error",
    "checked_at",
    "seen_at",
    "cluster_id",
    "problems",
    "channels",
    "channel_name",
    "replication_user",
    "replication_tls",
    "reported_hostname",
    "reported_host",
    "detected_cluster_domain",
    "detected_promotion_rule",
    "also_known_as",
    "source_host",
}
"""Facts that the reference's shape has no field for, or that are not read back."""


def read(**fields: Any) -> Instance:
    return instance_from_wire({"Key": WIRE_A, **fields})


def filled() -> Instance:
    """An instance of which every field differs from its default."""
    values: dict[str, Any] = {}
    for number, each in enumerate(dataclasses.fields(Instance), start=1):
        default = each.default
        if each.name.endswith("_state") and isinstance(default, ThreadState):
            values[each.name] = ThreadState.OTHER
        elif each.name.endswith("coordinates"):
            values[each.name] = BinlogCoordinates(f"log.{number:06}", number, each.name.startswith("relay"))
        elif each.name in ("key", "master_key", "replication_group_primary_key"):
            values[each.name] = InstanceKey(f"host{number}", number)
        elif each.name == "channels":
            values[each.name] = (Channel(name="west"),)
        elif each.name == "replication_tls":
            values[each.name] = ChannelTls(ca_file="/ca.pem")
        elif each.name in ("also_known_as", "replicas", "replication_group_members"):
            values[each.name] = (A, B)
        elif each.name == "problems":
            values[each.name] = ("errant_gtid",)
        elif isinstance(default, CheckOutcome):
            values[each.name] = CheckOutcome.REFUSED
        elif isinstance(default, bool) or each.name == "replication_get_source_public_key":
            values[each.name] = not default
        elif isinstance(default, str):
            values[each.name] = f'text {number} of "é"'
        else:
            values[each.name] = number
    return Instance(**values)


# Writing


def test_an_instance_has_all_fields_of_the_reference_in_order_then_ours() -> None:
    assert list(instance_to_wire(Instance(key=A))) == INSTANCE_FIELDS.split()


def test_an_instance_of_which_nothing_is_known() -> None:
    wire = instance_to_wire(Instance(key=A))
    assert wire["Key"] == WIRE_A
    assert wire["MasterKey"] == {"Hostname": "", "Port": 0}
    assert wire["SelfBinlogCoordinates"] == {"LogFile": "", "LogPos": 0, "Type": 0}
    assert wire["RelaylogCoordinates"] == {"LogFile": "", "LogPos": 0, "Type": 1}
    assert wire["SecondsBehindMaster"] == {"Int64": 0, "Valid": False}
    assert wire["ReplicationGetSourcePublicKey"] == {"Bool": False, "Valid": False}
    assert wire["ReplicationSSLVerifyServerCert"] == {"Bool": False, "Valid": False}
    assert (wire["ReplicationIOThreadState"], wire["ReplicationIOThreadRuning"]) == (-1, False)
    assert (wire["Replicas"], wire["Problems"], wire["QSP"]) == ([], [], {})
    assert (wire["Version"], wire["PromotionRule"], wire["LastIOError"]) == ("Unknown", "neutral", "")


def test_all_channels_are_shown_and_the_tls_settings_of_the_one() -> None:
    tls = ChannelTls(ca_file="/ca.pem", private_key="/key.pem", verify_server_certificate=True)
    channels = (Channel(name="east", master_key=B), Channel(name="west", master_key=A, sql_delay_seconds=9))
    wire = instance_to_wire(Instance(key=A, master_key=A, channels=channels, replication_tls=tls))
    shown = wire["ReplicationChannels"]
    assert [(one["ChannelName"], one["SQLDelay"]) for one in shown] == [("east", 0), ("west", 9)]
    assert shown[1]["MasterKey"] == WIRE_A
    assert (wire["ReplicationSSLCAFile"], wire["ReplicationSSLKey"]) == ("/ca.pem", "/key.pem")
    assert wire["ReplicationSSLVerifyServerCert"] == {"Bool": True, "Valid": True}


@pytest.mark.parametrize(
    ("state", "number", "is_running"),
    [
        (ThreadState.NO_THREAD, -1, False),
        (ThreadState.STOPPED, 0, False),
        (ThreadState.RUNNING, 1, True),
        (ThreadState.OTHER, 2, False),
    ],
)
def test_states_of_threads(state: ThreadState, number: int, is_running: bool) -> None:
    wire = instance_to_wire(Instance(key=A, receiver_state=state))
    assert wire["ReplicationIOThreadState"] == number
    assert wire["ReplicationIOThreadRuning"] is wire["Slave_IO_Running"] is is_running
    wire = instance_to_wire(Instance(key=A, applier_state=state))
    assert wire["ReplicationSQLThreadState"] == number
    assert wire["ReplicationSQLThreadRuning"] is wire["Slave_SQL_Running"] is is_running


def test_twins_are_equal_and_derived_flags_follow() -> None:
    wire = instance_to_wire(
        Instance(
            key=A,
            master_key=InstanceKey("//gone", 3306),
            log_replica_updates_enabled=True,
            replication_lag_seconds=7,
            replicas=(B, A),
            gtid_mode="ON",
            exec_coordinates=BinlogCoordinates("//mysql-bin.000001:4", 4),
        )
    )
    assert wire["LogSlaveUpdatesEnabled"] is wire["LogReplicationUpdatesEnabled"] is True
    assert wire["SlaveLagSeconds"] == wire["ReplicationLagSeconds"] == {"Int64": 7, "Valid": True}
    assert wire["SlaveHosts"] == wire["Replicas"] == [WIRE_A, WIRE_B]
    assert wire["IsDetachedMaster"] is wire["IsDetached"] is wire["SupportsOracleGTID"] is True


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("", ""),
        ("plain 'text'", "\"plain 'text'\""),
        ('a "b" \\c', r'"a \"b\" \\c"'),
        ("\a\b\f\n\r\t\v\0\x1b\x7f", r'"\a\b\f\n\r\t\v\x00\x1b\x7f"'),
        ("é€😀", r'"\u00e9\u20ac\U0001f600"'),
        ("\udcff", r'"\xff"'),
    ],
)
def test_error_texts_are_quoted_as_go_quotes_them(text: str, literal: str) -> None:
    assert quote(text) == literal
    assert unquote(literal) == text


@pytest.mark.parametrize("text", ["error connecting to master", '"', 'a "quoted" word', "\\n"])
def test_an_error_text_that_is_not_quoted_is_taken_as_it_is(text: str) -> None:
    assert unquote(text) == text


def test_json_is_compact_and_escapes_what_html_could_read() -> None:
    assert dumps({"b": "<a href='x'>&é\u2028", "a": [1, None, True]}) == (
        '{"b":"\\u003ca href=\'x\'\\u003e\\u0026é\\u2028","a":[1,null,true]}'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(float("nan"))


# Reading


def test_every_field_that_is_written_is_read_back() -> None:
    instance = filled()
    back = instance_from_wire(json.loads(dumps(instance_to_wire(instance))))
    names = {each.name for each in dataclasses.fields(Instance)} - NOT_ON_THE_WIRE
    assert {name: getattr(back, name) for name in names} == {name: getattr(instance, name) for name in names}
    default = Instance(key=A)
    assert all(getattr(back, name) == getattr(default, name) for name in NOT_ON_THE_WIRE)


def test_what_is_missing_or_null_has_its_default() -> None:
    assert read() == Instance(key=A)
    assert read(Version=None, MasterKey=None, Replicas=None, SecondsBehindMaster=None) == Instance(key=A)
    assert read(NoSuchField=1) == Instance(key=A)


@pytest.mark.parametrize(
    ("modern", "historic", "attribute"),
    [
        ("LogReplicationUpdatesEnabled", "LogSlaveUpdatesEnabled", "log_replica_updates_enabled"),
        ("ReplicationLagSeconds", "SlaveLagSeconds", "replication_lag_seconds"),
        ("Replicas", "SlaveHosts", "replicas"),
        ("ReplicationIOThreadRuning", "Slave_IO_Running", "receiver_state"),
        ("ReplicationSQLThreadRuning", "Slave_SQL_Running", "applier_state"),
    ],
)
def test_the_historic_name_counts_where_the_modern_one_is_absent(
    modern: str, historic: str, attribute: str
) -> None:
    values: dict[str, tuple[Any, Any]] = {
        "replication_lag_seconds": ({"Int64": 5, "Valid": True}, {"Int64": 9, "Valid": True}),
        "replicas": ([WIRE_A], [WIRE_B]),
    }
    one, other = values.get(attribute, (True, False))
    assert getattr(read(**{historic: one}), attribute) == getattr(read(**{modern: one}), attribute)
    assert getattr(read(**{historic: other, modern: one}), attribute) == getattr(
        read(**{modern: one}), attribute
    )
    assert getattr(read(**{modern: one}), attribute) != getattr(read(**{modern: other}), attribute)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, ThreadState.NO_THREAD),
        ({"MasterKey": WIRE_B}, ThreadState.STOPPED),
        ({"ReplicationIOThreadRuning": True}, ThreadState.RUNNING),
        ({"ReplicationIOThreadRuning": False}, ThreadState.NO_THREAD),
        ({"ReplicationIOThreadRuning": False, "MasterKey": WIRE_B}, ThreadState.STOPPED),
        ({"ReplicationIOThreadState": 2}, ThreadState.OTHER),
        ({"ReplicationIOThreadState": 1}, ThreadState.RUNNING),
        ({"ReplicationIOThreadRuning": False, "ReplicationIOThreadState": 2}, ThreadState.OTHER),
        ({"ReplicationIOThreadRuning": False, "ReplicationIOThreadState": -1}, ThreadState.NO_THREAD),
        # They contradict each other: the reference counts by the flag.
        ({"ReplicationIOThreadRuning": False, "ReplicationIOThreadState": 1}, ThreadState.STOPPED),
        ({"ReplicationIOThreadRuning": True, "ReplicationIOThreadState": 0}, ThreadState.RUNNING),
    ],
)
def test_the_state_of_a_thread_from_flag_and_number(fields: dict[str, Any], state: ThreadState) -> None:
    assert read(**fields).receiver_state is state


def test_partial_success_follows_the_check_where_it_is_absent() -> None:
    assert read(IsLastCheckValid=True).last_check_partial_success
    assert not read(IsLastCheckValid=False).last_check_partial_success
    assert not read().last_check_partial_success
    assert read(IsLastCheckValid=False, LastCheckPartialSuccess=True).last_check_partial_success
    assert not read(IsLastCheckValid=True, LastCheckPartialSuccess=False).last_check_partial_success


def test_lag_follows_seconds_behind_where_it_is_absent() -> None:
    behind = {"Int64": 30, "Valid": True}
    assert read(SecondsBehindMaster=behind).replication_lag_seconds == 30
    unknown = {"Int64": 0, "Valid": False}
    assert read(SecondsBehindMaster=behind, ReplicationLagSeconds=unknown).replication_lag_seconds is None


def test_a_bare_value_is_taken_for_a_nullable_one() -> None:
    assert read(SlaveLagSeconds=12).replication_lag_seconds == 12
    assert read(ReplicationGetSourcePublicKey=False).replication_get_source_public_key is False


def test_what_a_file_does_not_tell_is_unknown() -> None:
    instance = read(LastIOError='"error connecting to master"', IsLastCheckValid=False)
    assert instance.last_io_errno is None
    assert instance.last_io_error == "error connecting to master"
    assert instance.last_check_outcome is CheckOutcome.UNKNOWN
    assert instance.checked_at == instance.seen_at == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Port": 3306}, "instance 3: Key: expected a hostname and a port, found null"),
        (
            {"Key": {"Hostname": "a"}},
            'instance 3: Key: expected a hostname and a port, found {"Hostname": "a"}',
        ),
        ({"Key": "a:3306"}, 'instance 3: Key: expected an object {"Hostname":…,"Port":…}, found "a:3306"'),
        (
            {"Key": {"Hostname": "a", "Port": "3306"}},
            'instance 3: Key.Port: expected a whole number, found "3306"',
        ),
        (
            {"Key": {"Hostname": "a", "Port": 70000}},
            "instance 3: Key.Port: expected a port within 0..65535, found 70000",
        ),
        (
            {"Key": WIRE_A, "ReadOnly": "yes"},
            'instance 3 (a.example.com:3306): ReadOnly: expected true or false, found "yes"',
        ),
        (
            {"Key": WIRE_A, "ServerID": True},
            "instance 3 (a.example.com:3306): ServerID: expected a whole number, found true",
        ),
        (
            {"Key": WIRE_A, "ServerID": 1.5},
            "instance 3 (a.example.com:3306): ServerID: expected a whole number, found 1.5",
        ),
        (
            {"Key": WIRE_A, "Version": 8},
            "instance 3 (a.example.com:3306): Version: expected a text, found 8",
        ),
        (
            {"Key": WIRE_A, "Replicas": [WIRE_B, {"Port": "x"}]},
            'instance 3 (a.example.com:3306): Replicas[1].Port: expected a whole number, found "x"',
        ),
        (
            {"Key": WIRE_A, "Replicas": WIRE_B},
            "instance 3 (a.example.com:3306): Replicas: expected a list, found "
            '{"Hostname": "b.example.com", "Port": 3307}',
        ),
        (
            {"Key": WIRE_A, "SlaveLagSeconds": {"Int64": "7", "Valid": True}},
            'instance 3 (a.example.com:3306): SlaveLagSeconds.Int64: expected a whole number, found "7"',
        ),
        (
            {"Key": WIRE_A, "ReplicationSQLThreadState": 3},
            "instance 3 (a.example.com:3306): ReplicationSQLThreadState: expected -1, 0, 1 or 2, found 3",
        ),
        (
            {"Key": WIRE_A, "Slave_IO_Running": "Yes"},
            'instance 3 (a.example.com:3306): Slave_IO_Running: expected true or false, found "Yes"',
        ),
    ],
)
def test_wrong_types_are_named_with_instance_field_and_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError) as error:
        instance_from_wire(fields, 3)
    assert str(error.value) == message


def test_what_is_not_an_object_is_no_instance() -> None:
    with pytest.raises(WireError, match=r"^instance 0: expected an object, found \[1\]$"):
        instance_from_wire([1], 0)
    with pytest.raises(WireError, match=r"^instance: expected an object, found \"x{59}…$"):
        instance_from_wire("x" * 1000)


# Analyses


def analysed(*instances: Instance) -> list[dict[str, Any]]:
    topology = derive(instances, (), TreePolicy(), 100.0)
    return [analysis_to_wire(entry) for entry in analyze(topology, AnalysisPolicy(), 100.0)]


def test_an_analysis_has_all_fields_of_the_reference_in_order() -> None:
    checked: dict[str, Any] = {"checked_at": 99.0, "seen_at": 99.0}
    master = Instance(key=A, last_check_outcome=CheckOutcome.REFUSED, **checked)
    replica = Instance(key=B, master_key=A, last_check_outcome=CheckOutcome.OK, **checked)
    (wire,) = analysed(master, replica)
    assert list(wire) == ANALYSIS_FIELDS.split()
    assert wire["AnalyzedInstanceKey"] == WIRE_A
    assert wire["AnalyzedInstanceMasterKey"] == {"Hostname": "", "Port": 0}
    assert wire["Replicas"] == wire["SlaveHosts"] == [WIRE_B]
    assert wire["Analysis"] == "DeadMaster"
    assert wire["StructureAnalysis"] is None
    assert wire["IsActionableRecovery"] is False
    assert wire["ClusterDetails"] == {
        "ClusterName": "a.example.com:3306",
        "ClusterAlias": "a.example.com:3306",
        "ClusterDomain": "a.example.com:3306",
        "CountInstances": 0,
        "HeuristicLag": 0,
        "HasAutomatedMasterRecovery": False,
        "HasAutomatedIntermediateMasterRecovery": False,
    }


def test_structure_findings_are_a_list_of_texts() -> None:
    checked: dict[str, Any] = {"last_check_outcome": CheckOutcome.OK, "checked_at": 99.0, "seen_at": 99.0}
    running: dict[str, Any] = {"receiver_state": ThreadState.RUNNING, "applier_state": ThreadState.RUNNING}
    master = Instance(key=A, read_only=True, **checked)
    (wire,) = analysed(master, Instance(key=B, master_key=A, **checked, **running))
    assert wire["Analysis"] == "NoProblem"
    assert wire["StructureAnalysis"] == ["NoWriteableMasterStructureWarning"]
    assert json.loads(dumps(wire)) == wire


def test_the_end_of_a_downtime_is_a_computed_time() -> None:
    """Without ``T`` and ``Z`` (http-api.md 6); what is no time is left as it is. Read back, it is as kept."""
    wire = instance_to_wire(Instance(key=A, downtime_end_timestamp="2026-11-22T20:46:24Z"))
    assert wire["DowntimeEndTimestamp"] == "2026-11-22 20:46:24"
    assert read(DowntimeEndTimestamp="2026-11-22 20:46:24").downtime_end_timestamp == "2026-11-22T20:46:24Z"
    assert instance_to_wire(Instance(key=A))["DowntimeEndTimestamp"] == ""


@pytest.mark.parametrize("time", ["2026-11-22T20:46:24Z", "2026-11-22 20:46:24"])
def test_times_are_read_as_either_backend_writes_them(time: str) -> None:
    wire = {"Key": {"Hostname": "a", "Port": 1}, "LastSeenTimestamp": time, "DowntimeEndTimestamp": time}
    read = instance_from_wire(wire)
    assert read.last_seen_timestamp == read.downtime_end_timestamp == "2026-11-22T20:46:24Z"
