"""A MariaDB master that does not answer: found dead by a witness, and replaced."""

from __future__ import annotations

import time
from pathlib import Path

from tests.conftest import MakeTopology
from tests.live_node import live_node
from tests.recovery_world import World, follows


async def test_a_hung_master_is_found_by_its_witness_and_replaced(
    make_mariadb_topology: MakeTopology, tmp_path: Path
) -> None:
    """Its receivers take five seconds to stop: they have the master kill their dump threads, and it hangs."""
    topology = make_mariadb_topology()
    world = World(topology)
    world.create_table()
    world.write(1)
    async with live_node(topology, tmp_path) as node:
        topology.master.pause()
        began = time.monotonic()
        await node.until(lambda: node.promoted_to)
        took = time.monotonic() - began
        (promoted,) = node.promoted_to
        await node.until(lambda: not node.coordinator.busy_clusters)
        assert node.heard("is asked whether it hangs")
        (recovery,) = await node.recoveries()
        assert recovery.is_successful
        assert recovery.lost_replicas == ()
        topology.master.resume()
        await node.until(lambda: world.writable() == [world.server(promoted)])
        for server in topology.replicas:
            if server.key != promoted:
                await node.until(lambda server=server: follows(server, world.server(promoted)))
        print(f"promoted after {took:.3f} s")
