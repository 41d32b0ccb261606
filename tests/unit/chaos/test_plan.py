"""Which faults a seed gives."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.plan import KINDS, rounds

ROUNDS = 400


@pytest.mark.parametrize("setup", ["raft", "shared"])
def test_the_same_for_the_same_seed(setup: str) -> None:
    first, again, other = (
        list(islice(rounds(seed, setup, can_cut=True), ROUNDS)) for seed in (1, 1, 2)
    )  # fmt: skip
    assert first == again
    assert first != other


@pytest.mark.parametrize("setup", ["raft", "shared"])
@pytest.mark.parametrize("can_cut", [True, False])
def test_never_more_than_a_minority_and_everything_in_time(setup: str, can_cut: bool) -> None:
    group_of = {kind.name: kind.group for kind in KINDS}
    happened = set()
    for each in islice(rounds(3, setup, can_cut=can_cut), ROUNDS):
        groups = [group_of[fault.kind] for fault in each.faults]
        assert groups
        assert len(groups) == len(set(groups)), "of the three nodes one at most, and so on"
        happened |= {fault.kind for fault in each.faults}
    possible = {
        kind.name for kind in KINDS if kind.setup in ("", setup) and (can_cut or not kind.cuts)
    }  # fmt: skip
    assert happened == possible
