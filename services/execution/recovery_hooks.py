"""Which hooks are run when, around detections and recoveries, and what they are told.

- A detection's run beside the recovery, which never waits for them.
- ``PreFailoverProcesses`` run before the first change; a failure ends the recovery with nothing changed.
- ``FenceProcesses`` are a step of the plan: journalled, and run again if a later term begins anew.
- Those after a recovery run when it is resolved, one recovery of a cluster after another, and hold nothing
  up. That they are to be run is journalled before, so that the next term runs them if this one dies: at
  least once.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from services.analysis import ReplicationAnalysis
from services.execution.dead_master import Outcome
from services.execution.environment import Environment
from services.execution.gates import ClusterView
from services.mysql.errors import ConnectError, MySQLError
from services.publish.facts import HookFacts, facts_from_json, facts_to_json
from services.publish.hooks import HookKind, HookRunner, Say
from services.store.errors import StoreError
from services.store.journal import OpenRecovery
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry, JournalEntry, JournalPhase, Recovery

__all__ = ["HooksOfRecovery", "RecoveryHooks", "facts_of"]

POST_HOOKS_KIND = "post-hooks"
"""Kind of the journal entries that tell that hooks are to be run after a recovery, and that they were."""

_SUCCESSFUL = (HookKind.POST_MASTER_FAILOVER, HookKind.POST_FAILOVER)
_UNSUCCESSFUL = (HookKind.POST_UNSUCCESSFUL_FAILOVER,)
_STALE_SECONDS = 1.0
"""Hooks before a failover that took longer: the master is dialled, for it may be back."""
_CATCH_UP_SECONDS = 3600.0
"""What should have run longer ago than this is not run any more: the world has gone on."""

Event = Callable[[str, str, InstanceKey, str], None]


def facts_of(view: ClusterView, finding: ReplicationAnalysis, *, uid: str = "", hostname: str) -> HookFacts:
    """What is known before anything is done. A detection has an id of its own."""
    key, details = finding.analyzed_instance_key, finding.cluster_details
    kinds = (
        (finding.is_co_master, "co-master"),
        (finding.is_master, "master"),
        (finding.is_replication_group_member, "group-member"),
    )
    return HookFacts(
        failure_type=finding.analysis.value,
        instance_type=next((name for holds, name in kinds if holds), "intermediate-master"),
        is_master=finding.is_master,
        is_co_master=finding.is_co_master,
        # Ours, and harmless in every shell text once it has no semicolon.
        failure_description=finding.description.replace(";", ","),
        failed_host=key.hostname,
        failed_port=key.port,
        failure_cluster=view.cluster.name,
        failure_cluster_alias=view.cluster.alias,
        failure_cluster_domain=details.cluster_domain,
        count_replicas=finding.count_replicas,
        replica_hosts=tuple(map(str, finding.replicas)),
        aliases={str(one.key): one.instance_alias for one in view.instances if one.instance_alias},
        is_downtimed=finding.is_downtimed,
        auto_master_recovery=details.has_automated_master_recovery,
        auto_intermediate_master_recovery=details.has_automated_intermediate_master_recovery,
        orchestrator_host=hostname,
        recovery_uid=uid or f"{time.time_ns()}:{secrets.token_hex(32)}",
    )


class HooksOfRecovery:
    """The hooks of one recovery. Without ``facts`` it runs none but a fencing that is required."""

    def __init__(self, runner: HookRunner, facts: HookFacts, env: Environment, *, skipped: bool) -> None:
        self._runner = runner
        self._facts = facts
        self._env = env
        self._skipped = skipped
        self._vetoed = False

    @property
    def facts_text(self) -> str:
        return "" if self._skipped else facts_to_json(self._facts)

    @property
    def fences(self) -> bool:
        return self._runner.has(HookKind.FENCE) and (not self._skipped or self._runner.fence_required)

    async def before_failover(self, failed: InstanceKey) -> str:
        """Why nothing may be done, "" if it may."""
        if self._skipped or not self._runner.has(HookKind.PRE_FAILOVER):
            return ""
        began, say = time.monotonic(), self._env.journal.say
        failures = await self._runner.run(HookKind.PRE_FAILOVER, self._facts, say, to_the_end=False)
        veto = "; ".join(failures)
        if not veto and time.monotonic() - began > _STALE_SECONDS and await self._answers(failed):
            veto = f"{failed} answers again"
        self._vetoed = bool(veto)
        return veto

    async def _answers(self, key: InstanceKey) -> bool:
        try:
            await self._env.sessions.dial(key)
        except ConnectError as error:
            return error.outcome.is_answer
        except MySQLError:
            return False
        return True

    async def fence(self, _failed: InstanceKey, candidate: InstanceKey) -> str:
        """Run FenceProcesses; why they failed, "" if they did not."""
        facts = self._succeeded_by(candidate)
        to_the_end = not self._runner.fence_required
        failures = await self._runner.run(HookKind.FENCE, facts, self._env.journal.say, to_the_end=to_the_end)
        return "; ".join(failures)

    async def facts_after(self, result: Outcome) -> HookFacts | None:
        """What those after the recovery are told; None if there are none to run."""
        kinds = _SUCCESSFUL if result.succeeded else _UNSUCCESSFUL
        if self._skipped or self._vetoed or not any(map(self._runner.has, kinds)):
            return None
        facts = replace(self._facts, lost_replicas=tuple(map(str, sorted(result.lost))))
        if not result.succeeded:
            return facts
        return replace(
            self._succeeded_by(result.successor),
            lost_replicas=facts.lost_replicas,
            successor_binlog_coordinates=await self._coordinates(result.successor),
        )

    def alias_of(self, key: InstanceKey) -> str:
        return self._facts.aliases.get(str(key), "")

    def _succeeded_by(self, key: InstanceKey) -> HookFacts:
        return replace(
            self._facts,
            successor_host=key.hostname,
            successor_port=key.port,
            successor_alias=self.alias_of(key),
        )

    async def _coordinates(self, key: InstanceKey) -> str:
        try:
            session = await self._env.sessions.on(key)
            rows = await session.read(session.dialect.binary_log_status)
        except MySQLError:
            return ""
        return f"{rows[0]['File']}:{rows[0]['Position']}" if rows else ""


class RecoveryHooks:
    """The hooks of one coordinator. Belongs to its event loop."""

    def __init__(self, store: Store, runner: HookRunner, event: Event) -> None:
        self._store = store
        self._runner = runner
        self._event = event
        self._turns: dict[str, asyncio.Lock] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._caught_up_term = 0

    @property
    def detection_is_told(self) -> bool:
        return self._runner.has(HookKind.DETECTION)

    def of(self, facts: HookFacts, env: Environment, *, skipped: bool) -> HooksOfRecovery:
        return HooksOfRecovery(self._runner, facts, env, skipped=skipped)

    def resumed(self, facts_text: str, env: Environment) -> HooksOfRecovery | None:
        """Of a recovery that another term began; None if it ran none, or had not begun to act."""
        return self.of(facts_from_json(facts_text), env, skipped=False) if facts_text else None

    async def tell_detection(self, facts: HookFacts) -> None:
        """Run those of a detection. No recovery may ever follow: their steps are events, and in the audit."""
        key = InstanceKey(facts.failed_host, facts.failed_port)

        async def say(message: str) -> None:
            self._event("hook", message.partition("\n")[0], key, facts.failure_cluster)
            entry = AuditEntry(at=utc_now(), type="on-failure-detection", instance=key, message=message)
            with contextlib.suppress(StoreError):
                await self._store.audit.add(entry)

        await self._runner.run(HookKind.DETECTION, facts, say, to_the_end=False)

    async def intend(self, recovery: Recovery, facts: HookFacts, term: int) -> None:
        """Durably: the hooks after this recovery are to be run. Raises StoreError."""
        await self._store.journal.write(self._entry(recovery, facts, term, JournalPhase.INTENT))

    def start(self, recovery: Recovery, facts: HookFacts, term: int, say: Say) -> None:
        """Run them, after those of earlier recoveries of the cluster. Returns at once."""
        uid = recovery.uid
        task = asyncio.ensure_future(self._after(recovery, facts, term, say))
        self._running[uid] = task
        task.add_done_callback(lambda _: self._running.pop(uid, None))

    async def _after(self, recovery: Recovery, facts: HookFacts, term: int, say: Say) -> None:
        turn = self._turns.setdefault(recovery.analysis_entry.cluster_id, asyncio.Lock())
        async with turn:
            for kind in _SUCCESSFUL if facts.successor_host else _UNSUCCESSFUL:
                self._tell(await self._runner.run(kind, facts, say, to_the_end=True), facts)
        with contextlib.suppress(StoreError):  # then they may be run once more
            await self._store.journal.write(self._entry(recovery, facts, term, JournalPhase.DONE))

    async def catch_up(self, term: int, say_of: Callable[[str], Say]) -> None:
        """Once a term: run what an earlier one, or another life of this one, did not. Raises StoreError."""
        if term == self._caught_up_term or not any(map(self._runner.has, (*_SUCCESSFUL, *_UNSUCCESSFUL))):
            return
        unfinished = await self._store.journal.unfinished(POST_HOOKS_KIND)
        self._caught_up_term = term
        newest = {found.recovery.analysis_entry.cluster_id: found for found in unfinished}
        for found in unfinished:
            if found.recovery.uid not in self._running:
                is_newest = newest[found.recovery.analysis_entry.cluster_id] is found
                await self._catch_up_with(found, term, say_of(found.recovery.uid), is_newest=is_newest)

    async def _catch_up_with(self, found: OpenRecovery, term: int, say: Say, *, is_newest: bool) -> None:
        entry = found.journal[-1]
        facts = facts_from_json(entry.detail)
        if is_newest and entry.at > shifted(utc_now(), -_CATCH_UP_SECONDS):
            await say(f"its node stopped before the hooks had ended: term {term} runs them")
            self.start(found.recovery, facts, term, say)
            return
        await say("its hooks were not run to their end, and it is too late for that now")
        await self._store.journal.write(self._entry(found.recovery, facts, term, JournalPhase.FAILED))

    def _tell(self, failures: tuple[str, ...], facts: HookFacts) -> None:
        key = InstanceKey(facts.failed_host, facts.failed_port)
        for failure in failures:
            self._event("hook", f"{failure} (failure of {key})", key, facts.failure_cluster)

    @staticmethod
    def _entry(recovery: Recovery, facts: HookFacts, term: int, phase: JournalPhase) -> JournalEntry:
        return JournalEntry(
            recovery_uid=recovery.uid,
            term=term,
            step_no=0,
            kind=POST_HOOKS_KIND,
            instance=NO_KEY,
            phase=phase,
            detail=facts_to_json(facts),
            at=utc_now(),
        )

    async def stop(self) -> None:
        """End what runs and is waited for; the next term runs it again."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
