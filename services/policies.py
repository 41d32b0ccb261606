"""From the configuration to the small policies that the other packages take.

They know nothing of configuration keys; this is the one place where keys and policies meet.
"""

from __future__ import annotations

import math

from services.config import KEYS, Settings, endpoint_matches
from services.deciding_policies import analysis_policy, tree_policy
from services.execution.environment import Timing
from services.mysql.classification import ClassifyingQueries
from services.mysql.connection import Login, TlsFiles
from services.mysql.poll import DiscoveryPolicy
from services.mysql.watcher import WatchPolicy
from services.planning.candidates import PromotionPolicy
from services.publish.hooks import HookKind, HookPolicy
from services.registry.registry import RegistryPolicy
from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy
from services.topology.places import PlacePatterns

__all__ = ["hook_policy", "login", "promotion_policy", "registry_policy", "timing", "watch_policy"]

_SECRETS = tuple(name for name, entry in KEYS.items() if entry.is_secret)


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
        lifetime=float(settings.MySQLConnectionLifetimeSeconds),
        dead_factor=settings.DeadInstancePollSecondsMultiplyFactor,
        dead_max=float(settings.DeadInstancePollSecondsMax),
        dead_at_once=settings.DeadInstanceDiscoveryMaxConcurrency,
        queries=_queries(settings),
        names=_names(settings),
        discovery=_discovery(settings),
    )


def _discovery(settings: Settings) -> DiscoveryPolicy:
    return DiscoveryPolicy(
        registered_first=settings.DiscoverByShowSlaveHosts,
        ignored_users=settings.DiscoveryIgnoreReplicationUsernameFilters,
        has_credentials=bool(settings.ReplicationCredentialsQuery),
    )


def _names(settings: Settings) -> NamePolicy:
    return NamePolicy(
        method=settings.HostnameResolveMethod,
        own_method=settings.MySQLHostnameResolveMethod,
        reject=settings.RejectHostnameResolvePattern,
        expiry_seconds=60.0 * max(1, settings.ExpiryHostnameResolvesMinutes),
    )


def _queries(settings: Settings) -> ClassifyingQueries:
    return ClassifyingQueries(
        replication_lag_seconds=settings.ReplicationLagQuery,
        data_center=settings.DetectDataCenterQuery,
        region=settings.DetectRegionQuery,
        physical_environment=settings.DetectPhysicalEnvironmentQuery,
        instance_alias=settings.DetectInstanceAliasQuery,
        suggested_cluster_alias=settings.DetectClusterAliasQuery,
        detected_cluster_domain=settings.DetectClusterDomainQuery,
        detected_promotion_rule=settings.DetectPromotionRuleQuery,
        semi_sync_priority=settings.DetectSemiSyncEnforcedQuery,
        using_pseudo_gtid=settings.DetectPseudoGTIDQuery,
    )


def registry_policy(settings: Settings, hostname: str = "", token: str = "") -> RegistryPolicy:
    return RegistryPolicy(
        tree=tree_policy(settings),
        analysis=analysis_policy(settings, hostname, token),
        places=_places(settings),
        poll_seconds=float(settings.InstancePollSeconds),
        ignores_host=_host_filter(settings.DiscoveryIgnoreHostnameFilters),
        ignores_replica=_host_filter(settings.DiscoveryIgnoreReplicaHostnameFilters),
        ignores_master=_host_filter(settings.DiscoveryIgnoreMasterHostnameFilters),
        names=_names(settings),
        ignores_user=_discovery(settings).ignores_user,
        logs_ignored_users=settings.EnableDiscoveryFiltersLogs,
    )


def _places(settings: Settings) -> PlacePatterns:
    return PlacePatterns(
        data_center=settings.DataCenterPattern,
        region=settings.RegionPattern,
        physical_environment=settings.PhysicalEnvironmentPattern,
        asked=frozenset(_queries(settings).classes),
    )


def promotion_policy(settings: Settings) -> PromotionPolicy:
    return PromotionPolicy(
        ignores=_host_filter(settings.PromotionIgnoreHostnameFilters),
        prevent_cross_data_center=settings.PreventCrossDataCenterMasterFailover,
        prevent_cross_region=settings.PreventCrossRegionMasterFailover,
        fences=bool(settings.FenceProcesses),
        fence_required=settings.FenceProcessesRequired,
        lag_limit_seconds=60 * settings.FailMasterPromotionOnLagMinutes,
        apply_promotion=settings.ApplyMySQLPromotionAfterMasterFailover,
        detach_promoted=settings.MasterFailoverDetachReplicaMasterHost,
    )


def hook_policy(settings: Settings) -> HookPolicy:
    values = (getattr(settings, name).reveal() for name in _SECRETS)
    return HookPolicy(
        commands={kind: getattr(settings, kind.value) for kind in HookKind},
        fence_required=settings.FenceProcessesRequired,
        interpreter=settings.ProcessesShellCommand,
        seconds=float(settings.HookTimeoutSeconds),
        asynchronous_seconds=float(settings.HookAsyncTimeoutSeconds),
        output_bytes=settings.HookOutputBytes,
        secrets=frozenset(value for value in values if value),
    )


def timing(settings: Settings) -> Timing:
    return Timing(
        dial=settings.InstanceHeartbeatMilliseconds / 1000,
        no_progress=float(settings.ReasonableReplicationLagSeconds),
        drain_within=(
            float(settings.InstanceBulkOperationsWaitTimeoutSeconds)
            if settings.FailMasterPromotionIfSQLThreadNotUpToDate
            else math.inf
        ),
    )


class _HostFilter:
    """A class, not a closure, because policies travel between processes."""

    def __init__(self, filters: tuple[str, ...]) -> None:
        self._filters = filters

    def __call__(self, key: InstanceKey) -> bool:
        return endpoint_matches(self._filters, key.hostname, key.port)


def _host_filter(filters: tuple[str, ...]) -> _HostFilter:
    return _HostFilter(filters)
