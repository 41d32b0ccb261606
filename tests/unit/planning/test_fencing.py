"""Where FenceProcesses stand in a plan."""

from __future__ import annotations

import pytest

from services.execution.executor import steps_from_json, steps_to_json
from services.planning.candidates import PromotionPolicy
from services.planning.plan import StepKind
from tests.unit.planning.stories import LOSSLESS, acknowledging, key, master, one, plan_of, replica, told


@pytest.mark.parametrize("required", [True, False])
def test_when_all_is_ready_and_before_the_opening(required: bool) -> None:
    policy = PromotionPolicy(fences=True, fence_required=required)
    plan = plan_of(master(**LOSSLESS), acknowledging("a", "m:1-4", "m:4-5"), policy=policy)
    assert told(plan)[:5] == [
        "drain a (m:4-5)",
        "dial-old-master m, semi-sync-source a",
        "fence m of a",
        "dial-old-master m",  # what the fencing took is time in which it may have come back (rule 12)
        "open a",
    ]
    fence = one(plan, StepKind.FENCE)
    assert (fence.required, fence.undo) == (required, "")
    # Whose failure it is decides what becomes of the plan: not the candidate's, so no other one is tried.
    assert fence.instance == key("m")
    assert steps_from_json(steps_to_json(plan.steps)) == plan.steps


def test_without_them_nothing_is_added() -> None:
    assert told(plan_of(master(), replica("a")))[:2] == ["dial-old-master m", "open a"]
