"""When the analysis of servers changed: bounded, and silent about those that were always well."""

from __future__ import annotations

from services.analysis import AnalysisPolicy, ReplicationAnalysis, analyze
from services.analysis.changelog import AnalysisChangelog
from services.topology.instance import CheckOutcome
from tests.unit.api.memory_node import NOW, R1, R2, M, fleet, master, replica, snapshot


def dead() -> tuple[ReplicationAnalysis, ...]:
    """A dead master, of which alone something is said that is actionable."""
    broken = {
        "receiver_state": fleet()[0].receiver_state,
        "last_io_error": "error connecting",
        "last_io_errno": 2003,
    }
    instances = [
        master(M, replicas=(R1, R2), last_check_outcome=CheckOutcome.REFUSED),
        replica(R1, M, **broken),
        replica(R2, M, **broken),
    ]
    return tuple(
        one for one in analyze(snapshot(instances), AnalysisPolicy(), NOW) if one.analyzed_instance_key == M
    )


def test_changes_are_noted_once_and_the_end_too() -> None:
    log, code = AnalysisChangelog(), dead()[0].analysis.value
    assert code.startswith("DeadMaster")
    log.note((), "1")
    log.note(dead(), "2")
    log.note(dead(), "3")
    log.note((), "4")
    log.note((), "5")
    log.note(dead(), "6")
    assert log.lines() == ((M, (("2", code), ("4", "NoProblem"), ("6", code))),)


def test_it_is_bounded() -> None:
    log = AnalysisChangelog(lines=3, servers=1)
    for number in range(5):
        log.note(dead(), f"{number} sick")
        log.note((), f"{number} well")
    ((_, lines),) = log.lines()
    assert [at for at, _ in lines] == ["3 well", "4 sick", "4 well"]
