"""Runs the steps of a plan: journals the intents of a stage, does them side by side, journals how they went.

The order that makes a crash survivable, for each stage:

1. the intents of the stage, with the outcomes of the stage before it, are durable in the journal;
2. the steps run;
3. a required step that fails ends the run; another that fails is reported to the caller.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

from services.execution.actions import ACTIONS
from services.execution.environment import Environment
from services.execution.errors import StepFailedError
from services.execution.undoing import restore
from services.mysql.errors import LostError, MySQLError
from services.mysql.session import MandateOverError
from services.planning.plan import SemiSync, Step, StepKind
from services.topology.keys import InstanceKey
from services.topology.records import JournalEntry, JournalPhase

__all__ = ["Executor", "steps_from_json", "steps_to_json"]

_READS = frozenset({StepKind.VERIFY})
"""They change nothing, so a crash in the middle of them needs no trace."""

_REPEATABLE_AFTER_LOSS = frozenset(StepKind) - {StepKind.OPEN}
"""Opening is not tried again blindly: a lost session may mean that another term has taken over."""


class Executor:
    """Runs stages of steps in one environment and remembers what is not journalled yet."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._outcomes: list[JournalEntry] = []
        self.failures: dict[InstanceKey, str] = {}
        """Instances whose optional steps failed in the last ``run``, with reasons; also after it raised."""

    async def run(self, steps: Sequence[Step]) -> dict[InstanceKey, str]:
        """Run the steps stage by stage. Returns ``failures``. ``flush`` makes the last outcomes durable.

        Raises StepFailedError, MandateOverError, or what the journal raises; then later stages did not run.
        """
        self.failures = {}
        for _, stage in groupby(steps, key=lambda step: step.stage):
            await self._stage(list(stage))
        return self.failures

    async def _stage(self, steps: list[Step]) -> None:
        intents = [self._entry(step, JournalPhase.INTENT) for step in steps if step.kind not in _READS]
        if intents:
            await self.flush(intents)
        results = await asyncio.gather(*(self._do(step) for step in steps), return_exceptions=True)
        fatal: BaseException | None = None
        for step, result in zip(steps, results, strict=True):
            if result is None:
                self._outcomes.append(self._entry(step, JournalPhase.DONE))
                continue
            self._outcomes.append(self._entry(step, JournalPhase.FAILED, str(result)))
            if step.required or not isinstance(result, (StepFailedError, MySQLError)):
                fatal = fatal or self._as_step_failure(step, result)
            else:
                reason = result.reason if isinstance(result, StepFailedError) else str(result)
                self.failures[step.instance] = reason
        if fatal is not None:
            await self.flush()
            raise fatal

    async def _do(self, step: Step) -> None:
        action = ACTIONS[step.kind]
        try:
            await action(step, self._env)
        except LostError:
            # A session can be lost for reasons of its own (a starved keep-alive). Every action may be
            # repeated, and the new session is refused if another term has taken over meanwhile.
            if step.kind not in _REPEATABLE_AFTER_LOSS or self._env.mandate.remaining_seconds() <= 0:
                raise
            await action(step, self._env)

    @staticmethod
    def _as_step_failure(step: Step, error: BaseException) -> BaseException:
        return StepFailedError(step, str(error)) if isinstance(error, MySQLError) else error

    def announce(self, entry: JournalEntry) -> None:
        """Have ``entry`` journalled together with the intents of the next stage."""
        self._outcomes.append(entry)

    async def flush(self, more: Sequence[JournalEntry] = ()) -> None:
        """Make the outcomes so far durable, with ``more`` in the same transaction."""
        entries, self._outcomes = [*self._outcomes, *more], []
        if entries:
            await self._env.journal.write(entries)

    def _entry(self, step: Step, phase: JournalPhase, detail: str = "") -> JournalEntry:
        return JournalEntry(
            recovery_uid=self._env.recovery_uid,
            term=self._env.mandate.term,
            step_no=step.number,
            kind=step.kind.value,
            instance=step.instance,
            phase=phase,
            detail=detail or step.what,
            at=self._env.utc_now(),
        )

    async def undo(self, touched: Sequence[Step], failed_master: InstanceKey) -> list[str]:
        """Put back what an aborted recovery did, as far as it can be. Returns what could not be."""
        complaints: list[str] = []
        by_instance: dict[InstanceKey, list[Step]] = {}
        for step in touched:
            by_instance.setdefault(step.instance, []).append(step)
        for key, steps in sorted(by_instance.items(), key=lambda item: (item[0] != failed_master, item[0])):
            before = self._env.before.get(key)
            if before is None:
                continue
            try:
                await restore(self._env, before, steps, failed_master)
            except (MySQLError, MandateOverError, ValueError) as error:
                complaints.append(f"could not put back {key}: {error}")
            else:
                what = "as it was before" if key == failed_master else "replication as before"
                self._outcomes.append(self._entry(replace(steps[-1], what=what), JournalPhase.UNDONE))
        await self.flush()
        return complaints


def steps_to_json(steps: Sequence[Step]) -> str:
    """The steps as the journal keeps them."""
    return json.dumps(steps, default=_fields_of)


def _fields_of(value: Any) -> dict[str, Any]:
    """Of a data class; ``asdict`` would copy every value, on the way of a failover."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def steps_from_json(text: str) -> tuple[Step, ...]:
    """Read what ``steps_to_json`` wrote."""

    def step(values: dict[str, object]) -> Step:
        semi_sync = values.pop("semi_sync")
        for name in ("instance", "source"):
            key = values[name]
            assert isinstance(key, dict)
            values[name] = InstanceKey(**key)
        values["kind"] = StepKind(values["kind"])
        values["semi_sync"] = SemiSync(**semi_sync) if isinstance(semi_sync, dict) else None
        return Step(**values)  # type: ignore[arg-type]

    return tuple(step(values) for values in json.loads(text))
