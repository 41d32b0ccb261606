"""Decides when a finding becomes a recovery, and runs it: one at a time for each cluster.

Clusters are independent and recovered side by side; what concerns one is strictly serial here, and the
store enforces the same across processes and restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from services.analysis import AnalysisCode, ReplicationAnalysis
from services.config import Settings
from services.execution.aftermath import register_downtimes
from services.execution.dead_master import DeadMasterRecovery, hook_facts, last_seen
from services.execution.dead_master import Outcome as Result
from services.execution.detections import Detections, entry_of
from services.execution.environment import Environment, Sessions
from services.execution.errors import ExecutionError
from services.execution.eyes import Eyes
from services.execution.gates import ClusterView, Gates
from services.execution.readiness import ReadySessions
from services.execution.recovery_hooks import HooksOfRecovery, RecoveryHooks, facts_of
from services.execution.store_journal import StoreJournal, say_after_the_end
from services.execution.witnesses import Witnesses
from services.mysql.session import Mandate, MandateOverError
from services.policies import hook_policy, login, promotion_policy, timing
from services.publish.hooks import HookRunner
from services.store.errors import ClusterBlockedError, ClusterBusyError, MasterChangedError, StoreError
from services.store.recoveries import Outcome
from services.store.store import Store
from services.store.times import seconds_until, shifted, utc_now
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import DeposedMaster, Recovery

__all__ = ["ClusterView", "Coordinator", "Observer", "RecoveryRefusedError"]

RECOVERED_CODES = frozenset({"DeadMaster", "DeadMasterAndSomeReplicas"})
_DISPUTED = AnalysisCode.DISPUTED_MASTER
_HELD_LOOK_SECONDS = (0.02, 1.0)
"""The shortest and the longest pause between looks at a failure that is held down."""
_SETTLE_SECONDS = 1.2
"""A new term waits so long before it acts, if any server neither answers nor refuses: a session of an
earlier, paused Leader there ends after 1 s (``wait_timeout``)."""

_log = structlog.get_logger(__name__)


class RecoveryRefusedError(Exception):
    """A recovery that was asked for was not attempted; the text says why."""


class Observer(Protocol):
    """Who is told what happens: the leader actor passes it on."""

    def event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None: ...

    def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        """The cluster has another master: its identity goes with it, from now on."""
        ...

    def changed(self, keys: tuple[InstanceKey, ...]) -> None:
        """These servers were changed: look at them again."""
        ...

    def look_again(self, key: InstanceKey) -> None:
        """Look at this server and its replicas now, and have what is found then considered."""
        ...

    def witnessed(self, master: InstanceKey) -> None:
        """A witness could not connect to this master: it hangs."""
        ...


class Coordinator:
    """Belongs to the leader's event loop. ``mandate`` gives the right to act, or None."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], Settings],
        mandate: Callable[[], Mandate | None],
        observer: Observer,
        node: tuple[str, str],
        *,
        eyes: Eyes | None = None,
    ) -> None:
        """``eyes`` are those of the raft members, without whose majority no master is taken for dead."""
        self._eyes = eyes
        self._store = store
        self._settings = settings
        self._mandate = mandate
        self._observer = observer
        self._hostname, self._token = node
        self._running: dict[str, asyncio.Task[InstanceKey]] = {}
        self._gates = Gates(settings)
        self._ready = ReadySessions(settings)
        self._witnesses = Witnesses(store, settings, mandate, observer)
        self._settled_at = time.monotonic() + _SETTLE_SECONDS
        runner = HookRunner(lambda: hook_policy(settings()))
        self._hooks = RecoveryHooks(store, runner, observer.event)
        self._detections = Detections(store, self._hooks, settings, node)
        self._held: dict[InstanceKey, asyncio.TimerHandle] = {}

    @property
    def busy_clusters(self) -> frozenset[str]:
        return frozenset(self._running)

    def elected(self, *, earlier_for: float = 0.0) -> None:
        """A new term has begun: nothing of what was held against clusters before counts.

        ``earlier_for``: so many seconds a server that hangs may still carry out what an earlier term sent.
        """
        self._settled_at = time.monotonic() + max(_SETTLE_SECONDS, earlier_for)
        self._gates.begin_anew()
        if self._eyes is not None:
            self._eyes.begin_anew()

    def acknowledged(self) -> None:
        """Somebody acknowledged recoveries: what they blocked is tried again at once."""
        self._gates.clear()

    def consider(self, view: ClusterView) -> None:
        """Begin whatever is due for this cluster. Returns at once."""
        for finding in view.findings:
            if not finding.actionable or finding.analysis not in RECOVERED_CODES:
                continue
            if self._mandate() is None:
                continue
            self._gates.seen(finding.analyzed_instance_key)
            if self._is_busy(view.cluster.id):
                continue
            reason = self._gates.why_not(view, finding) or self._disputed(finding)
            if reason:
                _log.debug("not recovering", cluster=view.cluster.name, reason=reason)
                self._look_again_in_time(view, finding)
            else:
                self._start(view, finding, automatic=True)
        mandate = self._mandate()
        if mandate is not None:
            self._detections.consider(replace(view, findings=self._settled(view)))
        is_free = mandate is not None and not self._is_busy(view.cluster.id)
        if mandate is not None and is_free and not self._gates.why_not_even_ask(view):
            self._ready.consider(view, mandate)
            self._witnesses.consider(view)
            self._consult(view)
        failing = {finding.analyzed_instance_key for finding in view.findings if finding.actionable}
        well = {instance.key for instance in view.instances} - failing
        self._gates.well(well)
        if self._eyes is not None:
            disputed = {one.analyzed_instance_key for one in view.findings if one.analysis == _DISPUTED}
            self._eyes.well(well - disputed)

    def _disputed(self, finding: ReplicationAnalysis) -> str:
        """Why the eyes of the raft members hold this one back, "" if they do not."""
        if self._eyes is None or not self._eyes.speak_on(finding):
            return ""
        return self._eyes.why_not(finding.analyzed_instance_key)

    def _settled(self, view: ClusterView) -> tuple[ReplicationAnalysis, ...]:
        """What may be told: not what the raft members have yet to agree on."""
        eyes = self._eyes
        if eyes is None:
            return view.findings
        return tuple(one for one in view.findings if not (one.actionable and eyes.speak_on(one)))

    def _consult(self, view: ClusterView) -> None:
        """Ask the raft members of a master in doubt, so that a recovery need not wait for them; and again
        of one that they do not see dead."""
        if self._eyes is None:
            return
        self._eyes.expect(view)
        for finding in view.findings:
            if finding.analysis == _DISPUTED:
                self._eyes.reconsider(view, finding)

    def _look_again_in_time(self, view: ClusterView, finding: ReplicationAnalysis) -> None:
        """While it is held down: from time to time, to see whether it lasts, and when that is over."""
        held_for, key = self._gates.held_for(view, finding), finding.analyzed_instance_key
        if held_for is None or key in self._held:
            return

        def due() -> None:
            del self._held[key]
            self._observer.look_again(key)

        pause = min(max(held_for, _HELD_LOOK_SECONDS[0]), _HELD_LOOK_SECONDS[1])
        self._held[key] = asyncio.get_running_loop().call_later(pause, due)

    def _is_busy(self, cluster_id: str) -> bool:
        """What concerns one cluster is strictly serial."""
        return cluster_id in self._running or self._witnesses.is_asking(cluster_id)

    def _start(
        self,
        view: ClusterView,
        finding: ReplicationAnalysis,
        *,
        automatic: bool,
        designated: InstanceKey = NO_KEY,
        skip_hooks: bool = False,
    ) -> asyncio.Task[InstanceKey]:
        cluster_id = view.cluster.id
        task = asyncio.ensure_future(self._recover(view, finding, automatic, designated, skip_hooks))
        self._running[cluster_id] = task

        def ended(done: asyncio.Task[InstanceKey]) -> None:
            if self._running.get(cluster_id) is done:
                del self._running[cluster_id]
            if not done.cancelled() and done.exception() is not None and automatic:
                _log.info("recovery not done", cluster=view.cluster.name, reason=str(done.exception()))

        task.add_done_callback(ended)
        return task

    async def recover_now(
        self,
        view: ClusterView,
        finding: ReplicationAnalysis,
        designated: InstanceKey = NO_KEY,
        *,
        skip_hooks: bool = False,
    ) -> InstanceKey:
        """Recover because somebody asked: without the gates that hold automatic recoveries back.

        With ``skip_hooks`` no hook is run but a fencing that is required. Returns who was promoted. Raises
        RecoveryRefusedError.
        """
        cluster = view.cluster
        if self._mandate() is None:
            raise RecoveryRefusedError("this node does not lead")
        if not finding.actionable or finding.analysis not in RECOVERED_CODES:
            why = "; ".join(finding.reasons)
            raise RecoveryRefusedError(
                f"{finding.analysis} of {finding.analyzed_instance_key} is not acted upon: {why}"
            )
        if cluster.is_fragment or not cluster.id:
            raise RecoveryRefusedError(f"cluster {cluster.name} is what a promotion left behind")
        if view.unread:
            unread = ", ".join(map(str, view.unread))
            raise RecoveryRefusedError(f"nobody has looked at {unread} yet: ask again in some seconds")
        await self._witnesses.asked(cluster.id)
        running = self._running.get(cluster.id)
        if running is None:
            running = self._start(
                view, finding, automatic=False, designated=designated, skip_hooks=skip_hooks
            )
            self._detections.tell(view, finding, skip_hooks=skip_hooks)
        try:
            return await asyncio.shield(running)
        except (ExecutionError, MandateOverError, StoreError) as error:
            interrupted = f"it was interrupted, and is completed or undone as soon as may be: {error}"
            raise RecoveryRefusedError(interrupted) from None

    async def _recover(
        self,
        view: ClusterView,
        finding: ReplicationAnalysis,
        automatic: bool,
        designated: InstanceKey,
        skip_hooks: bool,
    ) -> InstanceKey:
        mandate, cluster = self._mandate(), view.cluster
        failed = view.instance(finding.analyzed_instance_key) or Instance(key=finding.analyzed_instance_key)
        if mandate is None:
            raise RecoveryRefusedError("this node does not lead")
        # They take a moment to open, and change nothing: meanwhile the store is asked whether we may.
        sessions, opening = self._ready.take(cluster.id, view.replicas_of(failed.key), mandate)
        try:
            seen_by = await self._agreed(view, finding, skip_hooks)
            recovery = await self._registered(view, finding, mandate, automatic)
        except BaseException:
            opening.cancel()
            await sessions.close()
            raise
        key, name = failed.key, cluster.name
        self._observer.event("recovery", f"{finding.analysis} of {key}: recovering", key, name)
        journal = StoreJournal(self._store, recovery.uid)
        env = self._environment(recovery, mandate, journal, failed, sessions)
        facts = facts_of(view, finding, uid=recovery.uid, hostname=self._hostname)
        hooks = self._hooks.of(facts, env, skipped=skip_hooks)
        env = replace(env, fence=hooks.fence, hook_facts=hooks.facts_text)
        for reason in (*finding.reasons, *seen_by):
            await journal.say(f"{finding.analysis}: {reason}")
        policy = promotion_policy(self._settings())
        policy = replace(policy, designated=designated, fences=hooks.fences)
        began = time.monotonic()
        try:
            await opening
            await self._settle(view)
            vetoed = await hooks.before_failover(key)
            if vetoed:
                result = Result(errors=(vetoed,))
            else:
                work = DeadMasterRecovery(env, cluster.id, key)
                replicas = self._witnesses.as_they_were(view.replicas_of(key))
                result = await work.run(failed, replicas, policy)
            await self._resolve(recovery, result, mandate, journal, began=began, hooks=hooks)
            if result.refusal is not None:
                self._gates.refused(view)
        finally:
            await env.sessions.close()
            await journal.close()
        if not result.succeeded:
            raise RecoveryRefusedError("; ".join(result.errors) or "nobody was promoted")
        return result.successor

    async def _agreed(
        self, view: ClusterView, finding: ReplicationAnalysis, skip_hooks: bool
    ) -> tuple[str, ...]:
        """Who of the raft members sees the master dead: a majority, or RecoveryRefusedError is raised."""
        if self._eyes is None or not self._eyes.speak_on(finding):
            return ()
        key, began = finding.analyzed_instance_key, time.monotonic()
        agreement = await self._eyes.agree(view, key)
        if not agreement.is_dead:
            raise RecoveryRefusedError(f"{key} is disputed: {'; '.join(agreement.facts)}")
        self._detections.tell(view, finding, skip_hooks=skip_hooks)
        waited = f"a majority of the raft members sees it; waited for {time.monotonic() - began:.3f} s"
        return (waited, *agreement.facts)

    async def _registered(
        self, view: ClusterView, finding: ReplicationAnalysis, mandate: Mandate, automatic: bool
    ) -> Recovery:
        recovery = Recovery(
            uid=f"{time.time_ns()}:{secrets.token_hex(32)}",
            analysis_entry=entry_of(view, finding),
            recovery_start_timestamp=utc_now(),
            term=mandate.term,
            processing_node_hostname=self._hostname,
            processing_node_token=self._token,
            type="MasterRecovery",
            recovery_type="MasterRecoveryGTID",
        )
        try:
            return await self._store.recoveries.register(recovery, automatic=automatic)
        except (ClusterBusyError, ClusterBlockedError) as error:
            left = math.inf
            if isinstance(error, ClusterBlockedError):
                left = seconds_until(error.blocking.blocked_until)
            if self._gates.failed(view.cluster.id, within=left):
                key = finding.analyzed_instance_key
                self._observer.event("blocked", f"recovery of {key} blocked: {error}", key, view.cluster.name)
            raise RecoveryRefusedError(str(error)) from None

    def _environment(
        self,
        recovery: Recovery,
        mandate: Mandate,
        journal: StoreJournal,
        failed: Instance,
        sessions: Sessions | None = None,
    ) -> Environment:
        settings = self._settings()
        entry = recovery.analysis_entry

        async def depose(old: InstanceKey, new: InstanceKey) -> None:
            now = utc_now()
            deposed = DeposedMaster(
                cluster_id=entry.cluster_id,
                key=old,
                deposed_at=now,
                until=shifted(now, float(settings.FenceOldMasterSeconds)),
                term=mandate.term,
                recovery_uid=recovery.uid,
                executed_gtid_set=failed.executed,
            )
            promote = partial(
                self._store.clusters.promote,
                entry.cluster_id, master=new, at=now, term=mandate.term, deposed=deposed,
            )  # fmt: skip
            try:
                await promote(expected=old)
            except MasterChangedError as error:
                # Somebody had given it another master of late, and the store learnt of it only now. No newer
                # term has acted, and the new one is open: that stands.
                await journal.say(f"{error}; {new} is open, and is its master now")
                await promote(expected=error.found)
            self._observer.promoted(entry.cluster_id, old, new)

        async def is_master(key: InstanceKey) -> bool:
            records = await self._store.clusters.load()
            return any((one.id, one.master_key) == (entry.cluster_id, key) for one in records)

        credentials, bounds = login(settings), timing(settings)
        return Environment(
            recovery_uid=recovery.uid,
            mandate=mandate,
            sessions=sessions or Sessions(credentials, mandate, bounds),
            login=credentials,
            journal=journal,
            utc_now=utc_now,
            depose=depose,
            timing=bounds,
            is_master=is_master,
            detach_lost=settings.DetachLostReplicasAfterMasterFailover,
        )

    async def _settle(self, view: ClusterView) -> None:
        if all(one.last_check_outcome.is_definite for one in view.instances):
            return
        left = self._settled_at - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    async def _resolve(
        self,
        recovery: Recovery,
        result: Result,
        mandate: Mandate,
        journal: StoreJournal,
        *,
        began: float,
        hooks: HooksOfRecovery | None,
    ) -> None:
        settings, entry = self._settings(), recovery.analysis_entry
        outcome = Outcome(
            is_successful=result.succeeded,
            successor_key=result.successor,
            successor_alias=hooks.alias_of(result.successor) if hooks is not None else "",
            lost_replicas=tuple(sorted(result.lost)),
            participating_instance_keys=result.participants,
            all_errors=result.errors,
        )
        took = f"{time.monotonic() - began:.3f} s"
        key = entry.analyzed_instance_key
        if result.succeeded:
            message = f"promoted {result.successor} in place of {key} in {took}"
            message += "" if result.opened else ", without opening it"
            if result.lost:
                lost = ", ".join(f"{lost} ({why})" for lost, why in sorted(result.lost.items()))
                message += f"; lost: {lost}"
        else:
            message = f"nobody was promoted in place of {key}: {'; '.join(result.errors)}"
        await journal.say(message)
        facts = await hooks.facts_after(result) if hooks is not None else None
        if facts is not None:
            await self._hooks.intend(recovery, facts, mandate.term)
        await journal.keep()  # who sees the recovery ended finds all its steps
        await self._store.recoveries.resolve(
            recovery.uid,
            outcome,
            at=utc_now(),
            term=mandate.term,
            # One whose successor was not seen to be writable blocks nothing: it may be dead too.
            block_seconds=float(settings.RecoveryPeriodBlockSeconds) if result.verified else 0.0,
        )
        if result.succeeded:
            self._gates.passed(entry.cluster_id)
            with contextlib.suppress(StoreError):  # it is over, and right: this is only for people
                await register_downtimes(
                    self._store.registrations,
                    [key, *result.lost],
                    result.successor,
                    owner=self._hostname,
                    minutes=settings.MasterFailoverLostInstancesDowntimeMinutes,
                )
        else:
            self._gates.failed(entry.cluster_id)
        self._observer.event("recovery", message, key, entry.cluster_name)
        self._observer.changed((key, *entry.replicas))
        if facts is not None:
            self._hooks.start(recovery, facts, mandate.term, journal.say)

    async def synchronise(self) -> None:
        """Read what people switched. Raises StoreError. Called again and again."""
        self._gates.recoveries_enabled = await self._store.registrations.recoveries_enabled()

    async def resume_open(self) -> None:
        """Complete or void what an earlier term, or an interruption, left open. Called again and again."""
        mandate = self._mandate()
        if mandate is None:
            return
        await self.synchronise()
        await self._hooks.catch_up(mandate.term, partial(say_after_the_end, self._store))
        await self._witnesses.resume()
        for found in await self._store.journal.open_recoveries():
            cluster_id = found.recovery.analysis_entry.cluster_id
            if self._is_busy(cluster_id) or self._gates.must_wait(cluster_id):
                continue
            task = asyncio.ensure_future(self._resume(found.recovery.uid))
            self._running[cluster_id] = task
            task.add_done_callback(partial(self._resumed, cluster_id))

    def _resumed(self, cluster_id: str, task: asyncio.Task[InstanceKey]) -> None:
        self._running.pop(cluster_id, None)
        if not task.cancelled() and task.exception() is not None:
            self._gates.failed(cluster_id)
            _log.warning("recovery not resumed", cluster=cluster_id, reason=str(task.exception()))

    async def _resume(self, uid: str) -> InstanceKey:
        # Read again, now that the cluster is ours: what was open a moment ago may have been brought to its
        # end meanwhile, and to undo what has succeeded would be the worst of all.
        still_open = {found.recovery.uid: found for found in await self._store.journal.open_recoveries()}
        found = still_open.get(uid)
        if found is None:
            return NO_KEY
        mandate, recovery = self._mandate(), found.recovery
        if mandate is None:
            raise RecoveryRefusedError("this node does not lead")
        journal = StoreJournal(self._store, recovery.uid)
        key = recovery.analysis_entry.analyzed_instance_key
        env = self._environment(recovery, mandate, journal, last_seen(key, found.journal))
        began = time.monotonic()
        try:
            await journal.say(f"taken up by term {mandate.term}; it was begun by term {recovery.term}")
            work = DeadMasterRecovery(env, recovery.analysis_entry.cluster_id, key)
            result = await work.resume(found.journal)
            hooks = self._hooks.resumed(hook_facts(found.journal), env)
            await self._resolve(recovery, result, mandate, journal, began=began, hooks=hooks)
        finally:
            await env.sessions.close()
            await journal.close()
        if recovery.term != mandate.term:  # what another had begun and is void is tried again at once
            self._gates.passed(recovery.analysis_entry.cluster_id)
        return result.successor

    async def stop(self) -> None:
        """End what runs; what is open is resumed by the next term."""
        for handle in self._held.values():
            handle.cancel()
        self._held.clear()
        await self._witnesses.stop()
        await self._ready.stop()
        await self._detections.stop()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
        await self._hooks.stop()
