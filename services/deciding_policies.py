"""From the configuration to the policies of the packages that decide.

Imports only what is pure, and the configuration, so that the command line can use it and still start
in an instant; ``services.policies`` has the policies of all other packages.
"""

from __future__ import annotations

from functools import partial

from services.analysis.policy import AnalysisPolicy
from services.config import Settings, cluster_matches, hostname_matches
from services.topology.render import RenderPolicy
from services.topology.tree import TreePolicy

__all__ = ["analysis_policy", "render_policy", "tree_policy"]


def render_policy(settings: Settings) -> RenderPolicy:
    lag_seconds = settings.ReasonableMaintenanceReplicationLagSeconds
    return RenderPolicy(reasonable_maintenance_replication_lag_seconds=lag_seconds)


def tree_policy(settings: Settings) -> TreePolicy:
    return TreePolicy(
        instance_poll_seconds=settings.InstancePollSeconds,
        reasonable_replication_lag_seconds=settings.ReasonableReplicationLagSeconds,
        aliases_by_name=tuple(settings.ClusterNameToAlias.items()),
    )


def analysis_policy(settings: Settings, hostname: str = "", token: str = "") -> AnalysisPolicy:
    """``hostname`` and ``token`` are shown as the node that made an analysis."""
    return AnalysisPolicy(
        instance_poll_seconds=settings.InstancePollSeconds,
        reasonable_instance_check_seconds=settings.ReasonableInstanceCheckSeconds,
        reasonable_replication_lag_seconds=settings.ReasonableReplicationLagSeconds,
        reasonable_locked_semi_sync_master_seconds=settings.ReasonableLockedSemiSyncMasterSeconds,
        reduce_analysis_count=settings.ReduceReplicationAnalysisCount,
        enforce_exact_semi_sync=settings.EnforceExactSemiSyncReplicas,
        recover_non_writeable_master=settings.RecoverNonWriteableMaster,
        # partial, not a closure: policies travel between processes
        ignores_hostname=partial(hostname_matches, settings.RecoveryIgnoreHostnameFilters),
        recovers_master=partial(cluster_matches, settings.RecoverMasterClusterFilters),
        recovers_intermediate_master=partial(
            cluster_matches, settings.RecoverIntermediateMasterClusterFilters
        ),
        processing_node_hostname=hostname,
        processing_node_token=token,
    )
