"""From the rows of a poll to an Instance. Pure: rows in, value out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.mysql.connection import Row
from services.mysql.dialect import modern_columns
from services.topology.coordinates import NO_COORDINATES, BinlogCoordinates
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.versions import flavor

__all__ = ["apply_replica_status", "apply_semi_sync", "apply_variables", "default_channel", "found_replicas"]

_FILTERS = (
    "Replicate_Do_DB",
    "Replicate_Ignore_DB",
    "Replicate_Do_Table",
    "Replicate_Ignore_Table",
    "Replicate_Wild_Do_Table",
    "Replicate_Wild_Ignore_Table",
    "Replicate_Do_Domain_Ids",  # MariaDB: its position moves on over what is left out
    "Replicate_Ignore_Domain_Ids",
)
_CHANNEL = (
    "master_key", "master_uuid", "master_server_id", "receiver_state", "applier_state", "last_io_error",
    "last_io_errno", "last_sql_error", "last_sql_errno", "read_coordinates", "exec_coordinates",
    "relaylog_coordinates", "retrieved_gtid_set", "gtid_io_pos", "using_oracle_gtid", "using_mariadb_gtid",
    "has_replication_filters", "seconds_behind_master", "replication_lag_seconds", "sql_delay_seconds",
    "has_replication_credentials", "allow_tls", "replication_get_source_public_key",
)  # fmt: skip
_NO_CHANNEL: dict[str, Any] = {name: getattr(Instance(key=NO_KEY), name) for name in _CHANNEL}
"""What is known of a server's channel once it has none: nothing of an earlier one."""


def apply_variables(instance: Instance, row: Row) -> Instance:
    """Facts of the one-row select of global variables."""

    def text(name: str) -> str:
        value = row.get(name)
        return "" if value is None else str(value)

    return replace(
        instance,
        server_id=int(row["server_id"]),
        server_uuid=text("server_uuid"),
        version=text("version"),
        version_comment=text("version_comment"),
        flavor=flavor(text("version"), text("version_comment")),
        read_only=_flag(row["read_only"]),
        super_read_only=_flag(row.get("super_read_only", 0)),
        binlog_format=text("binlog_format"),
        binlog_row_image=text("binlog_row_image"),
        log_bin_enabled=_flag(row["log_bin"]),
        log_replica_updates_enabled=_flag(row["log_replica_updates"]),
        gtid_mode=text("gtid_mode"),
        executed_gtid_set=text("gtid_executed").replace("\n", ""),
        gtid_purged=text("gtid_purged").replace("\n", ""),
        gtid_binlog_state=text("gtid_binlog_state"),
        gtid_slave_pos=text("gtid_slave_pos"),
    )


def apply_replica_status(instance: Instance, rows: Sequence[Row]) -> Instance:
    """Facts of the replication channel: of several the default one, or else the first."""
    row = default_channel(rows)
    if row is None:
        return replace(instance, **_NO_CHANNEL)
    behind = row.get("Seconds_Behind_Source")
    lag = None if behind is None else max(0, int(behind))
    using_mariadb_gtid = str(row.get("Using_Gtid", "No")) != "No"
    return replace(
        instance,
        master_key=InstanceKey(str(row["Source_Host"]), int(row["Source_Port"])),
        master_uuid=str(row.get("Source_UUID", "No")),
        master_server_id=int(row.get("Source_Server_Id") or 0),
        receiver_state=_thread(row["Replica_IO_Running"]),
        applier_state=_thread(row["Replica_SQL_Running"]),
        last_io_error=str(row["Last_IO_Error"] or ""),
        last_io_errno=int(row["Last_IO_Errno"]),
        last_sql_error=str(row["Last_SQL_Error"] or ""),
        last_sql_errno=int(row["Last_SQL_Errno"]),
        read_coordinates=_coordinates(row["Source_Log_File"], row["Read_Source_Log_Pos"]),
        exec_coordinates=_coordinates(row["Relay_Source_Log_File"], row["Exec_Source_Log_Pos"]),
        relaylog_coordinates=_coordinates(row["Relay_Log_File"], row["Relay_Log_Pos"], is_relay=True),
        retrieved_gtid_set=str(row.get("Retrieved_Gtid_Set") or "").replace("\n", ""),
        gtid_io_pos=str(row.get("Gtid_IO_Pos") or ""),
        using_oracle_gtid=str(row.get("Auto_Position", 0)) == "1",
        using_mariadb_gtid=using_mariadb_gtid,
        has_replication_filters=any(row.get(name) for name in _FILTERS),
        seconds_behind_master=lag,
        replication_lag_seconds=lag,
        sql_delay_seconds=int(row.get("SQL_Delay") or 0),
        has_replication_credentials=bool(row.get("Source_User")),
        allow_tls=row.get("Source_SSL_Allowed") == "Yes",
        replication_get_source_public_key=(
            _flag(row["Get_Source_public_key"]) if "Get_Source_public_key" in row else None
        ),
    )


def default_channel(rows: Sequence[Row]) -> Row | None:
    """The status of the channel that has no name, or else the first. MariaDB shows only that one."""
    channels = [modern_columns(row) for row in rows]
    return next((row for row in channels if not row.get("Channel_Name")), channels[0] if channels else None)


def apply_semi_sync(instance: Instance, variables: Iterable[Row], status: Iterable[Row]) -> Instance:
    """Facts of semi-synchronous replication under either naming of its plugins."""
    values = {str(row["Variable_name"]).lower(): str(row["Value"]) for row in variables}
    states = {str(row["Variable_name"]).lower(): str(row["Value"]) for row in status}
    new_source = "rpl_semi_sync_source_enabled" in values
    new_replica = "rpl_semi_sync_replica_enabled" in values
    source = "rpl_semi_sync_source_" if new_source else "rpl_semi_sync_master_"
    replica = "rpl_semi_sync_replica_" if new_replica else "rpl_semi_sync_slave_"
    count = "wait_for_replica_count" if new_source else "wait_for_slave_count"
    no_replica = "wait_no_replica" if new_source else "wait_no_slave"
    return replace(
        instance,
        uptime_seconds=_number(states, "uptime"),
        semi_sync_available=source + "enabled" in values and replica + "enabled" in values,
        semi_sync_master_new_names=new_source,
        semi_sync_replica_new_names=new_replica,
        semi_sync_master_enabled=values.get(source + "enabled") == "ON",
        semi_sync_master_timeout_ms=_number(values, source + "timeout"),
        semi_sync_master_wait_count=_number(values, source + count),
        semi_sync_master_wait_point=values.get(source + "wait_point", ""),
        semi_sync_master_wait_no_replica=values.get(source + no_replica, "ON") == "ON",
        semi_sync_master_status=states.get(source + "status") == "ON",
        semi_sync_master_clients=_number(states, source + "clients"),
        semi_sync_master_no_tx=_number(states, source + "no_tx"),
        semi_sync_replica_enabled=values.get(replica + "enabled") == "ON",
        semi_sync_replica_status=states.get(replica + "status") == "ON",
    )


def found_replicas(
    registered: Iterable[Row], dump_threads: Iterable[Row], own_port: int
) -> tuple[InstanceKey, ...]:
    """Replicas as this server sees them, from SHOW REPLICAS and from its dump threads.

    A replica that reports host and port is named by these. One that reports only its port is named by
    the address from which all unnamed dump threads come, if that is one. What is left of the dump
    threads is assumed to listen on this server's own port, as the reference does. Names and addresses cannot
    be compared: where no more threads are left than there are names, or nobody can tell whose is whose, none
    is left; nor is a second thread from an address that has a name: a replica that has just reconnected has
    two. A server found under a second name would be two endpoints with one uuid, which bars both.
    """
    named: set[InstanceKey] = set()
    ports: set[int] = set()
    for row in registered:
        host, port = str(row.get("Host") or ""), int(row.get("Port") or 0)
        if host and port:
            named.add(InstanceKey(host, port))
        elif port:
            ports.add(port)
    hosts = [_client_host(row) for row in dump_threads]
    named_hosts = [key.hostname for key in named]
    spare = [host for host in hosts if host and host not in named_hosts]
    unnamed = max(0, len(hosts) - len(named))
    if not spare and ports:
        spare = hosts[len(named) :]
    elif len(spare) > unnamed:
        spare = []
    origins = set(spare)
    if ports and len(origins) == 1:
        origin = origins.pop()
        return tuple(sorted(named | {InstanceKey(origin, port) for port in ports}))
    return tuple(sorted(named | {InstanceKey(host, own_port) for host in origins}))


def _client_host(row: Row) -> str:
    return str(row.get("Host") or "").rsplit(":", 1)[0]


def _flag(value: Any) -> bool:
    return str(value).upper() in ("1", "ON", "YES")


def _number(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "")
    return int(text) if text.isdigit() else 0


def _thread(value: Any) -> ThreadState:
    return {"Yes": ThreadState.RUNNING, "No": ThreadState.STOPPED}.get(str(value), ThreadState.OTHER)


def _coordinates(file: Any, position: Any, *, is_relay: bool = False) -> BinlogCoordinates:
    if not file and not is_relay:
        return NO_COORDINATES
    return BinlogCoordinates(str(file or ""), int(position or 0), is_relay)
