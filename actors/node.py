"""Starting, adopting and stopping a node's actors in a running Ray cluster."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from actors.handles import Peer, create, end, names_in_use
from actors.names import (
    GATEWAY,
    LEADER,
    LOCKS,
    NAMESPACE,
    TOPOLOGY,
    gateway_options,
    head_options,
    is_gateway,
    is_probe,
)
from actors.spec import Configuration, NodeSpec
from services.config import Settings, load
from services.election.process_lock import holder_of
from services.node_errors import NodeError
from services.unsupported import refuse_unsupported

__all__ = ["ActorState", "NodeNotReadyError", "connect", "down", "reload", "status", "up"]

_SINGLETONS = (TOPOLOGY, LEADER, GATEWAY)
_READY_SECONDS = 60.0
_GIVE_UP_SECONDS = 10.0  # an actor that says for so long that it cannot work is believed
_PREDECESSOR_SECONDS = 10.0
_STOP_SECONDS = 8.0
_GONE_SECONDS = 10.0


class NodeNotReadyError(Exception):
    """The actors were started and do not all work; the text says which and why."""


@dataclass(frozen=True, slots=True)
class ActorState:
    name: str
    state: str  # "" when it works


def connect(address: str) -> None:
    """Attach this process to a running Ray cluster. Raises ConnectionError or ValueError."""
    # Ray has its workers import from the folder in which it is called. That of our packages is no danger;
    # any other may have a ``services`` or ``api`` of its own.
    here = Path.cwd()
    os.chdir(Path(__file__).resolve().parents[1])
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
    finally:
        os.chdir(here)


async def up(
    config_files: tuple[str, ...], *, strict: bool = False, ready_seconds: float = _READY_SECONDS
) -> None:
    """Put the actors into the cluster, or adopt those that run, and wait for so long until they work.

    Those that run keep the configuration that they have. Raises ConfigurationError before anything is
    started, NodeNotReadyError if they cannot be started or do not work in time.
    """
    files = tuple(Path(file) for file in config_files)
    settings = load(files, strict=strict).settings
    refuse_unsupported(settings)
    missing = set(_SINGLETONS) - set(await names_in_use())
    if missing:
        spec = NodeSpec.make(settings.node_directory(), strict)
        if len(missing) == len(_SINGLETONS):
            await _prepare(spec, files, settings)
        await _create(missing, spec)
    await _await_ready(ready_seconds)


async def _create(names: set[str], spec: NodeSpec) -> None:
    # Imported here: after a restart of the head there are all of them, and who only waits for them should not
    # take the processors from them.
    from actors.gateway import Gateway
    from actors.leader import LeaderActor
    from actors.topology import TopologyActor

    if TOPOLOGY in names:
        await create(TopologyActor, head_options(TOPOLOGY), spec)
    if LEADER in names:
        await create(LeaderActor, head_options(LEADER), spec)
    if GATEWAY in names:
        await create(Gateway, gateway_options(GATEWAY), spec)


async def _prepare(spec: NodeSpec, files: tuple[Path, ...], settings: Settings) -> None:
    """What can be found out before an actor is started, is said at once."""
    from services.store.backend import backend_of
    from services.store.errors import StoreError
    from services.store.store import Store

    await _await_predecessor(spec.folder)
    try:
        spec.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        Configuration.begin(spec, files)
    except OSError as error:
        said = f"the node's directory {spec.folder} cannot be used: {error.strerror} (NodeDirectory)"
        raise NodeNotReadyError(said) from None
    try:
        await (await Store.open(backend_of(settings))).close()
    except StoreError as error:
        raise NodeNotReadyError(str(error)) from None


async def _await_predecessor(directory: Path) -> None:
    """Actors of another Ray cluster that has just ended are given the time to end too."""
    deadline = time.monotonic() + _PREDECESSOR_SECONDS
    locks = [directory / name for name in LOCKS]
    while any(holders := [holder_of(lock) for lock in locks]):
        if time.monotonic() > deadline:
            pids = ", ".join(str(holder[0]) for holder in holders if holder is not None)
            raise NodeNotReadyError(
                f"another orchestray node works in {directory} (processes {pids}): stop it, or give this "
                "one its own NodeDirectory"
            )
        await asyncio.sleep(0.1)


async def _await_ready(seconds: float) -> None:
    began = time.monotonic()
    worked_at = dict.fromkeys(_SINGLETONS, began)  # or at least did not say that they could not
    while True:
        states = await _states(_SINGLETONS)
        troubled = [actor for actor in states if actor.state]
        if not troubled:
            return
        now = time.monotonic()
        worked_at.update({actor.name: now for actor in states if not actor.state.startswith("cannot ")})
        if now - began > seconds or now - min(worked_at.values()) > _GIVE_UP_SECONDS:
            raise NodeNotReadyError("; ".join(f"{actor.name} {actor.state}" for actor in troubled))
        await asyncio.sleep(0.1)


async def status() -> tuple[ActorState, ...]:
    """How the three actors of the head are, and the gateways of workers."""
    workers = sorted(name for name in await names_in_use() if is_gateway(name) and name != GATEWAY)
    return await _states((*_SINGLETONS, *workers))


async def _states(names: tuple[str, ...]) -> tuple[ActorState, ...]:
    return tuple(await asyncio.gather(*(_state(name) for name in names)))


async def _state(name: str) -> ActorState:
    try:
        reply = await Peer(name).call("ping", timeout=2.0)
    except NodeError as error:
        return ActorState(name, str(error))
    return ActorState(name, reply["state"] if isinstance(reply, dict) else reply)


async def reload() -> tuple[str, ...]:
    """Have a running node read its configuration again; the changed keys that wait for a restart.

    Raises NodeError: RefusedError if the configuration is not valid, and then nothing has changed.
    """
    late: tuple[str, ...] = await Peer(GATEWAY).call("reload", timeout=_STOP_SECONDS)
    return late


async def down() -> None:
    """Stop the actors. The Leader gives its lease back, Topology writes what waits.

    Raises NodeNotReadyError if one outlives that.
    """
    # Told first, all of them, so that none restarts another.
    gateways = {name for name in await names_in_use() if is_gateway(name)}
    await asyncio.gather(*(_tell_to_stop(name) for name in {*_SINGLETONS, *gateways}))
    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        left = [
            name for name in await names_in_use() if name in _SINGLETONS or is_gateway(name) or is_probe(name)
        ]
        if not left:
            return
        if time.monotonic() > deadline:
            raise NodeNotReadyError(f"still there: {', '.join(sorted(left))}")
        await asyncio.gather(*(end(name) for name in left))
        await asyncio.sleep(0.05)


async def _tell_to_stop(name: str) -> None:
    try:
        await Peer(name).call("stop", timeout=_STOP_SECONDS)
    except NodeError:
        return
