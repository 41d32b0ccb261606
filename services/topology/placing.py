"""Where each instance stands in its replication tree, and what it has that its sources lack.

The part of `services.topology.tree` that walks: sources and the rings they may form (discovery.md 5),
ancestry, errant transactions (3.4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from services.topology.gtid import GtidSet, GtidSyntaxError
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["Place", "ancestry_of", "errant_transactions", "trees"]

_NO_UUID = "No"  # the API's word for the UUID of a source that has none (MariaDB)


@dataclass(frozen=True, slots=True)
class Place:
    instance: Instance
    source: Instance | None
    """The known server that it takes its attributes from: its source, or the primary of its group."""
    depth: int
    is_co_master: bool
    """It and its source replicate from each other."""

    @property
    def key(self) -> InstanceKey:
        return self.instance.key


def trees(known: Mapping[InstanceKey, Instance], masters: Collection[InstanceKey]) -> Iterator[list[Place]]:
    """Each known instance in exactly one tree; the top first, sources before those below them.

    A ring is a tree too. Its top is the first of it that is one of ``masters``, else the one that it
    was named after before, else the smallest key.
    """
    parents = {key: _parent(instance, known) for key, instance in known.items()}
    children: defaultdict[InstanceKey | None, list[InstanceKey]] = defaultdict(list)
    for key, parent in parents.items():
        children[parent].append(key)
    placed: set[InstanceKey] = set()

    def place(key: InstanceKey, depth: int) -> Place:
        placed.add(key)
        parent = parents[key]
        is_co_master = parent is not None and parents[parent] == key
        return Place(known[key], known[parent] if parent else None, depth, is_co_master)

    def grow(top: InstanceKey) -> list[Place]:
        tree = [place(top, 0)]
        for above in tree:  # grows while it is walked
            tree += [place(key, above.depth + 1) for key in children[above.key] if key not in placed]
        return tree

    for top in children[None]:
        yield grow(top)
    for key in known:
        if key not in placed:  # in a ring, or below one
            yield grow(_top_of_ring(_ring_above(key, parents), known, masters))


def _parent(instance: Instance, known: Collection[InstanceKey]) -> InstanceKey | None:
    primary = instance.replication_group_primary_key
    is_secondary = instance.is_group_member and instance.replication_group_member_role != "PRIMARY"
    parent = primary if is_secondary and primary in known else instance.master_key
    return parent if parent in known and parent != instance.key else None


def _ring_above(
    key: InstanceKey, parents: Mapping[InstanceKey, InstanceKey | None]
) -> tuple[InstanceKey, ...]:
    path: dict[InstanceKey, None] = {}
    at: InstanceKey | None = key
    while at is not None and at not in path:
        path[at] = None
        at = parents[at]
    assert at is not None, "what is below a server without a source was placed with it"
    walked = list(path)
    return tuple(sorted(walked[walked.index(at) :]))


def _top_of_ring(
    ring: tuple[InstanceKey, ...], known: Mapping[InstanceKey, Instance], masters: Collection[InstanceKey]
) -> InstanceKey:
    names = {known[key].cluster_name for key in ring}
    before = (key for key in ring if str(key) in names)
    return next((key for key in ring if key in masters), None) or next(before, ring[0])


def ancestry_of(place: Place, ancestries: Mapping[InstanceKey, tuple[str, ...]]) -> tuple[str, ...]:
    """UUIDs from the top master down to this server, then the name of its group.

    ``ancestries`` are those of the places before this one in its tree.
    """
    instance, source = place.instance, place.source
    if source is None:
        above: tuple[str, ...] = ()
    elif place.is_co_master:
        above = (source.server_uuid or instance.master_uuid,)
    else:
        above = ancestries.get(source.key, ())  # none: the top of a ring, whose source comes later
    own = (*above, instance.server_uuid, instance.replication_group_name)
    return tuple(part for part in own if part and part != _NO_UUID)


def errant_transactions(place: Place, ancestry: tuple[str, ...]) -> str:
    """What this server executed that neither came from an ancestor nor is on its source; "" if unknown."""
    instance, source = place.instance, place.source
    if source is None or not instance.executed_gtid_set or not source.executed_gtid_set:
        return ""
    kept = "" if place.is_co_master else instance.server_uuid  # a co-master's own writes are its job
    ancestors = frozenset(uuid for uuid in ancestry if uuid != kept)
    return _errant(instance.executed_gtid_set, source.executed_gtid_set, ancestors, source.server_uuid)


@lru_cache(maxsize=4096)
def _errant(executed: str, source_executed: str, ancestors: frozenset[str], source_uuid: str) -> str:
    """discovery.md 3.4. Cached, because most reports of a server change neither set."""
    try:
        own = GtidSet.parse(executed).without(ancestors)
        return str(own - GtidSet.parse(source_executed).without((source_uuid,))) if own else ""
    except GtidSyntaxError:
        return ""
