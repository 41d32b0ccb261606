"""A failure as hooks are told of it."""

from __future__ import annotations

from typing import Any

from services.publish.facts import HookFacts


def facts(**changes: Any) -> HookFacts:
    values: dict[str, Any] = {
        "failure_type": "DeadMaster",
        "instance_type": "master",
        "is_master": True,
        "is_co_master": False,
        "failure_description": "The master cannot be reached and none of its replicas is replicating",
        "failed_host": "db1",
        "failed_port": 3306,
        "failure_cluster": "db1:3306",
        "failure_cluster_alias": "orders",
        "failure_cluster_domain": "orders.example",
        "count_replicas": 2,
        "replica_hosts": ("db2:3306", "db3:3307"),
        "is_downtimed": False,
        "auto_master_recovery": True,
        "auto_intermediate_master_recovery": False,
        "orchestrator_host": "node-1",
        "recovery_uid": "1:abc",
    }
    return HookFacts(**{**values, **changes})


def promoted(**changes: Any) -> HookFacts:
    return facts(
        **{
            "successor_host": "db2",
            "successor_port": 3306,
            "successor_alias": "second",
            "successor_binlog_coordinates": "binlog.000007:4711",
            "lost_replicas": ("db3:3307",),
            **changes,
        }
    )
