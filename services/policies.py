"""Which settings the deciding packages are given: the one place that maps keys to their policies.

`services.topology` and `services.analysis` are pure and know nothing of the configuration.
"""

from __future__ import annotations

from functools import partial

from services.analysis.policy import AnalysisPolicy
from services.config import Settings, cluster_matches, hostname_matches
from services.topology.tree import TreePolicy

__all__ = ["analysis_policy", "tree_policy"]


def tree_policy(settings: Settings) -> TreePolicy:
    return TreePolicy(
        instance_poll_seconds=settings.InstancePollSeconds,
        reasonable_replication_lag_seconds=settings.ReasonableReplicationLagSeconds,
    )


def analysis_policy(settings: Settings, *, node_hostname: str = "", node_token: str = "") -> AnalysisPolicy:
    """``node_hostname`` and ``node_token`` are shown as the node that made an analysis."""
    return AnalysisPolicy(
        instance_poll_seconds=settings.InstancePollSeconds,
        reasonable_instance_check_seconds=settings.ReasonableInstanceCheckSeconds,
        reasonable_replication_lag_seconds=settings.ReasonableReplicationLagSeconds,
        reasonable_locked_semi_sync_master_seconds=settings.ReasonableLockedSemiSyncMasterSeconds,
        reduce_analysis_count=settings.ReduceReplicationAnalysisCount,
        enforce_exact_semi_sync=settings.EnforceExactSemiSyncReplicas,
        recover_non_writeable_master=settings.RecoverNonWriteableMaster,
        # partial, not lambda: policies travel between processes
        ignores_hostname=partial(hostname_matches, settings.RecoveryIgnoreHostnameFilters),
        recovers_master=partial(cluster_matches, settings.RecoverMasterClusterFilters),
        recovers_intermediate_master=partial(
            cluster_matches, settings.RecoverIntermediateMasterClusterFilters
        ),
        processing_node_hostname=node_hostname,
        processing_node_token=node_token,
    )
