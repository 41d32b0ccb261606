"""Keeping names: looking up what the registry asks about, and seeing whether what was learned still holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from services.mysql.connection import Login
from services.mysql.names import is_same_server, looked_up
from services.registry.registry import Registry
from services.topology.keys import InstanceKey

__all__ = ["keep_names", "look_up"]

_AT_ONCE = 16
_LOOKUP_SECONDS = 5.0
_DIAL_SECONDS = 2.0
_AGAIN_SECONDS = 60.0


async def look_up(registry: Registry, host: str) -> frozenset[InstanceKey]:
    """Look one name up, as the configuration says. Returns the servers that are known from now on."""
    policy = registry.policy.names
    if not policy.looks_up:
        return frozenset()
    name = await looked_up(host, policy.method, timeout=_LOOKUP_SECONDS)
    return registry.named(host, name, time.monotonic())


async def keep_names(registry: Registry, login: Callable[[], Login]) -> frozenset[InstanceKey]:
    """One round. Returns the servers that are known from now on."""
    wanted = sorted(registry.names.wanted(time.monotonic()))[:_AT_ONCE]
    found = await asyncio.gather(*(look_up(registry, host) for host in wanted))
    doubtful = list(registry.names.doubtful(time.monotonic()).items())[:_AT_ONCE]
    verdicts = await asyncio.gather(
        *(is_same_server(endpoint, own, login(), timeout=_DIAL_SECONDS) for endpoint, own in doubtful)
    )
    new: frozenset[InstanceKey] = frozenset().union(*found)
    for (endpoint, own), is_same in zip(doubtful, verdicts, strict=True):
        now = time.monotonic()
        if is_same:
            registry.learned(endpoint, own, now)
        elif is_same is None:  # one of them does not answer: what was known stands
            registry.names.defer(endpoint, now + _AGAIN_SECONDS)
        elif registry.names.unlearn(endpoint) and registry.add(endpoint, now):
            new |= {endpoint}
    return new
