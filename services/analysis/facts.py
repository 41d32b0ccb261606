"""What an analysed server and its direct replicas look like: counts and flags of failure-detection.md 2.

Facts are computed once per server; the table of problems only reads them. A live snapshot knows more
than the reference does (how a check ended, error numbers, ages); of an instance that was read from a
file these are unknown, and the facts are then exactly the reference's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.analysis.policy import AnalysisPolicy
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.versions import Version

__all__ = ["NETWORK_ERRNOS", "Facts", "observe", "receiver_in_network_error"]

NETWORK_ERRNOS = frozenset(
    {
        # What a client library finds by itself: nobody spoke MySQL to it (MySQL errmsg.h).
        2002,  # CR_CONNECTION_ERROR
        2003,  # CR_CONN_HOST_ERROR: refused, no route, timed out
        2005,  # CR_UNKNOWN_HOST
        2006,  # CR_SERVER_GONE_ERROR
        2012,  # CR_SERVER_HANDSHAKE_ERR
        2013,  # CR_SERVER_LOST
        2055,  # CR_SERVER_LOST_EXTENDED
        # The same, found by a server's own network layer (MySQL mysqld_error.h).
        1158,  # ER_NET_READ_ERROR
        1159,  # ER_NET_READ_INTERRUPTED
        1160,  # ER_NET_ERROR_ON_WRITE
        1161,  # ER_NET_WRITE_INTERRUPTED
    }
)
"""Errors of a receiver that are evidence against its source.

Not 2026 (CR_SSL_CONNECTION_ERROR): a server with a certificate that is not liked gives it, alive.
"""

_ANSWER_ERRNOS = frozenset(
    {
        1040,  # ER_CON_COUNT_ERROR
        1042,  # ER_BAD_HOST_ERROR
        1043,  # ER_HANDSHAKE_ERROR
        1044,  # ER_DBACCESS_DENIED_ERROR
        1045,  # ER_ACCESS_DENIED_ERROR
        1053,  # ER_SERVER_SHUTDOWN
        1129,  # ER_HOST_IS_BLOCKED
        1130,  # ER_HOST_NOT_PRIVILEGED
        1203,  # ER_TOO_MANY_USER_CONNECTIONS
        1226,  # ER_USER_LIMIT_REACHED
        1862,  # ER_MUST_CHANGE_PASSWORD_LOGIN
        2026,  # CR_SSL_CONNECTION_ERROR
        2059,  # CR_AUTH_PLUGIN_CANNOT_LOAD
        2061,  # CR_AUTH_PLUGIN_ERR
        3118,  # ER_ACCOUNT_HAS_BEEN_LOCKED
        3159,  # ER_SECURE_TRANSPORT_REQUIRED
    }
)
"""Errors of a receiver that did not get in, but was spoken to."""

_CONNECT_ERRNOS = NETWORK_ERRNOS | _ANSWER_ERRNOS

_CONNECT_WORDS = re.compile(r"error .*connecting to (?:master|source)", re.IGNORECASE | re.DOTALL)
"""The reference's test, for receivers of which only the text is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names are those of failure-detection.md 2.2 and 3; ``count_…`` speak of direct replicas."""

    instance: Instance
    replicas: tuple[Instance, ...]

    is_master: bool
    is_co_master: bool
    is_group_member: bool
    is_binlog_server: bool
    is_valid: bool  # LastCheckValid
    is_hung: bool  # a check of it has not ended for too long
    answers_with_error: bool  # its last check got an error packet: it lives
    is_failing_to_connect: bool
    is_stale: bool  # its binary log stands still for too long
    is_refuted: bool = False  # a witness could not connect: its receivers believe in it in vain

    count_replicas: int
    count_valid: int
    count_replicating: int  # valid, both threads running
    count_failing: int  # valid, failing to connect to this server
    count_downtimed: int
    count_lagging: int
    count_delayed: int
    count_semi_sync: int
    count_logging: int
    count_statement: int
    count_mixed: int
    count_row: int
    count_major_versions: int

    all_oracle_gtid: bool
    all_mariadb_gtid: bool
    all_binlog_servers: bool
    min_gtid_mode: str
    max_gtid_mode: str
    max_gtid_errant: str

    enforce_exact_semi_sync: bool
    recover_non_writeable_master: bool

    @property
    def is_lost_master(self) -> bool:
        return self.is_master and not self.is_valid

    @property
    def is_seen_master(self) -> bool:
        return self.is_master and self.is_valid

    @property
    def is_lost_co_master(self) -> bool:
        return self.is_co_master and not self.is_valid

    @property
    def is_seen_co_master(self) -> bool:
        return self.is_co_master and self.is_valid

    @property
    def is_lost_intermediate(self) -> bool:
        return not self.is_master and not self.is_valid

    @property
    def is_seen_intermediate(self) -> bool:
        return not self.is_master and self.is_valid

    @property
    def all_valid(self) -> bool:
        """Also of no replicas."""
        return self.count_valid == self.count_replicas

    @property
    def some_valid(self) -> bool:
        return 0 < self.count_valid < self.count_replicas

    @property
    def some_replicate(self) -> bool:
        return self.count_replicating > 0 and not self.is_refuted

    @property
    def none_replicates(self) -> bool:
        return self.count_replicating == 0 or self.is_refuted

    @property
    def all_lag(self) -> bool:
        """And not because all were told to."""
        return self.count_lagging == self.count_replicas and self.count_delayed < self.count_replicas


def observe(
    instance: Instance,
    replicas: tuple[Instance, ...],
    policy: AnalysisPolicy,
    now: float,
    *,
    failed_witness: bool = False,
) -> Facts:
    """``now`` is on the clock of the instances' ``checked_at``."""
    valid = [replica for replica in replicas if replica.is_last_check_valid]
    logging = [each for each in replicas if each.log_bin_enabled and each.log_replica_updates_enabled]
    formats = [replica.binlog_format.upper() for replica in logging]
    gtid_modes = [replica.gtid_mode for replica in replicas]
    is_hung = instance.checked_at > 0 and now - instance.checked_at > policy.hung_check_seconds
    outcome = instance.last_check_outcome
    return Facts(
        instance=instance,
        replicas=replicas,
        is_master=_is_master(instance),
        is_co_master=instance.is_co_master or any(replica.is_co_master for replica in replicas),
        is_group_member=instance.is_group_member,
        is_binlog_server=instance.is_binlog_server,
        is_valid=instance.is_last_check_valid and not is_hung,
        is_hung=is_hung,
        answers_with_error=outcome.is_answer and outcome is not CheckOutcome.OK,
        is_failing_to_connect=_is_failing_to_connect(instance),
        is_refuted=failed_witness and outcome.is_silence,
        is_stale=instance.binlog_coordinates_stale_seconds > policy.locked_semi_sync_seconds,
        count_replicas=len(replicas),
        count_valid=len(valid),
        count_replicating=_count(valid, _is_replicating),
        count_failing=_count(valid, _is_failing_to_connect),
        count_downtimed=_count(replicas, lambda replica: replica.is_downtimed),
        count_lagging=_count(replicas, lambda replica: _lags(replica, policy)),
        count_delayed=_count(replicas, lambda replica: replica.sql_delay_seconds > 0),
        count_semi_sync=_count(replicas, lambda replica: replica.semi_sync_replica_enabled),
        count_logging=len(logging),
        count_statement=formats.count("STATEMENT"),
        count_mixed=formats.count("MIXED"),
        count_row=formats.count("ROW"),
        count_major_versions=len({Version.parse(replica.version).major for replica in logging}),
        all_oracle_gtid=_all_of_some(valid, lambda replica: replica.using_oracle_gtid),
        all_mariadb_gtid=_all_of_some(valid, lambda replica: replica.using_mariadb_gtid),
        all_binlog_servers=_all_of_some(valid, lambda replica: replica.is_binlog_server),
        min_gtid_mode=min(gtid_modes, default=""),
        max_gtid_mode=max(gtid_modes, default=""),
        max_gtid_errant=max((each.gtid_errant for each in replicas if not each.is_downtimed), default=""),
        enforce_exact_semi_sync=policy.enforce_exact_semi_sync,
        recover_non_writeable_master=policy.recover_non_writeable_master,
    )


def receiver_in_network_error(replica: Instance) -> bool:
    """Its receiver cannot reach its source. One that was stopped without an error says nothing."""
    if replica.receiver_state is ThreadState.RUNNING:
        return False
    if replica.last_io_errno is None:
        return _CONNECT_WORDS.search(replica.last_io_error) is not None
    return replica.last_io_errno in NETWORK_ERRNOS


def _is_master(instance: Instance) -> bool:
    """It has no source; a secondary of a group is no master all the same."""
    belongs_to_group = bool(instance.replication_group_name)
    may_be = not belongs_to_group or instance.replication_group_member_role == "PRIMARY"
    return may_be and not instance.master_key.names_a_server


def _is_replicating(replica: Instance) -> bool:
    return replica.receiver_state is ThreadState.RUNNING and replica.applier_state is ThreadState.RUNNING


def _is_failing_to_connect(replica: Instance) -> bool:
    """The receiver is kept out, by whatever; the applier runs."""
    if replica.receiver_state is ThreadState.RUNNING or replica.applier_state is not ThreadState.RUNNING:
        return False
    if replica.last_io_errno is None:
        return _CONNECT_WORDS.search(replica.last_io_error) is not None
    is_trying = replica.receiver_state is ThreadState.OTHER and replica.last_io_errno != 0
    return is_trying or replica.last_io_errno in _CONNECT_ERRNOS


def _lags(replica: Instance, policy: AnalysisPolicy) -> bool:
    lag_seconds = replica.replication_lag_seconds
    return lag_seconds is not None and lag_seconds > policy.reasonable_replication_lag_seconds


def _count(replicas: Iterable[Instance], condition: Callable[[Instance], bool]) -> int:
    return sum(map(condition, replicas))


def _all_of_some(replicas: list[Instance], condition: Callable[[Instance], bool]) -> bool:
    return bool(replicas) and all(map(condition, replicas))
