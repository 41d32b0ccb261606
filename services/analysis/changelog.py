"""When the analysis of each server changed, for those who look back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from services.analysis.report import ReplicationAnalysis
from services.topology.keys import InstanceKey

__all__ = ["AnalysisChangelog"]

_NO_PROBLEM = "NoProblem"


class AnalysisChangelog:
    """The last changes of each server: time and code. A server that was always well is not in it."""

    def __init__(self, *, lines: int = 100, servers: int = 10_000) -> None:
        self._lines = lines
        self._servers = servers
        self._of: dict[InstanceKey, deque[tuple[str, str]]] = {}

    def note(self, findings: Iterable[ReplicationAnalysis], at: str) -> None:
        """All that is wrong at this time; of whom nothing is said any more is well again."""
        codes = {one.analyzed_instance_key: one.analysis.value for one in findings}
        for key, code in codes.items():
            self._append(key, code, at)
        for key in self._of.keys() - codes.keys():
            self._append(key, _NO_PROBLEM, at)

    def _append(self, key: InstanceKey, code: str, at: str) -> None:
        lines = self._of.get(key)
        if lines is None:
            if code == _NO_PROBLEM:
                return
            while len(self._of) >= self._servers:  # the one that is longest in it goes
                del self._of[next(iter(self._of))]
            lines = self._of[key] = deque(maxlen=self._lines)
        if not lines or lines[-1][1] != code:
            lines.append((at, code))

    def lines(self) -> tuple[tuple[InstanceKey, tuple[tuple[str, str], ...]], ...]:
        """By server, oldest change first."""
        return tuple((key, tuple(self._of[key])) for key in sorted(self._of))
