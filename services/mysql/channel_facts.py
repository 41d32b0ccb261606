"""From the rows of a replica status to what is known of the channels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from services.mysql.cells import flag, in_one_line, text
from services.mysql.connection import Row
from services.mysql.dialect import modern_columns
from services.topology.channel import GROUP_CHANNELS, Channel, ChannelTls, ThreadState
from services.topology.coordinates import NO_COORDINATES, BinlogCoordinates
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey

__all__ = ["apply_ciphersuites", "apply_replica_status", "channel_of", "default_channel"]

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
_ELSEWHERE = frozenset({"name", "user", "tls", "get_source_public_key"})
"""Fields of a channel that an instance has under other names."""
_SAME = tuple(field.name for field in fields(Channel) if field.name not in _ELSEWHERE)
_BLANK = Instance(key=NO_KEY)
_NO_CHANNEL: dict[str, Any] = {
    name: getattr(_BLANK, name)
    for name in (
        *_SAME, "channels", "channel_name", "replication_user", "replication_tls", "replication_lag_seconds",
        "has_replication_credentials", "replication_get_source_public_key",
    )
}  # fmt: skip
"""What is known of a server's channels once it has none: nothing of earlier ones."""


def apply_replica_status(instance: Instance, rows: Sequence[Row]) -> Instance:
    """Facts of all channels; the single fields speak of the one that `default_channel` names."""
    row = default_channel(rows)
    channels = tuple(channel_of(modern_columns(each)) for each in rows)
    if row is None:
        return replace(instance, **{**_NO_CHANNEL, "channels": channels})
    channel = channel_of(row)
    return replace(
        instance,
        channels=channels,
        channel_name=channel.name,
        replication_user=channel.user,
        replication_lag_seconds=channel.seconds_behind_master,
        has_replication_credentials=bool(channel.user),
        replication_get_source_public_key=channel.get_source_public_key,
        replication_tls=channel.tls,
        **{name: getattr(channel, name) for name in _SAME},
    )


def default_channel(rows: Sequence[Row], name: str | None = None) -> Row | None:
    """The status of the channel that the API speaks of, or of the one with that name; modern column names.

    Of several the last, as in the reference. Of MariaDB's the one without a name, which is the only one that
    its SHOW REPLICA STATUS shows.
    """
    channels = [modern_columns(row) for row in rows]
    if name is not None:
        return next((row for row in channels if _name(row) == name), None)
    unnamed = [row for row in channels if row.get("Connection_name") == ""]
    ours = [row for row in channels if not _name(row).startswith(GROUP_CHANNELS)]
    return unnamed[0] if unnamed else ours[-1] if ours else None


def channel_of(row: Row) -> Channel:
    """One row under its modern names (`modern_columns`)."""
    behind = row.get("Seconds_Behind_Source")
    return Channel(
        name=_name(row),
        master_key=InstanceKey(str(row["Source_Host"]), int(row["Source_Port"])),
        source_host=str(row["Source_Host"]),
        master_uuid=str(row.get("Source_UUID", "No")),
        master_server_id=int(row.get("Source_Server_Id") or 0),
        user=text(row.get("Source_User")),
        receiver_state=_thread(row["Replica_IO_Running"]),
        applier_state=_thread(row["Replica_SQL_Running"]),
        last_io_error=text(row["Last_IO_Error"]),
        last_io_errno=int(row["Last_IO_Errno"]),
        last_sql_error=text(row["Last_SQL_Error"]),
        last_sql_errno=int(row["Last_SQL_Errno"]),
        read_coordinates=_coordinates(row["Source_Log_File"], row["Read_Source_Log_Pos"]),
        exec_coordinates=_coordinates(row["Relay_Source_Log_File"], row["Exec_Source_Log_Pos"]),
        relaylog_coordinates=_coordinates(row["Relay_Log_File"], row["Relay_Log_Pos"], is_relay=True),
        retrieved_gtid_set=in_one_line(row.get("Retrieved_Gtid_Set")),
        gtid_io_pos=text(row.get("Gtid_IO_Pos")),
        using_oracle_gtid=str(row.get("Auto_Position", 0)) == "1",
        using_mariadb_gtid=str(row.get("Using_Gtid", "No")) != "No",
        has_replication_filters=any(row.get(name) for name in _FILTERS),
        seconds_behind_master=None if behind is None else max(0, int(behind)),
        sql_delay_seconds=int(row.get("SQL_Delay") or 0),
        allow_tls=row.get("Source_SSL_Allowed") == "Yes",
        get_source_public_key=_known_flag(row, "Get_Source_public_key"),
        tls=ChannelTls(
            ca_file=text(row.get("Source_SSL_CA_File")),
            ca_path=text(row.get("Source_SSL_CA_Path")),
            certificate=text(row.get("Source_SSL_Cert")),
            cipher=text(row.get("Source_SSL_Cipher")),
            crl_file=text(row.get("Source_SSL_Crl")),
            crl_path=text(row.get("Source_SSL_Crlpath")),
            private_key=text(row.get("Source_SSL_Key")),
            verify_server_certificate=_known_flag(row, "Source_SSL_Verify_Server_Cert"),
            tls_version=text(row.get("Source_TLS_Version")),
            source_public_key_path=text(row.get("Source_public_key_path")),
        ),
    )


def apply_ciphersuites(instance: Instance, rows: Sequence[Row]) -> Instance:
    """The ciphersuites of TLS 1.3, which MySQL keeps beside the status."""
    suites = {text(row["Channel_Name"]): text(row["Source_TLS_Ciphersuites"]) for row in rows}
    if not any(suites.values()):
        return instance
    return replace(
        instance,
        channels=tuple(
            replace(channel, tls=replace(channel.tls, tls_ciphersuites=suites.get(channel.name, "")))
            for channel in instance.channels
        ),
        replication_tls=replace(
            instance.replication_tls, tls_ciphersuites=suites.get(instance.channel_name, "")
        ),
    )


def _name(row: Row) -> str:
    return text(row.get("Channel_Name", row.get("Connection_name")))


def _known_flag(row: Row, column: str) -> bool | None:
    return flag(row[column]) if column in row else None


def _thread(value: Any) -> ThreadState:
    return {"Yes": ThreadState.RUNNING, "No": ThreadState.STOPPED}.get(str(value), ThreadState.OTHER)


def _coordinates(file: Any, position: Any, *, is_relay: bool = False) -> BinlogCoordinates:
    if not file and not is_relay:
        return NO_COORDINATES
    return BinlogCoordinates(str(file or ""), int(position or 0), is_relay)
