"""How servers were before a recovery touched them: journalled, so that a later term can restore it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from services.topology.channel import Channel
from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey

__all__ = ["BEFORE_KIND", "before_from", "before_to"]

BEFORE_KIND = "before"
"""Kind of the journal entries that carry one server's state, as ``before_to`` gives it."""

_PLAIN = (
    "read_only",
    "super_read_only",
    "semi_sync_available",
    "semi_sync_master_enabled",
    "semi_sync_master_wait_point",
    "semi_sync_master_wait_count",
    "semi_sync_master_timeout_ms",
    "semi_sync_master_wait_no_replica",
)
_THREADS = ("receiver_state", "applier_state")
_SOURCE_HOST = "source_host"  # not in the journals of earlier versions
_CHANNEL, _CHANNELS = "channel", "channels"  # neither are these


def before_to(instances: Iterable[Instance]) -> str:
    """What an abort may have to restore, as JSON."""
    return json.dumps(
        [
            {
                "host": instance.key.hostname,
                "port": instance.key.port,
                **{name: getattr(instance, name) for name in (*_PLAIN, _SOURCE_HOST)},
                **{name: getattr(instance, name).value for name in _THREADS},
                _CHANNEL: instance.channel_name,
                _CHANNELS: [channel.name for channel in instance.channels],
            }
            for instance in instances
        ]
    )


def before_from(text: str) -> dict[InstanceKey, Instance]:
    """Read what ``before_to`` wrote."""
    found = {}
    for values in json.loads(text):
        key = InstanceKey(values["host"], values["port"])
        facts: dict[str, Any] = {name: values[name] for name in _PLAIN}
        facts |= {name: ThreadState(values[name]) for name in _THREADS}
        facts[_SOURCE_HOST] = values.get(_SOURCE_HOST, "")
        channels = tuple(Channel(name=name) for name in values.get(_CHANNELS, ()))
        facts |= {"channel_name": values.get(_CHANNEL, ""), "channels": channels}
        found[key] = Instance(key=key, **facts)
    return found
