"""What a run tells at its end: counts as text and as JSON, and what was violated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chaos.checker import Violation
from tests.chaos.faults import Done
from tests.chaos.history import History

__all__ = ["as_text", "summary"]


def summary(
    history: History, done: Sequence[Done], by_hand: Sequence[str], violations: Sequence[Violation]
) -> dict[str, Any]:
    outcomes = Counter(one.outcome for one in history.registrations)
    healed = [one.seconds for one in history.healings]
    acts = [one for one in history.statements if not one.takes_lock]
    return {
        "faults": dict(sorted(Counter(one.kind for one in done if one.target).items())),
        "faults_total": sum(1 for one in done if one.target),
        "faults_without_victim": sum(1 for one in done if not one.target),
        "rounds": len(history.healings),
        "failovers": sum(1 for one in acts if one.opens),
        "terms": len({one.term for one in history.elections}),
        "terms_that_acted": len({one.term for one in acts}),
        "statements_checked": len(acts),
        "sessions_ended_by_newer_terms": len(history.statements) - len(acts),
        "guards": history.guards,
        "refused_by_guard": history.refused_by_guard,
        "writes_acknowledged": history.writes,
        "writes_missing": len(history.missing),
        "lossless": history.lossless,
        "registrations": dict(sorted(outcomes.items())),
        "readings_checked": len(history.readings),
        "healed_after_seconds": {
            "median": round(sorted(healed)[len(healed) // 2], 1) if healed else None,
            "longest": round(max(healed), 1) if healed else None,
        },
        "done_by_hand": list(by_hand),
        "violations": [{"rule": one.rule, "text": one.text} for one in violations],
    }


def as_text(found: dict[str, Any]) -> str:
    lines = []
    for name, value in found.items():
        if name in ("violations", "done_by_hand", "faults"):
            continue
        shown = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else value
        lines.append(f"{name.replace('_', ' '):32} {shown}")
    lines += [f"  {count:4} {kind}" for kind, count in found["faults"].items()]
    lines += [f"by hand: {count} × {what}" for what, count in _alike(found["done_by_hand"]).items()]
    lines += [f"VIOLATION of {one['rule']}: {one['text']}" for one in found["violations"]]
    return "\n".join(lines)


def _alike(sayings: Sequence[str]) -> Counter[str]:
    """Without the names of servers and transactions."""

    def plain(said: str) -> str:
        words = said.partition(": ")[0].split()
        return " ".join(word for word in words if not any(letter.isdigit() for letter in word))

    return Counter(map(plain, sayings))
