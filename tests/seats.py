"""Seats in the election, each in a process of its own, and the log of their acts."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from services.store.backend import Backend
from tests.backends import as_text
from tests.servers import wait_until
from tests.unit.election.seat_process import Act, acts_in

__all__ = ["Seats"]

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0


class Seats:
    """Each has ``backend`` but who is started with another."""

    def __init__(self, backend: Backend, folder: Path, *, length: float, renew: float) -> None:
        self.backend = backend
        self.log = folder / "acts"
        self._length, self._renew = length, renew
        self.describe: Callable[[], str] = lambda: ""  # what else is to be told of a failure
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, node: str, lock: str = "no-lock", length: float = 0.0, backend: Backend | None = None
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "tests.unit.election.seat_process"]
        store, length = as_text(backend or self.backend), length or self._length
        arguments = [store, str(self.log), node, lock, str(length), str(self._renew)]
        process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def acts(self) -> list[Act]:
        return acts_in(self.log)

    def await_act(self, condition: Callable[[Act], bool], patience_seconds: float = PATIENCE) -> Act:
        """The first act for which it holds."""
        return wait_until(
            lambda: next(filter(condition, self.acts()), None),
            patience_seconds,
            lambda: f"{self.acts()[-3:]} {self.describe()}",
        )

    def lasts_until(self, term: int) -> float:
        return max(act.deadline for act in self.acts() if act.term == term)

    def end_all(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()

    def assert_one_at_a_time(self) -> list[Act]:
        """The first acts of the terms, in order: each is of one process, none goes on after a newer one.

        Nobody acts after the deadline that it was told.
        """
        acts = self.acts()
        for earlier, later in pairwise(acts):
            assert earlier.term <= later.term, f"{earlier} and {later} overlap"
        assert [act for act in acts if act.at >= act.deadline] == []
        firsts: dict[int, Act] = {}
        for act in acts:
            first = firsts.setdefault(act.term, act)
            assert first.pid == act.pid, f"term {act.term} was given to two: {first}, {act}"
        return list(firsts.values())
