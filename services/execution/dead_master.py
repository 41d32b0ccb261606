"""The recovery of a dead master, from the first STOP to the last verification, and its resumption.

What it guarantees, whatever happens to this process: as long as the journal has no intent to open a
candidate, the replicas can be put back as they were; from that intent on, the recovery is completed if the
candidate turns out to be open, and put back otherwise. It never opens a second one. Where the candidate is
not to be opened (``ApplyMySQLPromotionAfterMasterFailover`` is false), the place of the opening is taken by
the deposal of the failed master in the store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.execution.before import BEFORE_KIND, before_from, before_to
from services.execution.environment import Environment
from services.execution.errors import (
    MasterAnswersError,
    NoProgressError,
    RecoveryInterruptedError,
    StepFailedError,
)
from services.execution.executor import Executor, steps_from_json, steps_to_json
from services.execution.source_names import named_as_known, names_of
from services.mysql.errors import ConnectError, LostError
from services.planning.candidates import PromotionPolicy
from services.planning.master_recovery import Frozen, plan_drain, plan_freeze, plan_promotion
from services.planning.plan import Plan, Refusal, Step, StepKind, turning_point
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import JournalEntry, JournalPhase

__all__ = ["PLAN_KIND", "DeadMasterRecovery", "Outcome", "hook_facts", "last_seen", "lost_from", "lost_to"]

PLAN_KIND = "plan"
"""Kind of the journal entries that carry a plan as JSON; their step number is the plan's first step."""

_RESUME_PATIENCE_SECONDS = 5.0
_NOT_OPENED = (
    "ApplyMySQLPromotionAfterMasterFailover is false; it stays read-only and keeps its replication channel, "
    "stopped, for a hook or a person to open it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a recovery ended. ``successor`` is NO_KEY if nobody was promoted."""

    successor: InstanceKey = NO_KEY
    refusal: Refusal | None = None
    lost: dict[InstanceKey, str] = field(default_factory=dict)
    participants: tuple[InstanceKey, ...] = ()
    errors: tuple[str, ...] = ()
    verified: bool = False
    """The successor was seen to be writable in the end, if it was to be opened."""
    opened: bool = True
    """False: the successor was left read-only, as configured."""

    @property
    def succeeded(self) -> bool:
        return self.successor != NO_KEY


class DeadMasterRecovery:
    """One recovery. ``run`` does it; ``resume`` takes up what an earlier term left."""

    def __init__(self, env: Environment, cluster_id: str, failed: InstanceKey) -> None:
        self._env = env
        self._cluster_id = cluster_id
        self._failed = failed
        self._executor = Executor(env)
        self._touched: list[Step] = []

    async def run(
        self,
        failed: Instance,
        replicas: Sequence[Instance],
        policy: PromotionPolicy,
        *,
        forced: bool = False,
    ) -> Outcome:
        """Freeze, read, decide, promote.

        Raises MandateOverError, RecoveryInterruptedError or a journal's error: then it is to be resumed.
        """
        say = self._env.journal.say
        self._remember({replica.key: replica for replica in replicas})
        self._env.names.update(names_of((failed, *replicas)))
        freeze = plan_freeze(self._cluster_id, failed, replicas)
        self._journal_plan(freeze, before=replicas, executed=failed.executed)
        self._touched += freeze.steps
        unstopped = await self._executor.run(freeze.steps)
        frozen = await self._frozen(failed, replicas, unstopped)
        if forced:
            frozen = replace(frozen, forced=True)
        frozen, policy = await self._drained(frozen, policy)
        for _ in range(len(replicas) + 1):
            plan = plan_promotion(frozen, policy, first_step=self._next_step())
            if isinstance(plan, Refusal):
                await say(f"not promoting anyone: {plan}")
                return await self._abandon(refusal=plan)
            for note in plan.notes:
                await say(note)
            for ranked in plan.ranking:
                verdict = "may be promoted" if ranked.promotable else "may not be promoted"
                await say(f"candidate {ranked.key} {verdict}: {', '.join(ranked.reasons)}")
            try:
                return await self._promote(plan)
            except NoProgressError as error:
                await say(f"next candidate, because {error}")
                slow = error.step.instance
                policy = replace(
                    policy,
                    undrainable=policy.undrainable | {slow},
                    unfit={**policy.unfit, slow: error.reason},
                )
            except MasterAnswersError as error:
                return await self._abandon(error=f"the master is not dead: {error}")
            except StepFailedError as error:
                if error.step.instance != plan.candidate:
                    return await self._abandon(error=str(error))
                await say(f"next candidate, because {error}")
                policy = replace(policy, unfit={**policy.unfit, plan.candidate: error.reason})
        return await self._abandon(error="no candidate could be prepared")

    async def resume(self, entries: Sequence[JournalEntry]) -> Outcome:
        """Take up a journal: complete it if its candidate is open, put the replicas back otherwise.

        Raises RecoveryInterruptedError while that cannot be told, and as ``run`` does.
        """
        details = [json.loads(entry.detail) for entry in entries if entry.kind == PLAN_KIND]
        steps = [step for detail in details for step in steps_from_json(json.dumps(detail["steps"]))]
        remembered = [json.dumps(detail["before"]) for detail in details]
        remembered += [entry.detail for entry in entries if entry.kind == BEFORE_KIND]
        for text in remembered:
            self._remember(before_from(text))
        for detail in details:  # earlier versions wrote none
            names = [InstanceKey(*name) for name in detail.get("names", ())]
            self._env.names.update(dict.fromkeys(names, self._failed))
        opened = await self._promoted_candidate(entries, steps)
        if opened is None:
            begun = {entry.step_no for entry in entries if entry.phase is JournalPhase.INTENT}
            self._touched = [step for step in steps if step.number in begun]
            return await self._abandon(error="its node stopped in the middle; nobody had been promoted")
        turning = turning_point(steps)
        rest = [step for step in steps if step.number > turning.number]
        what = "opened" if turning.kind is StepKind.OPEN else "made the master"
        await self._env.journal.say(f"{opened} was {what} before the interruption: completing the recovery")
        lost = lost_from(details[-1])
        return await self._complete(opened, turning, rest, lost)

    def _remember(self, before: Mapping[InstanceKey, Instance]) -> None:
        self._env.before.update(before)
        self._env.sessions.know(before.values())

    async def _promoted_candidate(
        self, entries: Sequence[JournalEntry], steps: Sequence[Step]
    ) -> InstanceKey | None:
        if any(entry.kind == StepKind.OPEN.value for entry in entries):
            return await self._opened_candidate(entries)
        if not any(entry.kind == StepKind.DEPOSE.value for entry in entries):
            return None
        candidate = turning_point(steps).source
        return candidate if await self._env.is_master(candidate) else None

    async def _opened_candidate(self, entries: Sequence[JournalEntry]) -> InstanceKey | None:
        """The server that an intent to open names, if it is open. One that is silent is asked for a while."""
        opening = [entry for entry in entries if entry.kind == StepKind.OPEN.value]
        if not opening:
            return None
        key = opening[-1].instance
        if opening[-1].phase is JournalPhase.DONE:
            return key
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _RESUME_PATIENCE_SECONDS
        while True:
            try:
                # The session ends that of the earlier term: what it had sent cannot take effect any more.
                session = await self._env.sessions.on(key)
                row = (await session.read("SELECT @@global.read_only AS read_only"))[0]
            except (ConnectError, LostError) as error:
                if loop.time() > deadline:
                    await self._unanswered(key, error)
                    return None
                await asyncio.sleep(0.1)
            else:
                return key if str(row["read_only"]) in ("0", "OFF") else None

    async def _unanswered(self, key: InstanceKey, error: ConnectError | LostError) -> None:
        """It was about to be opened, and does not say whether it is.

        Where nobody listens nobody writes, and no replica had been pointed to it: it counts as one more
        server that is gone. One that hangs may wake up open: nothing is done before it answers.
        """
        if error.outcome is CheckOutcome.REFUSED:
            await self._env.journal.say(f"{key} was about to be opened and is gone: {error}")
            return
        said = f"{key} was about to be opened and does not say whether it is: {error}"
        await self._env.journal.say(f"{said}; nobody is promoted before it answers or is stopped")
        raise RecoveryInterruptedError(said)

    async def _frozen(
        self, failed: Instance, replicas: Sequence[Instance], unstopped: dict[InstanceKey, str]
    ) -> Frozen:
        stopped = [replica for replica in replicas if replica.key not in unstopped]
        reads = await asyncio.gather(*(self._read(replica) for replica in stopped), return_exceptions=True)
        reachable, why = [], dict(unstopped)
        for replica, read in zip(stopped, reads, strict=True):
            if not isinstance(read, Instance):
                why[replica.key] = f"it was stopped and cannot be read: {read}"
            elif read.receiver_state is ThreadState.RUNNING:
                why[replica.key] = "somebody has started its receiver again"
            else:
                reachable.append(read)
        unreachable = tuple(replica for replica in replicas if replica.key in why)
        for replica in unreachable:
            await self._env.journal.say(f"{replica.key} is not counted upon: {why[replica.key]}")
        return Frozen(
            cluster_id=self._cluster_id,
            failed=failed,
            reachable=tuple(reachable),
            unreachable=unreachable,
            seen=tuple(replica for replica in replicas if replica.seen_at),
            why=why,
        )

    async def _drained(self, frozen: Frozen, policy: PromotionPolicy) -> tuple[Frozen, PromotionPolicy]:
        """Without GTID everybody executes what it retrieved before anything is compared."""
        plan = plan_drain(frozen, first_step=self._next_step())
        if plan is None:
            return frozen, policy
        self._journal_plan(plan)
        self._touched += plan.steps
        undrained = await self._executor.run(plan.steps)
        for key, reason in undrained.items():
            await self._env.journal.say(f"{key} did not execute all that it retrieved: {reason}")
        reads = await asyncio.gather(*(self._read(one) for one in frozen.reachable), return_exceptions=True)
        reachable, why = [], dict(frozen.why)
        for known, read in zip(frozen.reachable, reads, strict=True):
            if isinstance(read, Instance):
                reachable.append(read)
            else:
                why[known.key] = f"it was stopped and cannot be read any more: {read}"
        gone = tuple(one for one in frozen.reachable if one.key not in {read.key for read in reachable})
        drained = frozenset(read.key for read in reachable) - undrained.keys()
        policy = replace(policy, drained=drained, undrainable=policy.undrainable | undrained.keys())
        unreachable = (*frozen.unreachable, *gone)
        return replace(frozen, reachable=tuple(reachable), unreachable=unreachable, why=why), policy

    async def _read(self, replica: Instance) -> Instance:
        session = await self._env.sessions.on(replica.key)
        read = await session.read_replica(replica, timeout=self._env.timing.statement)
        # The lag that a query told is not asked again here; a channel that is stopped tells none.
        lags = [lag for lag in (replica.replication_lag_seconds, read.replication_lag_seconds) if lag]
        read = replace(read, replication_lag_seconds=max(lags, default=None))
        return named_as_known(read, self._env)

    async def _promote(self, plan: Plan) -> Outcome:
        self._journal_plan(plan)
        turning = turning_point(plan.steps)
        opening = turning.stage
        self._touched += [step for step in plan.steps if step.stage < opening]
        try:
            unfenced = await self._executor.run([step for step in plan.steps if step.stage <= opening])
        except StepFailedError as error:
            if error.step.kind is not StepKind.OPEN:
                raise
            # It may be open all the same. Only a new session, which ends this one, can tell.
            unknown = f"whether {plan.candidate} is open is not known: {error}"
            raise RecoveryInterruptedError(unknown) from None
        said = f"{plan.candidate} is open for writes"
        if turning.kind is not StepKind.OPEN:
            said = f"{plan.candidate} is the master and was not opened: {_NOT_OPENED}"
        await self._env.journal.say(said)
        rest = [step for step in plan.steps if step.stage > opening]
        outcome = await self._complete(plan.candidate, turning, rest, dict(plan.lost))
        not_fenced = tuple(f"{key} was not fenced: {why}" for key, why in unfenced.items())
        return replace(outcome, errors=(*not_fenced, *outcome.errors))

    async def _complete(
        self, successor: InstanceKey, turning: Step, rest: Sequence[Step], lost: dict[InstanceKey, str]
    ) -> Outcome:
        """From the opening on there is no way back: what fails is reported, and the others are served."""
        errors: list[str] = []
        verified = True
        try:
            await self._executor.run(rest)
        except StepFailedError as error:
            verified = False
            errors.append(str(error))
        await self._executor.flush()
        for key, reason in self._executor.failures.items():
            if key == successor:
                errors.append(f"{key}: {reason}")
            else:
                lost[key] = reason
        for key, reason in sorted(lost.items()):
            await self._env.journal.say(f"{key} is lost: {reason}")
        if self._env.detach_lost and lost:
            await self._detach(sorted(lost), max(step.number for step in (turning, *rest)) + 1)
        participants = {step.instance for step in rest if step.instance not in lost} - {self._failed}
        return Outcome(
            successor=successor,
            lost=lost,
            participants=tuple(sorted(participants)),
            errors=tuple(errors),
            verified=verified,
            opened=turning.kind is StepKind.OPEN,
        )

    async def _detach(self, lost: Sequence[InstanceKey], first: int) -> None:
        """So that they do not follow the failed master when it comes back. It is tried, and told."""
        steps = [
            Step(
                number=number,
                stage=1,
                kind=StepKind.DETACH,
                instance=key,
                source=self._failed,
                required=False,
                what=f"detach it from {self._failed}",
            )
            for number, key in enumerate(lost, start=first)
        ]
        failures = await self._executor.run(steps)
        await self._executor.flush()
        for key in lost:
            done = f"could not be detached: {failures[key]}" if key in failures else "is detached"
            await self._env.journal.say(f"{key} is lost and {done}")

    async def _abandon(self, *, refusal: Refusal | None = None, error: str = "") -> Outcome:
        if error:
            await self._env.journal.say(error)
        complaints = await self._executor.undo(self._touched, self._failed)
        for complaint in complaints:
            await self._env.journal.say(complaint)
        errors = tuple(text for text in (error, str(refusal or ""), *complaints) if text)
        return Outcome(refusal=refusal, errors=errors)

    def _next_step(self) -> int:
        return 100 * (1 + max((step.number for step in self._touched), default=0) // 100)

    def _journal_plan(self, plan: Plan, before: Sequence[Instance] = (), executed: str = "") -> None:
        """``executed`` is what the failed master was last seen to have; it goes with the first plan."""
        detail = {
            "steps": json.loads(steps_to_json(plan.steps)),
            "before": json.loads(before_to(before)),
            **lost_to(plan.lost),
            "executed": executed,
            "hooks": self._env.hook_facts,
            "names": [
                (name.hostname, name.port) for name, key in self._env.names.items() if key == self._failed
            ],
        }
        entry = JournalEntry(
            recovery_uid=self._env.recovery_uid,
            term=self._env.mandate.term,
            step_no=plan.steps[0].number if plan.steps else 0,
            kind=PLAN_KIND,
            instance=plan.candidate,
            phase=JournalPhase.INTENT,
            detail=json.dumps(detail),
            at=self._env.utc_now(),
        )
        self._executor.announce(entry)


def lost_to(lost: Mapping[InstanceKey, str]) -> dict[str, object]:
    """Who is lost, and why, as a plan's entry has it: ``lost`` is what earlier versions read."""
    return {
        "lost": {str(key): why for key, why in lost.items()},
        "lost_ones": [(key.hostname, key.port, why) for key, why in lost.items()],
    }


def lost_from(detail: Mapping[str, Any]) -> dict[InstanceKey, str]:
    """Read what ``lost_to`` wrote, or earlier versions did."""
    if "lost_ones" in detail:
        return {InstanceKey(host, port): why for host, port, why in detail["lost_ones"]}
    return {InstanceKey.parse(name): why for name, why in detail["lost"].items()}


def last_seen(failed: InstanceKey, entries: Sequence[JournalEntry]) -> Instance:
    """The failed master as the journal remembers it, for a later term."""
    plans = [json.loads(entry.detail) for entry in entries if entry.kind == PLAN_KIND]
    executed = next((str(plan["executed"]) for plan in plans if plan["executed"]), "")
    return Instance(key=failed, executed_gtid_set=executed)


def hook_facts(entries: Sequence[JournalEntry]) -> str:
    """What its hooks are told, as the journal remembers it; "" if it runs none or had not begun to act."""
    plans = [json.loads(entry.detail) for entry in entries if entry.kind == PLAN_KIND]
    return next((str(plan["hooks"]) for plan in plans if plan.get("hooks")), "")
