"""Replication channels: one server may have several, each with a source of its own.

`Instance` has what is known of all of them, and, in single fields, of the one that the HTTP API speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.topology.coordinates import NO_COORDINATES, BinlogCoordinates
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.travelling import travelling

__all__ = ["GROUP_CHANNELS", "NO_TLS", "Channel", "ChannelTls", "ThreadState"]

GROUP_CHANNELS = "group_replication_"
"""How the channels of Group Replication begin."""


class ThreadState(str, Enum):
    """State of a replication thread; the API shows -1, 0, 1, 2 in this order."""

    NO_THREAD = "none"
    STOPPED = "stopped"
    RUNNING = "running"
    OTHER = "other"  # Connecting, Preparing


@travelling
@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTls:
    """How a channel's connection is encrypted: paths and names as the server shows them, "" where not set."""

    ca_file: str = ""
    ca_path: str = ""
    certificate: str = ""
    cipher: str = ""
    crl_file: str = ""
    crl_path: str = ""
    private_key: str = ""
    verify_server_certificate: bool | None = None  # None: the server does not show it
    tls_version: str = ""
    tls_ciphersuites: str = ""
    source_public_key_path: str = ""


NO_TLS = ChannelTls()


@travelling
@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel as its server shows it. Seconds; GTID sets are the server's own text."""

    name: str = ""
    master_key: InstanceKey = NO_KEY
    source_host: str = ""
    """The host of the source as the server has it; ``master_key`` may name it otherwise."""
    master_uuid: str = ""
    master_server_id: int = 0
    user: str = ""
    receiver_state: ThreadState = ThreadState.NO_THREAD
    applier_state: ThreadState = ThreadState.NO_THREAD
    last_io_error: str = ""
    last_io_errno: int | None = None
    last_sql_error: str = ""
    last_sql_errno: int | None = None
    read_coordinates: BinlogCoordinates = NO_COORDINATES
    exec_coordinates: BinlogCoordinates = NO_COORDINATES
    relaylog_coordinates: BinlogCoordinates = NO_COORDINATES
    retrieved_gtid_set: str = ""
    gtid_io_pos: str = ""
    using_oracle_gtid: bool = False
    using_mariadb_gtid: bool = False
    has_replication_filters: bool = False
    seconds_behind_master: int | None = None
    sql_delay_seconds: int = 0
    allow_tls: bool = False
    get_source_public_key: bool | None = None
    tls: ChannelTls = NO_TLS
