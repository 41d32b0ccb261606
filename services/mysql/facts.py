"""From the rows of a poll to an Instance. Pure: rows in, value out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from services.mysql.cells import flag, in_one_line, named_values, text
from services.mysql.connection import Row
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.versions import flavor

__all__ = ["apply_group", "apply_semi_sync", "apply_settings", "apply_variables"]

_NO_GROUP: dict[str, Any] = {
    name: getattr(Instance(key=NO_KEY), name)
    for name in (
        "replication_group_name", "replication_group_is_single_primary", "replication_group_member_state",
        "replication_group_member_role", "replication_group_members", "replication_group_primary_key",
    )
}  # fmt: skip


def apply_variables(instance: Instance, row: Row) -> Instance:
    """Facts of the one-row select of what may change at any time."""
    return replace(
        instance,
        server_id=int(row["server_id"]),
        read_only=flag(row["read_only"]),
        super_read_only=flag(row.get("super_read_only", 0)),
        binlog_format=text(row.get("binlog_format")),
        gtid_mode=text(row.get("gtid_mode")),
        executed_gtid_set=in_one_line(row.get("gtid_executed")),
        gtid_purged=in_one_line(row.get("gtid_purged")),
        gtid_binlog_state=text(row.get("gtid_binlog_state")),
        gtid_slave_pos=text(row.get("gtid_slave_pos")),
    )


def apply_settings(instance: Instance, row: Row) -> Instance:
    """Facts of the one-row select of what changes rarely, or only with a restart."""
    version, comment = text(row["version"]), text(row["version_comment"])
    return replace(
        instance,
        reported_hostname=text(row.get("hostname")),
        reported_host=text(row.get("report_host")),
        server_uuid=text(row.get("server_uuid")),
        version=version,
        version_comment=comment,
        flavor=flavor(version, comment),
        binlog_row_image=text(row.get("binlog_row_image")),
        log_bin_enabled=flag(row["log_bin"]),
        log_replica_updates_enabled=flag(row["log_replica_updates"]),
    )


def apply_semi_sync(instance: Instance, variables: Iterable[Row], status: Iterable[Row]) -> Instance:
    """Facts of semi-synchronous replication under either naming of its plugins."""
    values, states = named_values(variables), named_values(status)
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


def _number(values: Mapping[str, str], name: str) -> int:
    value = values.get(name, "")
    return int(value) if value.isdigit() else 0


def apply_group(instance: Instance, variables: Iterable[Row], members: Iterable[Row]) -> Instance:
    """Facts of a replication group with a single primary (discovery.md 3.5); others are not told of.

    A member that was expelled sees no primary any more.
    """
    values = named_values(variables)
    mine = None
    others: list[InstanceKey] = []
    primary = NO_KEY
    for row in members:
        if text(row["state"]) == "OFFLINE" or not row["host"]:
            continue
        key = InstanceKey(text(row["host"]), int(row["port"] or 0))
        if text(row["id"]) == instance.server_uuid:
            mine = row
            key = instance.key
        else:
            others.append(key)
        if text(row["role"]) == "PRIMARY":
            primary = key
    name = values.get("group_replication_group_name", "")
    if mine is None or not name or not flag(values.get("group_replication_single_primary_mode")):
        return replace(instance, **_NO_GROUP)
    return replace(
        instance,
        replication_group_name=name,
        replication_group_is_single_primary=True,
        replication_group_member_state=text(mine["state"]),
        replication_group_member_role=text(mine["role"]),
        replication_group_members=tuple(sorted(others)),
        replication_group_primary_key=primary,
    )
