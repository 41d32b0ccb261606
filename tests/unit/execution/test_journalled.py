"""What a later term reads in the journal: plans, and servers as they were."""

from __future__ import annotations

import json

from services.execution.before import before_from, before_to
from services.execution.dead_master import last_seen, lost_from, lost_to
from services.execution.executor import steps_from_json, steps_to_json
from services.planning.plan import SemiSync, StepKind
from services.topology.channel import Channel
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import JournalEntry, JournalPhase
from tests.unit.planning.stories import LOSSLESS, acknowledging, key, master, plan_of, transactions


def test_a_plan_comes_back_as_it_was_written() -> None:
    plan = plan_of(
        master("m:1-7", **LOSSLESS),
        acknowledging("a", "m:1-5", promotion_rule="must"),
        acknowledging("b", "m:1-6", "m:5-8"),
    )
    read = steps_from_json(steps_to_json(plan.steps))
    assert read == plan.steps
    semi_sync = next(step.semi_sync for step in read if step.kind is StepKind.SEMI_SYNC_SOURCE)
    assert isinstance(semi_sync, SemiSync)


def test_a_server_comes_back_as_it_was() -> None:
    before = Instance(
        key=InstanceKey("::1", 3307),
        read_only=True,
        super_read_only=False,
        receiver_state=ThreadState.OTHER,
        applier_state=ThreadState.STOPPED,
        semi_sync_available=True,
        semi_sync_master_wait_point="AFTER_COMMIT",
        semi_sync_master_wait_count=2,
        semi_sync_master_timeout_ms=2**64 - 1,
        semi_sync_master_wait_no_replica=False,
    )
    assert before_from(before_to([before])) == {before.key: before}


def test_the_channel_that_was_spoken_of_is_known_to_a_later_term() -> None:
    several = (Channel(name="east"), Channel(name="west"))
    before = Instance(key=InstanceKey("r", 3306), channel_name="west", channels=several)
    read = before_from(before_to([before]))[before.key]
    assert read.must_name_channel
    assert read.channel_name == "west"
    earlier = [{k: v for k, v in json.loads(before_to([before]))[0].items() if not k.startswith("channel")}]
    assert not before_from(json.dumps(earlier))[before.key].must_name_channel


def test_who_is_lost_comes_back_whatever_the_address() -> None:
    lost = {InstanceKey("::1", 3307): "it hangs", InstanceKey("db1", 3306): "its disk is full"}
    written = json.loads(json.dumps(lost_to(lost)))
    assert lost_from(written) == lost
    assert written["lost"]["db1:3306"] == "its disk is full", "an earlier version reads this"
    assert lost_from({"lost": {"db1:3306": "its disk is full"}}) == {
        InstanceKey("db1", 3306): "its disk is full"
    }


def test_the_last_that_was_seen_of_the_failed_master_survives_its_leader() -> None:
    executed = transactions("m:1-9")

    def plan(executed: str) -> JournalEntry:
        detail = {"steps": [], "before": [], "lost": {}, "executed": executed}
        return JournalEntry(
            recovery_uid="1:x", term=1, step_no=1, kind="plan", instance=NO_KEY,
            phase=JournalPhase.INTENT, detail=json.dumps(detail), at="2026-11-23T08:00:00Z",
        )  # fmt: skip

    seen = last_seen(key("m"), [plan(executed), plan("")])
    assert (seen.key, seen.executed_gtid_set) == (key("m"), executed)
    assert last_seen(key("m"), []).executed_gtid_set == ""
