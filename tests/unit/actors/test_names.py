"""Which probe watches which instances."""

from __future__ import annotations

from actors.names import probe_assignments
from services.topology.keys import InstanceKey

KEYS = [InstanceKey("db", port) for port in range(3301, 3311)]


def test_one_probe_each_as_long_as_there_is_room() -> None:
    assignments = probe_assignments(KEYS, 10)
    assert assignments == {f"probe:{key}": (key,) for key in KEYS}


def test_beyond_that_the_same_number_of_actors_share_them_evenly() -> None:
    assignments = probe_assignments(KEYS, 4)
    assert set(assignments) == {f"probe-pack:{number}" for number in range(4)}
    assert sorted(key for keys in assignments.values() for key in keys) == KEYS
    sizes = [len(keys) for keys in assignments.values()]
    assert max(sizes) - min(sizes) <= 1
