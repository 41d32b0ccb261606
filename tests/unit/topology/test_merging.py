"""What one more check of a server does to what is known of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.merging import LOSSLESS_TIMEOUT_MS, merge

KEY = InstanceKey("db1", 3306)
LOSSLESS = Instance(
    key=KEY,
    uptime_seconds=100,
    semi_sync_master_enabled=True,
    semi_sync_master_status=True,
    semi_sync_master_wait_point="AFTER_SYNC",
    semi_sync_master_timeout_ms=LOSSLESS_TIMEOUT_MS,
)


def seen(instance: Instance, age: float = 0.0) -> Observation:
    return Observation(key=KEY, outcome=CheckOutcome.OK, age_seconds=age, instance=instance)


def merged(known: Instance | None, observation: Observation, now: float) -> Instance:
    return merge(known, observation, now=now, utc="2026-11-22T20:46:24Z")


def test_a_failed_check_keeps_the_facts_and_says_how_it_failed() -> None:
    known = merged(None, seen(replace(LOSSLESS, version="9.7.4")), 100.0)
    lost = Observation(key=KEY, outcome=CheckOutcome.REFUSED, error="nothing listens there", age_seconds=0.5)
    after = merged(known, lost, 110.0)
    assert (after.version, after.seen_at, after.checked_at) == ("9.7.4", 100.0, 109.5)
    assert (after.last_check_outcome, after.last_check_error) == (
        CheckOutcome.REFUSED,
        "nothing listens there",
    )


def test_registrations_survive_a_check() -> None:
    known = replace(merged(None, seen(LOSSLESS), 1.0), promotion_rule="prefer", data_center="x")
    after = merged(known, seen(LOSSLESS), 2.0)
    assert (after.promotion_rule, after.data_center) == ("prefer", "x")


def test_an_observation_that_overtook_an_older_one_is_not_undone_by_it() -> None:
    known = merged(None, seen(LOSSLESS), 100.0)
    late = merged(known, seen(LOSSLESS, age=30.0), 101.0)
    assert (late.seen_at, late.checked_at) == (100.0, 100.0)


def test_the_time_that_the_binary_log_stands_still_adds_up_and_ends() -> None:
    here, there = BinlogCoordinates("b.000001", 10), BinlogCoordinates("b.000001", 11)
    known = merged(None, seen(replace(LOSSLESS, self_coordinates=here)), 100.0)
    known = merged(known, seen(replace(LOSSLESS, self_coordinates=here)), 105.0)
    known = merged(known, seen(replace(LOSSLESS, self_coordinates=here)), 111.0)
    assert known.binlog_coordinates_stale_seconds == 11.0
    known = merged(known, seen(replace(LOSSLESS, self_coordinates=there)), 112.0)
    assert known.binlog_coordinates_stale_seconds == 0.0


@pytest.mark.parametrize(
    "lapse",
    [
        {"semi_sync_master_status": False},
        {"semi_sync_master_timeout_ms": 10_000},
        {"semi_sync_master_wait_point": "AFTER_COMMIT"},
        {"semi_sync_master_enabled": False},
    ],
)
def test_rule_3_lossless_once_lapsed_is_not_lossless_for_the_rest_of_the_run(
    lapse: dict[str, object],
) -> None:
    known = merged(None, seen(LOSSLESS), 100.0)
    assert known.semi_sync_unbroken
    known = merged(known, seen(replace(LOSSLESS, **lapse)), 105.0)  # type: ignore[arg-type]
    assert not known.semi_sync_unbroken
    known = merged(known, seen(replace(LOSSLESS, uptime_seconds=110)), 110.0)
    assert not known.semi_sync_unbroken
    known = merged(known, seen(replace(LOSSLESS, uptime_seconds=1)), 115.0)  # restarted: a new run
    assert known.semi_sync_unbroken


def test_rule_3_a_lapse_between_two_observations_is_told_by_the_servers_counter() -> None:
    known = merged(None, seen(LOSSLESS), 100.0)
    known = merged(known, seen(replace(LOSSLESS, semi_sync_master_no_tx=1)), 105.0)
    assert not known.semi_sync_unbroken


def test_rule_3_a_server_first_seen_after_a_lapse_promises_nothing() -> None:
    assert not merged(None, seen(replace(LOSSLESS, semi_sync_master_no_tx=3)), 100.0).semi_sync_unbroken


def test_rule_3_a_promoted_server_begins_anew() -> None:
    replica = replace(LOSSLESS, read_only=True, semi_sync_master_status=False, semi_sync_master_enabled=False)
    known = merged(None, seen(replica), 100.0)
    assert merged(known, seen(LOSSLESS), 101.0).semi_sync_unbroken
