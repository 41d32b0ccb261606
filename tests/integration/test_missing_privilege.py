"""A recovery that is refused for want of a privilege says which, and what to grant."""

from __future__ import annotations

from services.sandbox.topology import MySQLTopology
from tests.conftest import MakeTopology
from tests.recovery_world import World


def _revoke(topology: MySQLTopology, privilege: str) -> None:
    for replica in topology.replicas:
        replica.execute(
            "SET GLOBAL super_read_only = OFF",
            "SET SESSION sql_log_bin = 0",
            f"REVOKE {privilege} ON *.* FROM orchestray@'%'",
            "SET GLOBAL super_read_only = ON",
        )


async def test_the_audit_names_the_missing_privilege_and_the_mend(make_topology: MakeTopology) -> None:
    topology = make_topology(replicas=1)
    _revoke(topology, "SYSTEM_VARIABLES_ADMIN")
    world = World(topology)
    await world.look()
    replica = topology.replicas[0]
    lacks = world.seen[replica.key].lacking_privileges
    assert lacks.startswith("SYSTEM_VARIABLES_ADMIN: GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO ")
    topology.master.kill()
    outcome = await world.recover()
    assert not outcome.succeeded
    audit = "\n".join([*world.journal.said, *(entry.detail for entry in world.journal.entries), str(outcome)])
    assert f"{replica.key}" in audit
    assert "GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO the account of MySQLTopologyUser" in audit
    assert world.writable() == []
