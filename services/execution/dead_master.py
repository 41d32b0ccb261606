"""The recovery of a dead master, from the first STOP to the last verification, and its resumption.

What it guarantees, whatever happens to this process: as long as the journal has no intent to open a
candidate, the replicas can be put back as they were; from that intent on, the recovery is completed if the
candidate turns out to be open, and put back otherwise. It never opens a second one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from services.execution.environment import Environment
from services.execution.errors import (
    MasterAnswersError,
    NoProgressError,
    RecoveryInterruptedError,
    StepFailedError,
)
from services.execution.executor import Executor, steps_from_json, steps_to_json
from services.mysql.errors import ConnectError, LostError
from services.planning.candidates import PromotionPolicy
from services.planning.master_recovery import Frozen, plan_freeze, plan_promotion
from services.planning.plan import Plan, Refusal, Step, StepKind
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.merging import with_registrations
from services.topology.records import JournalEntry, JournalPhase

__all__ = ["PLAN_KIND", "DeadMasterRecovery", "Outcome"]

PLAN_KIND = "plan"
"""Kind of the journal entries that carry a plan as JSON; their step number is the plan's first step."""

_RESUME_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a recovery ended. ``successor`` is NO_KEY if nobody was promoted."""

    successor: InstanceKey = NO_KEY
    refusal: Refusal | None = None
    lost: dict[InstanceKey, str] = field(default_factory=dict)
    participants: tuple[InstanceKey, ...] = ()
    errors: tuple[str, ...] = ()

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
        self._env.before.update({replica.key: replica for replica in replicas})
        freeze = plan_freeze(self._cluster_id, failed, replicas)
        await self._journal_plan(freeze, before=replicas)
        self._touched += freeze.steps
        unstopped = await self._executor.run(freeze.steps)
        frozen = await self._frozen(failed, replicas, unstopped)
        if forced:
            frozen = replace(frozen, forced=True)
        for _ in range(len(replicas) + 1):
            plan = plan_promotion(frozen, policy, first_step=self._next_step())
            if isinstance(plan, Refusal):
                await say(f"not promoting anyone: {plan}")
                return await self._abandon(refusal=plan)
            for ranked in plan.ranking:
                verdict = "may be promoted" if ranked.promotable else "may not be promoted"
                await say(f"candidate {ranked.key} {verdict}: {', '.join(ranked.reasons)}")
            try:
                return await self._promote(plan)
            except NoProgressError as error:
                await say(f"next candidate, because {error}")
                policy = replace(policy, undrainable=policy.undrainable | {error.step.instance})
            except MasterAnswersError as error:
                return await self._abandon(error=f"the master is not dead: {error}")
            except StepFailedError as error:
                await say(f"next candidate, because {error}")
                policy = replace(policy, unfit={**policy.unfit, error.step.instance: error.reason})
        return await self._abandon(error="no candidate could be prepared")

    async def resume(self, entries: Sequence[JournalEntry]) -> Outcome:
        """Take up a journal: complete it if its candidate is open, put the replicas back otherwise."""
        opened = await self._opened_candidate(entries)
        steps = [
            step
            for entry in entries
            if entry.kind == PLAN_KIND
            for step in steps_from_json(json.dumps(json.loads(entry.detail)["steps"]))
        ]
        for entry in entries:
            if entry.kind == PLAN_KIND:
                self._env.before.update(_before_from(json.loads(entry.detail)["before"]))
        if opened is None:
            begun = {entry.step_no for entry in entries if entry.phase is JournalPhase.INTENT}
            self._touched = [step for step in steps if step.number in begun]
            return await self._abandon(error="its node stopped in the middle; nobody had been promoted")
        opening = max(step.number for step in steps if step.kind is StepKind.OPEN)
        rest = [step for step in steps if step.number > opening]
        await self._env.journal.say(f"{opened} was opened before the interruption: completing the recovery")
        return await self._complete(opened, rest, {})

    async def _opened_candidate(self, entries: Sequence[JournalEntry]) -> InstanceKey | None:
        """The server that an intent to open names, if it is open. An unreachable one is asked for a while."""
        opening = [entry for entry in entries if entry.kind == StepKind.OPEN.value]
        if not opening:
            return None
        key = opening[-1].instance
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _RESUME_PATIENCE_SECONDS
        while True:
            try:
                # The session ends that of the earlier term: what it had sent cannot take effect any more.
                session = await self._env.sessions.on(key)
                row = (await session.read("SELECT @@global.read_only AS read_only"))[0]
            except (ConnectError, LostError) as error:
                if loop.time() > deadline:
                    await self._env.journal.say(f"{key} was about to be opened and cannot be asked: {error}")
                    return key
                await asyncio.sleep(0.1)
            else:
                return key if str(row["read_only"]) in ("0", "OFF") else None

    async def _frozen(
        self, failed: Instance, replicas: Sequence[Instance], unstopped: dict[InstanceKey, str]
    ) -> Frozen:
        stopped = [replica for replica in replicas if replica.key not in unstopped]
        reads = await asyncio.gather(*(self._read(replica) for replica in stopped), return_exceptions=True)
        reachable = tuple(read for read in reads if isinstance(read, Instance))
        keys = {replica.key for replica in reachable}
        unreachable = tuple(replica for replica in replicas if replica.key not in keys)
        for replica in unreachable:
            await self._env.journal.say(
                f"{replica.key} could not be stopped: {unstopped.get(replica.key, 'lost')}"
            )
        return Frozen(
            cluster_id=self._cluster_id, failed=failed, reachable=reachable, unreachable=unreachable
        )

    async def _read(self, replica: Instance) -> Instance:
        session = await self._env.sessions.on(replica.key)
        return with_registrations(await session.poll(timeout=self._env.timing.statement), replica)

    async def _promote(self, plan: Plan) -> Outcome:
        await self._journal_plan(plan)
        opening = next(step.stage for step in plan.steps if step.kind is StepKind.OPEN)
        before = [step for step in plan.steps if step.stage < opening]
        self._touched += before
        await self._executor.run(before)
        try:
            await self._executor.run([step for step in plan.steps if step.stage == opening])
        except StepFailedError as error:
            # It may be open all the same. Only a new session, which ends this one, can tell.
            raise RecoveryInterruptedError(
                f"whether {plan.candidate} is open is not known: {error}"
            ) from None
        await self._env.journal.say(f"{plan.candidate} is open for writes")
        return await self._complete(
            plan.candidate, [step for step in plan.steps if step.stage > opening], dict(plan.lost)
        )

    async def _complete(
        self, successor: InstanceKey, rest: Sequence[Step], lost: dict[InstanceKey, str]
    ) -> Outcome:
        """From the opening on there is no way back: what fails is reported, and the others are served."""
        errors: list[str] = []
        try:
            failed = await self._executor.run(rest)
        except StepFailedError as error:
            failed = {}
            errors.append(str(error))
        for key, reason in failed.items():
            if key == successor:
                errors.append(f"{key}: {reason}")
            else:
                lost[key] = reason
        for key, reason in sorted(lost.items()):
            await self._env.journal.say(f"{key} is lost: {reason}")
        participants = {step.instance for step in rest if step.instance not in lost} - {self._failed}
        return Outcome(
            successor=successor, lost=lost, participants=tuple(sorted(participants)), errors=tuple(errors)
        )

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

    async def _journal_plan(self, plan: Plan, before: Sequence[Instance] = ()) -> None:
        detail = {"steps": json.loads(steps_to_json(plan.steps)), "before": _before_to(before)}
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


def _before_to(replicas: Sequence[Instance]) -> list[dict[str, object]]:
    return [
        {
            "host": replica.key.hostname,
            "port": replica.key.port,
            "receiver": replica.receiver_state.value,
            "applier": replica.applier_state.value,
            "semi_sync_master_enabled": replica.semi_sync_master_enabled,
        }
        for replica in replicas
    ]


def _before_from(values: list[dict[str, object]]) -> dict[InstanceKey, Instance]:
    found = {}
    for value in values:
        key = InstanceKey(str(value["host"]), int(str(value["port"])))
        found[key] = Instance(
            key=key,
            receiver_state=ThreadState(value["receiver"]),
            applier_state=ThreadState(value["applier"]),
            semi_sync_master_enabled=bool(value["semi_sync_master_enabled"]),
        )
    return found
