"""What is known of a server after one more check of it. Pure."""

from __future__ import annotations

from dataclasses import replace

from services.topology.coordinates import NO_COORDINATES
from services.topology.instance import Instance, Observation, ThreadState
from services.topology.keys import NO_KEY
from services.topology.places import classified_as_before

__all__ = ["LOSSLESS_TIMEOUT_MS", "as_promoted", "merge", "with_registrations"]

LOSSLESS_TIMEOUT_MS = 2**32 - 1
"""A semi-sync time-out of at least this many ms (49 days, the maximum that the manual gives) is for ever."""

_REGISTERED = (
    "also_known_as",
    "promotion_rule",
    "is_candidate",
    "is_downtimed",
    "downtime_reason",
    "downtime_owner",
    "downtime_end_timestamp",
    "elapsed_downtime_ns",
    "maintenance",
    "unresolved_hostname",
)


def with_registrations(fresh: Instance, known: Instance, told: frozenset[str] = frozenset()) -> Instance:
    """What a server says of itself, with what people registered and queries told (``told``: now)."""
    registered = {name: getattr(known, name) for name in _REGISTERED}
    return replace(fresh, **registered, **classified_as_before(fresh, known, told))


def as_promoted(successor: Instance, failed: Instance | None) -> Instance:
    """A server that was promoted and not read since: as it was last seen, and what is known of a promotion.

    It may die before anybody reads it, and must not pass for a replica then. If the failed master ran
    semi-sync, so does this one (design, rule 11).
    """
    master = replace(
        successor,
        read_only=False,
        super_read_only=False,
        master_key=NO_KEY,
        source_host="",
        master_uuid="",
        receiver_state=ThreadState.NO_THREAD,
        applier_state=ThreadState.NO_THREAD,
        read_coordinates=NO_COORDINATES,
        exec_coordinates=NO_COORDINATES,
        using_oracle_gtid=False,
        using_mariadb_gtid=False,
        seconds_behind_master=None,
        replication_lag_seconds=None,
    )
    if failed is not None and failed.semi_sync_master_enabled:
        master = replace(
            master,
            semi_sync_master_enabled=True,
            semi_sync_master_status=True,
            semi_sync_master_timeout_ms=failed.semi_sync_master_timeout_ms,
            semi_sync_master_wait_count=failed.semi_sync_master_wait_count,
            semi_sync_master_wait_point=failed.semi_sync_master_wait_point,
        )
    return replace(master, semi_sync_unbroken=_lossless_now(master))


def merge(known: Instance | None, seen: Observation, *, now: float, utc: str) -> Instance:
    """The server as known after ``seen``. ``now`` and the result's times: seconds of the snapshot's clock.

    A check that failed leaves the facts of the last good one, and says how it failed.
    """
    known = known or Instance(key=seen.key)
    began = now - seen.age_seconds
    if seen.instance is None:
        return replace(
            known,
            last_check_outcome=seen.outcome,
            last_check_error=seen.error,
            last_check_partial_success=seen.partial_success,
            checked_at=max(began, known.checked_at),
        )
    fresh = with_registrations(seen.instance, known, seen.told)
    return replace(
        fresh,
        key=seen.key,
        last_check_outcome=seen.outcome,
        last_check_error=seen.error,
        last_check_partial_success=True,
        checked_at=max(began, known.checked_at),
        seen_at=max(began, known.seen_at),
        last_seen_timestamp=utc,
        last_discovery_latency_ns=int(seen.latency_seconds * 1e9),
        binlog_coordinates_stale_seconds=_standing_still(known, fresh, began),
        semi_sync_unbroken=_lossless_now(fresh) and (_new_run(known, fresh) or _unbroken_since(known, fresh)),
    )


def _standing_still(known: Instance, fresh: Instance, began: float) -> float:
    if known.seen_at == 0 or known.self_coordinates != fresh.self_coordinates:
        return 0.0
    return known.binlog_coordinates_stale_seconds + max(0.0, began - known.seen_at)


def _lossless_now(instance: Instance) -> bool:
    return (
        instance.semi_sync_master_enabled
        and instance.semi_sync_master_status
        and instance.semi_sync_master_wait_point == "AFTER_SYNC"
        and instance.semi_sync_master_timeout_ms >= LOSSLESS_TIMEOUT_MS
    )


def _new_run(known: Instance, fresh: Instance) -> bool:
    """Never seen before, restarted, or just made a master: there is no history to be broken."""
    if known.seen_at == 0 or fresh.uptime_seconds < known.uptime_seconds:
        return fresh.semi_sync_master_no_tx == 0
    return known.read_only and not fresh.read_only


def _unbroken_since(known: Instance, fresh: Instance) -> bool:
    """The counter of unacknowledged commits tells of what happened between two observations."""
    return known.semi_sync_unbroken and known.semi_sync_master_no_tx == fresh.semi_sync_master_no_tx
