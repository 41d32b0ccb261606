"""What a run tells at its end."""

from __future__ import annotations

from tests.chaos.checker import Violation
from tests.chaos.faults import Done
from tests.chaos.history import Healing, History
from tests.chaos.report import as_text, summary


def test_counts_and_what_was_done_by_hand() -> None:
    history = History(lossless=True, healings=[Healing(1, 2.0), Healing(9, 4.0)], writes=7)
    done = [Done("master-kill", "a:1"), Done("master-kill", "b:2"), Done("actor-kill probe", "")]
    by_hand = [
        "a:1 was re-pointed to b:2",
        "b:2 was re-pointed to a:1",
        "a:1 was made anew: it alone had x:7",
    ]
    found = summary(history, done, by_hand, [Violation("V", "1 acknowledged writes are lost: 7")])
    assert found["faults"] == {"master-kill": 2}
    assert (found["faults_total"], found["faults_without_victim"], found["rounds"]) == (2, 1, 2)
    assert found["healed_after_seconds"] == {"median": 4.0, "longest": 4.0}
    text = as_text(found)
    assert "by hand: 2 × was re-pointed to" in text
    assert "by hand: 1 × was made anew" in text
    assert "VIOLATION of V: 1 acknowledged writes are lost: 7" in text
