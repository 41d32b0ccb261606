"""Where a server stands: data centre, region and physical environment, by its name or by what it was asked.

A query goes before a pattern, as in the reference (discovery.md 3, steps 10 and 15). What a query once told
stays when it fails later, or when the server is dead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from services.topology.instance import Instance

__all__ = ["PLACES", "PlacePatterns", "placed"]

PLACES = ("data_center", "region", "physical_environment")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacePatterns:
    """Regular expressions whose first group is searched in the host name; "" for none."""

    data_center: str = ""
    region: str = ""
    physical_environment: str = ""
    asked: frozenset[str] = frozenset()
    """Which of `PLACES` a query of the configuration tells."""


def placed(instance: Instance, patterns: PlacePatterns) -> Instance:
    """The server with its place."""
    changes = {}
    for name in PLACES:
        known = getattr(instance, name)
        value = known if known and name in patterns.asked else _by_name(instance, getattr(patterns, name))
        if value != known:
            changes[name] = value
    return replace(instance, **changes) if changes else instance  # type: ignore[arg-type]


def _by_name(instance: Instance, pattern: str) -> str:
    found = re.search(pattern, instance.key.hostname) if pattern else None
    return (found[1] or "") if found else ""
