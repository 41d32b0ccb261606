"""When the downtime of a server that a recovery lost ends (recovery.md 4.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.registry.lost import settle
from services.store.times import shifted
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.registrations import Downtime
from services.topology.tree import ClusterIdentity, Topology, TreePolicy, derive

OLD, NEW, LOST = (InstanceKey(name, 3306) for name in ("old", "new", "lost"))
NOW = "2026-11-27T08:00:00Z"
YEAR = 365 * 86400


def topology_of(**lost: object) -> Topology:
    """``new`` was promoted in place of ``old``; ``lost`` is a replica, of ``new`` if not said otherwise."""
    well = Instance(key=NEW, last_check_outcome=CheckOutcome.OK, checked_at=99.0, seen_at=99.0)
    replica = replace(
        well,
        key=LOST,
        master_key=NEW,
        using_oracle_gtid=True,
        receiver_state=ThreadState.RUNNING,
        applier_state=ThreadState.RUNNING,
    )
    identity = ClusterIdentity(id="c", master_key=NEW, deposed=frozenset({OLD}))
    changed = replace(replica, **lost)  # type: ignore[arg-type]
    return derive([well, replace(well, key=OLD), changed], [identity], TreePolicy(), 100.0)


def downtime(age_seconds: float = 61, reason: str = "lost-in-recovery", lasts: float = YEAR) -> Downtime:
    begins_at = shifted(NOW, -age_seconds)
    return Downtime(
        key=LOST, owner="node", reason=reason, begins_at=begins_at, ends_at=shifted(begins_at, lasts)
    )


def test_a_replica_that_replicates_again_is_not_lost() -> None:
    assert settle([downtime()], topology_of(), NOW).lifted == (downtime(),)


@pytest.mark.parametrize(
    "lost",
    [
        {"receiver_state": ThreadState.OTHER},
        {"applier_state": ThreadState.STOPPED},
        {"last_check_outcome": CheckOutcome.REFUSED},
        {"master_key": OLD},
    ],
    ids=["does not receive", "does not apply", "is silent", "replicates from the deposed master"],
)
def test_a_replica_stays_lost_that(lost: dict[str, object]) -> None:
    assert settle([downtime()], topology_of(**lost), NOW).lifted == ()


def test_a_downtime_of_less_than_a_minute_or_of_a_person_stays() -> None:
    assert settle([downtime(age_seconds=59)], topology_of(), NOW).lifted == ()
    assert settle([downtime(reason="upgrade")], topology_of(), NOW).lifted == ()


def test_a_server_of_its_own_is_not_lost() -> None:
    own = {"master_key": NO_KEY, "receiver_state": ThreadState.NO_THREAD, "using_oracle_gtid": False}
    assert settle([downtime()], topology_of(**own), NOW).lifted == (downtime(),)


def test_the_deposed_master_stays_lost() -> None:
    of_old = replace(downtime(), key=OLD)
    assert settle([of_old], topology_of(), NOW).lifted == ()


def test_what_lasts_is_renewed_before_it_runs_out() -> None:
    silent = topology_of(last_check_outcome=CheckOutcome.REFUSED)
    assert settle([downtime()], silent, NOW).renewed == (), "it has nearly the year"
    (renewed,) = settle([downtime(age_seconds=2 * 86400)], silent, NOW).renewed
    assert renewed.ends_at == shifted(NOW, YEAR)
    shorter = downtime(age_seconds=2 * 86400, lasts=3 * 86400)
    assert settle([shorter], silent, NOW).renewed == (), "somebody configured how long"
