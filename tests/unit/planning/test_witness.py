"""Who is asked whether a master hangs (design, "When a master is dead")."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.planning.witness import NoWitness, Witness, choose_witness, is_suspected
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey

LOSSLESS_MS = 2**63


def key(name: str) -> InstanceKey:
    return InstanceKey(name, 3306)


def master(**facts: object) -> Instance:
    silent = Instance(key=key("m"), seen_at=10.0, last_check_outcome=CheckOutcome.SILENT)
    return replace(silent, **facts)  # type: ignore[arg-type]


def semi_sync(**facts: object) -> Instance:
    """Two acknowledge, one is waited for, for ever."""
    return master(
        **{
            "semi_sync_master_enabled": True,
            "semi_sync_master_status": True,
            "semi_sync_master_clients": 2,
            "semi_sync_master_wait_count": 1,
            "semi_sync_master_timeout_ms": LOSSLESS_MS,
            **facts,
        }
    )


def replica(name: str, **facts: object) -> Instance:
    healthy = Instance(
        key=key(name),
        version="9.7.4",
        master_key=key("m"),
        receiver_state=ThreadState.RUNNING,
        applier_state=ThreadState.RUNNING,
        checked_at=11.0,
        is_last_check_valid=True,
    )
    return replace(healthy, **facts)  # type: ignore[arg-type]


def chosen(master: Instance, *replicas: Instance) -> str:
    witness = choose_witness(master, replicas)
    assert isinstance(witness, Witness), witness
    return witness.key.hostname


def refused(master: Instance, *replicas: Instance) -> str:
    witness = choose_witness(master, replicas)
    assert isinstance(witness, NoWitness), witness
    return witness.reason


@pytest.mark.parametrize("outcome", CheckOutcome)
def test_only_what_went_unanswered_is_suspected(outcome: CheckOutcome) -> None:
    """Any answer means alive, and a refusal is no riddle."""
    unanswered = {CheckOutcome.SILENT, CheckOutcome.UNREACHABLE, CheckOutcome.STALLED}
    assert is_suspected(master(last_check_outcome=outcome)) is (outcome in unanswered)


def test_one_that_receives_is_asked_to_connect_anew() -> None:
    witness = choose_witness(master(), [replica("a")])
    assert witness == Witness(key=key("a"), restart=True, reason="there is no semi-sync")


def test_one_that_would_be_promoted_late_is_taken() -> None:
    replicas = (replica("a", promotion_rule="must_not"), replica("b"), replica("c", promotion_rule="prefer"))
    assert chosen(master(), *replicas) == "a"
    assert chosen(master(), *replicas[1:]) == "b"
    assert chosen(master(), replica("a"), replica("b")) == "b"


def test_one_that_nobody_has_seen_since_tells_nothing() -> None:
    stale, lost = replica("a", checked_at=9.0), replica("b", is_last_check_valid=False)
    assert "no replica was seen" in refused(master(), stale, lost)
    assert "no replica was seen" in refused(master())


def test_receivers_that_somebody_stopped_are_left_stopped() -> None:
    assert "stopped by somebody" in refused(master(), replica("a", receiver_state=ThreadState.STOPPED))


def test_one_that_is_connecting_by_itself_is_only_watched_and_only_if_nobody_receives() -> None:
    connecting = replica("a", receiver_state=ThreadState.OTHER)
    stopped = replica("b", receiver_state=ThreadState.STOPPED)
    witness = choose_witness(master(), [connecting, stopped])
    assert witness == Witness(key=key("a"), restart=False, reason="it is connecting by itself")
    assert chosen(master(), connecting, replica("0")) == "0"


# Never one whose restart would make a semi-sync master fall back to asynchronous


ACKNOWLEDGES = {"semi_sync_replica_enabled": True}


def test_one_that_does_not_acknowledge_goes_first() -> None:
    replicas = (replica("a"), replica("b", **ACKNOWLEDGES), replica("c", **ACKNOWLEDGES))
    assert chosen(semi_sync(semi_sync_master_timeout_ms=1000), *replicas) == "a"


def test_one_that_acknowledges_is_taken_if_the_others_are_enough() -> None:
    replicas = (replica("a", **ACKNOWLEDGES), replica("b", **ACKNOWLEDGES))
    assert chosen(semi_sync(semi_sync_master_timeout_ms=1000), *replicas) == "b"


@pytest.mark.parametrize(
    "setting", [{"semi_sync_master_timeout_ms": 1000}, {"semi_sync_master_wait_no_replica": False}], ids=str
)
def test_none_is_taken_if_the_master_would_fall_back(setting: dict[str, object]) -> None:
    replicas = (replica("a", **ACKNOWLEDGES), replica("b", **ACKNOWLEDGES))
    needs_both = semi_sync(semi_sync_master_wait_count=2, **setting)
    assert "fall back" in refused(needs_both, *replicas)


def test_one_is_taken_if_the_master_waits_for_ever() -> None:
    replicas = (replica("a", **ACKNOWLEDGES), replica("b", **ACKNOWLEDGES))
    assert chosen(semi_sync(semi_sync_master_wait_count=2), *replicas) == "b"


def test_on_mariadb_only_one_whose_applier_runs() -> None:
    """Rule 1: a START while both threads are stopped discards the relay log."""
    stopped = replica("b", version="10.11.6-MariaDB", applier_state=ThreadState.STOPPED)
    assert "discard its relay log" in refused(master(), stopped)
    assert chosen(master(), stopped, replica("a", version="10.11.6-MariaDB")) == "a"
    assert chosen(master(), replica("c", applier_state=ThreadState.STOPPED)) == "c"
