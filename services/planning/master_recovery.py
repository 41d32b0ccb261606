"""Plans for a dead master, MySQL GTID. The numbers are those of the rules in docs/recovery.md.

Two plans, because a candidate can only be chosen once nothing moves any more: ``plan_freeze`` stops every
receiver; then the replicas are read afresh, and ``plan_promotion`` decides on what was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from services.planning.candidates import Candidate, PromotionPolicy, assess, choose, holders_for, parsed
from services.planning.plan import Plan, Ranked, Refusal, SemiSync, Step, StepKind
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.merging import LOSSLESS_TIMEOUT_MS

__all__ = ["Frozen", "estimate", "lossless_settings", "plan_freeze", "plan_promotion"]


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
    why: Mapping[InstanceKey, str] = field(default_factory=dict)
    """Why each of those is not counted upon."""
    forced: bool = False
    """An operator accepted the loss: rule 3 does not refuse."""


def lossless_settings(master: Instance) -> str:
    """Why the master's semi-sync settings do not promise that nothing is lost; "" if they do (rule 3)."""
    facts = (
        (master.semi_sync_master_enabled, "rpl_semi_sync_source_enabled is OFF"),
        (
            master.semi_sync_master_wait_point == "AFTER_SYNC",
            f"rpl_semi_sync_source_wait_point is {master.semi_sync_master_wait_point or 'unknown'}",
        ),
        (
            master.semi_sync_master_timeout_ms >= LOSSLESS_TIMEOUT_MS,
            f"rpl_semi_sync_source_timeout is {master.semi_sync_master_timeout_ms} ms, not its maximum",
        ),
        (master.semi_sync_master_wait_no_replica, "rpl_semi_sync_source_wait_no_replica is OFF"),
        (master.semi_sync_master_status, "Rpl_semi_sync_source_status was OFF when it was last seen"),
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
            what="stop the receiver, so that nothing more can be acknowledged (rule 3)",
            undo="start the receiver" if replica.receiver_state is not ThreadState.STOPPED else "",
        )
        for number, replica in enumerate(sorted(replicas, key=lambda instance: instance.key), start=1)
    )
    return Plan(cluster_id=cluster_id, failed=failed.key, candidate=NO_KEY, steps=steps)


def plan_promotion(frozen: Frozen, policy: PromotionPolicy, *, first_step: int = 100) -> Plan | Refusal:
    """Promote the best replica and put the others under it, or say why that must not be done."""
    refusal = _unfit(frozen)
    if refusal is not None:
        return refusal
    candidates = assess(frozen.failed, frozen.reachable, policy, frozen.unreachable)
    chosen, ranking = choose(frozen.failed, candidates, policy)
    loss = _loss(frozen.failed, candidates)
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
    # What cannot be decided is refused (design, "Identity"): MariaDB and positions come with their own plans.
    if any(replica.is_mariadb for replica in (frozen.failed, *frozen.reachable)):
        return Refusal(rule="rule 10", reason="recovery of MariaDB is not supported yet")
    for replica in frozen.reachable:
        if replica.master_key != frozen.failed.key:
            now = f"replicates from {replica.master_key}" if replica.is_replica else "is no replica any more"
            reason = f"{replica.key} {now}: somebody else has changed the cluster; look at it again"
            return Refusal(rule="rule 6", reason=reason)
    if frozen.reachable and not any(replica.using_oracle_gtid for replica in frozen.reachable):
        reason = (
            "the replicas do not use GTID auto-position; recovery by file and position is not supported yet"
        )
        return Refusal(rule="rule 10", reason=reason)
    return None


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
    steps: _Steps, key: InstanceKey, failed: InstanceKey, has: str, policy: PromotionPolicy
) -> None:
    if not policy.fences:
        return
    what = f"run FenceProcesses, {'which must succeed' if policy.fence_required else 'best effort'}"
    steps.add(
        next(steps.stages), StepKind.FENCE, failed, what, source=key, required=policy.fence_required
    )  # fmt: skip
    what = "dial it again: fencing may have taken long, or done nothing (rule 12)"
    steps.add(
        next(steps.stages), StepKind.DIAL_OLD_MASTER, failed, what, gtid_set=has, undo="open it again"
    )  # fmt: skip


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
            undo=f"point back to {frozen.failed.key}",
        )  # fmt: skip
    stage = next(stages)
    what = "dial it once more, fence it if it answers (rule 12)"
    add(stage, StepKind.DIAL_OLD_MASTER, frozen.failed.key, what, gtid_set=str(has), undo="open it again")
    semi_sync = _semi_sync(frozen.failed) if policy.apply_promotion else None
    if semi_sync is not None:
        what = (
            f"semi-sync as on the failed master: {semi_sync.wait_point}, wait count {semi_sync.wait_count}, "
            f"time-out {semi_sync.timeout_ms} ms (rule 11)"
        )
        add(stage, StepKind.SEMI_SYNC_SOURCE, key, what, semi_sync=semi_sync, undo="switch it off")
    _run_fences(steps, key, frozen.failed.key, str(has), policy)
    stage = _turn(steps, key, frozen.failed.key, policy)
    followers = [candidate for candidate in candidates if candidate is not chosen]
    acknowledging = _who_acknowledges(semi_sync, followers)
    for follower in followers:
        add(
            stage, StepKind.REPOINT, follower.key, f"replicate from {key} (rule 9)", source=key,
            gtid_set=str(follower.holds), required=False, semi_sync_replica=follower.key in acknowledging,
        )  # fmt: skip
    _finish(steps, key, frozen.failed.key, policy)
    lost = {
        replica.key: frozen.why.get(replica.key, "could not be reached") for replica in frozen.unreachable
    }
    notes = []
    if semi_sync is not None and len(acknowledging) < semi_sync.wait_count:
        notes.append(
            f"writes on {key} will wait for {semi_sync.wait_count} acknowledgement(s), and "
            f"{len(acknowledging)} of the replicas that are left can give one: bring one back, or lower "
            "rpl_semi_sync_source_wait_for_replica_count there"
        )
    if not policy.apply_promotion and frozen.failed.semi_sync_master_enabled:
        notes.append(
            f"{frozen.failed.key} ran semi-sync, and it is not switched on on {key}: "
            "ApplyMySQLPromotionAfterMasterFailover is false"
        )
    return Plan(
        cluster_id=frozen.cluster_id,
        failed=frozen.failed.key,
        candidate=key,
        steps=tuple(steps.made),
        ranking=ranking,
        lost=lost,
        notes=tuple(notes),
    )


def _who_acknowledges(semi_sync: SemiSync | None, followers: Sequence[Candidate]) -> frozenset[InstanceKey]:
    """Whose replica side is on afterwards (rule 11): whoever had it on, and others if those are too few.

    Without them the new master's first write would wait for ever.
    """
    if semi_sync is None:
        return frozenset()
    able = [follower.instance for follower in followers if follower.instance.semi_sync_available]
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
    seen = f"was last seen to have ({failed.last_seen_timestamp or 'at an unknown time'})"
    missing = parsed(failed.executed_gtid_set)
    if not missing:
        return f"what {failed.key} had executed is not known"
    for candidate in candidates:
        missing = missing - candidate.holds
    if not missing:
        return f"all that {failed.key} {seen} is on reachable replicas; what it executed since is not known"
    return f"at least {missing.count} transactions that {failed.key} {seen} are on no replica: {missing}"


def estimate(
    cluster_id: str, master: Instance, replicas: Sequence[Instance], policy: PromotionPolicy
) -> Plan | Refusal:
    """What would happen if this master died now, on what is known, each replica ranked with its reasons."""
    reachable = tuple(replica for replica in replicas if replica.is_last_check_valid)
    unreachable = tuple(replica for replica in replicas if not replica.is_last_check_valid)
    frozen = Frozen(cluster_id=cluster_id, failed=master, reachable=reachable, unreachable=unreachable)
    return plan_promotion(frozen, policy)
