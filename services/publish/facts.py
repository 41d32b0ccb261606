"""What a hook is told of a failure and its recovery: one value, as environment variables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

__all__ = ["HookFacts", "facts_from_json", "facts_to_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFacts:
    """Lists hold ``host:port``. ``successor_host`` is empty as long as there is no successor."""

    failure_type: str
    instance_type: str
    is_master: bool
    is_co_master: bool
    failure_description: str
    command: str = ""
    failed_host: str
    failed_port: int
    failure_cluster: str
    failure_cluster_alias: str
    failure_cluster_domain: str
    count_replicas: int
    replica_hosts: tuple[str, ...]
    is_downtimed: bool
    auto_master_recovery: bool
    auto_intermediate_master_recovery: bool
    orchestrator_host: str
    recovery_uid: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Of the servers that have one."""
    lost_replicas: tuple[str, ...] = ()
    successor_host: str = ""
    successor_port: int = 0
    successor_alias: str = ""
    successor_binlog_coordinates: str = ""

    def variables(self) -> Mapping[str, str]:
        """The ``ORC_…`` environment variables: those of a successor only if there is one."""
        found = {
            "ORC_FAILURE_TYPE": self.failure_type,
            "ORC_INSTANCE_TYPE": self.instance_type,
            "ORC_IS_MASTER": _flag(self.is_master),
            "ORC_IS_CO_MASTER": _flag(self.is_co_master),
            "ORC_FAILURE_DESCRIPTION": self.failure_description,
            "ORC_COMMAND": self.command,
            "ORC_FAILED_HOST": self.failed_host,
            "ORC_FAILED_PORT": str(self.failed_port),
            "ORC_FAILURE_CLUSTER": self.failure_cluster,
            "ORC_FAILURE_CLUSTER_ALIAS": self.failure_cluster_alias,
            "ORC_FAILURE_CLUSTER_DOMAIN": self.failure_cluster_domain,
            "ORC_COUNT_REPLICAS": str(self.count_replicas),
            "ORC_REPLICA_HOSTS": ",".join(self.replica_hosts),
            "ORC_IS_DOWNTIMED": _flag(self.is_downtimed),
            "ORC_AUTO_MASTER_RECOVERY": _flag(self.auto_master_recovery),
            "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY": _flag(self.auto_intermediate_master_recovery),
            "ORC_ORCHESTRATOR_HOST": self.orchestrator_host,
            "ORC_RECOVERY_UID": self.recovery_uid,
            "ORC_IS_SUCCESSFUL": _flag(bool(self.successor_host)),
            "ORC_LOST_REPLICAS": ",".join(self.lost_replicas),
            "ORC_COUNT_LOST_REPLICAS": str(len(self.lost_replicas)),
        }
        if self.successor_host:
            found["ORC_SUCCESSOR_HOST"] = self.successor_host
            found["ORC_SUCCESSOR_PORT"] = str(self.successor_port)
            found["ORC_SUCCESSOR_ALIAS"] = self.successor_alias
            if self.successor_binlog_coordinates:
                found["ORC_SUCCESSOR_BINLOG_COORDINATES"] = self.successor_binlog_coordinates
        return {name: value.replace("\0", "") for name, value in found.items()}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def facts_to_json(facts: HookFacts) -> str:
    """For the journal."""
    return json.dumps({entry.name: getattr(facts, entry.name) for entry in fields(facts)})


def facts_from_json(text: str) -> HookFacts:
    """Read what ``facts_to_json`` wrote."""
    values = json.loads(text)
    for name in ("replica_hosts", "lost_replicas"):
        values[name] = tuple(values[name])
    return HookFacts(**values)
