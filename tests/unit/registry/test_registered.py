"""What is registered shows on the instances, on a real store, until it is over."""

from __future__ import annotations

from pathlib import Path

from services.registry.registered import Registered
from services.registry.registry import Registry, RegistryPolicy
from services.store.store import Store
from services.store.times import shifted
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.registrations import CandidateRule, Downtime, HostnameUnresolve, Maintenance

T0 = "2026-11-22T20:00:00Z"
A, B, C = InstanceKey("db1", 3306), InstanceKey("db1", 3307), InstanceKey("db2", 3306)


async def test_what_is_registered_shows_until_it_is_over(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "orchestray.db")
    registry = Registry(RegistryPolicy())
    registry.restore([Instance(key=key) for key in (A, B, C)])
    registrations = store.registrations
    ends = {number: shifted(T0, number * 60) for number in (1, 2, 3, 4)}
    await registrations.register_candidate(
        CandidateRule(key=A, promotion_rule="prefer", last_suggested=T0, expires_at=ends[1])
    )
    await registrations.begin_downtime(
        Downtime(key=A, owner="dba", reason="upgrade", begins_at=T0, ends_at=ends[2])
    )
    await registrations.begin_maintenance(
        Maintenance(key=A, owner="me", reason="disk", begins_at=T0, ends_at=ends[3])
    )
    await registrations.register_unresolve(
        HostnameUnresolve(hostname="db1", unresolved_hostname="vip", registered_at=T0, expires_at=ends[4])
    )
    registered = await Registered.read(registrations, T0)
    await store.close()

    def shown(now: str) -> tuple[object, ...]:
        registered.apply(registry, now)
        one = registry.instances[A]
        down = (one.is_downtimed, one.downtime_owner, one.downtime_reason, one.downtime_end_timestamp)
        return one.promotion_rule, one.is_candidate, down, one.maintenance, one.unresolved_hostname

    down, up = (True, "dba", "upgrade", ends[2]), (False, "", "", "")
    assert shown(T0) == ("prefer", True, down, "me: disk", "vip")
    assert registry.instances[A].elapsed_downtime_ns > 0
    assert registry.instances[B].unresolved_hostname == "vip", "it is the host that has the name"
    assert registry.instances[C] == Instance(key=C)
    assert shown(ends[1]) == ("neutral", False, down, "me: disk", "vip")
    assert shown(ends[2]) == ("neutral", False, up, "me: disk", "vip")
    assert shown(ends[3]) == ("neutral", False, up, "", "vip")
    assert shown(ends[4]) == ("neutral", False, up, "", "")
    assert registry.instances[A] == Instance(key=A)
