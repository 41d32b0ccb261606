"""Who is to be promoted: candidates compared by what they hold (design, rule 2).

What a replica holds is what it retrieved and what it executed, without its errant transactions.

Promotion rules mean what they mean in the reference (recovery.md 4.2, 4.5), in one stage instead of two:
who has ``must`` or ``prefer`` goes before who has none, even from another data centre and if it has to get
what it lacks from others first (there it would take over from the one promoted before it); ``prefer_not`` is
promoted if nobody else can be; ``must_not`` never. Data centre and environment decide among equals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.planning.holdings import (
    Holdings,
    executed_by,
    holdings_of,
    is_trapped,
    none_of,
    numbered_by_others,
)
from services.planning.plan import Ranked
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.log_prefix import LogPrefix
from services.topology.transactions import TransactionSet
from services.topology.versions import Version

__all__ = ["Candidate", "PromotionPolicy", "assess", "choose", "holders_for"]

_RULES = ("must", "prefer", "neutral", "prefer_not", "must_not")
_FORMATS = {"STATEMENT": 0, "MIXED": 1, "ROW": 2}


def _nobody(_key: InstanceKey) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionPolicy:
    """The settings that promotion depends on, under the reference's meaning."""

    ignores: Callable[[InstanceKey], bool] = _nobody
    """Whether ``PromotionIgnoreHostnameFilters`` speaks of a server."""
    prevent_cross_data_center: bool = False
    prevent_cross_region: bool = False
    lag_limit_seconds: int = 0
    """Who lagged as much when the master failed is not promoted (``FailMasterPromotionOnLagMinutes``)."""
    apply_promotion: bool = True
    """Open the promoted server and have it forget its source (``ApplyMySQLPromotionAfterMasterFailover``)."""
    detach_promoted: bool = False
    """Where it keeps its source: detach it from that (``MasterFailoverDetachReplicaMasterHost``)."""
    designated: InstanceKey = NO_KEY
    undrainable: frozenset[InstanceKey] = frozenset()
    """Replicas that were seen not to execute what they retrieved (rule 1)."""
    drained: frozenset[InstanceKey] = frozenset()
    """Replicas without GTID that have executed all that is complete in their relay logs."""
    unfit: Mapping[InstanceKey, str] = field(default_factory=dict)
    """Replicas that were tried and could not be prepared, and why."""
    fences: bool = False
    """There are programs that fence the failed master (``FenceProcesses``)."""
    fence_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One reachable replica with its receiver stopped, and what follows from its facts."""

    instance: Instance
    executed: TransactionSet
    retrieved: TransactionSet
    errant: TransactionSet
    purged: TransactionSet
    bans: tuple[str, ...] = ()  # why it may not be promoted
    drainable: bool = True
    unknown: str = ""  # why nobody can tell what else it holds

    @property
    def key(self) -> InstanceKey:
        return self.instance.key

    @property
    def holds(self) -> TransactionSet:
        return (self.executed | self.retrieved) - self.errant

    @property
    def gives(self) -> TransactionSet:
        """What others can get from it."""
        return self.holds if self.drainable else self.executed - self.errant

    @property
    def undrained(self) -> TransactionSet:
        return self.retrieved - self.executed

    @property
    def by_position(self) -> bool:
        """What it holds is known as a place in the failed master's binary log only."""
        return isinstance(self.executed, LogPrefix)

    @property
    def can_serve(self) -> bool:
        """Others can replicate from it: it writes what it applies to its own binary log."""
        serves = self.instance.log_bin_enabled and self.instance.log_replica_updates_enabled
        return serves and not self.by_position  # where to begin in its binary log is not known then


def assess(
    failed: Instance,
    replicas: Sequence[Instance],
    policy: PromotionPolicy,
    unreachable: Sequence[Instance] = (),
) -> tuple[Candidate, ...]:
    """What each reachable replica holds, what of it is errant, and whether it may be promoted.

    Errant is what did not come from the failed master: executed by this replica alone, not known of the
    master, retrieved by nobody, and not numbered by the master itself. Of two that have other sources as
    well, what both have executed may be of such a source that they share: it is errant too.
    """
    none = none_of(failed, replicas)
    held = {replica.key: _held(failed, replica, none, policy) for replica in replicas}
    known = executed_by(failed, like=none)
    for holdings in held.values():
        known = known | holdings.retrieved
    everybody = (failed, *replicas, *unreachable)
    uuids = [instance.server_uuid for instance in everybody if instance.server_uuid]
    several = {replica.key for replica in replicas if replica.has_several_sources}
    candidates = []
    for replica in replicas:
        holdings = held[replica.key]
        errant = numbered_by_others(holdings.executed - known, failed, replicas)
        for key, others in held.items():
            if key != replica.key and not {key, replica.key} <= several:
                errant = errant - others.executed
        drainable = replica.key not in policy.undrainable
        bans = _bans(failed, replica, policy)
        if not isinstance(none, LogPrefix) and not _by_gtid(replica):
            bans.append("does not replicate by GTID")
        if holdings.unreadable:
            bans.append(holdings.unreadable)
        if uuids.count(replica.server_uuid) > 1:
            bans.append(f"another endpoint answers with the same server_uuid {replica.server_uuid}")
        if is_trapped(replica) and not holdings.executed >= holdings.retrieved:
            drainable = False
            bans.append("both its threads are stopped: a start would throw its relay log away (MariaDB)")
        candidates.append(
            Candidate(
                instance=replica,
                executed=holdings.executed,
                retrieved=holdings.retrieved,
                errant=errant,
                purged=holdings.purged,
                bans=tuple(bans),
                drainable=drainable,
                unknown=holdings.unreadable if holdings.unknown else "",
            )
        )
    return tuple(candidates)


def choose(
    failed: Instance, candidates: Sequence[Candidate], policy: PromotionPolicy
) -> tuple[Candidate | None, tuple[Ranked, ...]]:
    """The candidate to promote, or None, and all in order of preference with their reasons."""
    union = none_of(failed, [candidate.instance for candidate in candidates])
    for candidate in candidates:
        union = union | candidate.holds
    ordered = sorted(
        candidates, key=lambda candidate: _preference(failed, candidate, candidates, union, policy)
    )
    ranking = tuple(_ranked(failed, candidate, candidates, union) for candidate in ordered)
    chosen = next((c for c, ranked in zip(ordered, ranking, strict=True) if ranked.promotable), None)
    return chosen, ranking


def _preference(
    failed: Instance,
    candidate: Candidate,
    candidates: Sequence[Candidate],
    union: TransactionSet,
    policy: PromotionPolicy,
) -> tuple[object, ...]:
    instance = candidate.instance
    missing = union - candidate.holds
    return (
        bool(candidate.bans) or bool(missing - _from_others(candidate, candidates)),
        instance.key != policy.designated,
        _RULES.index(instance.promotion_rule) if instance.promotion_rule in _RULES else 2,
        bool(missing),
        bool(candidate.errant),
        -sum(
            _can_replicate(candidate, other, other.executed) for other in candidates if other is not candidate
        ),
        instance.data_center != failed.data_center,
        instance.physical_environment != failed.physical_environment,
        candidate.undrained.count,
        Version.parse(instance.version).numbers,
        instance.key,
    )


def _ranked(
    failed: Instance, candidate: Candidate, candidates: Sequence[Candidate], union: TransactionSet
) -> Ranked:
    missing = union - candidate.holds
    reasons = list(candidate.bans)
    coverable = not missing - _from_others(candidate, candidates)
    if missing and not coverable:
        reasons.append("others hold transactions that it cannot get from them")
    elif missing:
        reasons.append(f"catches up {missing.count} transactions from others first")
    else:
        reasons.append("holds everything that any reachable replica holds")
    if candidate.undrained:
        reasons.append(f"{candidate.undrained.count} transactions wait in its relay log")
    if candidate.errant:
        reasons.append(f"has errant transactions {candidate.errant}")
    if candidate.instance.promotion_rule != "neutral":
        reasons.append(f"promotion rule {candidate.instance.promotion_rule}")
    if candidate.instance.data_center != failed.data_center:
        reasons.append(f"in data center {candidate.instance.data_center or '(unknown)'}")
    return Ranked(
        key=candidate.key,
        promotable=not candidate.bans and coverable,
        reasons=tuple(reasons),
        missing=str(missing),
        errant=str(candidate.errant),
    )


def holders_for(candidate: Candidate, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """From whom the candidate gets what it lacks, one after another: the fullest first, none for nothing.

    Only from those whose binary logs it can read, which depends on what it got from those before.
    """
    have, executed = candidate.holds, candidate.executed | candidate.retrieved  # it is drained first
    holders: list[Candidate] = []
    left = [other for other in candidates if other is not candidate]
    while True:
        useful = [
            other for other in left if other.gives - have and _can_replicate(other, candidate, executed)
        ]
        if not useful:
            return tuple(holders)
        fullest = min(useful, key=lambda other: (-(other.gives - have).count, bool(other.errant), other.key))
        holders.append(fullest)
        left.remove(fullest)
        have, executed = have | fullest.gives, executed | fullest.gives


def _from_others(candidate: Candidate, candidates: Sequence[Candidate]) -> TransactionSet:
    given = candidate.holds - candidate.holds
    for holder in holders_for(candidate, candidates):
        given = given | holder.gives
    return given


def _can_replicate(source: Candidate, replica: Candidate, executed: TransactionSet) -> bool:
    """Whether ``replica`` can read what it lacks from ``source`` once it has executed ``executed``.

    A source that purged more than that from its binary logs refuses it (error 1236).
    """
    return source.can_serve and _can_follow(replica.instance, source.instance) and executed >= source.purged


def _bans(failed: Instance, replica: Instance, policy: PromotionPolicy) -> list[str]:
    bans = []
    if replica.promotion_rule == "must_not":
        bans.append("promotion rule must_not")
    if policy.ignores(replica.key):
        bans.append("matches PromotionIgnoreHostnameFilters")
    if replica.sql_delay_seconds > 0:
        bans.append(f"is delayed by {replica.sql_delay_seconds} s")
    bans += _bans_by_settings(failed, replica, policy)
    if not replica.log_bin_enabled:
        bans.append("has no binary log")
    elif not replica.log_replica_updates_enabled:
        bans.append("does not log what it replicates (log_replica_updates is OFF)")
    if replica.key in policy.undrainable:
        bans.append("does not execute what it retrieved: its applier makes no progress")
    if replica.key in policy.unfit:
        bans.append(policy.unfit[replica.key])
    if replica.has_replication_filters:
        bans.append("has replication filters")
    if replica.has_several_sources:
        bans.append("replicates from several sources: those would go on writing to it")
    return bans


def _bans_by_settings(failed: Instance, replica: Instance, policy: PromotionPolicy) -> list[str]:
    bans = []
    if policy.prevent_cross_data_center and replica.data_center != failed.data_center:
        bans.append("PreventCrossDataCenterMasterFailover: in another data center")
    if policy.prevent_cross_region and replica.region != failed.region:
        bans.append("PreventCrossRegionMasterFailover: in another region")
    lag_seconds = _lag_at_failure(failed, replica)
    if 0 < policy.lag_limit_seconds <= lag_seconds:
        bans.append(f"FailMasterPromotionOnLagMinutes: lagged by {lag_seconds} s")
    return bans


def _lag_at_failure(failed: Instance, replica: Instance) -> int:
    """A lag grows while there is no master: that part of it is not the replica's."""
    alone_seconds = max(0.0, replica.checked_at - failed.seen_at) if failed.seen_at else 0.0
    return int((replica.replication_lag_seconds or 0) - alone_seconds)


def _can_follow(replica: Instance, source: Instance) -> bool:
    """The reference's CanReplicateFrom as far as it decides about promotion (rules 1 to 5, 7 and 8)."""
    if not source.log_bin_enabled or not source.log_replica_updates_enabled:
        return False
    if Version.parse(replica.version).numbers[:2] < Version.parse(source.version).numbers[:2]:
        return False
    if replica.log_replica_updates_enabled and _FORMATS.get(replica.binlog_format, 2) < _FORMATS.get(
        source.binlog_format, 2
    ):
        return False
    return replica.server_id != source.server_id


def _held(failed: Instance, replica: Instance, none: TransactionSet, policy: PromotionPolicy) -> Holdings:
    holdings = holdings_of(failed, replica, none)
    if replica.key in policy.drained:  # what is left is not a whole transaction
        return replace(holdings, retrieved=holdings.executed)
    return holdings


def _by_gtid(replica: Instance) -> bool:
    if replica.is_mariadb:
        return replica.using_mariadb_gtid
    return replica.using_oracle_gtid and replica.gtid_mode == "ON"
