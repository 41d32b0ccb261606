"""Servers that are looked at later: bounded, each once, and one that fails is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from actors import later_checks
from actors.later_checks import LaterChecks
from services.node_view import RefusedError, UnavailableError
from services.topology.keys import InstanceKey

A, B, C = (InstanceKey(name, 3306) for name in "abc")


class Looks:
    """What is looked at waits until ``go``; `B` does not answer."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun: list[InstanceKey] = []
        self.told: list[tuple[InstanceKey, str]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.later = LaterChecks(self.look, lambda key, why: self.told.append((key, why)), self.spawn)

    async def look(self, key: InstanceKey) -> None:
        self.begun.append(key)
        await self.go.wait()
        if key == B:
            raise RefusedError("b:3306: connection refused")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def end(self) -> None:
        self.go.set()
        await asyncio.wait_for(asyncio.gather(*self.tasks), 5)


async def test_each_is_looked_at_once_and_what_fails_is_told() -> None:
    looks = Looks()
    for key in (A, B, A, B):
        looks.later.add(key)
    await looks.end()
    assert looks.begun == [A, B]
    assert looks.told == [(B, "b:3306: connection refused")]
    looks.later.add(A)  # it is not remembered
    await looks.end()
    assert looks.begun == [A, B, A]


async def test_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later_checks, "AT_ONCE", 2)
    looks = Looks()
    for key in (A, B, C):
        looks.later.add(key)
    for _ in range(10):
        await asyncio.sleep(0)
    assert looks.begun == [A, B]
    await looks.end()
    assert looks.begun == [A, B, C]


async def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later_checks, "WAITING_MAX", 2)
    looks = Looks()
    for key in (A, B, A):
        looks.later.add(key)
    with pytest.raises(UnavailableError, match="2 servers wait"):
        looks.later.add(C)
    await looks.end()
    assert C not in looks.begun
