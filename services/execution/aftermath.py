"""What a promotion leaves to be registered: downtimes of those that were lost (recovery.md 3, 4.4)."""

from __future__ import annotations

from collections.abc import Iterable

from services.registry.lost import LOST_SECONDS
from services.store.registrations import RegistrationStore
from services.store.times import shifted, utc_now
from services.topology.keys import InstanceKey
from services.topology.records import AuditEntry
from services.topology.registrations import Downtime
from services.topology.tree import LOST_IN_RECOVERY

__all__ = ["register_downtimes"]


async def register_downtimes(
    registrations: RegistrationStore,
    lost: Iterable[InstanceKey],
    successor: InstanceKey,
    *,
    owner: str,
    minutes: int = 0,
) -> None:
    """The lost are downtimed for ``minutes``, 0: until they are in their place again; the successor is not
    any more. Raises StoreError."""
    now = utc_now()
    for key in lost:
        downtime = Downtime(
            key=key,
            owner=owner,
            reason=LOST_IN_RECOVERY,
            begins_at=now,
            ends_at=shifted(now, minutes * 60.0 if minutes else LOST_SECONDS),
        )
        entry = AuditEntry(at=now, type="begin-downtime", instance=key, message=downtime.said)
        await registrations.begin_downtime(downtime, entry)
    entry = AuditEntry(at=now, type="end-downtime", instance=successor, message="it was promoted")
    await registrations.end_downtime(successor, entry)
