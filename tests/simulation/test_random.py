"""Three hundred seeds of chaos; ``scripts/simulate-raft --seeds 10000`` for more.

Cuts in one direction, loss, doubled and late messages, pauses, crashes before and after each disk
transaction, lost disks, slow disks, clocks that differ in speed, hand-overs. What must hold is in
``checker``.
"""

from __future__ import annotations

import pytest

from tests.simulation.chaos import story

_SEEDS_PER_TEST = 30


@pytest.mark.parametrize("first", range(0, 300, _SEEDS_PER_TEST))
def test_no_seed_breaks_a_promise(first: int) -> None:
    acknowledged = terms = 0
    for seed in range(first, first + _SEEDS_PER_TEST):
        try:
            world = story(seed)
        except Exception as error:
            pytest.fail(f"scripts/simulate-raft --first {seed} --seeds 1: {error!r}")
        acknowledged += len(world.checker.acknowledged)
        terms += len(world.checker.leaders)
    assert acknowledged > 20 * _SEEDS_PER_TEST, "little was done: the chaos allows nothing"
    assert terms > 3 * _SEEDS_PER_TEST, "few elections: there is no chaos"
