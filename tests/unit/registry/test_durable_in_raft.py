"""In raft: which servers are known is agreed on, what is observed of them each node writes for itself."""

from __future__ import annotations

import time
from pathlib import Path

from services.registry.durable import Durable
from services.registry.registry import Registry, RegistryPolicy
from services.store.store import Store
from services.topology.keys import InstanceKey
from tests.servers import wait_until_async
from tests.unit.agreement.members import alone
from tests.unit.registry.test_durable import NEW, OLD, OTHER, master, replica, see


async def _node(store: Store, *, acts: bool) -> tuple[Registry, Durable]:
    registry = Registry(RegistryPolicy())
    durable = Durable(store, registry, lambda *_: None, in_raft=True)
    await durable.load()
    durable.acts = acts
    return registry, durable


async def _known(store: Store) -> dict[InstanceKey, bool]:
    """Each known server, and whether anything was observed of it."""
    return {known.key: bool(known.facts) for known in await store.instances.load_all()}


async def test_what_the_acting_node_finds_is_known_to_all_and_what_it_forgets_to_none(tmp_path: Path) -> None:
    async with alone(tmp_path) as member:
        registry, acting = await _node(member.store, acts=True)
        theirs, following = await _node(member.local, acts=False)
        see(registry, master(), replica(NEW))
        acting.note(registry.instances.values())
        assert await _known(member.local) == {}
        await acting.identify(registry.topology(1.0))
        assert await _known(member.local) == {OLD: False, NEW: False}
        assert [record.master_key for record in await member.local.clusters.load()] == [OLD]

        assert await following.synchronise() is True
        assert set(theirs.instances) == {OLD, NEW}
        see(theirs, master(), replica(NEW), replica(OTHER), now=2.0)
        assert (acting.found_here, following.found_here) == (frozenset(), {OTHER})
        following.note(theirs.instances.values())  # of OTHER, too, which nobody has agreed on
        await wait_until_async(lambda: _all_observed(member.local, {OLD, NEW}), 10)
        assert set(await _known(member.local)) == {OLD, NEW}

        registry.forget([NEW], time.monotonic())
        await acting.forget([NEW])
        following.note([theirs.instances[NEW]])  # it has not heard yet
        assert await following.synchronise() is True
        assert set(theirs.instances) == {OLD, OTHER}
        await following.identify(theirs.topology(2.0))
        await following._behind.close()
        await acting._behind.close()
        assert await _known(member.local) == {OLD: True}


async def test_who_acts_next_makes_known_what_only_it_has_found(tmp_path: Path) -> None:
    async with alone(tmp_path) as member:
        registry, durable = await _node(member.store, acts=False)
        see(registry, master(), replica(OTHER))
        await durable.identify(registry.topology(1.0))
        assert await _known(member.local) == {}
        durable.acts = True
        await durable.identify(registry.topology(1.0))
        assert set(await _known(member.local)) == {OLD, OTHER}
        await durable._behind.close()


async def _all_observed(store: Store, keys: set[InstanceKey]) -> bool:
    known = await _known(store)
    return all(known.get(key) for key in keys)
