"""What is registered about servers, as one reading of the store, and how it shows on the instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.registry.registry import Registry
from services.store.registrations import RegistrationStore
from services.store.times import seconds_until, shifted
from services.topology.instance import Instance
from services.topology.registrations import CandidateRule, Downtime, HostnameUnresolve, Maintenance

__all__ = ["Registered", "detected_rules"]


def detected_rules(instances: Iterable[Instance], lasting_seconds: float) -> tuple[CandidateRule, ...]:
    """What a query of the configuration tells, as if it were registered anew at each check."""
    return tuple(
        CandidateRule(
            key=instance.key,
            promotion_rule=instance.detected_promotion_rule,
            last_suggested=instance.last_seen_timestamp,
            expires_at=shifted(instance.last_seen_timestamp, lasting_seconds),
        )
        for instance in instances
        if instance.detected_promotion_rule and instance.last_seen_timestamp
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    rules: tuple[CandidateRule, ...] = ()
    downtimes: tuple[Downtime, ...] = ()
    maintenances: tuple[Maintenance, ...] = ()
    unresolves: tuple[HostnameUnresolve, ...] = ()

    @classmethod
    async def read(cls, store: RegistrationStore, now: str) -> Registered:
        """Raises StoreError."""
        return cls(
            rules=await store.candidates(now),
            downtimes=await store.downtimes(now),
            maintenances=await store.maintenances(now),
            unresolves=await store.unresolves(now),
        )

    def apply(self, registry: Registry, now: str) -> None:
        """Show on each instance what lasts at ``now``: it needs no reading anew to be over."""
        named = registry.names.resolve  # what was registered under another name is the server's too
        rules = {named(rule.key): rule.promotion_rule for rule in self.rules if rule.expires_at > now}
        downtimes = {named(downtime.key): downtime for downtime in self.downtimes if downtime.ends_at > now}
        maintenances = {named(one.key): one for one in self.maintenances if one.ends_at > now}
        names = {one.hostname: one.unresolved_hostname for one in self.unresolves if one.expires_at > now}
        registry.claim({unresolved: host for host, unresolved in names.items()})
        for key, instance in list(registry.instances.items()):
            maintenance = maintenances.get(key)
            wanted = {
                # a query's is registered anew at each poll
                **_rule(instance.detected_promotion_rule or rules.get(key, "neutral")),
                **_downtime(downtimes.get(key)),
                "maintenance": f"{maintenance.owner}: {maintenance.reason}" if maintenance else "",
                "unresolved_hostname": names.get(key.hostname, ""),
            }
            if _differs(instance, wanted):
                registry.register(key, **wanted)


def _differs(instance: Instance, wanted: Mapping[str, object]) -> bool:
    return any(getattr(instance, name) != value for name, value in wanted.items())


def _rule(rule: str) -> dict[str, object]:
    return {"promotion_rule": rule, "is_candidate": rule in ("must", "prefer")}


def _downtime(downtime: Downtime | None) -> dict[str, object]:
    return {
        "is_downtimed": downtime is not None,
        "downtime_reason": downtime.reason if downtime else "",
        "downtime_owner": downtime.owner if downtime else "",
        "downtime_end_timestamp": downtime.ends_at if downtime else "",
        "elapsed_downtime_ns": int(-seconds_until(downtime.begins_at) * 1e9) if downtime else 0,
    }
