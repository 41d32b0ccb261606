"""An Instance as JSON text for the store, and back.

Unknown and missing fields are no error: versions of the program differ.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass, replace
from enum import Enum
from typing import Any

from services.topology.channel import Channel
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey

__all__ = ["facts_from_json", "facts_to_json", "lasting_facts"]

_NOT_KEPT = frozenset(
    {
        # derived for each snapshot, or of a clock that does not survive the process
        "cluster_name", "cluster_id", "replication_depth", "is_co_master", "ancestry_uuid", "gtid_errant",
        "is_last_check_valid", "is_up_to_date", "is_recently_checked", "seconds_since_last_seen", "problems",
        "checked_at", "seen_at", "last_check_outcome", "last_check_error",
        "binlog_coordinates_stale_seconds", "lacking_privileges", "elapsed_downtime_ns",
    }
)  # fmt: skip
_ENUMS: dict[str, type[Enum]] = {
    "receiver_state": ThreadState,
    "applier_state": ThreadState,
    "last_check_outcome": CheckOutcome,
}
_DEFAULTS = Instance(key=InstanceKey("", 0))
_A_CHANNEL = Channel()


_MOVING: dict[str, Any] = {
    name: getattr(_DEFAULTS, name)
    for name in (
        *_NOT_KEPT, "uptime_seconds", "self_coordinates", "executed_gtid_set", "gtid_purged",
        "channels", "retrieved_gtid_set", "read_coordinates", "exec_coordinates", "relaylog_coordinates",
        "seconds_behind_master", "replication_lag_seconds", "semi_sync_master_no_tx",
        "gtid_binlog_state", "gtid_slave_pos", "gtid_io_pos",
        "last_discovery_latency_ns", "last_seen_timestamp",
    )
}  # fmt: skip


def lasting_facts(instance: Instance) -> Instance:
    """The part that stays as it is while a server merely works; equal if nothing else has changed."""
    return replace(instance, **_MOVING)


def facts_to_json(instance: Instance) -> str:
    values = {name: value for name, value in asdict(instance).items() if name not in _NOT_KEPT}
    return json.dumps(values, default=str, separators=(",", ":"))


def facts_from_json(text: str) -> Instance:
    """Raises ValueError for a text that is not one of ours."""
    values = json.loads(text)
    if not isinstance(values, dict) or "key" not in values:
        raise ValueError("not an instance")
    kept: Instance = _like(
        _DEFAULTS, {name: value for name, value in values.items() if name not in _NOT_KEPT}
    )
    return kept


def _like(model: Any, values: dict[str, Any]) -> Any:
    """A value of the model's class; names that it does not know are left out."""
    known = {field.name for field in fields(model)}
    return type(model)(
        **{name: _value(name, getattr(model, name), value) for name, value in values.items() if name in known}
    )


def _value(name: str, default: Any, value: Any) -> Any:
    if name in _ENUMS:
        return _ENUMS[name](value)
    if name == "channels":
        return tuple(_like(_A_CHANNEL, item) for item in value)
    if is_dataclass(default):
        return _like(default, value)
    if isinstance(default, tuple):
        return tuple(InstanceKey(**item) for item in value)
    return value
