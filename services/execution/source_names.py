"""The names of sources: those that replicas have for them, and those that replicas are given.

A server is known here by one name; replicas may know it by another (discovery.md 4). What they say of their
source is translated before it is compared. Where a name is registered for a host
(``register-hostname-unresolve``) replicas get that one, once it was seen to lead to the same server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from services.execution.environment import Environment
from services.execution.errors import StepFailedError
from services.mysql.connection import Row
from services.mysql.names import is_same_server
from services.planning.plan import Step
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["named_as_known", "names_of", "source_host", "source_of"]


def names_of(instances: Iterable[Instance]) -> dict[InstanceKey, InstanceKey]:
    """For ``Environment.names``."""
    return {name: instance.key for instance in instances for name in instance.also_known_as}


def named_as_known(read: Instance, env: Environment) -> Instance:
    """What was read of a replica, with its source under the name that it has here."""
    known = env.names.get(read.master_key)
    return read if known is None else replace(read, master_key=known)


def source_of(channel: Row, env: Environment) -> InstanceKey:
    """The server that a channel replicates from."""
    key = InstanceKey(str(channel["Source_Host"]), int(channel["Source_Port"]))
    return env.names.get(key, key)


async def source_host(step: Step, env: Environment) -> str:
    """The host by which the step's instance is to know its source. Raises StepFailedError."""
    if not step.source_name or step.source_name == step.source.hostname:
        return step.source.hostname
    named = InstanceKey(step.source_name, step.source.port)
    pair = named, step.source
    if pair not in env.same:  # all replicas ask the same
        comparing = is_same_server(named, step.source, env.login, timeout=env.timing.statement)
        env.same[pair] = asyncio.ensure_future(comparing)
    is_same = await asyncio.shield(env.same[pair])
    if is_same:
        return step.source_name
    why = "leads to another server" if is_same is False else "cannot be reached, or compared with it"
    raise StepFailedError(step, f"{named}, the name that is registered for {step.source}, {why}")
