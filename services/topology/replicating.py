"""Whether one server can replicate from another: topology-operations' rules, for who asks beforehand.

The rules are about the settings of both servers. Not looked at: whether the source is reached, credentials,
``binlog_row_image``, ``gtid_mode``, purged logs where no GTID is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.topology.gtid import GtidSet, GtidSyntaxError
from services.topology.instance import Instance
from services.topology.versions import Version

__all__ = ["ReplicationPolicy", "why_not_replicate", "why_not_replicate_by_gtid"]

_FORMATS = ("STATEMENT", "MIXED", "ROW")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationPolicy:
    """The settings that matter here."""

    verify_filters: bool = False
    lower_version_allowed: bool = False
    reasonable_maintenance_lag_seconds: int = 20


def why_not_replicate(replica: Instance, source: Instance, policy: ReplicationPolicy) -> str:
    """The first reason why ``replica`` cannot replicate from ``source``; empty if there is none."""
    checks = (
        _why_not_logged(replica, source),
        "" if policy.lower_version_allowed else _why_lower_version(replica, source),
        _why_not_this_format(replica, source),
        _why_filtered(replica, source) if policy.verify_filters else "",
        _why_same(replica, source),
        _why_delayed(replica, source, policy),
    )
    return next(filter(None, checks), "")


def why_not_replicate_by_gtid(replica: Instance, source: Instance) -> str:
    """Why it cannot find its place in ``source`` by GTID; empty if it can."""
    if replica.using_mariadb_gtid and source.is_mariadb:
        return ""
    if not (replica.using_oracle_gtid and source.supports_oracle_gtid):
        return f"{replica.key} and {source.key} are not GTID compatible"
    try:
        lacking = GtidSet.parse(source.gtid_purged) - GtidSet.parse(replica.executed_gtid_set)
    except GtidSyntaxError as error:
        return f"the GTID sets of {replica.key} and {source.key} cannot be compared: {error}"
    if lacking.is_empty:
        return ""
    return f"{source.key} has purged GTID entries not found on {replica.key}: {lacking}"


def _why_not_logged(replica: Instance, source: Instance) -> str:
    if replica.key == source.key:
        return f"instance cannot replicate from itself: {replica.key}"
    if not source.log_bin_enabled:
        return f"instance does not have binary logs enabled: {source.key}"
    if source.is_replica and not source.log_replica_updates_enabled:
        return f"instance does not have log_slave_updates enabled: {source.key}"
    return ""


def _why_lower_version(replica: Instance, source: Instance) -> str:
    theirs, ours = (Version.parse(one.version).numbers[:2] for one in (source, replica))
    if ours >= theirs:
        return ""
    return (
        f"instance {replica.key} has version {replica.version}, which is lower than {source.version} on "
        f"{source.key}"
    )


def _why_not_this_format(replica: Instance, source: Instance) -> str:
    if not (replica.log_bin_enabled and replica.log_replica_updates_enabled):
        return ""
    formats = (replica.binlog_format, source.binlog_format)
    if any(one not in _FORMATS for one in formats) or _FORMATS.index(formats[0]) >= _FORMATS.index(
        formats[1]
    ):
        return ""
    return (
        f"cannot replicate from {source.binlog_format} binlog format on {source.key} to "
        f"{replica.binlog_format} on {replica.key}"
    )


def _why_filtered(replica: Instance, source: Instance) -> str:
    if source.has_replication_filters and not replica.has_replication_filters:
        return f"{source.key} has replication filters"
    return ""


def _why_same(replica: Instance, source: Instance) -> str:
    if replica.server_id == source.server_id:
        return f"identical server id: {source.key} and {replica.key} both have {replica.server_id}"
    if replica.server_uuid and replica.server_uuid == source.server_uuid:
        return f"identical server UUID: {source.key} and {replica.key} both have {replica.server_uuid}"
    return ""


def _why_delayed(replica: Instance, source: Instance, policy: ReplicationPolicy) -> str:
    theirs = source.sql_delay_seconds
    if replica.sql_delay_seconds < theirs and theirs > policy.reasonable_maintenance_lag_seconds:
        return (
            f"{source.key} has higher SQL_Delay ({theirs} seconds) than {replica.key} does "
            f"({replica.sql_delay_seconds} seconds)"
        )
    return ""
