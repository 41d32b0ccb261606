"""One MySQL server as it is known: what a probe saw, what was registered, what follows.

Values only. Field names are ours; ``api/wire.py`` maps them to the names of the HTTP API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from services.topology.channel import GROUP_CHANNELS, NO_TLS, Channel, ChannelTls, ThreadState
from services.topology.coordinates import NO_COORDINATES, BinlogCoordinates
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.travelling import travelling

__all__ = ["CheckOutcome", "Instance", "Observation", "ThreadState"]


class CheckOutcome(str, Enum):
    """How one check (connect, handshake, poll) of a server ended."""

    OK = "ok"
    UNRESOLVED = "unresolved"  # the name does not resolve
    REFUSED = "refused"  # the host answers, nobody listens
    UNREACHABLE = "unreachable"  # no route, or the connect was not answered in time
    SILENT = "silent"  # accepted the connection and did not speak in time
    STALLED = "stalled"  # stopped answering after it had spoken
    LOST = "lost"  # the connection was reset or closed in the middle
    NOT_MYSQL = "not-mysql"  # it speaks something else
    DENIED = "denied"  # an error packet: wrong credentials or host not allowed (1044, 1045, 1130, 1698)
    REJECTED = "rejected"  # any other error packet at connect (1040, 1129, 1203, ...)
    FAILED = "failed"  # an error packet in the poll itself
    UNKNOWN = "unknown"  # never checked, or read from a file that does not say

    @property
    def is_answer(self) -> bool:
        """The server itself spoke MySQL to us: it is alive, whatever it said."""
        return self in _ANSWERS

    @property
    def is_definite(self) -> bool:
        """It answers, or nobody listens: nothing that was sent to it is still on its way."""
        return self.is_answer or self is CheckOutcome.REFUSED

    @property
    def is_silence(self) -> bool:
        """A fresh connection was refused or went unanswered: half of the evidence of death."""
        return self in _SILENCES

    @property
    def is_unanswered(self) -> bool:
        """A fresh connection was neither refused nor answered: whoever connects may hang in that."""
        return self in _UNANSWERED


_ANSWERS = frozenset({CheckOutcome.OK, CheckOutcome.DENIED, CheckOutcome.REJECTED, CheckOutcome.FAILED})
_UNANSWERED = frozenset({CheckOutcome.SILENT, CheckOutcome.UNREACHABLE, CheckOutcome.STALLED})
_SILENCES = frozenset(
    {
        CheckOutcome.REFUSED,
        CheckOutcome.UNREACHABLE,
        CheckOutcome.SILENT,
        CheckOutcome.STALLED,
        CheckOutcome.LOST,
    }
)


@travelling
@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One server. Times are seconds; GTID sets are the server's own text.

    The last group is derived for a snapshot by ``services.topology.tree`` and is meaningless in a
    fresh probe's value.
    """

    key: InstanceKey

    # what the server said of itself
    instance_alias: str = ""
    reported_hostname: str = ""  # its @@hostname
    reported_host: str = ""  # its @@report_host
    uptime_seconds: int = 0
    server_id: int = 0
    server_uuid: str = ""
    version: str = "Unknown"
    version_comment: str = ""
    flavor: str = "unknown"  # MySQL, Percona, MariaDB, MaxScale, unknown
    read_only: bool = False
    super_read_only: bool = False
    binlog_format: str = ""
    binlog_row_image: str = ""
    log_bin_enabled: bool = False
    log_replica_updates_enabled: bool = False
    self_coordinates: BinlogCoordinates = NO_COORDINATES
    gtid_mode: str = ""
    executed_gtid_set: str = ""
    gtid_purged: str = ""
    gtid_binlog_state: str = ""  # MariaDB
    gtid_slave_pos: str = ""  # MariaDB
    replicas: tuple[InstanceKey, ...] = ()  # as seen on this server, not necessarily known

    channels: tuple[Channel, ...] = ()
    """All of its replication channels, as it lists them."""

    # the channel that the API speaks of: of several the last, as in the reference
    channel_name: str = ""
    replication_user: str = ""
    master_key: InstanceKey = NO_KEY
    source_host: str = ""  # of the source, as the server has it; master_key may name it otherwise
    master_uuid: str = ""
    master_server_id: int = 0  # as MariaDB's replicas know it
    receiver_state: ThreadState = ThreadState.NO_THREAD
    applier_state: ThreadState = ThreadState.NO_THREAD
    last_io_error: str = ""
    last_io_errno: int | None = None  # None: not known (a file carries only the text)
    last_sql_error: str = ""
    last_sql_errno: int | None = None
    read_coordinates: BinlogCoordinates = NO_COORDINATES
    exec_coordinates: BinlogCoordinates = NO_COORDINATES
    relaylog_coordinates: BinlogCoordinates = NO_COORDINATES
    retrieved_gtid_set: str = ""
    gtid_io_pos: str = ""  # MariaDB: up to where it received
    using_oracle_gtid: bool = False
    using_mariadb_gtid: bool = False
    using_pseudo_gtid: bool = False
    has_replication_filters: bool = False
    seconds_behind_master: int | None = None
    replication_lag_seconds: int | None = None
    sql_delay_seconds: int = 0
    has_replication_credentials: bool = False
    replication_credentials_available: bool = False
    allow_tls: bool = False
    replication_get_source_public_key: bool | None = None
    replication_tls: ChannelTls = NO_TLS

    # semi-synchronous replication
    semi_sync_available: bool = False
    semi_sync_priority: int = 0
    semi_sync_master_new_names: bool = False  # plugin speaks of source, not master
    semi_sync_replica_new_names: bool = False
    semi_sync_master_enabled: bool = False
    semi_sync_master_status: bool = False
    semi_sync_master_timeout_ms: int = 0
    semi_sync_master_wait_count: int = 0
    semi_sync_master_wait_point: str = ""  # AFTER_SYNC, AFTER_COMMIT
    semi_sync_master_wait_no_replica: bool = True  # keep waiting when too few replicas are connected
    semi_sync_master_clients: int = 0
    semi_sync_master_no_tx: int = 0  # commits that nobody acknowledged, since start
    semi_sync_replica_enabled: bool = False
    semi_sync_replica_status: bool = False
    semi_sync_unbroken: bool = False
    """Lossless at every observation so far of this server's present run (design, rule 3)."""

    # group replication
    replication_group_name: str = ""
    replication_group_is_single_primary: bool = False
    replication_group_member_state: str = ""
    replication_group_member_role: str = ""
    replication_group_members: tuple[InstanceKey, ...] = ()
    replication_group_primary_key: InstanceKey = NO_KEY

    lacking_privileges: str = ""
    """What orchestray's account would need there to recover and does not have, with the mend."""

    # how the last checks went
    last_check_outcome: CheckOutcome = CheckOutcome.UNKNOWN
    last_check_error: str = ""
    last_check_partial_success: bool = False
    checked_at: float = 0.0
    """Start of the last finished check, in seconds of the snapshot's monotonic clock; 0: never."""
    seen_at: float = 0.0
    """Start of the last successful check, same clock."""
    last_seen_timestamp: str = ""  # UTC, 2026-11-22T20:46:24Z
    last_discovery_latency_ns: int = 0
    binlog_coordinates_stale_seconds: float = 0.0

    # what people and queries registered
    data_center: str = ""
    region: str = ""
    physical_environment: str = ""
    suggested_cluster_alias: str = ""
    also_known_as: tuple[InstanceKey, ...] = ()
    """Other endpoints at which this server was met; replicas may name them as their source."""
    detected_cluster_domain: str = ""
    detected_promotion_rule: str = ""
    """What a query told, which goes before what was registered."""
    promotion_rule: str = "neutral"  # must, prefer, neutral, prefer_not, must_not
    is_candidate: bool = False
    is_downtimed: bool = False
    downtime_reason: str = ""
    downtime_owner: str = ""
    downtime_end_timestamp: str = ""
    elapsed_downtime_ns: int = 0
    maintenance: str = ""  # owner and reason while somebody works on it
    unresolved_hostname: str = ""

    # derived for a snapshot
    cluster_name: str = ""
    cluster_id: str = ""
    replication_depth: int = 0
    is_co_master: bool = False
    ancestry_uuid: str = ""
    gtid_errant: str = ""
    is_last_check_valid: bool = False
    is_up_to_date: bool = False
    is_recently_checked: bool = False
    seconds_since_last_seen: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def is_binlog_server(self) -> bool:
        return "maxscale" in self.version.lower()

    @property
    def is_replica(self) -> bool:
        """A source is configured (detached ones count) and it is known how to read from it."""
        return (
            self.master_key.hostname not in ("", "_")
            and self.master_key.port != 0
            and (bool(self.read_coordinates.log_file) or self.using_oracle_gtid or self.using_mariadb_gtid)
        )

    @property
    def must_name_channel(self) -> bool:
        """Statements about its replication that named none would mean all its channels, or another one."""
        return len(self.channels) > 1 or bool(self.channel_name)

    @property
    def has_several_sources(self) -> bool:
        return len(self.source_channels) > 1

    @property
    def source_channels(self) -> tuple[Channel, ...]:
        """Its channels but those of Group Replication, which lead to no source of ours."""
        return tuple(one for one in self.channels if not one.name.startswith(GROUP_CHANNELS))

    @property
    def replication_running(self) -> bool:
        return (
            self.is_replica
            and self.receiver_state is ThreadState.RUNNING
            and self.applier_state is ThreadState.RUNNING
        )

    @property
    def replication_threads_exist(self) -> bool:
        return ThreadState.NO_THREAD not in (self.receiver_state, self.applier_state)

    @property
    def is_group_member(self) -> bool:
        return bool(self.replication_group_name) and self.replication_group_member_state != "OFFLINE"

    @property
    def supports_oracle_gtid(self) -> bool:
        return self.gtid_mode not in ("", "OFF")

    @property
    def executed(self) -> str:
        """What it has executed, in its flavour's words: a GTID set, or MariaDB's states together."""
        return self.executed_gtid_set or ",".join(filter(None, (self.gtid_binlog_state, self.gtid_slave_pos)))

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.version.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one check of one server brought; a probe reports these to the topology actor.

    ``instance`` is None unless the poll succeeded; a check that failed keeps what was known. ``error`` beside
    an instance tells what of less importance was refused.
    """

    key: InstanceKey
    outcome: CheckOutcome
    error: str = ""
    partial_success: bool = False
    age_seconds: float = 0.0  # since the check began, when it was sent
    latency_seconds: float = 0.0
    instance: Instance | None = field(default=None)
    own_key: InstanceKey | None = None
    """Where the server wants to be known, if that is elsewhere and was seen to lead to the same server."""
    told: frozenset[str] = frozenset()
    """Fields of the instance that queries told; of what they did not tell, that stays which was known."""
