"""The table of problems against a transcript of failure-detection.md 3.1, over all small situations.

The transcript is in the reference's own letters: M master, C co-master, V last check valid, PS partial
success, n replicas, v valid, r replicating, f failing to connect, l lagging, d delayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from services.analysis import AnalysisPolicy
from services.analysis.facts import Facts, observe
from services.analysis.problems import problem_of
from tests.unit.analysis.stories import NOW, server

SEMI = "semi_enabled and semi_status and wait > 0"

TRANSCRIPT = tuple(
    (code, compile(condition, code, "eval"))
    for code, condition in (
        ("DeadMasterWithoutReplicas", "M and not V and n == 0"),
        ("DeadMaster", "M and not V and v == n and r == 0"),
        ("DeadMasterAndReplicas", "M and not V and n > 0 and v == 0 and r == 0"),
        ("DeadMasterAndSomeReplicas", "M and not V and 0 < v < n and r == 0"),
        ("UnreachableMasterWithLaggingReplicas", "M and not V and l == n and d < n and r > 0"),
        ("UnreachableMaster", "M and not V and not PS and v > 0 and r > 0"),
        ("UnreachableMaster", "M and not V and PS and f > 0 and v > 0 and r > 0"),
        ("LockedSemiSyncMaster", f"M and {SEMI} and clients < wait and stale"),
        ("LockedSemiSyncMasterHypothesis", f"M and {SEMI} and clients < wait and not stale"),
        ("MasterWithTooManySemiSyncReplicas", f"exact and M and {SEMI} and clients > wait"),
        ("NoWriteableMasterStructureWarning", "mend and M and V and read_only and r > 0"),
        ("MasterSingleReplicaNotReplicating", "M and V and n == 1 and v == n and r == 0"),
        ("MasterSingleReplicaDead", "M and V and n == 1 and v == 0"),
        ("AllMasterReplicasNotReplicating", "M and V and n > 1 and v == n and r == 0"),
        ("AllMasterReplicasNotReplicatingOrDead", "M and V and n > 1 and 0 < v < n and r == 0"),
        ("DeadCoMaster", "C and not V and n > 0 and v == n and r == 0"),
        ("DeadCoMasterAndSomeReplicas", "C and not V and n > 0 and 0 < v < n and r == 0"),
        ("UnreachableCoMaster", "C and not V and not PS and v > 0 and r > 0"),
        ("AllCoMasterReplicasNotReplicating", "C and V and n > 0 and r == 0"),
        (
            "DeadIntermediateMasterWithSingleReplicaFailingToConnect",
            "not M and not V and n == 1 and v == n and f == n and r == 0",
        ),
        ("DeadIntermediateMasterWithSingleReplica", "not M and not V and n == 1 and v == n and r == 0"),
        ("DeadIntermediateMaster", "not M and not V and n > 1 and v == n and r == 0"),
        ("DeadIntermediateMasterAndSomeReplicas", "not M and not V and 0 < v < n and r == 0"),
        ("DeadIntermediateMasterAndReplicas", "not M and not V and n > 0 and v == 0"),
        (
            "UnreachableIntermediateMasterWithLaggingReplicas",
            "not M and not V and l == n and d < n and r > 0",
        ),
        ("UnreachableIntermediateMaster", "not M and not V and not PS and v > 0 and r > 0"),
        (
            "AllIntermediateMasterReplicasFailingToConnectOrDead",
            "not M and V and n > 1 and r == 0 and f > 0 and f == v",
        ),
        ("AllIntermediateMasterReplicasNotReplicating", "not M and V and n > 0 and v > 0 and r == 0"),
        ("BinlogServerFailingToConnectToMaster", "binlog_server and failing"),
        ("FirstTierReplicaFailingToConnectToMaster", "depth == 1 and failing"),
    )
)

Situation = dict[str, Any]

QUIET: Situation = {
    "semi_enabled": False,
    "semi_status": False,
    "wait": 0,
    "clients": 0,
    "stale": False,
    "exact": False,
    "mend": False,
    "read_only": False,
    "binlog_server": False,
    "depth": 0,
    "failing": False,
}


def replica_counts(most: int) -> Iterator[Situation]:
    for n in range(most + 1):
        for v in range(n + 1):
            for r in range(v + 1):
                for f, l, d in product(range(v - r + 1), range(n + 1), range(n + 1)):  # noqa: E741
                    yield {"n": n, "v": v, "r": r, "f": f, "l": l, "d": d}


def surroundings() -> Iterator[Situation]:
    """Whatever else a row may look at, one concern at a time."""
    flags = (False, True)
    for enabled, status, stale, exact in product(flags, flags, flags, flags):
        for wait, clients in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2)):
            yield {
                "semi_enabled": enabled,
                "semi_status": status,
                "stale": stale,
                "exact": exact,
                "wait": wait,
                "clients": clients,
            }
    for mend, read_only in product(flags, flags):
        yield {"mend": mend, "read_only": read_only}
    for binlog_server, depth, failing in product(flags, (0, 1, 2), flags):
        yield {"binlog_server": binlog_server, "depth": depth, "failing": failing}


def situations() -> Iterator[Situation]:
    flags = (False, True)
    roles = [{"M": m, "C": c, "V": v, "PS": ps} for m, c, v, ps in product(flags, flags, flags, flags)]
    for role, counts in product(roles, replica_counts(2)):
        yield QUIET | role | counts
    for role, counts, surrounding in product(roles, replica_counts(1), surroundings()):
        yield QUIET | role | counts | surrounding


def facts_of(situation: Situation, base: Facts) -> Facts:
    instance = replace(
        base.instance,
        last_check_partial_success=situation["PS"],
        semi_sync_master_enabled=situation["semi_enabled"],
        semi_sync_master_status=situation["semi_status"],
        semi_sync_master_wait_count=situation["wait"],
        semi_sync_master_clients=situation["clients"],
        read_only=situation["read_only"],
        replication_depth=situation["depth"],
    )
    return replace(
        base,
        instance=instance,
        is_master=situation["M"],
        is_co_master=situation["C"],
        is_valid=situation["V"],
        is_binlog_server=situation["binlog_server"],
        is_failing_to_connect=situation["failing"],
        is_stale=situation["stale"],
        enforce_exact_semi_sync=situation["exact"],
        recover_non_writeable_master=situation["mend"],
        count_replicas=situation["n"],
        count_valid=situation["v"],
        count_replicating=situation["r"],
        count_failing=situation["f"],
        count_lagging=situation["l"],
        count_delayed=situation["d"],
    )


def test_every_small_situation_has_the_code_of_the_reference() -> None:
    base = observe(server("m"), (), AnalysisPolicy(), NOW)
    met = set()
    for situation in situations():
        expected = next(
            (code for code, condition in TRANSCRIPT if eval(condition, {}, situation)), "NoProblem"
        )
        assert problem_of(facts_of(situation, base)).code.value == expected, situation
        met.add(expected)
    assert met == {code for code, _ in TRANSCRIPT} | {"NoProblem"}
