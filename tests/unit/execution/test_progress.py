"""Whether an applier moves, where positions stand still and rows change."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any, cast

import pytest

from services.execution.progress import Progress
from services.mysql.session import ActingSession

PATIENCE = 0.05


class Changing:
    """A session on a server whose rows change all the time."""

    def __init__(self, *, several_sources: bool) -> None:
        self.several_sources = several_sources
        self._rows = count()

    async def read(self, _: str) -> list[dict[str, Any]]:
        return [{"Value": next(self._rows)}]


@pytest.mark.parametrize(("several", "ends"), [(False, False), (True, True)])
async def test_rows_that_another_source_may_change_count_for_some_time_only(
    several: bool, ends: bool
) -> None:
    progress = Progress(cast("ActingSession", Changing(several_sources=several)), PATIENCE)
    began, ended = time.monotonic(), False
    while not ended and time.monotonic() - began < PATIENCE * 20:
        ended = await progress.has_ended("binlog.000001:4")
        await asyncio.sleep(0.005)
    assert ended is ends
    assert not ends or time.monotonic() - began > PATIENCE * 6
