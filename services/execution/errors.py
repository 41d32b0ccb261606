"""How a step can end other than well.

ExecutionError
├── StepFailedError      the step's aim was not reached; what it did may have to be undone
│   ├── NoProgressError      the applier does not execute what was retrieved (rule 1: next candidate)
│   └── MasterAnswersError   the master was dialled once more and answers (rule 12)
└── (MandateOverError of services.mysql.session: the right to act has ended; nothing more is done)
"""

from __future__ import annotations

from services.planning.plan import Step

__all__ = [
    "ExecutionError",
    "MasterAnswersError",
    "NoProgressError",
    "RecoveryInterruptedError",
    "StepFailedError",
]


class ExecutionError(Exception):
    """Base of the package's errors."""


class StepFailedError(ExecutionError):
    """A required step did not reach its aim."""

    def __init__(self, step: Step, reason: str) -> None:
        super().__init__(f"{step.title}: {reason}")
        self.step = step
        self.reason = reason


class NoProgressError(StepFailedError):
    """A replica does not execute what it retrieved."""


class MasterAnswersError(StepFailedError):
    """The failed master is alive."""


class RecoveryInterruptedError(ExecutionError):
    """The recovery cannot go on from here; its journal tells where it is."""
