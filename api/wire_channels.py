"""Replication channels in the JSON of the HTTP API: ours, as the reference shows only one of them."""

from __future__ import annotations

from api.wire_kinds import COORDINATES, NULLABLE_WHOLE, QUOTED, Kind, dumps, key_to_wire
from api.wire_types import ReplicationChannel
from services.topology.channel import Channel, ThreadState

__all__ = ["CHANNELS", "STATE_NUMBERS", "channel_to_wire"]

STATE_NUMBERS = {
    ThreadState.NO_THREAD: -1,
    ThreadState.STOPPED: 0,
    ThreadState.RUNNING: 1,
    ThreadState.OTHER: 2,
}


def channel_to_wire(channel: Channel) -> ReplicationChannel:
    """One channel of a server, in the words that the API has for the single one."""
    return {
        "ChannelName": channel.name,
        "MasterKey": key_to_wire(channel.master_key),
        "MasterUUID": channel.master_uuid,
        "ReplicationIOThreadState": STATE_NUMBERS[channel.receiver_state],
        "ReplicationSQLThreadState": STATE_NUMBERS[channel.applier_state],
        "LastIOError": QUOTED.write(channel.last_io_error),
        "LastSQLError": QUOTED.write(channel.last_sql_error),
        "ReadBinlogCoordinates": COORDINATES.write(channel.read_coordinates),
        "ExecBinlogCoordinates": COORDINATES.write(channel.exec_coordinates),
        "SecondsBehindMaster": NULLABLE_WHOLE.write(channel.seconds_behind_master),
        "SQLDelay": channel.sql_delay_seconds,
        "UsingOracleGTID": channel.using_oracle_gtid,
        "UsingMariaDBGTID": channel.using_mariadb_gtid,
        "HasReplicationFilters": channel.has_replication_filters,
        "AllowTLS": channel.allow_tls,
    }


def _never(_value: object) -> object:
    raise AssertionError("this is written only")


CHANNELS = Kind(
    lambda channels: [channel_to_wire(each) for each in channels],
    _never,
    list[ReplicationChannel],
    lambda channels: dumps([channel_to_wire(each) for each in channels]) if channels else "[]",
)
