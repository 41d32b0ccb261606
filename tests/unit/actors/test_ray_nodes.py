"""Where probes go among Ray nodes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

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
