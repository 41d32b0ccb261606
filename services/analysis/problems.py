"""The table of problems: failure-detection.md 3.1, 3.2 and 4 as data.

Rows are tried from the top, and the first that holds names the problem. The order is part of the
meaning: it is the reference's, which scripts and people rely on.

One thing is added. ``is_doubted`` rows take a server for lost; if it answered the last check with an
error packet ("too many connections", "access denied", "host is blocked") it is alive, and the
problem is that it is unreachable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from services.analysis.codes import AnalysisCode, Emergency, Evidence, RecoveryKind
from services.analysis.facts import Facts

__all__ = ["NO_PROBLEM", "PROBLEMS", "Problem", "as_disputed", "problem_of"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: when it holds, what it is called, and what it sets in motion."""

    code: AnalysisCode
    condition: Callable[[Facts], bool]
    description: str
    emergency: Emergency = Emergency.NONE
    is_detected: bool = False
    """A detection is recorded, and ``OnFailureDetectionProcesses`` run."""
    recovery: RecoveryKind = RecoveryKind.NONE
    evidence: Evidence = Evidence.CONDITION
    is_doubted: bool = False
    """Does not hold of a server that answers, be it with an error."""
    is_skipped_with_replicas: bool = False
    """Passed over by automatic recovery while all replicas are downtimed (3.4)."""
    facts: tuple[str, ...] = ()
    """What is known beyond the facts of the server itself, for people."""


_Code = AnalysisCode

NO_PROBLEM = Problem(_Code.NO_PROBLEM, lambda f: True, "")


def _too_few_semi_sync_clients(f: Facts) -> bool:
    i = f.instance
    return (
        f.is_master
        and i.semi_sync_master_enabled
        and i.semi_sync_master_status
        and 0 < i.semi_sync_master_wait_count > i.semi_sync_master_clients
    )


def _too_many_semi_sync_clients(f: Facts) -> bool:
    i = f.instance
    return (
        f.enforce_exact_semi_sync
        and f.is_master
        and i.semi_sync_master_enabled
        and i.semi_sync_master_status
        and 0 < i.semi_sync_master_wait_count < i.semi_sync_master_clients
    )


_UNREACHABLE_MASTER = Problem(
    _Code.UNREACHABLE_MASTER,
    lambda f: f.is_lost_master and not f.instance.last_check_partial_success and f.some_replicate,
    "The master cannot be checked, but there are replicas that replicate",
    emergency=Emergency.REREAD_MASTER_AND_REPLICAS,
    is_detected=True,
)

_MASTER_PROBLEMS = (
    Problem(
        _Code.DEAD_MASTER_WITHOUT_REPLICAS,
        lambda f: f.is_lost_master and f.count_replicas == 0,
        "The master cannot be reached and has no replica",
        is_doubted=True,
    ),
    Problem(
        _Code.DEAD_MASTER,
        lambda f: f.is_lost_master and f.all_valid and f.none_replicates,
        "The master cannot be reached and none of its replicas is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
    ),
    Problem(
        _Code.DEAD_MASTER_AND_REPLICAS,
        lambda f: f.is_lost_master and f.count_replicas > 0 and f.count_valid == 0,
        "Neither the master nor any of its replicas can be reached",
        emergency=Emergency.REREAD_SOURCE,
        is_detected=True,
        is_doubted=True,
    ),
    Problem(
        _Code.DEAD_MASTER_AND_SOME_REPLICAS,
        lambda f: f.is_lost_master and f.some_valid and f.none_replicates,
        "The master and some of its replicas cannot be reached; none of the others is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
    ),
    Problem(
        _Code.UNREACHABLE_MASTER_WITH_LAGGING_REPLICAS,
        lambda f: f.is_lost_master and f.all_lag and f.some_replicate,
        "The master cannot be checked and all its replicas lag",
        emergency=Emergency.RESTART_RECEIVERS,
        is_detected=True,
        is_doubted=True,
    ),
    _UNREACHABLE_MASTER,
    Problem(
        _Code.UNREACHABLE_MASTER,
        lambda f: (
            f.is_lost_master
            and f.instance.last_check_partial_success
            and f.count_failing > 0
            and f.some_replicate
        ),
        "The master answers in part only, and some of its replicas cannot connect to it",
        emergency=Emergency.REREAD_MASTER_AND_REPLICAS,
        is_detected=True,
    ),
    Problem(
        _Code.LOCKED_SEMI_SYNC_MASTER,
        lambda f: _too_few_semi_sync_clients(f) and f.is_stale,
        "The master waits for acknowledgements of more semi-sync replicas than it has",
        is_detected=True,
        recovery=RecoveryKind.LOCKED_SEMI_SYNC,
    ),
    Problem(
        _Code.LOCKED_SEMI_SYNC_MASTER_HYPOTHESIS,
        _too_few_semi_sync_clients,
        "The master has fewer semi-sync replicas than it waits for; whether it writes is being watched",
        emergency=Emergency.RECORD_COORDINATES,
    ),
    Problem(
        _Code.MASTER_WITH_TOO_MANY_SEMI_SYNC_REPLICAS,
        _too_many_semi_sync_clients,
        "The master has more semi-sync replicas than it waits for",
        is_detected=True,
        recovery=RecoveryKind.EXACT_SEMI_SYNC,
    ),
    Problem(
        _Code.NO_WRITEABLE_MASTER,
        lambda f: (
            f.recover_non_writeable_master and f.is_seen_master and f.instance.read_only and f.some_replicate
        ),
        "The master has replicas and is read-only",
        is_detected=True,
        recovery=RecoveryKind.SET_WRITEABLE,
    ),
    Problem(
        _Code.MASTER_SINGLE_REPLICA_NOT_REPLICATING,
        lambda f: f.is_seen_master and f.count_replicas == 1 and f.count_valid == 1 and f.none_replicates,
        "The only replica of the master is not replicating",
    ),
    Problem(
        _Code.MASTER_SINGLE_REPLICA_DEAD,
        lambda f: f.is_seen_master and f.count_replicas == 1 and f.count_valid == 0,
        "The only replica of the master cannot be reached",
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.ALL_MASTER_REPLICAS_NOT_REPLICATING,
        lambda f: f.is_seen_master and f.count_replicas > 1 and f.all_valid and f.none_replicates,
        "The master can be reached, but none of its replicas is replicating",
        emergency=Emergency.REREAD_MASTER,
        is_detected=True,
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.ALL_MASTER_REPLICAS_NOT_REPLICATING_OR_DEAD,
        lambda f: f.is_seen_master and f.count_replicas > 1 and f.some_valid and f.none_replicates,
        "The master can be reached, but its replicas are unreachable or not replicating",
        emergency=Emergency.REREAD_MASTER,
        is_detected=True,
        is_skipped_with_replicas=True,
    ),
)

_UNREACHABLE_CO_MASTER = Problem(
    _Code.UNREACHABLE_CO_MASTER,
    lambda f: f.is_lost_co_master and not f.instance.last_check_partial_success and f.some_replicate,
    "The co-master cannot be checked, but there are replicas that replicate",
)

_CO_MASTER_PROBLEMS = (
    Problem(
        _Code.DEAD_CO_MASTER,
        lambda f: f.is_lost_co_master and f.count_replicas > 0 and f.all_valid and f.none_replicates,
        "The co-master cannot be reached and none of its replicas is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_CO_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
    ),
    Problem(
        _Code.DEAD_CO_MASTER_AND_SOME_REPLICAS,
        lambda f: f.is_lost_co_master and f.some_valid and f.none_replicates,
        "The co-master and some of its replicas cannot be reached; none of the others is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_CO_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
    ),
    _UNREACHABLE_CO_MASTER,
    Problem(
        _Code.ALL_CO_MASTER_REPLICAS_NOT_REPLICATING,
        lambda f: f.is_seen_co_master and f.count_replicas > 0 and f.none_replicates,
        "The co-master can be reached, but none of its replicas is replicating",
        is_skipped_with_replicas=True,
    ),
)

_UNREACHABLE_INTERMEDIATE_MASTER = Problem(
    _Code.UNREACHABLE_INTERMEDIATE_MASTER,
    lambda f: f.is_lost_intermediate and not f.instance.last_check_partial_success and f.some_replicate,
    "The intermediate master cannot be checked, but there are replicas that replicate",
)

_INTERMEDIATE_MASTER_PROBLEMS = (
    Problem(
        _Code.DEAD_INTERMEDIATE_MASTER_WITH_SINGLE_REPLICA_FAILING_TO_CONNECT,
        lambda f: (
            f.is_lost_intermediate
            and f.count_replicas == 1
            and f.count_valid == 1
            and f.count_failing == 1
            and f.none_replicates
        ),
        "The intermediate master cannot be reached, and its only replica cannot connect to it",
        is_detected=True,
        recovery=RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.DEAD_INTERMEDIATE_MASTER_WITH_SINGLE_REPLICA,
        lambda f: (
            f.is_lost_intermediate and f.count_replicas == 1 and f.count_valid == 1 and f.none_replicates
        ),
        "The intermediate master cannot be reached, and its only replica is not replicating",
        is_doubted=True,
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.DEAD_INTERMEDIATE_MASTER,
        lambda f: f.is_lost_intermediate and f.count_replicas > 1 and f.all_valid and f.none_replicates,
        "The intermediate master cannot be reached and none of its replicas is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
    ),
    Problem(
        _Code.DEAD_INTERMEDIATE_MASTER_AND_SOME_REPLICAS,
        lambda f: f.is_lost_intermediate and f.some_valid and f.none_replicates,
        "The intermediate master and some of its replicas cannot be reached; no other is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        evidence=Evidence.DEATH,
        is_doubted=True,
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.DEAD_INTERMEDIATE_MASTER_AND_REPLICAS,
        lambda f: f.is_lost_intermediate and f.count_replicas > 0 and f.count_valid == 0,
        "Neither the intermediate master nor any of its replicas can be reached",
        is_detected=True,
        is_doubted=True,
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.UNREACHABLE_INTERMEDIATE_MASTER_WITH_LAGGING_REPLICAS,
        lambda f: f.is_lost_intermediate and f.all_lag and f.some_replicate,
        "The intermediate master cannot be checked and all its replicas lag",
        emergency=Emergency.RESTART_RECEIVERS,
        is_detected=True,
        is_doubted=True,
    ),
    _UNREACHABLE_INTERMEDIATE_MASTER,
    Problem(
        _Code.ALL_INTERMEDIATE_MASTER_REPLICAS_FAILING_TO_CONNECT_OR_DEAD,
        lambda f: (
            f.is_seen_intermediate
            and f.count_replicas > 1
            and f.none_replicates
            and f.count_failing > 0
            and f.count_failing == f.count_valid
        ),
        "The intermediate master can be reached, but all its replicas are unreachable or cannot connect",
        is_detected=True,
        recovery=RecoveryKind.DEAD_INTERMEDIATE_MASTER,
        evidence=Evidence.RECEIVERS,
        is_skipped_with_replicas=True,
    ),
    Problem(
        _Code.ALL_INTERMEDIATE_MASTER_REPLICAS_NOT_REPLICATING,
        lambda f: f.is_seen_intermediate and f.count_replicas > 0 and f.count_valid > 0 and f.none_replicates,
        "The intermediate master can be reached, but none of its replicas is replicating",
        is_skipped_with_replicas=True,
    ),
)

_REPLICA_PROBLEMS = (
    Problem(
        _Code.BINLOG_SERVER_FAILING_TO_CONNECT_TO_MASTER,
        lambda f: f.is_binlog_server and f.is_failing_to_connect,
        "The binlog server cannot connect to its master",
    ),
    Problem(
        _Code.FIRST_TIER_REPLICA_FAILING_TO_CONNECT_TO_MASTER,
        lambda f: f.instance.replication_depth == 1 and f.is_failing_to_connect,
        "A direct replica of the cluster's master cannot connect to it",
        emergency=Emergency.REREAD_SOURCE,
    ),
)

_GROUP_PROBLEMS = (
    Problem(
        _Code.DEAD_REPLICATION_GROUP_MEMBER_WITH_REPLICAS,
        lambda f: not f.is_valid and f.count_replicas > 0 and f.none_replicates,
        "The group member cannot be reached and none of its replicas is replicating",
        is_detected=True,
        recovery=RecoveryKind.DEAD_GROUP_MEMBER,
        evidence=Evidence.DEATH,
    ),
)

PROBLEMS = (*_MASTER_PROBLEMS, *_CO_MASTER_PROBLEMS, *_INTERMEDIATE_MASTER_PROBLEMS, *_REPLICA_PROBLEMS)
"""Of servers that are not members of a replication group; tried in this order."""


def problem_of(facts: Facts) -> Problem:
    """The first row that holds; `NO_PROBLEM` if none does."""
    rows = _GROUP_PROBLEMS if facts.is_group_member else PROBLEMS
    found = next((row for row in rows if row.condition(facts)), NO_PROBLEM)
    return _unreachable(facts) if found.is_doubted and facts.answers_with_error else found


def _unreachable(facts: Facts) -> Problem:
    if facts.is_master:
        row = _UNREACHABLE_MASTER
    else:
        row = _UNREACHABLE_CO_MASTER if facts.is_co_master else _UNREACHABLE_INTERMEDIATE_MASTER
    return replace(row, description="The server answers, with an error: it is alive, but cannot be checked")


def as_disputed(problem: Problem, facts: Sequence[str]) -> Problem:
    """A master that is dead as seen from here, and of which the members of the raft setup do not agree that
    it is: ``facts`` says who saw what. Nothing is done about it; it is looked at again."""
    if problem.recovery not in (RecoveryKind.DEAD_MASTER, RecoveryKind.DEAD_CO_MASTER):
        return problem
    return Problem(
        _Code.DISPUTED_MASTER,
        problem.condition,
        f"{problem.code} as seen from here, and no majority of the raft members sees it: {'; '.join(facts)}",
        emergency=Emergency.REREAD_MASTER_AND_REPLICAS,
        is_detected=True,
        facts=tuple(facts),
    )
