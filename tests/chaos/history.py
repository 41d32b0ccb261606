"""What happened in a run, as values: what the checker judges, and what is kept as evidence.

Times are seconds since 1970 of this host's clock, which the servers' logs have too. A server is named by
``host:port``, a node by its name.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = [
    "Election",
    "Healing",
    "History",
    "Life",
    "LockTaken",
    "Reading",
    "Registration",
    "ServerLog",
    "Statement",
    "Trouble",
    "read_general_log",
]

_DEADLINE = re.compile(r"SET GLOBAL read_only = IF\(SYSDATE\(6\) < '([^']+)', 0, ")
_CLOSING = re.compile(r"SET GLOBAL (super_)?read_only = 1\b")
_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+Z)\t\s*(\d+) Query\t(.*)$")
_COMMENT = re.compile(r"^/\* orchestray term=(\d+) step=(\S+) \*/ (.*)$")
_LOCK = re.compile(r"GET_LOCK\('orchestray:[^']*:(\d+)', 0\)")
_STARTED = re.compile(r" Version: .* started with:")
_GUARD = "DO IF(SYSDATE(6) < "


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a term in a server's general log. ``session``: life of the server, number."""

    at: float
    server: str
    session: tuple[int, int]
    term: int
    step: str
    text: str

    @property
    def takes_lock(self) -> bool:
        """It only ends the session that had the locks: nothing is decided by that."""
        return self.step == "lock"

    @property
    def opens(self) -> bool:
        """It made the server writable: its own deadline had not passed."""
        match = _DEADLINE.match(self.text)
        return match is not None and self.at < _seconds(match[1])

    @property
    def closes(self) -> bool:
        return _CLOSING.match(self.text) is not None


@dataclass(frozen=True, slots=True)
class LockTaken:
    """A session asked for the lock of a term."""

    at: float
    server: str
    session: tuple[int, int]
    term: int


@dataclass(frozen=True, slots=True)
class Life:
    """A server's process began or ended. ``writable``: it came up so, or was opened by hand."""

    at: float
    server: str
    begins: bool
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault, from before it was done to after it was undone. ``away``: the servers that it made unreachable
    for somebody, or silent."""

    kind: str
    target: str
    begin: float
    end: float
    away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Election:
    """A node said that it leads, in ``life`` number so and so; ``at`` is its clock to the second."""

    at: float
    node: str
    life: int
    term: int


@dataclass(frozen=True, slots=True)
class Registration:
    """What was asked for. ``outcome``: "acknowledged", "refused" (it was not done), or "unknown"."""

    sent: float
    answered: float
    key: str
    value: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a node said to know of registrations, while nothing was asked for."""

    at: float
    node: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Healing:
    """A phase without faults. ``complaint``: what was not as it should be at its end; empty if all was."""

    at: float
    seconds: float
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class ServerLog:
    """What one server's general log tells. ``refused`` of the ``guards`` let nothing through."""

    statements: tuple[Statement, ...]
    locks: tuple[LockTaken, ...]
    guards: int
    refused: int


@dataclass(slots=True)
class History:
    """Everything of a run. ``missing``: acknowledged writes that the last master does not have."""

    lossless: bool
    statements: list[Statement] = field(default_factory=list)
    locks: list[LockTaken] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    elections: list[Election] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    healings: list[Healing] = field(default_factory=list)
    guards: int = 0
    refused_by_guard: int = 0
    writes: int = 0
    missing: list[int] = field(default_factory=list)

    def add_log(self, log: ServerLog) -> None:
        self.statements += log.statements
        self.locks += log.locks
        self.guards += log.guards
        self.refused_by_guard += log.refused

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, file: Path) -> History:
        """What ``save`` wrote."""
        read: dict[str, Any] = json.loads(file.read_text())
        kinds = {
            "statements": Statement, "locks": LockTaken, "lives": Life, "troubles": Trouble,
            "elections": Election, "registrations": Registration, "readings": Reading, "healings": Healing,
        }  # fmt: skip
        for name, kind in kinds.items():
            read[name] = [
                kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in one.items()})
                for one in read[name]
            ]
        return cls(**read)


def read_general_log(server: str, lines: Iterable[str]) -> ServerLog:
    """MySQL's. A guard that fails ends its packet: what is behind it is not executed, hence not logged."""
    statements: list[Statement] = []
    locks: list[LockTaken] = []
    guarding: set[tuple[int, int]] = set()  # the sessions whose last statement was a guard
    life = guards = refused = 0
    for line in lines:
        if _STARTED.search(line):
            life += 1
            refused += len(guarding)
            guarding.clear()
        match = _LINE.match(line)
        if match is None:
            continue
        at, session, text = _seconds(match[1]), (life, int(match[2])), match[3]
        behind_guard = session in guarding
        guarding.discard(session)
        comment = _COMMENT.match(text)
        if behind_guard and comment is None:
            refused += 1
        if comment is not None:
            term, step, said = int(comment[1]), comment[2], comment[3]
            statements.append(Statement(at, server, session, term, step, said))
        elif text.startswith(_GUARD):
            guards += 1
            guarding.add(session)
        elif lock := _LOCK.search(text):
            locks.append(LockTaken(at, server, session, int(lock[1])))
    return ServerLog(tuple(statements), tuple(locks), guards, refused + len(guarding))


def _seconds(text: str) -> float:
    """Of a time in UTC, as the general log or SYSDATE(6) writes it."""
    plain = text.replace("T", " ").rstrip("Z")
    return datetime.fromisoformat(f"{plain}+00:00").timestamp()
