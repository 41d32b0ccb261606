"""Telling of failures: each is registered once, and ``OnFailureDetectionProcesses`` are run with it.

Of what is acted upon at once; of anything else that the table of problems marks as detected (a master that
cannot be reached, replicas that do not replicate) when it has lasted, for in the first moments of a failure
one code follows another.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from services.analysis import ReplicationAnalysis
from services.config import Settings
from services.execution.gates import ClusterView
from services.execution.recovery_hooks import RecoveryHooks, facts_of
from services.store.errors import StoreError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, FailureDetection

__all__ = ["Detections", "entry_of"]

_LATER_SECONDS = 0.5
_LASTS_SECONDS = 1.0
"""As long as the reference's analysis leaves between two looks (failure-detection.md 6)."""


class Detections:
    """Belongs to the leader's event loop. ``node`` is host and token of this one."""

    def __init__(
        self, store: Store, hooks: RecoveryHooks, settings: Callable[[], Settings], node: tuple[str, str]
    ) -> None:
        self._store = store
        self._hooks = hooks
        self._settings = settings
        self._hostname, self._token = node
        self._told: dict[InstanceKey, str] = {}
        self._seen: dict[InstanceKey, tuple[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def consider(self, view: ClusterView) -> None:
        """Tell what is due of the findings; what is gone is news when it comes again. Returns at once."""
        now = time.monotonic()
        for finding in view.findings:
            key, code = finding.analyzed_instance_key, finding.analysis
            if not finding.is_detected or finding.skippable_due_to_downtime:
                continue
            if self._seen.get(key, ("", 0.0))[0] != code:
                self._seen[key] = code, now
            if finding.actionable or now - self._seen[key][1] >= _LASTS_SECONDS:
                self.tell(view, finding)
        detected = {finding.analyzed_instance_key for finding in view.findings if finding.is_detected}
        for instance in view.instances:
            if instance.key not in detected:
                self._told.pop(instance.key, None)
                self._seen.pop(instance.key, None)

    def tell(self, view: ClusterView, finding: ReplicationAnalysis, *, skip_hooks: bool = False) -> None:
        """Register it, unless it has been told. Returns at once."""
        if self._told.get(finding.analyzed_instance_key) == finding.analysis:
            return
        self._told[finding.analyzed_instance_key] = finding.analysis
        task = asyncio.ensure_future(self._register(view, finding, skip_hooks))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _register(self, view: ClusterView, finding: ReplicationAnalysis, skip_hooks: bool) -> None:
        at = utc_now()
        is_told = self._hooks.detection_is_told and not skip_hooks
        if not is_told:  # what is urgent has the store to itself meanwhile
            await asyncio.sleep(_LATER_SECONDS)
        detection = FailureDetection(
            analysis_entry=entry_of(view, finding),
            is_actionable=finding.actionable,
            recovery_start_timestamp=at,
            processing_node_hostname=self._hostname,
            processing_node_token=self._token,
        )
        period = self._settings().FailureDetectionPeriodBlockMinutes * 60.0
        try:
            registered = await self._store.detections.register(detection, active_seconds=period)
        except StoreError:
            self._told.pop(finding.analyzed_instance_key, None)  # the next look tries again
            return
        if registered.is_new and is_told:
            with contextlib.suppress(StoreError):
                await self._hooks.tell_detection(facts_of(view, finding, hostname=self._hostname))

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)


def entry_of(view: ClusterView, finding: ReplicationAnalysis) -> AnalysisEntry:
    """The finding as detections and recoveries keep it."""
    return AnalysisEntry(
        analyzed_instance_key=finding.analyzed_instance_key,
        analysis=finding.analysis,
        cluster_name=view.cluster.name,
        cluster_alias=view.cluster.alias,
        cluster_id=view.cluster.id,
        count_replicas=finding.count_replicas,
        replicas=finding.replicas,
    )
