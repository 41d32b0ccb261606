"""Whether a problem may be acted upon, and the facts that led to it (design, "When a master is dead").

A code is an opinion of many servers at slightly different times. Before anything is changed on the
strength of one that takes a server for dead, there must be evidence of it:

1. A fresh connection to the server itself was refused or went unanswered. Any answer means alive.
2. A replica that was seen after the server last was, has its receiver in a network error; or a witness
   failed: a replica whose receiver was restarted could not connect.
3. No replica that was seen after the server last was receives from it, unless a witness failed: the
   receivers of a server that hangs go on believing in it.

What a replica showed before its source was last seen well says nothing about what happened since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.analysis.codes import Evidence, RecoveryKind
from services.analysis.facts import Facts, receiver_in_network_error
from services.analysis.problems import Problem
from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey

__all__ = ["Verdict", "weigh"]

_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    actionable: bool
    reasons: tuple[str, ...]


def weigh(problem: Problem, facts: Facts, failed_witness: bool, is_fragment: bool) -> Verdict:
    """Say whether ``problem`` may be acted upon. What is missing for that is among the reasons."""
    missing = tuple(f"not acted upon: {reason}" for reason in _missing(problem, facts, failed_witness))
    if is_fragment:
        missing += ("not acted upon: this part of the cluster was left behind when another was promoted",)
    if facts.instance.maintenance:
        missing += (f"not acted upon: it is under maintenance ({facts.instance.maintenance})",)
    asks_for_recovery = problem.recovery is not RecoveryKind.NONE
    reasons = (*_seen(facts, failed_witness), *(missing if asks_for_recovery else ()))
    return Verdict(asks_for_recovery and not missing, reasons)


def _missing(problem: Problem, facts: Facts, failed_witness: bool) -> Iterator[str]:
    if problem.evidence is Evidence.CONDITION:
        return
    if problem.evidence is Evidence.DEATH:
        yield from _missing_of_death(facts)
    if failed_witness:
        return
    if not _failing(facts):
        yield "no replica seen since has its receiver in a network error, and no witness failed"
    if receiving := [each for each in _fresh(facts) if each.receiver_state is ThreadState.RUNNING]:
        yield f"{_names(receiving)} still receives"


def _missing_of_death(facts: Facts) -> Iterator[str]:
    outcome = facts.instance.last_check_outcome
    if facts.answers_with_error:
        yield "the server answers"
    elif not outcome.is_silence:
        yield f"a connection that is refused or goes unanswered was not seen (last check: {outcome.value})"


def _fresh(facts: Facts) -> Iterator[Instance]:
    """Replicas seen well, and not before their source was."""
    for replica in facts.replicas:
        if replica.is_last_check_valid and replica.checked_at >= facts.instance.seen_at:
            yield replica


def _failing(facts: Facts) -> list[Instance]:
    return [replica for replica in _fresh(facts) if receiver_in_network_error(replica)]


def _seen(facts: Facts, failed_witness: bool) -> Iterator[str]:
    """What was seen of the server and its replicas."""
    instance = facts.instance
    if facts.is_hung:
        yield f"{instance.key}: no check of it has ended for too long"
    elif not facts.is_valid:
        error = f": {instance.last_check_error}" if instance.last_check_error else ""
        yield f"{instance.key}: last check {instance.last_check_outcome.value}{error}"
    if facts.count_replicas:
        yield (
            f"replicas: {facts.count_replicas}, valid {facts.count_valid},"
            f" replicating {facts.count_replicating}, failing to connect {facts.count_failing}"
        )
    if failing := _failing(facts):
        errnos = sorted({replica.last_io_errno for replica in failing if replica.last_io_errno is not None})
        shown = f" ({', '.join(map(str, errnos))})" if errnos else ""
        yield f"receiver in a network error{shown}: {_names(failing)}"
    if failed_witness:
        yield "a witness, a replica whose receiver was restarted, could not connect"


def _names(instances: list[Instance]) -> str:
    keys: list[InstanceKey] = [instance.key for instance in instances]
    rest = len(keys) - _NAMED_AT_MOST
    return ", ".join(map(str, keys[:_NAMED_AT_MOST])) + (f" and {rest} more" if rest > 0 else "")
