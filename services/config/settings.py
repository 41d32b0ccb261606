"""Every key of the configuration, with its type, default and meaning.

``Settings`` has one attribute per key, under the key's own name. Instances come from
``services.config.loading`` (``load``, ``from_mapping``), which checks each value, applies the rules between
keys and fills in what one key takes from another. ``Settings()`` alone is the bare table of defaults.

Marks in the meanings: *(obsolete)* a synonym kept for old files; *(no effect)* read, used by nothing.
"""

# ruff: noqa: RUF009 - key() declares a field, as dataclasses.field() does

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from services.config.addresses import (
    check_advertised_url,
    check_endpoint,
    check_listen_address,
    check_url_path,
    check_url_prefix,
    parse_listen_address,
)
from services.config.filters import check_cluster_filter, check_host_filter, check_pattern
from services.config.keys import Key, declared_keys, key
from services.config.kinds import (
    FLAG,
    NATURAL,
    NO_SECRET,
    PATH,
    PORT,
    POSITIVE,
    SECRET,
    TEXT,
    TEXTS,
    Backend,
    CheckedText,
    Choice,
    Map,
    Number,
    Texts,
    Whole,
)
from services.config.own_keys import OwnKeys
from services.config.values import FrozenMap, Secret

__all__ = ["KEYS", "OWN_KEYS", "Settings"]


def _check_place_pattern(text: str) -> None:
    check_pattern(text, groups=1)


_CLUSTER_FILTERS = Texts(check_cluster_filter)
_HOST_FILTERS = Texts(check_host_filter)
_PATTERNS = Texts(check_pattern)
_PATTERN = CheckedText(check_pattern)
_URL_PATH = CheckedText(check_url_path, required=True)
_PLACE_PATTERN = CheckedText(_check_place_pattern)
_LISTEN = CheckedText(check_listen_address, required=True)
_ENDPOINT = CheckedText(check_endpoint)
_PACKET = Whole(-1)
_NO_ENTRIES: FrozenMap[str] = FrozenMap()
_INT64 = Whole(-(2**63), 2**63 - 1)
_ANY = Whole(-(2**31))
_RESOLVE = Choice("none", "default", "cname", "ip")
_RESOLVE_MYSQL = Choice("", "none", "default", "hostname", "@@hostname", "report_host", "@@report_host")
_IDENTITY = Choice("", "none", "FQDN", "hostname", "custom")
_AUTHENTICATION = Choice("", "basic", "multi", "proxy", "token", "oauth")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings(OwnKeys):
    """All settings, immutable; safe to show (secrets are masked), hash, compare and pickle."""

    # Service, logging, user interface
    Debug: bool = key(FLAG, False, "debug log level")
    EnableSyslog: bool = key(FLAG, False, "log to syslog additionally")
    ListenAddress: str = key(_LISTEN, ":3000", "HTTP listener", restart=True)
    ListenSocket: str = key(PATH, "", "unix socket; disables TCP", restart=True)
    HTTPAdvertise: str = key(CheckedText(check_advertised_url), "", "URI at which peers reach this node")
    URLPrefix: str = key(CheckedText(check_url_prefix), "", "path prefix for all URLs", restart=True)
    StatusEndpoint: str = key(_URL_PATH, "/api/status", "path of the status check", restart=True)
    StatusOUVerify: bool = key(FLAG, False, "demand the client certificate's OU on the status check too")
    ReadOnly: bool = key(FLAG, False, "refuse all write requests")
    RemoveTextFromHostnameDisplay: str = key(TEXT, "", "text cut from displayed hostnames")
    WebMessage: str = key(TEXT, "", "banner on all pages")
    PrependMessagesWithOrcIdentity: str = key(_IDENTITY, "", "prefix of every API message")
    CustomOrcIdentity: str = key(TEXT, "", "text for 'custom', and when the name lookup fails")
    AuditLogFile: str = key(PATH, "", "append audit lines to this file")
    AuditToSyslog: bool = key(FLAG, False)
    AuditToBackendDB: bool = key(FLAG, False, "write the audit table; needed for /api/audit")
    AuditPurgeDays: int = key(NATURAL, 7, "age limit of audit, detections, recoveries and their steps")
    ProblemIgnoreHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "not in the problems list")
    OSCIgnoreHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "not in schema change suggestions")
    GraphiteAddr: str = key(TEXT, "", "push target; empty: off")
    GraphitePath: str = key(TEXT, "", "prefix, may contain {hostname}")
    GraphiteConvertHostnameDotsToUnderscores: bool = key(FLAG, True)
    GraphitePollSeconds: int = key(_ANY, 60, "0 or less: off")

    # Backend database
    BackendDB: str = key(Backend(), "mysql", "mysql or sqlite", restart=True)
    SQLite3DataFile: str = key(PATH, "", restart=True)
    MySQLOrchestratorHost: str = key(TEXT, "", restart=True)
    MySQLOrchestratorPort: int = key(PORT, 3306, restart=True)
    MySQLOrchestratorDatabase: str = key(TEXT, "", "created if absent", restart=True)
    MySQLOrchestratorUser: str = key(TEXT, "", restart=True)
    MySQLOrchestratorPassword: Secret = key(SECRET, NO_SECRET, restart=True)
    MySQLOrchestratorCredentialsConfigFile: str = key(PATH, "", "user, password under [client]", restart=True)
    MySQLOrchestratorUseMutualTLS: bool = key(FLAG, False, "use TLS to the backend", restart=True)
    MySQLOrchestratorSSLPrivateKeyFile: str = key(PATH, "", restart=True)
    MySQLOrchestratorSSLCertFile: str = key(PATH, "", restart=True)
    MySQLOrchestratorSSLCAFile: str = key(PATH, "", restart=True)
    MySQLOrchestratorSSLSkipVerify: bool = key(FLAG, False, restart=True)
    MySQLOrchestratorMaxPoolConnections: int = key(POSITIVE, 128, "open connections", restart=True)
    MySQLOrchestratorReadTimeoutSeconds: int = key(POSITIVE, 30, restart=True)
    MySQLOrchestratorRejectReadOnly: bool = key(FLAG, False, "drop read-only connections", restart=True)
    MySQLOrchestratorMaxAllowedPacket: int = key(_PACKET, -1, "-1 default, 0 ask server", restart=True)
    MySQLConnectTimeoutSeconds: int = key(POSITIVE, 2, "for the backend and for topology servers")
    MySQLConnectionLifetimeSeconds: int = key(NATURAL, 0, "recycle connections after; 0: never")
    SkipOrchestratorDatabaseUpdate: bool = key(FLAG, False, "do not deploy the schema", restart=True)
    PanicIfDifferentDatabaseDeploy: bool = key(FLAG, False, "refuse another version's schema", restart=True)
    BufferInstanceWrites: bool = key(FLAG, False, "collect probe results and write them in bulk")
    InstanceWriteBufferSize: int = key(POSITIVE, 100, "rows per bulk write")
    InstanceFlushIntervalMilliseconds: int = key(POSITIVE, 100)

    # Connecting to topology servers
    MySQLTopologyUser: str = key(TEXT, "")
    MySQLTopologyPassword: Secret = key(SECRET, NO_SECRET)
    MySQLTopologyCredentialsConfigFile: str = key(PATH, "", "user and password under [client]")
    MySQLTopologyUseMutualTLS: bool = key(FLAG, False, "TLS to every server")
    MySQLTopologyUseMixedTLS: bool = key(FLAG, True, "TLS to servers that refuse plain logins")
    TLSCacheTTLFactor: int = key(NATURAL, 100, "that is remembered for this times InstancePollSeconds")
    MySQLTopologySSLPrivateKeyFile: str = key(PATH, "")
    MySQLTopologySSLCertFile: str = key(PATH, "")
    MySQLTopologySSLCAFile: str = key(PATH, "")
    MySQLTopologySSLSkipVerify: bool = key(FLAG, False)
    MySQLTopologyMaxAllowedPacket: int = key(_PACKET, -1, "-1 default, 0 ask server")
    MySQLDiscoveryReadTimeoutSeconds: int = key(POSITIVE, 10, "read time-out of polls")
    MySQLTopologyReadTimeoutSeconds: int = key(POSITIVE, 600, "read time-out of all other statements")
    DefaultInstancePort: int = key(PORT, 3306, "used where a name has no port")

    # Discovery
    InstancePollSeconds: int = key(POSITIVE, 5, "interval between polls of a server")
    ReasonableInstanceCheckSeconds: int = key(NATURAL, 1, "added to it: longest time that a poll may take")
    DiscoveryMaxConcurrency: int = key(POSITIVE, 300, "concurrent polls")
    DiscoveryQueueCapacity: int = key(POSITIVE, 100_000)
    DiscoveryQueueMaxStatisticsSize: int = key(NATURAL, 120, "per-second samples kept")
    DiscoveryCollectionRetentionSeconds: int = key(NATURAL, 120)
    DeadInstancePollSecondsMultiplyFactor: float = key(Number(1, 1000), 1.0, "back-off of dead servers")
    DeadInstancePollSecondsMax: int = key(POSITIVE, 300, "back-off ceiling")
    DeadInstanceDiscoveryMaxConcurrency: int = key(NATURAL, 0, "lane of its own for unreachable servers")
    DeadInstanceDiscoveryLogsEnabled: bool = key(FLAG, False)
    DiscoverySeeds: tuple[str, ...] = key(Texts(check_endpoint), (), "servers from which discovery starts")
    DiscoverByShowSlaveHosts: bool = key(FLAG, False, "find replicas by SHOW REPLICAS first")
    SkipMaxScaleCheck: bool = key(FLAG, True, "do not look for MaxScale")
    UnseenInstanceForgetHours: int = key(NATURAL, 240, "forget servers unseen for so long")
    SnapshotTopologiesIntervalHours: int = key(NATURAL, 0, "0: off")
    DiscoveryIgnoreHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "never polled")
    DiscoveryIgnoreReplicaHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "replicas not followed")
    DiscoveryIgnoreMasterHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "masters not followed")
    DiscoveryIgnoreReplicationUsernameFilters: tuple[str, ...] = key(_PATTERNS, (), "users not followed")
    EnableDiscoveryFiltersLogs: bool = key(FLAG, True, "log what is skipped by user")
    ReplicationLagQuery: str = key(TEXT, "", "one row, one number; instead of seconds behind source")
    SlaveLagQuery: str = key(TEXT, "", "(obsolete) ReplicationLagQuery")
    InstanceBulkOperationsWaitTimeoutSeconds: int = key(NATURAL, 10, "per replica, when many are stopped")

    # Classification: queries run on the polled server give one row and one column
    DetectClusterAliasQuery: str = key(TEXT, "")
    DetectClusterDomainQuery: str = key(TEXT, "")
    DetectInstanceAliasQuery: str = key(TEXT, "")
    DetectPromotionRuleQuery: str = key(TEXT, "")
    DetectDataCenterQuery: str = key(TEXT, "", "overrides DataCenterPattern")
    DetectRegionQuery: str = key(TEXT, "", "overrides RegionPattern")
    DetectPhysicalEnvironmentQuery: str = key(TEXT, "", "overrides PhysicalEnvironmentPattern")
    DetectSemiSyncEnforcedQuery: str = key(TEXT, "", "semi-sync priority, 0: asynchronous")
    DetectPseudoGTIDQuery: str = key(TEXT, "", "1: Pseudo-GTID is in use")
    DataCenterPattern: str = key(_PLACE_PATTERN, "", "first group is taken from the hostname")
    RegionPattern: str = key(_PLACE_PATTERN, "", "first group is taken from the hostname")
    PhysicalEnvironmentPattern: str = key(_PLACE_PATTERN, "", "first group is taken from the hostname")
    ClusterNameToAlias: FrozenMap[str] = key(Map(TEXT, check_pattern), _NO_ENTRIES, "name pattern to alias")
    CandidateInstanceExpireMinutes: int = key(NATURAL, 60, "lifetime of a registered promotion rule")
    InstancePoolExpiryMinutes: int = key(NATURAL, 60, "lifetime of pool membership")
    SupportFuzzyPoolHostnames: bool = key(FLAG, True, "allow partial names in pool submissions")

    # Hostname resolving
    HostnameResolveMethod: str = key(_RESOLVE, "default")
    MySQLHostnameResolveMethod: str = key(_RESOLVE_MYSQL, "@@hostname")
    SkipBinlogServerUnresolveCheck: bool = key(FLAG, True)
    ExpiryHostnameResolvesMinutes: int = key(NATURAL, 60)
    RejectHostnameResolvePattern: str = key(_PATTERN, "", "resolved names that match are not used")

    # Thresholds and topology operations
    ReasonableReplicationLagSeconds: int = key(NATURAL, 10, "lag above it is a problem")
    ReasonableMaintenanceReplicationLagSeconds: int = key(NATURAL, 20, "lag above it refuses moves")
    VerifyReplicationFilters: bool = key(FLAG, False)
    LowerReplicaVersionAllowed: bool = key(FLAG, False, "permit a replica of a lower major version")
    MaxConcurrentReplicaOperations: int = key(POSITIVE, 5)
    UseSuperReadOnly: bool = key(FLAG, False, "also set super_read_only")
    ReplicationCredentialsQuery: str = key(TEXT, "", "one row: user, password, CA file, certificate, key")
    PostTakeMasterProcesses: tuple[str, ...] = key(TEXTS, ())

    # Failure detection
    FailureDetectionPeriodBlockMinutes: int = key(NATURAL, 60, "one detection per server in this period")
    ReduceReplicationAnalysisCount: bool = key(FLAG, True)
    ReasonableLockedSemiSyncMasterSeconds: int = key(NATURAL, 0, "0: ReasonableReplicationLagSeconds")
    RecoveryIgnoreHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "on the hostname: not analysed")
    OnFailureDetectionProcesses: tuple[str, ...] = key(TEXTS, ())
    ExpectFailureAnalysisConcensus: bool = key(FLAG, True, "(no effect)")

    # Recovery
    RecoverMasterClusterFilters: tuple[str, ...] = key(_CLUSTER_FILTERS, (), "automated master recovery")
    RecoverIntermediateMasterClusterFilters: tuple[str, ...] = key(_CLUSTER_FILTERS, ())
    RecoveryPeriodBlockSeconds: int = key(NATURAL, 3600, "pause after a promotion")
    RecoveryPeriodBlockMinutes: int = key(NATURAL, 60, "(obsolete) used only where the seconds are 0")
    PromotionIgnoreHostnameFilters: tuple[str, ...] = key(_HOST_FILTERS, (), "never promoted")
    RecoverNonWriteableMaster: bool = key(FLAG, False, "make a read-only master writeable")
    CoMasterRecoveryMustPromoteOtherCoMaster: bool = key(FLAG, True)
    DetachLostSlavesAfterMasterFailover: bool = key(FLAG, True, "(obsolete) true forces the next key")
    DetachLostReplicasAfterMasterFailover: bool = key(FLAG, False, "detach lost replicas")
    ApplyMySQLPromotionAfterMasterFailover: bool = key(FLAG, True)
    PreventCrossDataCenterMasterFailover: bool = key(FLAG, False)
    PreventCrossRegionMasterFailover: bool = key(FLAG, False)
    MasterFailoverLostInstancesDowntimeMinutes: int = key(NATURAL, 0, "0: until they are in place again")
    MasterFailoverDetachSlaveMasterHost: bool = key(FLAG, False, "(obsolete) true forces the next key")
    MasterFailoverDetachReplicaMasterHost: bool = key(FLAG, False, "detach the promoted from the old master")
    FailMasterPromotionOnLagMinutes: int = key(NATURAL, 0, "abort a promotion at this lag")
    FailMasterPromotionIfSQLThreadNotUpToDate: bool = key(FLAG, False)
    DelayMasterPromotionIfSQLThreadNotUpToDate: bool = key(FLAG, False, "wait for the applier")
    PostponeSlaveRecoveryOnLagMinutes: int = key(NATURAL, 0, "(obsolete) PostponeReplicaRecoveryOnLagMinutes")
    PostponeReplicaRecoveryOnLagMinutes: int = key(NATURAL, 0, "replicas delayed by more are handled later")
    EnforceExactSemiSyncReplicas: bool = key(FLAG, False)
    RecoverLockedSemiSyncMaster: bool = key(FLAG, False)

    # Hooks
    ProcessesShellCommand: str = key(TEXT, "bash", "interpreter")
    PreGracefulTakeoverProcesses: tuple[str, ...] = key(TEXTS, ())
    PreFailoverProcesses: tuple[str, ...] = key(TEXTS, ())
    PostMasterFailoverProcesses: tuple[str, ...] = key(TEXTS, ())
    PostIntermediateMasterFailoverProcesses: tuple[str, ...] = key(TEXTS, ())
    PostFailoverProcesses: tuple[str, ...] = key(TEXTS, ())
    PostUnsuccessfulFailoverProcesses: tuple[str, ...] = key(TEXTS, ())
    PostGracefulTakeoverProcesses: tuple[str, ...] = key(TEXTS, ())

    # Pseudo-GTID
    AutoPseudoGTID: bool = key(FLAG, False, "sets the four Pseudo-GTID keys")
    PseudoGTIDPattern: str = key(TEXT, "", "text or pattern of an entry; empty: off")
    PseudoGTIDPatternIsFixedSubstring: bool = key(FLAG, False)
    PseudoGTIDMonotonicHint: str = key(TEXT, "")
    BinlogEventsChunkSize: int = key(POSITIVE, 10_000, "rows per SHOW BINLOG EVENTS")
    SkipBinlogEventsContaining: tuple[str, ...] = key(TEXTS, ())

    # Raft
    RaftEnabled: bool = key(FLAG, False, restart=True)
    RaftBind: str = key(_ENDPOINT, "127.0.0.1:10008", "address of this node", restart=True)
    RaftAdvertise: str = key(_ENDPOINT, "", "address that peers use; empty: RaftBind", restart=True)
    RaftDataDir: str = key(PATH, "", "log and snapshots; created if absent", restart=True)
    DefaultRaftPort: int = key(PORT, 10008, "for entries without port", restart=True)
    RaftNodes: tuple[str, ...] = key(Texts(check_endpoint), (), "all members, this one too", restart=True)

    # Key-value stores
    KVClusterMasterPrefix: str = key(TEXT, "mysql/master", "a cluster's key is <prefix>/<alias>")
    ConsulAddress: str = key(TEXT, "", "empty: no Consul")
    ConsulScheme: str = key(Choice("http", "https"), "http")
    ConsulAclToken: Secret = key(SECRET, NO_SECRET)
    ConsulCrossDataCenterDistribution: bool = key(FLAG, False)
    ConsulKVStoreProvider: str = key(Choice("consul", "consul-txn"), "consul")
    ConsulMaxKVsPerTransaction: int = key(_ANY, 5, "5 to 64; others are brought into this range")
    ZkAddress: str = key(TEXT, "", "comma list host[:2181]")

    # Authentication, TLS of the service, host agents
    AuthenticationMethod: str = key(_AUTHENTICATION, "")
    HTTPAuthUser: str = key(TEXT, "")
    HTTPAuthPassword: Secret = key(SECRET, NO_SECRET)
    AuthUserHeader: str = key(TEXT, "X-Forwarded-User")
    PowerAuthUsers: tuple[str, ...] = key(TEXTS, ("*",))
    PowerAuthGroups: tuple[str, ...] = key(TEXTS, (), "unix groups")
    AccessTokenUseExpirySeconds: int = key(NATURAL, 60)
    AccessTokenExpiryMinutes: int = key(NATURAL, 1440)
    OAuthClientId: str = key(TEXT, "", "(no effect)")
    OAuthClientSecret: Secret = key(SECRET, NO_SECRET, "(no effect)")
    OAuthScopes: tuple[str, ...] = key(TEXTS, (), "(no effect)")
    UseSSL: bool = key(FLAG, False, restart=True)
    UseMutualTLS: bool = key(FLAG, False, restart=True)
    SSLSkipVerify: bool = key(FLAG, False, "also for calls between nodes", restart=True)
    SSLPrivateKeyFile: str = key(PATH, "", restart=True)
    SSLCertFile: str = key(PATH, "", restart=True)
    SSLCAFile: str = key(PATH, "", restart=True)
    SSLValidOUs: tuple[str, ...] = key(TEXTS, ())
    ServeAgentsHttp: bool = key(FLAG, False, "second listener", restart=True)
    AgentsServerPort: str = key(CheckedText(check_listen_address), ":3001", restart=True)
    AgentsUseSSL: bool = key(FLAG, False, restart=True)
    AgentsUseMutualTLS: bool = key(FLAG, False, restart=True)
    AgentSSLSkipVerify: bool = key(FLAG, False, restart=True)
    AgentSSLPrivateKeyFile: str = key(PATH, "", restart=True)
    AgentSSLCertFile: str = key(PATH, "", restart=True)
    AgentSSLCAFile: str = key(PATH, "", restart=True)
    AgentSSLValidOUs: tuple[str, ...] = key(TEXTS, (), restart=True)
    AgentPollMinutes: int = key(NATURAL, 60)
    UnseenAgentForgetHours: int = key(NATURAL, 6)
    StaleSeedFailMinutes: int = key(NATURAL, 60)
    SeedAcceptableBytesDiff: int = key(_INT64, 8192, "(no effect)")
    SeedWaitSecondsBeforeSend: int = key(_INT64, 2)

    def __repr__(self) -> str:
        """Only what differs from the defaults; secrets are masked by their type."""
        changed = (name for name, entry in KEYS.items() if getattr(self, name) != entry.default)
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in changed)})"

    @property
    def uses_sqlite(self) -> bool:
        """Whether the backend is SQLite; otherwise it is MySQL."""
        return self.BackendDB == "sqlite"

    @property
    def listen_endpoint(self) -> tuple[str, int]:
        """Host ("" for all interfaces) and port of ``ListenAddress``."""
        return parse_listen_address(self.ListenAddress)

    def node_directory(self) -> Path:
        """Where this node keeps its locks and state: ``NodeDirectory``, or beside the data file.

        A MySQL backend has no data file; the user's state directory stands in for its folder.
        """
        if self.NodeDirectory:
            return Path(self.NodeDirectory)
        suffix = f".node-{self.listen_endpoint[1]}"
        if self.uses_sqlite and self.SQLite3DataFile:
            return Path(self.SQLite3DataFile + suffix)
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "orchestray" / (self.SetupName + suffix)


KEYS = MappingProxyType({entry.name: entry for entry in declared_keys(Settings)})
"""All keys by name, orchestray's own first."""

OWN_KEYS: tuple[Key, ...] = declared_keys(OwnKeys)
"""orchestray's own keys, in the order of their table."""
