"""What must hold between keys, and what one key takes from another.

``RULES`` are violations that refuse the configuration; ``adjusted`` fills in synonyms and derived values;
``remarks`` are warnings about settings that do not do what they seem to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from services.config.hook_commands import HOOK_KEYS, hook_complaints
from services.config.kinds import shown
from services.config.raft_rules import RAFT_RULES, raft_remarks
from services.config.settings import Settings

__all__ = ["RULES", "Rule", "adjusted", "remarks"]

_PSEUDO_GTID_PATTERN = "drop view if exists `_pseudo_gtid_`"
_CONSUL_BATCH = (5, 64)
_BACKEND_PARTS = {
    "MySQLOrchestratorHost": "host of the backend's server",
    "MySQLOrchestratorDatabase": "name of a database for orchestray alone",
    "MySQLOrchestratorUser": "account that may do everything in that database",
}
_HOOKS_TO_COME = (
    "PostIntermediateMasterFailoverProcesses",
    "PreGracefulTakeoverProcesses",
    "PostGracefulTakeoverProcesses",
    "PostTakeMasterProcesses",
)


class Rule:
    """``broken`` gives the text of a violation of a rule about ``keys``, beginning with the key at fault."""

    __slots__ = ("broken", "keys")

    def __init__(self, keys: tuple[str, ...], broken: Callable[[Settings], str | None]) -> None:
        self.keys = keys
        self.broken = broken


def _lag_queries(s: Settings) -> str | None:
    if s.ReplicationLagQuery and s.SlaveLagQuery and s.ReplicationLagQuery != s.SlaveLagQuery:
        return "ReplicationLagQuery: differs from its synonym SlaveLagQuery; remove SlaveLagQuery"
    return None


def _postpone(s: Settings) -> str | None:
    new, old = s.PostponeReplicaRecoveryOnLagMinutes, s.PostponeSlaveRecoveryOnLagMinutes
    if new and old and new != old:
        return (
            f"PostponeReplicaRecoveryOnLagMinutes: {new} differs from {old} of its synonym "
            "PostponeSlaveRecoveryOnLagMinutes; remove the synonym"
        )
    return None


def _fail_or_delay(s: Settings) -> str | None:
    if s.FailMasterPromotionIfSQLThreadNotUpToDate and s.DelayMasterPromotionIfSQLThreadNotUpToDate:
        return (
            "FailMasterPromotionIfSQLThreadNotUpToDate: is true, and so is "
            "DelayMasterPromotionIfSQLThreadNotUpToDate; set one of them false"
        )
    return None


def _lag_limit(s: Settings) -> str | None:
    if s.FailMasterPromotionOnLagMinutes and not (s.ReplicationLagQuery or s.SlaveLagQuery):
        return (
            f"FailMasterPromotionOnLagMinutes: {s.FailMasterPromotionOnLagMinutes} requires "
            "ReplicationLagQuery; set that too, or this to 0"
        )
    return None


def _sqlite_file(s: Settings) -> str | None:
    if s.uses_sqlite and not s.SQLite3DataFile:
        return f"SQLite3DataFile: is empty, while BackendDB is {shown(s.BackendDB)}; give the path of a file"
    return None


def _mysql_backend(s: Settings) -> str | None:
    needed = ("MySQLOrchestratorHost", "MySQLOrchestratorDatabase", "MySQLOrchestratorUser")
    missing = [name for name in needed if not getattr(s, name)]
    if s.uses_sqlite or not missing or not (s.MySQLOrchestratorHost or s.MySQLOrchestratorDatabase):
        return None  # without both, no backend is configured, which whoever needs one says
    what = _BACKEND_PARTS[missing[0]]
    return f"{missing[0]}: is empty, while BackendDB is {shown(s.BackendDB)}; give the {what}"


def _backend_certificate(s: Settings) -> str | None:
    pair = ("MySQLOrchestratorSSLCertFile", "MySQLOrchestratorSSLPrivateKeyFile")
    given = [name for name in pair if getattr(s, name)]
    if s.uses_sqlite or not s.MySQLOrchestratorUseMutualTLS or len(given) != 1:
        return None
    (missing,) = set(pair) - set(given)
    return f"{missing}: is empty, while {given[0]} is set; give the file that belongs to it"


def _dead_poll(s: Settings) -> str | None:
    if s.DeadInstancePollSecondsMax < s.InstancePollSeconds:
        return (
            f"DeadInstancePollSecondsMax: {s.DeadInstancePollSecondsMax} is less than "
            f"{s.InstancePollSeconds} of InstancePollSeconds; make it at least as large"
        )
    return None


def _lease(s: Settings) -> str | None:
    if s.LeaseMilliseconds < 2 * s.LeaseRenewMilliseconds:
        return (
            f"LeaseMilliseconds: {s.LeaseMilliseconds} is less than twice the {s.LeaseRenewMilliseconds} of "
            "LeaseRenewMilliseconds, so that one slow renewal would lose the lease; make it longer"
        )
    return None


def _multi_user(s: Settings) -> str | None:
    if s.AuthenticationMethod == "multi" and not s.HTTPAuthUser:
        return 'HTTPAuthUser: is empty, while AuthenticationMethod is "multi"; give a user name'
    return None


RULES = (
    Rule(("ReplicationLagQuery", "SlaveLagQuery"), _lag_queries),
    Rule(("PostponeReplicaRecoveryOnLagMinutes", "PostponeSlaveRecoveryOnLagMinutes"), _postpone),
    Rule(
        ("FailMasterPromotionIfSQLThreadNotUpToDate", "DelayMasterPromotionIfSQLThreadNotUpToDate"),
        _fail_or_delay,
    ),
    Rule(("FailMasterPromotionOnLagMinutes", "ReplicationLagQuery", "SlaveLagQuery"), _lag_limit),
    Rule(("SQLite3DataFile", "BackendDB"), _sqlite_file),
    Rule(
        ("MySQLOrchestratorHost", "MySQLOrchestratorDatabase", "MySQLOrchestratorUser", "BackendDB"),
        _mysql_backend,
    ),
    Rule(
        (
            "MySQLOrchestratorSSLCertFile",
            "MySQLOrchestratorSSLPrivateKeyFile",
            "MySQLOrchestratorUseMutualTLS",
            "BackendDB",
        ),
        _backend_certificate,
    ),
    *(Rule(keys, broken) for keys, broken in RAFT_RULES),
    Rule(("DeadInstancePollSecondsMax", "InstancePollSeconds"), _dead_poll),
    Rule(("LeaseMilliseconds", "LeaseRenewMilliseconds"), _lease),
    Rule(("HTTPAuthUser", "AuthenticationMethod"), _multi_user),
)


def adjusted(s: Settings) -> Settings:
    """The settings with synonyms joined and derived values filled in."""
    changes: dict[str, Any] = {
        "URLPrefix": f"/{s.URLPrefix.strip('/')}" if s.URLPrefix.strip("/") else "",
        "RaftAdvertise": s.RaftAdvertise or s.RaftBind,
        "KVClusterMasterPrefix": s.KVClusterMasterPrefix.rstrip("/") + "/",
        "ReasonableLockedSemiSyncMasterSeconds": (
            s.ReasonableLockedSemiSyncMasterSeconds or s.ReasonableReplicationLagSeconds
        ),
        "ConsulMaxKVsPerTransaction": max(
            _CONSUL_BATCH[0], min(s.ConsulMaxKVsPerTransaction, _CONSUL_BATCH[1])
        ),
        "ReplicationLagQuery": s.ReplicationLagQuery or s.SlaveLagQuery,
        "PostponeReplicaRecoveryOnLagMinutes": (
            s.PostponeReplicaRecoveryOnLagMinutes or s.PostponeSlaveRecoveryOnLagMinutes
        ),
        "DetachLostReplicasAfterMasterFailover": (
            s.DetachLostReplicasAfterMasterFailover or s.DetachLostSlavesAfterMasterFailover
        ),
        "MasterFailoverDetachReplicaMasterHost": (
            s.MasterFailoverDetachReplicaMasterHost or s.MasterFailoverDetachSlaveMasterHost
        ),
    }
    if s.RecoveryPeriodBlockSeconds == 0:  # not the default: somebody wrote the 0
        changes["RecoveryPeriodBlockSeconds"] = 60 * s.RecoveryPeriodBlockMinutes
    if s.AutoPseudoGTID:
        changes |= {
            "PseudoGTIDPattern": _PSEUDO_GTID_PATTERN,
            "PseudoGTIDPatternIsFixedSubstring": True,
            "PseudoGTIDMonotonicHint": "asc:",
            "DetectPseudoGTIDQuery": "select 1",
        }
    return replace(s, **changes)


def _promotion_remarks(s: Settings) -> Iterator[tuple[str, str]]:
    for key, tells in (
        ("PreventCrossDataCenterMasterFailover", ("DataCenterPattern", "DetectDataCenterQuery")),
        ("PreventCrossRegionMasterFailover", ("RegionPattern", "DetectRegionQuery")),
    ):
        if getattr(s, key) and not any(getattr(s, one) for one in tells):
            yield key, f"has no effect, because nothing tells where servers are; set {' or '.join(tells)}"
    detaches = s.MasterFailoverDetachReplicaMasterHost or s.MasterFailoverDetachSlaveMasterHost
    if detaches and s.ApplyMySQLPromotionAfterMasterFailover:
        yield (
            "MasterFailoverDetachReplicaMasterHost",
            (
                "has no effect while ApplyMySQLPromotionAfterMasterFailover is true, because the promoted "
                "server forgets its source; remove it"
            ),
        )


def remarks(s: Settings, given: Collection[str]) -> Iterator[tuple[str, str]]:
    """(key, text) about settings, before they are adjusted, that do not do what they seem to.

    ``given`` are the keys that were set by a file, in contrast to those that have their default.
    """
    seconds = s.RecoveryPeriodBlockSeconds
    if "RecoveryPeriodBlockMinutes" in given and seconds not in (0, 60 * s.RecoveryPeriodBlockMinutes):
        yield (
            "RecoveryPeriodBlockMinutes",
            (
                f"has no effect, because RecoveryPeriodBlockSeconds is {seconds}; "
                "set RecoveryPeriodBlockSeconds instead"
            ),
        )
    for new, old in (
        ("DetachLostReplicasAfterMasterFailover", "DetachLostSlavesAfterMasterFailover"),
        ("MasterFailoverDetachReplicaMasterHost", "MasterFailoverDetachSlaveMasterHost"),
    ):
        if new in given and not getattr(s, new) and getattr(s, old):
            yield new, f"false has no effect while {old} is true; set {old} to false"
    yield from _promotion_remarks(s)
    yield from _backend_remarks(s)
    low, high = _CONSUL_BATCH
    if not low <= s.ConsulMaxKVsPerTransaction <= high:
        yield "ConsulMaxKVsPerTransaction", f"{s.ConsulMaxKVsPerTransaction} is brought into {low} to {high}"
    if s.AuthenticationMethod == "basic" and not s.HTTPAuthUser:
        yield "AuthenticationMethod", 'is "basic", while HTTPAuthUser is empty; give a user name'
    unsupported = (
        ("ServeAgentsHttp", s.ServeAgentsHttp),
        ("AutoPseudoGTID", s.AutoPseudoGTID),
        ("PseudoGTIDPattern", bool(s.PseudoGTIDPattern)),
        ("SkipMaxScaleCheck", not s.SkipMaxScaleCheck),
        ("GraphiteAddr", bool(s.GraphiteAddr)),
        ("ConsulCrossDataCenterDistribution", s.ConsulCrossDataCenterDistribution),
    )
    for key, asked in unsupported:
        if asked:
            yield key, "has no effect: orchestray does not support this; remove it"
    yield from _hook_remarks(s)
    yield from raft_remarks(s)


def _backend_remarks(s: Settings) -> Iterator[tuple[str, str]]:
    if s.uses_sqlite:
        return
    if s.MySQLOrchestratorSSLCAFile and not s.MySQLOrchestratorUseMutualTLS:
        yield (
            "MySQLOrchestratorSSLCAFile",
            "has no effect while MySQLOrchestratorUseMutualTLS is false; set that true",
        )
    if s.MySQLOrchestratorUseMutualTLS and not (
        s.MySQLOrchestratorSSLCAFile or s.MySQLOrchestratorSSLSkipVerify
    ):
        yield (
            "MySQLOrchestratorUseMutualTLS",
            "is true without MySQLOrchestratorSSLCAFile: nobody checks the backend's certificate; give it",
        )


def _hook_remarks(s: Settings) -> Iterator[tuple[str, str]]:
    for key in HOOK_KEYS:
        for number, command in enumerate(getattr(s, key), 1):
            for complaint in hook_complaints(command):
                yield key, f"entry {number}, {shown(command)}: {complaint}"
    for key in _HOOKS_TO_COME:
        if getattr(s, key):
            yield key, "has no effect yet: orchestray does not do what it speaks of"
