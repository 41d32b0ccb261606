"""From the rows of a poll to what is known of a server."""

from __future__ import annotations

from typing import Any

import pytest

from services.mysql.channel_facts import apply_replica_status
from services.mysql.facts import apply_semi_sync, apply_settings, apply_variables
from services.mysql.found import found_replicas
from services.topology.coordinates import NO_COORDINATES, BinlogCoordinates
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey

BLANK = Instance(key=InstanceKey("a", 3306))
SETTINGS: dict[str, Any] = {
    "server_uuid": "u-1",
    "version": "9.7.0",
    "version_comment": "MySQL Community Server - GPL",
    "binlog_row_image": "FULL",
    "log_bin": 1,
    "log_replica_updates": 1,
}
VARIABLES: dict[str, Any] = {
    "server_id": 7,
    "read_only": 1,
    "super_read_only": 0,
    "binlog_format": "ROW",
    "gtid_mode": "ON",
    "gtid_executed": "u-1:1-5,\nu-2:7",
    "gtid_purged": "",
}
CHANNEL: dict[str, Any] = {
    "Source_Host": "m",
    "Source_Port": 3307,
    "Source_UUID": "u-m",
    "Source_User": "repl",
    "Source_SSL_Allowed": "Yes",
    "Replica_IO_Running": "Connecting",
    "Replica_SQL_Running": "Yes",
    "Last_IO_Error": "Error reconnecting to source",
    "Last_IO_Errno": 2003,
    "Last_SQL_Error": "",
    "Last_SQL_Errno": 0,
    "Source_Log_File": "binlog.000003",
    "Read_Source_Log_Pos": 200,
    "Relay_Source_Log_File": "binlog.000002",
    "Exec_Source_Log_Pos": 100,
    "Relay_Log_File": "relay.000004",
    "Relay_Log_Pos": 44,
    "Retrieved_Gtid_Set": "u-1:4-5,\nu-2:7",
    "Auto_Position": 1,
    "Seconds_Behind_Source": None,
    "SQL_Delay": 60,
    "Replicate_Do_DB": "",
    "Get_Source_public_key": 1,
}


def channel(**changes: Any) -> Instance:
    return apply_replica_status(BLANK, [{**CHANNEL, **changes}])


def test_variables_and_settings() -> None:
    seen = apply_settings(apply_variables(BLANK, VARIABLES), SETTINGS)
    assert (seen.server_id, seen.server_uuid, seen.version, seen.flavor) == (7, "u-1", "9.7.0", "MySQL")
    assert (seen.read_only, seen.super_read_only) == (True, False)
    assert seen.executed_gtid_set == "u-1:1-5,u-2:7", "in one line"
    assert (seen.log_bin_enabled, seen.log_replica_updates_enabled) == (True, True)


def test_variables_that_a_flavour_lacks_are_empty() -> None:
    maria = {name: VARIABLES[name] for name in VARIABLES if not name.startswith(("gtid", "super"))}
    seen = apply_variables(BLANK, {**maria, "read_only": "OFF"})
    assert (seen.super_read_only, seen.read_only, seen.executed_gtid_set) == (False, False, "")
    settings = {**SETTINGS, "version": "10.11.6-MariaDB"}
    del settings["server_uuid"]
    seen = apply_settings(BLANK, settings)
    assert (seen.server_uuid, seen.flavor) == ("", "MariaDB")
    states = {"gtid_binlog_state": "0-1-5,0-2-7", "gtid_slave_pos": "0-2-7"}
    seen = apply_variables(BLANK, {**maria, **states})
    assert (seen.gtid_binlog_state, seen.gtid_slave_pos) == ("0-1-5,0-2-7", "0-2-7")
    assert (seen.executed, seen.executed_gtid_set) == ("0-1-5,0-2-7,0-2-7", "")


def test_a_channel() -> None:
    seen = channel()
    assert seen.master_key == InstanceKey("m", 3307)
    assert (seen.receiver_state, seen.applier_state) == (ThreadState.OTHER, ThreadState.RUNNING)
    assert (seen.last_io_errno, seen.last_sql_errno) == (2003, 0)
    assert seen.read_coordinates == BinlogCoordinates("binlog.000003", 200)
    assert seen.exec_coordinates == BinlogCoordinates("binlog.000002", 100)
    assert seen.relaylog_coordinates == BinlogCoordinates("relay.000004", 44, is_relay=True)
    assert seen.retrieved_gtid_set == "u-1:4-5,u-2:7"
    assert seen.using_oracle_gtid
    assert not seen.using_mariadb_gtid
    assert seen.seconds_behind_master is None
    assert seen.sql_delay_seconds == 60
    assert seen.is_replica
    assert not seen.has_replication_filters


@pytest.mark.parametrize(
    ("said", "state"),
    [("Yes", ThreadState.RUNNING), ("No", ThreadState.STOPPED), ("Preparing", ThreadState.OTHER)],
)
def test_states_of_threads(said: str, state: ThreadState) -> None:
    assert channel(Replica_IO_Running=said).receiver_state is state


def test_lag_is_never_negative_and_filters_are_seen() -> None:
    seen = channel(Seconds_Behind_Source=-3, Replicate_Wild_Do_Table="app.%")
    assert seen.replication_lag_seconds == 0
    assert seen.has_replication_filters


def test_a_channel_of_mariadb() -> None:
    old = {
        "Master_Host": "m", "Master_Port": 3307, "Master_Server_Id": 5, "Using_Gtid": "Slave_Pos",
        "Gtid_IO_Pos": "0-5-9,1-5-2", "Slave_IO_Running": "No", "Slave_SQL_Running": "Yes",
        "Last_IO_Error": "", "Last_IO_Errno": 0, "Last_SQL_Error": "", "Last_SQL_Errno": 0,
        "Master_Log_File": "", "Read_Master_Log_Pos": 4, "Relay_Master_Log_File": "",
        "Exec_Master_Log_Pos": 0, "Relay_Log_File": "relay.1", "Relay_Log_Pos": 4,
        "Seconds_Behind_Master": None,
    }  # fmt: skip
    seen = apply_replica_status(BLANK, [old])
    assert (seen.using_mariadb_gtid, seen.using_oracle_gtid, seen.master_uuid) == (True, False, "No")
    assert (seen.gtid_io_pos, seen.master_server_id, seen.is_replica) == ("0-5-9,1-5-2", 5, True)
    assert not apply_replica_status(BLANK, [{**old, "Using_Gtid": "No"}]).using_mariadb_gtid
    assert apply_replica_status(BLANK, [{**old, "Replicate_Ignore_Domain_Ids": "1"}]).has_replication_filters


def test_of_several_channels_the_last_counts_but_those_of_a_group_never() -> None:
    named = {**CHANNEL, "Channel_Name": "other", "Source_Host": "elsewhere"}
    group = {**CHANNEL, "Channel_Name": "group_replication_applier", "Source_Host": "<NULL>"}
    seen = apply_replica_status(BLANK, [{**CHANNEL, "Channel_Name": ""}, named, group])
    assert seen.master_key.hostname == "elsewhere"
    assert [channel.master_key.hostname for channel in seen.channels] == ["m", "elsewhere", "<NULL>"]
    assert apply_replica_status(BLANK, [group]).master_key == NO_KEY
    connection = {**CHANNEL, "Connection_name": "", "Source_Host": "first"}
    assert apply_replica_status(BLANK, [connection, {**named, "Connection_name": "z"}]).master_key == (
        InstanceKey("first", 3307)
    )


def test_a_channel_that_has_read_nothing_has_no_coordinates() -> None:
    seen = channel(Source_Log_File="", Read_Source_Log_Pos=0, Auto_Position=0)
    assert seen.read_coordinates == NO_COORDINATES
    assert not seen.using_oracle_gtid


def test_a_server_whose_channel_is_gone_knows_nothing_of_it_any_more() -> None:
    """It was promoted: a receiver that still seemed to run would pass for one that was started again."""
    gone = apply_replica_status(channel(), [])
    assert gone == BLANK
    assert gone.master_key == NO_KEY
    assert gone.receiver_state is ThreadState.NO_THREAD


@pytest.mark.parametrize("names", [("source", "replica", "replica"), ("master", "slave", "slave")])
def test_semi_sync_under_either_naming(names: tuple[str, str, str]) -> None:
    source, replica, counted = names
    variables = {
        f"rpl_semi_sync_{source}_enabled": "ON",
        f"rpl_semi_sync_{source}_timeout": "18446744073709551615",
        f"rpl_semi_sync_{source}_wait_for_{counted}_count": "2",
        f"rpl_semi_sync_{source}_wait_no_{counted}": "OFF",
        f"rpl_semi_sync_{source}_wait_point": "AFTER_SYNC",
        f"rpl_semi_sync_{replica}_enabled": "ON",
    }
    status = {
        "Uptime": "12",
        f"Rpl_semi_sync_{source}_status": "ON",
        f"Rpl_semi_sync_{source}_clients": "3",
        f"Rpl_semi_sync_{source}_no_tx": "4",
        f"Rpl_semi_sync_{replica}_status": "OFF",
    }
    seen = apply_semi_sync(BLANK, _rows(variables), _rows(status))
    assert seen.semi_sync_available
    assert seen.semi_sync_master_new_names is (source == "source")
    assert (seen.semi_sync_master_enabled, seen.semi_sync_master_status) == (True, True)
    assert seen.semi_sync_master_timeout_ms == 2**64 - 1
    assert (seen.semi_sync_master_wait_count, seen.semi_sync_master_wait_no_replica) == (2, False)
    assert (seen.semi_sync_master_clients, seen.semi_sync_master_no_tx) == (3, 4)
    assert (seen.semi_sync_replica_enabled, seen.semi_sync_replica_status) == (True, False)
    assert seen.uptime_seconds == 12


def test_without_the_plugins_there_is_no_semi_sync() -> None:
    seen = apply_semi_sync(BLANK, [], _rows({"Uptime": "1"}))
    assert not seen.semi_sync_available
    assert not seen.semi_sync_master_enabled


def _rows(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Variable_name": name, "Value": value} for name, value in values.items()]


def _found(registered: list[tuple[str, int]], dumps: list[str]) -> list[str]:
    rows = [{"Host": host, "Port": port} for host, port in registered]
    return [str(key) for key in found_replicas(rows, [{"Host": host} for host in dumps], 3306)]


def test_replicas_that_name_themselves() -> None:
    assert _found([("b", 3307), ("a", 3306)], ["10.0.0.1:555", "10.0.0.2:556"]) == ["a:3306", "b:3307"]


def test_replicas_that_report_their_port_only_are_named_by_their_address() -> None:
    assert _found([("", 3310), ("", 3311)], ["10.0.0.1:555", "10.0.0.1:556"]) == [
        "10.0.0.1:3310",
        "10.0.0.1:3311",
    ]


def test_a_replica_that_named_itself_is_not_found_again_under_its_address() -> None:
    """A dump thread more than there are names: nobody can tell whose."""
    assert _found([("b", 3307)], ["10.0.0.1:555", "10.0.0.2:556"]) == ["b:3307"]


def test_a_reader_beside_those_that_named_themselves_by_address() -> None:
    found = _found([("10.0.0.1", 3307)], ["10.0.0.1:555", "10.0.0.2:556"])
    assert found == ["10.0.0.1:3307", "10.0.0.2:3306"]


def test_a_replica_that_has_just_reconnected_is_not_found_twice() -> None:
    """Its former dump thread is there for a moment still."""
    assert _found([("10.0.0.1", 3307)], ["10.0.0.1:555", "10.0.0.1:556"]) == ["10.0.0.1:3307"]


def test_one_that_reports_its_port_only_beside_one_that_names_itself() -> None:
    found = _found([("10.0.0.1", 3307), ("", 3308)], ["10.0.0.1:555", "10.0.0.1:556"])
    assert found == ["10.0.0.1:3307", "10.0.0.1:3308"]


def test_replicas_that_report_nothing_are_taken_to_listen_where_this_server_does() -> None:
    assert _found([], ["10.0.0.1:555", "10.0.0.2:556"]) == ["10.0.0.1:3306", "10.0.0.2:3306"]


def test_no_replicas() -> None:
    assert _found([], []) == []
