"""From the configuration to the small policies that the other packages take.

They know nothing of configuration keys; this is the one place where keys and policies meet.
"""

from __future__ import annotations

from services.analysis import AnalysisPolicy
from services.config import Settings, cluster_matches, endpoint_matches, hostname_matches
from services.execution.environment import Timing
from services.mysql.connection import Login, TlsFiles
from services.mysql.watcher import WatchPolicy
from services.planning.candidates import PromotionPolicy
from services.registry.registry import RegistryPolicy
from services.topology.keys import InstanceKey
from services.topology.tree import TreePolicy

__all__ = ["analysis_policy", "login", "promotion_policy", "registry_policy", "timing", "watch_policy"]


def login(settings: Settings) -> Login:
    """How to log in to topology servers."""
    files = None
    if settings.MySQLTopologyUseMutualTLS or settings.MySQLTopologyUseMixedTLS:
        files = TlsFiles(
            ca=settings.MySQLTopologySSLCAFile,
            certificate=settings.MySQLTopologySSLCertFile,
            private_key=settings.MySQLTopologySSLPrivateKeyFile,
            verify=not settings.MySQLTopologySSLSkipVerify,
        )
    return Login(
        user=settings.MySQLTopologyUser,
        password=settings.MySQLTopologyPassword.reveal(),
        tls=files,
        tls_always=settings.MySQLTopologyUseMutualTLS,
    )


def watch_policy(settings: Settings) -> WatchPolicy:
    return WatchPolicy(
        poll=float(settings.InstancePollSeconds),
        heartbeat=settings.InstanceHeartbeatMilliseconds / 1000,
        connect_timeout=float(settings.MySQLConnectTimeoutSeconds),
        read_timeout=float(settings.MySQLDiscoveryReadTimeoutSeconds),
        dead_factor=settings.DeadInstancePollSecondsMultiplyFactor,
        dead_max=float(settings.DeadInstancePollSecondsMax),
    )


def analysis_policy(settings: Settings, hostname: str = "", token: str = "") -> AnalysisPolicy:
    return AnalysisPolicy(
        instance_poll_seconds=settings.InstancePollSeconds,
        reasonable_instance_check_seconds=settings.ReasonableInstanceCheckSeconds,
        reasonable_replication_lag_seconds=settings.ReasonableReplicationLagSeconds,
        reasonable_locked_semi_sync_master_seconds=settings.ReasonableLockedSemiSyncMasterSeconds,
        reduce_analysis_count=settings.ReduceReplicationAnalysisCount,
        enforce_exact_semi_sync=settings.EnforceExactSemiSyncReplicas,
        recover_non_writeable_master=settings.RecoverNonWriteableMaster,
        ignores_hostname=lambda host: hostname_matches(settings.RecoveryIgnoreHostnameFilters, host),
        recovers_master=lambda name, alias: cluster_matches(
            settings.RecoverMasterClusterFilters, name, alias
        ),
        recovers_intermediate_master=lambda name, alias: cluster_matches(
            settings.RecoverIntermediateMasterClusterFilters, name, alias
        ),
        processing_node_hostname=hostname,
        processing_node_token=token,
    )


def registry_policy(settings: Settings, hostname: str = "", token: str = "") -> RegistryPolicy:
    return RegistryPolicy(
        tree=TreePolicy(
            instance_poll_seconds=settings.InstancePollSeconds,
            reasonable_replication_lag_seconds=settings.ReasonableReplicationLagSeconds,
        ),
        analysis=analysis_policy(settings, hostname, token),
        poll_seconds=float(settings.InstancePollSeconds),
        ignores_host=_host_filter(settings.DiscoveryIgnoreHostnameFilters),
        ignores_replica=_host_filter(settings.DiscoveryIgnoreReplicaHostnameFilters),
        ignores_master=_host_filter(settings.DiscoveryIgnoreMasterHostnameFilters),
    )


def promotion_policy(settings: Settings) -> PromotionPolicy:
    return PromotionPolicy(
        ignores=_host_filter(settings.PromotionIgnoreHostnameFilters),
        prevent_cross_data_center=settings.PreventCrossDataCenterMasterFailover,
        prevent_cross_region=settings.PreventCrossRegionMasterFailover,
    )


def timing(settings: Settings) -> Timing:
    return Timing(
        dial=settings.InstanceHeartbeatMilliseconds / 1000,
        no_progress=float(settings.ReasonableReplicationLagSeconds),
    )


class _HostFilter:
    """A class, not a closure, because policies travel between processes."""

    def __init__(self, filters: tuple[str, ...]) -> None:
        self._filters = filters

    def __call__(self, key: InstanceKey) -> bool:
        return endpoint_matches(self._filters, key.hostname, key.port)


def _host_filter(filters: tuple[str, ...]) -> _HostFilter:
    return _HostFilter(filters)
