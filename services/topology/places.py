"""What servers are classified by: where they stand, how they are called, what they are good for.

A query of the configuration tells it, and for the place, where it tells nothing, a pattern on the host name
(discovery.md 3, steps 10 and 15). What a query once told stays when it fails later, or the server is dead.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from services.topology.instance import Instance
from services.topology.keys import NO_KEY

__all__ = ["CLASSIFIED", "PLACES", "RULES_BY_QUERY", "PlacePatterns", "classified_as_before", "placed"]

PLACES = ("data_center", "region", "physical_environment")
_OTHERS = (
    "instance_alias",
    "suggested_cluster_alias",
    "detected_cluster_domain",
    "detected_promotion_rule",
    "semi_sync_priority",
    "using_pseudo_gtid",
)
CLASSIFIED = PLACES + _OTHERS
"""Fields of an instance that queries tell."""

RULES_BY_QUERY = frozenset({"prefer", "neutral", "prefer_not", "must_not"})
"""What a query may say of promotion; ``must`` is for people to register."""

_CANDIDATES = ("must", "prefer")
_UNTOLD: dict[str, Any] = {name: getattr(Instance(key=NO_KEY), name) for name in CLASSIFIED}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacePatterns:
    """Regular expressions whose first group is searched in the host name; "" for none."""

    data_center: str = ""
    region: str = ""
    physical_environment: str = ""
    asked: frozenset[str] = frozenset()
    """Which of `CLASSIFIED` a query of the configuration tells."""


def placed(instance: Instance, patterns: PlacePatterns) -> Instance:
    """The server as it is classified: by what was told, where it is asked, and by its name."""
    wanted: dict[str, Any] = {}
    for name in PLACES:
        known = getattr(instance, name)
        wanted[name] = (
            known if known and name in patterns.asked else _by_name(instance, getattr(patterns, name))
        )
    wanted |= {name: _UNTOLD[name] for name in _OTHERS if name not in patterns.asked}
    rule = wanted.get("detected_promotion_rule", instance.detected_promotion_rule)
    if rule:
        wanted |= {"promotion_rule": rule, "is_candidate": rule in _CANDIDATES}
    changes = {name: value for name, value in wanted.items() if getattr(instance, name) != value}
    return replace(instance, **changes) if changes else instance


def classified_as_before(fresh: Instance, known: Instance, told: Collection[str]) -> dict[str, Any]:
    """The classification of a server that was just read: what was told now, and the rest as it was."""
    return {
        name: getattr(fresh, name) if name in told else getattr(fresh, name) or getattr(known, name)
        for name in CLASSIFIED
    }


def _by_name(instance: Instance, pattern: str) -> str:
    found = re.search(pattern, instance.key.hostname) if pattern else None
    return (found[1] or "") if found else ""
