"""Starting, adopting and stopping a node's actors in a running Ray cluster."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

import ray

from actors.gateway import Gateway
from actors.handles import Peer, create, end
from actors.leader import LeaderActor
from actors.names import GATEWAY, LEADER, NAMESPACE, TOPOLOGY, head_options
from actors.spec import Configuration, NodeSpec, last_good_path
from actors.topology import TopologyActor
from services.node_view import NodeError

__all__ = ["ActorState", "NodeNotReadyError", "connect", "down", "status", "up"]

_READY_SECONDS = 60.0
_STOP_SECONDS = 8.0


class NodeNotReadyError(Exception):
    """The actors were started and do not all work; the text says which and why."""


@dataclass(frozen=True, slots=True)
class ActorState:
    name: str
    state: str  # "" when it works


def connect(address: str) -> None:
    """Attach this process to a running Ray cluster. Raises ConnectionError or ValueError."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")


async def up(config_files: tuple[str, ...], *, strict: bool = False) -> None:
    """Put the actors into the cluster, or adopt those that run, and wait until they work.

    Raises ConfigurationError before anything is started, NodeNotReadyError if they do not work in time.
    """
    spec = NodeSpec(config_files=config_files, strict=strict)
    configuration = Configuration(spec)
    directory = configuration.loaded.settings.node_directory()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration.keep(last_good_path(directory))
    spec = NodeSpec.make(configuration.files, strict, directory)
    await create(TopologyActor, head_options(TOPOLOGY), spec)
    await create(LeaderActor, head_options(LEADER), spec)
    await create(Gateway, {**head_options(GATEWAY), "max_concurrency": 1000}, spec)
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        states = await status()
        if not any(actor.state for actor in states):
            return
        if time.monotonic() > deadline:
            raise NodeNotReadyError("; ".join(f"{a.name} {a.state}" for a in states if a.state))
        await asyncio.sleep(0.1)


async def status() -> tuple[ActorState, ...]:
    """How the three actors of the head are."""
    return tuple(await asyncio.gather(*(_state(name) for name in (TOPOLOGY, LEADER, GATEWAY))))


async def _state(name: str) -> ActorState:
    try:
        reply = await Peer(name).call("ping", timeout=2.0)
    except NodeError as error:
        return ActorState(name, str(error))
    return ActorState(name, reply["state"] if isinstance(reply, dict) else reply)


async def down() -> None:
    """Stop the actors: the gateway first, then the Leader, which gives its lease back, then the rest."""
    for name in (LEADER, TOPOLOGY, GATEWAY):
        # Told first, all of them, so that none restarts another.
        try:
            await Peer(name).call("stop", timeout=_STOP_SECONDS)
        except NodeError:
            continue
    for name in (GATEWAY, LEADER, TOPOLOGY):
        await end(name)
