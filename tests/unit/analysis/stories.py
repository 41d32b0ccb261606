"""Words to tell the stories of the analysis tests with: servers, what befalls them, what is found."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from services.analysis import AnalysisPolicy, ReplicationAnalysis, analyze
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import ClusterIdentity, TreePolicy, derive

NOW = 1000.0

OK = {"last_check_outcome": CheckOutcome.OK, "last_check_partial_success": True}
LOST = {
    "last_check_outcome": CheckOutcome.REFUSED,
    "checked_at": NOW - 0.5,
    "last_check_partial_success": False,
}
DENIED = {**LOST, "last_check_outcome": CheckOutcome.DENIED, "last_check_error": "(1045) Access denied"}

RECEIVER_STOPPED = {"receiver_state": ThreadState.STOPPED, "last_io_errno": 0}
APPLIER_STOPPED = {"applier_state": ThreadState.STOPPED}
CANNOT_CONNECT = {
    "receiver_state": ThreadState.OTHER,
    "last_io_errno": 2003,
    "last_io_error": "Error reconnecting to source 'repl@m:3306'. Message: Can't connect to MySQL server",
}
SEMI_SYNC = {"semi_sync_master_enabled": True, "semi_sync_master_status": True}


def key(name: str) -> InstanceKey:
    return InstanceKey(name, 3306)


def server(name: str, source: str = "", *misfortunes: dict[str, Any], **facts: Any) -> Instance:
    """A server without any problem, checked a second ago, with ``misfortunes`` and ``facts`` on top."""
    healthy: dict[str, Any] = {
        **OK,
        "checked_at": NOW - 1,
        "seen_at": NOW - 2,
        "version": "8.4.3",
        "binlog_format": "ROW",
        "log_bin_enabled": True,
        "log_replica_updates_enabled": True,
        "gtid_mode": "ON",
    }
    if source:
        healthy |= {
            "master_key": key(source),
            "receiver_state": ThreadState.RUNNING,
            "applier_state": ThreadState.RUNNING,
            "last_io_errno": 0,
            "using_oracle_gtid": True,
            "replication_lag_seconds": 0,
            "read_only": True,
        }
    for misfortune in misfortunes:
        healthy |= misfortune
    return Instance(key=key(name), **{**healthy, **facts})


def findings(
    *servers: Instance,
    policy: AnalysisPolicy | None = None,
    identities: tuple[ClusterIdentity, ...] = (),
    failed_witnesses: Collection[InstanceKey] = (),
    include_no_problem: bool = False,
    unix_now: float | None = None,
) -> tuple[ReplicationAnalysis, ...]:
    return analyze(
        derive(servers, identities, TreePolicy(), NOW),
        policy or AnalysisPolicy(),
        NOW,
        include_no_problem,
        failed_witnesses=failed_witnesses,
        unix_now=unix_now,
    )


def codes(*servers: Instance, policy: AnalysisPolicy | None = None) -> dict[str, str]:
    """Name -> code of every server that has a problem, structure findings left out."""
    return {
        entry.analyzed_instance_key.hostname: entry.analysis.value
        for entry in findings(*servers, policy=policy)
        if entry.analysis.value != "NoProblem"
    }


def structure(*servers: Instance) -> dict[str, list[str]]:
    """Name -> structure findings, of every server that has any."""
    return {
        entry.analyzed_instance_key.hostname: [code.value for code in entry.structure_analysis]
        for entry in findings(*servers)
        if entry.structure_analysis
    }


def finding(name: str, *servers: Instance, **how: Any) -> ReplicationAnalysis:
    """What is found about one server; it must be something."""
    return next(entry for entry in findings(*servers, **how) if entry.analyzed_instance_key.hostname == name)
