"""How often a server that does not answer is dialled."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from services.mysql.connection import Login
from services.mysql.watcher import DEAD_AT_ONCE, Watcher, WatchPolicy
from services.topology.keys import InstanceKey


def intervals(policy: WatchPolicy, failures: int) -> list[float]:
    watcher = Watcher(InstanceKey("h", 1), Login("u", "p"), policy, lambda _: None)
    found = []
    for number in range(failures + 1):
        watcher._failures = number
        found.append(watcher._interval())
    return found


def test_by_the_factor_up_to_the_most() -> None:
    policy = WatchPolicy(poll=5.0, dead_factor=2.0, dead_max=60.0)
    assert intervals(policy, 7) == [5.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_without_a_factor_what_stays_dead_is_dialled_less_and_less_often_all_the_same() -> None:
    """known-gaps.md 5.14. The first failures change nothing: a restart is seen as soon as ever."""
    found = intervals(WatchPolicy(poll=5.0), 200)
    assert found[:13] == [5.0] * 13
    assert all(before <= after for before, after in pairwise(found))
    assert found[-1] == 30.0


def test_a_deposed_master_is_dialled_at_every_heartbeat_however_long_it_is_dead() -> None:
    watcher = Watcher(InstanceKey("h", 1), Login("u", "p"), WatchPolicy(dead_factor=2.0), lambda _: None)
    watcher._failures = 50
    watcher.redial(True)
    assert watcher._interval() == 0.5


@pytest.mark.parametrize(
    ("failures", "burst", "waits"), [(0, False, False), (1, True, False), (1, False, True)]
)
async def test_only_who_is_known_to_be_dead_waits_in_the_lane_of_the_dead(
    failures: int, burst: bool, waits: bool
) -> None:
    lane = asyncio.Semaphore(1)
    watcher = Watcher(InstanceKey("h", 1), Login("u", "p"), WatchPolicy(), lambda _: None, lane)
    watcher._failures = failures
    watcher._burst = [0.0] if burst else []
    async with watcher._own_lane():
        assert lane.locked() is waits
    assert DEAD_AT_ONCE > 1
