"""Where probes go among Ray nodes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import probe_set
from actors.probe_set import ProbeSet
from actors.ray_nodes import RayNode, choose, surplus

HEAD = RayNode("10.0.0.1", "h", is_head=True)
WORKERS = [RayNode(f"10.0.0.{number}", f"w{number}") for number in range(2, 6)]


def test_of_equally_full_nodes_a_worker_is_chosen() -> None:
    assert choose([HEAD, WORKERS[0]], {}) == WORKERS[0]
    assert choose([HEAD, WORKERS[0]], {"a": "w2"}) == HEAD
    assert choose([HEAD, WORKERS[0]], {"a": "gone"}) == WORKERS[0]
    assert choose([], {}) is None


def test_a_new_worker_takes_some_over() -> None:
    placed = {f"probe:{number}": "h" for number in range(6)}
    assert len(surplus([HEAD, WORKERS[0]], placed, 99)) == 3
    assert len(surplus([HEAD, WORKERS[0]], placed, 2)) == 2


def test_what_is_even_stays() -> None:
    placed = {"a": "h", "b": "w2", "c": "h"}
    assert surplus([HEAD, WORKERS[0]], placed, 99) == ()
    assert surplus([], {}, 99) == ()


def test_where_a_probe_is_is_not_known() -> None:
    assert surplus([HEAD, WORKERS[0]], {"a": "gone", "b": "gone", "c": "gone"}, 99) == ()


@given(
    st.lists(st.sampled_from(["h", "w2", "w3", "w4", "w5", "gone"]), max_size=40),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_moving_what_is_surplus_ends_evenly_spread(places: list[str], nodes: int, at_once: int) -> None:
    """As `ProbeSet` does it: each goes to where ``choose`` says, some at a time."""
    alive = [HEAD, *WORKERS][:nodes]
    ids = {node.id for node in alive}
    placed = {f"probe:{number}": place for number, place in enumerate(places) if place in ids}
    rounds = 0
    while moved := surplus(alive, placed, at_once):
        assert len(moved) <= at_once
        for name in moved:
            del placed[name]
            node = choose(alive, placed)
            assert node is not None
            placed[name] = node.id
        rounds += 1
        assert rounds <= 60
    load = Counter({node.id: 0 for node in alive})
    load.update(placed.values())
    assert max(load.values()) - min(load.values()) <= 1


def test_a_node_counts_when_it_has_lived_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is restarted over and over gets no probes; one that is gone has room for a minute more."""
    now = 1000.0
    monkeypatch.setattr(probe_set.time, "monotonic", lambda: now)
    probes = ProbeSet(lambda keys: None)  # type: ignore[arg-type, return-value]
    assert not probes.found((HEAD,))
    for life in range(10):
        now += 2.0
        assert not probes.found((HEAD, RayNode("10.0.0.2", f"life {life}")))
    now += 4.0
    assert not probes.found((HEAD, RayNode("10.0.0.2", "life 9")))
    now += 2.0
    assert probes.found((HEAD, RayNode("10.0.0.2", "life 9")))
    now += 30.0
    assert not probes.found((HEAD,))
    now += 31.0
    assert probes.found((HEAD,))
