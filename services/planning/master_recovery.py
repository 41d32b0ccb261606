"""Plans for a dead master. The numbers are those of the rules in docs/recovery.md.

Two plans, because a candidate can only be chosen once nothing moves any more: ``plan_freeze`` stops every
receiver; then the replicas are read afresh, and ``plan_promotion`` decides on what was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from services.planning.candidates import Candidate, PromotionPolicy, assess, choose, holders_for
from services.planning.holdings import executed_by, holdings_of, none_of
from services.planning.plan import Plan, Ranked, Refusal, SemiSync, Step, StepKind
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.log_prefix import LogPrefix
from services.topology.merging import LOSSLESS_TIMEOUT_MS
from services.topology.transactions import TransactionSet

__all__ = ["Frozen", "estimate", "lossless_settings", "plan_drain", "plan_freeze", "plan_promotion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What is known once the receivers are stopped."""

    cluster_id: str
    failed: Instance
    """As last seen alive."""
    reachable: tuple[Instance, ...]
    """Direct replicas, read afresh; their receivers are stopped."""
    unreachable: tuple[Instance, ...]
    """Direct replicas that could not be stopped, as last seen."""
    seen: tuple[Instance, ...] = ()
    """The reachable ones as they were last seen before, if they were."""
    why: Mapping[InstanceKey, str] = field(default_factory=dict)
    """Why each of those is not counted upon."""
    forced: bool = False
    """An operator accepted the loss: rule 3 does not refuse."""


def lossless_settings(master: Instance) -> str:
    """Why the master's semi-sync settings do not promise that nothing is lost; "" if they do (rule 3)."""
    side, replica = ("master", "slave") if master.is_mariadb else ("source", "replica")
    facts = (
        (master.semi_sync_master_enabled, f"rpl_semi_sync_{side}_enabled is OFF"),
        (
            master.semi_sync_master_wait_point == "AFTER_SYNC",
            f"rpl_semi_sync_{side}_wait_point is {master.semi_sync_master_wait_point or 'unknown'}",
        ),
        (
            master.semi_sync_master_timeout_ms >= LOSSLESS_TIMEOUT_MS,
            f"rpl_semi_sync_{side}_timeout is {master.semi_sync_master_timeout_ms} ms, not its maximum",
        ),
        (master.semi_sync_master_wait_no_replica, f"rpl_semi_sync_{side}_wait_no_{replica} is OFF"),
        (master.semi_sync_master_status, f"Rpl_semi_sync_{side}_status was OFF when it was last seen"),
        (master.semi_sync_unbroken, "semi-sync was not in force at every observation of this run"),
    )
    return next((complaint for holds, complaint in facts if not holds), "")


def plan_freeze(cluster_id: str, failed: Instance, replicas: Sequence[Instance]) -> Plan:
    """Stop every receiver. A replica that cannot be reached is left; the promotion decides about it."""
    steps = tuple(
        Step(
            number=number,
            stage=1,
            kind=StepKind.STOP_RECEIVER,
            instance=replica.key,
            required=False,
            may_hang=failed.last_check_outcome.is_unanswered,
            what="stop the receiver, so that nothing more can be acknowledged (rule 3)",
            undo="start the receiver" if replica.receiver_state is not ThreadState.STOPPED else "",
        )
        for number, replica in enumerate(sorted(replicas, key=lambda instance: instance.key), start=1)
    )
    return Plan(cluster_id=cluster_id, failed=failed.key, candidate=NO_KEY, steps=steps)


def plan_drain(frozen: Frozen, *, first_step: int) -> Plan | None:
    """Without GTID: have everybody execute what it retrieved, because only then can places be compared.

    None where GTID is used: then it is planned for those that need it.
    """
    if not isinstance(none_of(frozen.failed, frozen.reachable), LogPrefix):
        return None
    steps = tuple(
        Step(
            number=number,
            stage=1,
            kind=StepKind.DRAIN,
            instance=replica.key,
            by_position=True,
            required=False,
            what="execute the last complete transaction of its relay log (rule 1)",
        )
        for number, replica in enumerate(frozen.reachable, start=first_step)
    )
    return Plan(cluster_id=frozen.cluster_id, failed=frozen.failed.key, candidate=NO_KEY, steps=steps)


def plan_promotion(frozen: Frozen, policy: PromotionPolicy, *, first_step: int = 100) -> Plan | Refusal:
    """Promote the best replica and put the others under it, or say why that must not be done."""
    refusal = _unfit(frozen)
    if refusal is not None:
        return refusal
    candidates = assess(frozen.failed, frozen.reachable, policy, frozen.unreachable)
    chosen, ranking = choose(frozen.failed, candidates, policy)
    loss = _loss(frozen.failed, candidates)
    unknown = "; ".join(f"{one.key} {one.unknown}" for one in candidates if one.unknown)
    if unknown and not frozen.forced:
        return Refusal(rule="rule 10", reason=unknown, ranking=ranking, loss=loss)
    forgotten = _forgotten(frozen, candidates)
    if forgotten and not frozen.forced:
        return Refusal(rule="rule 1", reason=forgotten, ranking=ranking, loss=loss)
    if chosen is None:
        reasons = "; ".join(f"{ranked.key}: {', '.join(ranked.reasons)}" for ranked in ranking)
        reason = f"no replica may be promoted: {reasons or 'none can be reached'}"
        return Refusal(rule="rule 2", reason=reason, ranking=ranking, loss=loss)
    if not frozen.forced:
        unproven = _may_still_acknowledge(frozen)
        if unproven:
            return Refusal(rule="rule 3", reason=unproven, ranking=ranking, loss=loss)
    return _promotion(frozen, candidates, chosen, ranking, first_step=first_step, policy=policy)


def _unfit(frozen: Frozen) -> Refusal | None:
    known = [one for one in (frozen.failed, *frozen.reachable) if one.version != "Unknown"]
    if len({one.is_mariadb for one in known}) > 1:
        reason = "MySQL and MariaDB servers replicate from each other: what they hold cannot be compared"
        return Refusal(rule="rule 10", reason=reason)
    for replica in frozen.reachable:
        if replica.master_key != frozen.failed.key:
            now = f"replicates from {replica.master_key}" if replica.is_replica else "is no replica any more"
            reason = f"{replica.key} {now}: somebody else has changed the cluster; look at it again"
            return Refusal(rule="rule 6", reason=reason)
    mariadb = [replica for replica in frozen.reachable if replica.is_mariadb]
    if mariadb and not any(replica.using_mariadb_gtid for replica in mariadb):
        reason = "no replica uses MariaDB's GTID: set MASTER_USE_GTID=slave_pos on them"
        return Refusal(rule="rule 10", reason=reason)
    return None


def _forgotten(frozen: Frozen, candidates: Sequence[Candidate]) -> str:
    """What a replica had retrieved and has no more: a restart emptied its relay log."""
    none = none_of(frozen.failed, frozen.reachable)
    had = {one.key: holdings_of(frozen.failed, one, none) for one in frozen.seen}
    told = []
    for candidate in candidates:
        before = had.get(candidate.key)
        if before is None or before.unreadable:
            continue
        now = holdings_of(frozen.failed, candidate.instance, none)  # undrained: as the server says
        left = before.retrieved - now.executed - now.retrieved
        for other in candidates:
            left = left - other.holds
        if left:
            told.append(f"{candidate.key} had retrieved {left} and has it no more, nor has anybody else")
    return "; ".join(told)


def _may_still_acknowledge(frozen: Frozen) -> str:
    """Rule 3: fewer than k of those that may acknowledge have receivers that are not stopped."""
    failed = frozen.failed
    if lossless_settings(failed):
        return ""
    wait_count = max(1, failed.semi_sync_master_wait_count)
    unstopped = [replica for replica in frozen.unreachable if _acknowledges(replica) or not replica.seen_at]
    stopped = sum(_acknowledges(replica) for replica in frozen.reachable)
    strangers = max(0, failed.semi_sync_master_clients - stopped - len(unstopped))
    if len(unstopped) + strangers < wait_count:
        return ""
    names = ", ".join(str(replica.key) for replica in unstopped)
    who = [names] if names else []
    if strangers:
        who.append(f"{strangers} semi-sync replica(s) of the master that are not known here")
    return (
        f"{' and '.join(who)} may hold or still acknowledge transactions that no reachable replica has "
        f"(lossless semi-sync, wait count {wait_count}): bring them back, or force the promotion "
        "and accept the loss"
    )


def _acknowledges(replica: Instance) -> bool:
    # The setting counts when a receiver connects; the status tells of the connection that was.
    return replica.semi_sync_replica_enabled or replica.semi_sync_replica_status


class _Steps:
    """The steps of a promotion, numbered as they are added."""

    def __init__(self, first_step: int) -> None:
        self.made: list[Step] = []
        self.stages = count(2)
        self._numbers = count(first_step)

    def add(self, stage: int, kind: StepKind, instance: InstanceKey, what: str, **more: object) -> None:
        step = Step(number=next(self._numbers), stage=stage, kind=kind, instance=instance, what=what, **more)  # type: ignore[arg-type]
        self.made.append(step)


def _run_fences(
    steps: _Steps,
    key: InstanceKey,
    failed: InstanceKey,
    dialled: Mapping[str, object],
    policy: PromotionPolicy,
) -> None:
    if not policy.fences:
        return
    what = f"run FenceProcesses, {'which must succeed' if policy.fence_required else 'best effort'}"
    steps.add(
        next(steps.stages), StepKind.FENCE, failed, what, source=key, required=policy.fence_required
    )  # fmt: skip
    what = "dial it again: fencing may have taken long, or done nothing (rule 12)"
    steps.add(next(steps.stages), StepKind.DIAL_OLD_MASTER, failed, what, **dialled)


def _turn(steps: _Steps, key: InstanceKey, failed: InstanceKey, policy: PromotionPolicy) -> int:
    """From here on there is no way back. The stage in which others may follow (rule 9)."""
    stage = next(steps.stages)
    if policy.apply_promotion:
        steps.add(stage, StepKind.OPEN, key, "open for writes")
        stage = next(steps.stages)
    steps.add(stage, StepKind.DEPOSE, failed, "remember it as deposed (rule 12)", source=key)
    # Where nothing is opened, the deposal is what makes the other the master.
    return stage if policy.apply_promotion else next(steps.stages)


def _finish(steps: _Steps, key: InstanceKey, failed: InstanceKey, policy: PromotionPolicy) -> None:
    stages = steps.stages
    if policy.apply_promotion:
        # Last, because it writes a lot: until then nobody but a restart would read what is forgotten here.
        steps.add(next(stages), StepKind.FORGET_SOURCE, key, "forget the failed master", required=False)
        what = "see that it is writable and the others receive from it"
        steps.add(next(stages), StepKind.VERIFY, key, what)
    elif policy.detach_promoted:
        what = "detach it from the failed master"
        steps.add(next(stages), StepKind.DETACH, key, what, source=failed, required=False)


def _promotion(
    frozen: Frozen,
    candidates: Sequence[Candidate],
    chosen: Candidate,
    ranking: tuple[Ranked, ...],
    *,
    first_step: int,
    policy: PromotionPolicy,
) -> Plan:
    steps = _Steps(first_step)
    add, stages = steps.add, steps.stages
    key = chosen.key
    holders = holders_for(chosen, candidates)
    has = chosen.executed | chosen.retrieved
    for holder in holders:
        has = has | holder.gives
    stage = next(stages)
    if chosen.undrained:
        what = f"execute the {chosen.undrained.count} transactions that it retrieved (rule 1)"
        add(stage, StepKind.DRAIN, key, what, gtid_set=str(chosen.retrieved))
    for holder in holders:
        if holder.undrained and holder.drainable:
            what = "execute all that it retrieved, so that the candidate can have it (rules 1, 2)"
            add(stage, StepKind.DRAIN, holder.key, what, gtid_set=str(holder.retrieved))
    for holder in holders:
        what = f"replicate from {holder.key} until it has all that this one holds (rule 2)"
        add(
            next(stages), StepKind.COVER, key, what, source=holder.key, gtid_set=str(holder.gives),
            undo=f"point back to {frozen.failed.key}", source_name=holder.instance.unresolved_hostname,
        )  # fmt: skip
    stage = next(stages)
    what = "dial it once more, fence it if it answers (rule 12)"
    dialled: dict[str, object] = {"gtid_set": str(has), "undo": "open it again"}
    if chosen.by_position:
        dialled |= {"gtid_set": "", "by_position": True}
    add(stage, StepKind.DIAL_OLD_MASTER, frozen.failed.key, what, **dialled)
    semi_sync = _semi_sync(frozen.failed) if policy.apply_promotion else None
    if semi_sync is not None:
        what = (
            f"semi-sync as on the failed master: {semi_sync.wait_point}, wait count {semi_sync.wait_count}, "
            f"time-out {semi_sync.timeout_ms} ms (rule 11)"
        )
        add(stage, StepKind.SEMI_SYNC_SOURCE, key, what, semi_sync=semi_sync, undo="switch it off")
    _run_fences(steps, key, frozen.failed.key, dialled, policy)
    place = str(chosen.instance.self_coordinates) if chosen.by_position else ""
    if place:
        what = f"see that its binary log still ends at {place}, where the others will begin"
        add(next(stages), StepKind.VERIFY, key, what, place=place)
    stage = _turn(steps, key, frozen.failed.key, policy)
    followers = [candidate for candidate in candidates if candidate is not chosen]
    lost = _lost(frozen, followers, chosen)
    followers = [follower for follower in followers if follower.key not in lost]
    acknowledging = _who_acknowledges(semi_sync, followers)
    for follower in followers:
        add(
            stage, StepKind.REPOINT, follower.key, f"replicate from {key} (rule 9)", source=key,
            gtid_set="" if place else str(follower.holds), required=False, place=place,
            semi_sync_replica=follower.key in acknowledging,
            source_name=chosen.instance.unresolved_hostname,
        )  # fmt: skip
    _finish(steps, key, frozen.failed.key, policy)
    return Plan(
        cluster_id=frozen.cluster_id,
        failed=frozen.failed.key,
        candidate=key,
        steps=tuple(steps.made),
        ranking=ranking,
        lost=lost,
        notes=_notes(frozen.failed, chosen, semi_sync, len(acknowledging), policy),
    )


def _notes(
    failed: Instance,
    chosen: Candidate,
    semi_sync: SemiSync | None,
    acknowledging: int,
    policy: PromotionPolicy,
) -> tuple[str, ...]:
    notes = []
    if chosen.by_position:
        notes.append("without GTID nobody can tell whether a replica has transactions of its own")
    if semi_sync is not None and acknowledging < semi_sync.wait_count:
        lower = ", or lower rpl_semi_sync_source_wait_for_replica_count there"
        notes.append(
            f"writes on {chosen.key} will wait for {semi_sync.wait_count} acknowledgement(s), and "
            f"{acknowledging} of the replicas that are left can give one: bring one back"
            + ("" if chosen.instance.is_mariadb else lower)
        )
    if not policy.apply_promotion and failed.semi_sync_master_enabled:
        notes.append(
            f"{failed.key} ran semi-sync, and it is not switched on on {chosen.key}: "
            "ApplyMySQLPromotionAfterMasterFailover is false"
        )
    return tuple(notes)


def _lost(frozen: Frozen, followers: Sequence[Candidate], chosen: Candidate) -> dict[InstanceKey, str]:
    gone = {one.key: frozen.why.get(one.key, "could not be reached") for one in frozen.unreachable}
    return gone | {one.key: why for one in followers if (why := _unmapped(one, chosen))}


def _unmapped(follower: Candidate, chosen: Candidate) -> str:
    """Without GTID: why its place in the new master's binary log is not known; "" if it is, exactly.

    Who has executed precisely what the new master has begins where the new master's log ends.
    """
    if not chosen.by_position or (follower.drainable and follower.executed == chosen.executed):
        return ""
    at = "cannot be told" if not follower.executed else str(follower.executed)
    return (
        f"what it has executed of the failed master's binary log ({at}) is not what {chosen.key} has "
        f"({chosen.executed}), and without GTID its place there cannot be told exactly: make it anew"
    )


def _who_acknowledges(semi_sync: SemiSync | None, followers: Sequence[Candidate]) -> frozenset[InstanceKey]:
    """Whose replica side is on afterwards (rule 11): whoever had it on, and others if those are too few.

    Without them the new master's first write would wait for ever. It is switched on nowhere where there are
    several sources: MySQL's plugin has it for all receivers, and those of asynchronous sources break.
    """
    if semi_sync is None:
        return frozenset()
    able = [
        one
        for one in (follower.instance for follower in followers)
        if one.semi_sync_available and (_acknowledges(one) or not one.has_several_sources)
    ]
    able.sort(key=lambda replica: (not _acknowledges(replica), replica.sql_delay_seconds > 0, replica.key))
    on = sum(_acknowledges(replica) for replica in able)
    return frozenset(replica.key for replica in able[: max(on, semi_sync.wait_count)])


def _semi_sync(failed: Instance) -> SemiSync | None:
    if not failed.semi_sync_master_enabled:
        return None
    return SemiSync(
        wait_point=failed.semi_sync_master_wait_point or "AFTER_SYNC",
        wait_count=max(1, failed.semi_sync_master_wait_count),
        timeout_ms=failed.semi_sync_master_timeout_ms,
        wait_no_replica=failed.semi_sync_master_wait_no_replica,
    )


def _loss(failed: Instance, candidates: Sequence[Candidate]) -> str:
    """What a promotion now would lose as far as that is known: never more than the truth."""
    none = none_of(failed, [candidate.instance for candidate in candidates])
    seen = f"was last seen to have ({failed.last_seen_timestamp or 'at an unknown time'})"
    missing = executed_by(failed, like=none)
    if isinstance(none, LogPrefix):
        return _loss_by_position(failed, missing, candidates)
    if not missing:
        return f"what {failed.key} had executed is not known"
    for candidate in candidates:
        missing = missing - candidate.holds
    if not missing:
        return f"all that {failed.key} {seen} is on reachable replicas; what it executed since is not known"
    return f"at least {missing.count} transactions that {failed.key} {seen} are on no replica: {missing}"


def _loss_by_position(failed: Instance, seen: TransactionSet, candidates: Sequence[Candidate]) -> str:
    left = seen
    for candidate in candidates:
        left = left - candidate.holds
    if not left:
        return f"what {failed.key} wrote beyond what replicas retrieved is not known"
    when = failed.last_seen_timestamp or "at an unknown time"
    return f"what {failed.key} was last seen to have written ({when}) is on no replica {left}"


def estimate(
    cluster_id: str, master: Instance, replicas: Sequence[Instance], policy: PromotionPolicy
) -> Plan | Refusal:
    """What would happen if this master died now, on what is known, each replica ranked with its reasons."""
    reachable = tuple(replica for replica in replicas if replica.is_last_check_valid)
    unreachable = tuple(replica for replica in replicas if not replica.is_last_check_valid)
    frozen = Frozen(cluster_id=cluster_id, failed=master, reachable=reachable, unreachable=unreachable)
    return plan_promotion(frozen, policy)
