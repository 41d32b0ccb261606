"""The order that makes a crash survivable: intent, act, outcome; and what a failure does to the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from services.execution import executor as executor_module
from services.execution.environment import Environment, Sessions, Timing
from services.execution.errors import StepFailedError
from services.execution.executor import Executor
from services.mysql.connection import Login
from services.mysql.errors import LostError
from services.mysql.session import MandateOverError
from services.planning.plan import Step, StepKind
from services.store.errors import StaleTermError
from services.topology.keys import InstanceKey
from services.topology.records import JournalEntry
from tests.recovery_world import FakeMandate

A, B = InstanceKey("a", 3306), InstanceKey("b", 3306)


class Stage:
    """Steps that do what a test says, and one list of all that happened, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.fails: dict[InstanceKey, Callable[[Step], BaseException]] = {}
        self.once: set[InstanceKey] = set()
        self.journal_error: Exception | None = None
        self.mandate = FakeMandate()
        actions = dict.fromkeys(StepKind, self._act)
        monkeypatch.setattr(executor_module, "ACTIONS", actions)
        self.executor = Executor(self._environment())

    async def _act(self, step: Step, _env: Environment) -> None:
        self.happened.append(f"{step.kind.value} {step.instance.hostname}")
        failure = self.fails.get(step.instance)
        if failure is not None:
            if step.instance in self.once:
                del self.fails[step.instance]
            raise failure(step)

    async def write(self, entries: Sequence[JournalEntry]) -> None:
        if self.journal_error is not None:
            raise self.journal_error
        said = ", ".join(f"{entry.phase.value} {entry.step_no}" for entry in entries)
        self.happened.append(f"[{said}]")

    async def say(self, message: str) -> None:
        pass

    def _environment(self) -> Environment:
        async def depose(_old: InstanceKey, _new: InstanceKey) -> None:
            pass

        login = Login("u", "p")
        return Environment(
            recovery_uid="1:x",
            mandate=self.mandate,
            sessions=Sessions(login, self.mandate, Timing()),
            login=login,
            journal=self,
            utc_now=lambda: "2026-11-23T08:00:00Z",
            depose=depose,
        )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def step(number: int, stage: int, kind: StepKind, instance: InstanceKey, **more: Any) -> Step:
    return Step(number=number, stage=stage, kind=kind, instance=instance, **more)


async def test_intents_are_durable_before_and_outcomes_with_the_next_intents(stage: Stage) -> None:
    steps = [
        step(1, 1, StepKind.STOP_RECEIVER, A),
        step(2, 1, StepKind.STOP_RECEIVER, B),
        step(3, 2, StepKind.OPEN, A),
        step(4, 3, StepKind.VERIFY, A),
    ]
    assert await stage.executor.run(steps) == {}
    await stage.executor.flush()
    assert stage.happened == [
        "[intent 1, intent 2]",
        "stop-receiver a",
        "stop-receiver b",
        "[done 1, done 2, intent 3]",
        "open a",
        "verify a",
        "[done 3, done 4]",
    ]


async def test_a_required_step_that_fails_ends_it_and_the_others_of_its_stage_are_told(stage: Stage) -> None:
    stage.fails[A] = lambda step: StepFailedError(step, "no")
    stage.fails[B] = lambda _: LostError(B, "gone", timed_out=False)
    steps = [
        step(1, 1, StepKind.DEPOSE, A),
        step(2, 1, StepKind.REPOINT, B, required=False),
        step(3, 2, StepKind.VERIFY, A),
    ]
    with pytest.raises(StepFailedError, match="depose a:3306: no"):
        await stage.executor.run(steps)
    assert "verify a" not in stage.happened
    assert stage.happened[-1] == "[failed 1, failed 2]"
    assert set(stage.executor.failures) == {B}, "the replica that was lost beside it is not forgotten"


async def test_an_optional_step_that_fails_keeps_nobody(stage: Stage) -> None:
    stage.fails[B] = lambda step: StepFailedError(step, "it does not receive")
    steps = [step(1, 1, StepKind.REPOINT, B, required=False), step(2, 2, StepKind.VERIFY, A)]
    assert await stage.executor.run(steps) == {B: "it does not receive"}
    assert "verify a" in stage.happened


async def test_an_optional_step_may_not_outlive_the_mandate(stage: Stage) -> None:
    stage.fails[B] = lambda _: MandateOverError("the right to act has ended")
    with pytest.raises(MandateOverError):
        await stage.executor.run([step(1, 1, StepKind.REPOINT, B, required=False)])


async def test_nothing_is_done_that_is_not_journalled(stage: Stage) -> None:
    stage.journal_error = StaleTermError(7, 8)
    with pytest.raises(StaleTermError):
        await stage.executor.run([step(1, 1, StepKind.OPEN, A)])
    assert stage.happened == []


async def test_a_lost_session_is_tried_once_more_but_never_to_open(stage: Stage) -> None:
    stage.fails[A] = lambda _: LostError(A, "the session ended", timed_out=False)
    stage.once = {A}
    await stage.executor.run([step(1, 1, StepKind.STOP_RECEIVER, A)])
    assert stage.happened.count("stop-receiver a") == 2
    stage.fails[A] = lambda _: LostError(A, "the session ended", timed_out=False)
    with pytest.raises(StepFailedError):
        await stage.executor.run([step(2, 1, StepKind.OPEN, A)])
    assert stage.happened.count("open a") == 1


async def test_a_lost_session_is_not_tried_again_after_the_mandate(stage: Stage) -> None:
    stage.fails[A] = lambda _: LostError(A, "the session ended", timed_out=False)
    stage.mandate.seconds = 0.0
    with pytest.raises(StepFailedError):
        await stage.executor.run([step(1, 1, StepKind.STOP_RECEIVER, A)])
    assert stage.happened.count("stop-receiver a") == 1


async def test_the_steps_of_a_stage_run_side_by_side(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[str] = []
    both = asyncio.Event()

    async def meet(step: Step, _env: Environment) -> None:
        waiting.append(step.instance.hostname)
        if len(waiting) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)

    actions: dict[StepKind, Callable[[Step, Environment], Awaitable[None]]] = dict.fromkeys(StepKind, meet)
    monkeypatch.setattr(executor_module, "ACTIONS", actions)
    await stage.executor.run([step(1, 1, StepKind.REPOINT, A), step(2, 1, StepKind.REPOINT, B)])
    assert sorted(waiting) == ["a", "b"]
