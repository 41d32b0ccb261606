"""Doing what the plan says, and undoing it. Each fault is a context: begun on entering, undone on leaving."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from services.sandbox.server import MySQLServer
from tests.chaos.history import Trouble
from tests.chaos.plan import Fault, Round
from tests.chaos.world import ChaosNode, World

__all__ = ["Roles", "carry_out", "roles_now"]

_UNDONE_SECONDS = 600.0


class _Paused(Protocol):
    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is what when a round begins."""

    acting: ChaosNode
    other: ChaosNode
    master: MySQLServer
    replica: MySQLServer


@dataclass(frozen=True, slots=True)
class Done:
    """``target`` is what it befell; empty: it could not be done, as there was nothing to do it to."""

    kind: str
    target: str


def roles_now(world: World, choice: Callable[[Sequence[object]], object]) -> Roles | None:
    """None while there is no acting node, or not one master."""
    acting, writable = world.acting(), world.writable()
    if acting is None or len(writable) != 1:
        return None
    other = choice([node for node in world.nodes if node is not acting])
    replica = choice([server for server in world.servers if server is not writable[0]])
    assert isinstance(other, ChaosNode) and isinstance(replica, MySQLServer)
    return Roles(acting, other, writable[0], replica)


def carry_out(world: World, plan: Round, roles: Roles, stop: threading.Event) -> list[Done]:
    """All faults of the round, until all are undone. ``stop`` ends their waiting. Raises what failed."""
    done: list[Done] = []
    failures: list[BaseException] = []

    def work(fault: Fault) -> None:
        try:
            done.append(_one(world, fault, roles, stop))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(fault,), daemon=True) for fault in plan.faults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_UNDONE_SECONDS)
        assert not thread.is_alive(), f"a fault of {plan} is not undone"
    if failures:
        raise failures[0]
    return done


def _one(world: World, fault: Fault, roles: Roles, stop: threading.Event) -> Done:
    stop.wait(fault.after)
    begin = time.time()
    context, target, away = _context(world, fault, roles)
    with context as happened:
        if happened:
            stop.wait(fault.hold)
    if not happened:
        return Done(fault.kind, "")
    world.note_trouble(Trouble(f"{fault.kind} {fault.way}".strip(), target, begin, time.time(), away))
    return Done(f"{fault.kind} {fault.way}".strip(), target)


def _context(world: World, fault: Fault, roles: Roles):  # type: ignore[no-untyped-def]
    """The fault, whom it befalls, and which servers it takes away."""
    target = {
        "acting": roles.acting, "other": roles.other, "master": roles.master, "replica": roles.replica,
        "backend": world.backend,
    }[fault.role]  # fmt: skip
    kind = fault.kind
    if isinstance(target, ChaosNode):
        return _node_fault(world, fault, target, roles), target.name, ()
    assert target is not None
    away = (str(target.key),)
    if kind == "backend-kill":
        return _killed(target.kill, target.start), "backend", ()
    if kind == "backend-pause":
        return _paused(target), "backend", ()
    if kind.endswith("-pause"):
        return _paused(target), away[0], away
    if kind.endswith(("-kill", "-stop")):
        end = world.kill if kind.endswith("-kill") else world.stop
        return _killed(lambda: end(target), lambda: world.start_server(target)), away[0], away
    others = [one for one in world.servers if one is not target]
    who = {
        "cut-master-from-all": [*world.nodes, *others],
        "cut-master-from-replicas": others,
        "cut-master-from-nodes": world.nodes,
        "cut-replica-from-all": [*world.nodes, *others],
    }[kind]
    isolated = away if kind.endswith("-from-all") else ()
    return (
        _cut(world, world.host_of(target), [world.host_of(one) for one in who], fault.way),
        away[0],
        isolated,
    )


def _node_fault(world: World, fault: Fault, node: ChaosNode, roles: Roles):  # type: ignore[no-untyped-def]
    if fault.kind == "node-kill":
        return _killed(node.marked.kill_all, node.start_again)
    if fault.kind == "node-stop":
        return _frozen(node)
    if fault.kind == "actor-kill":
        return _actor_killed(node, fault.way)
    if fault.kind == "actor-stop":
        return _actor_stopped(node, fault.way)
    if fault.kind == "store-held":
        return _store_held(node)
    nodes = [other.host.name for other in world.nodes if other is not node]
    servers = [world.host_of(server) for server in world.servers]
    backend = ["backend"] if world.backend is not None else []
    who = {
        "cut-node-from-nodes": nodes,
        "cut-node-from-servers": servers,
        "cut-node-from-master": [world.host_of(roles.master)],
        "cut-node-from-all": [*nodes, *servers, *backend],
        "cut-node-from-backend": backend,
    }[fault.kind]
    return _cut(world, node.host.name, who, fault.way)


@contextmanager
def _killed(kill: Callable[[], object], start: Callable[[], object]) -> Iterator[bool]:
    kill()
    try:
        yield True
    finally:
        start()


@contextmanager
def _paused(server: _Paused) -> Iterator[bool]:
    server.pause()
    try:
        yield True
    finally:
        server.resume()


@contextmanager
def _frozen(node: ChaosNode) -> Iterator[bool]:
    stopped = node.freeze()
    try:
        yield True
    finally:
        for process in stopped:
            process.signal(signal.SIGCONT)


@contextmanager
def _actor_killed(node: ChaosNode, kind: str) -> Iterator[bool]:
    victims = node.actors(kind)[:1]
    for victim in victims:
        victim.signal(signal.SIGKILL)
    yield bool(victims)


@contextmanager
def _actor_stopped(node: ChaosNode, kind: str) -> Iterator[bool]:
    """It may have been ended and replaced before it is woken."""
    victims = node.actors(kind)[:1]
    for victim in victims:
        victim.signal(signal.SIGSTOP)
    try:
        yield bool(victims)
    finally:
        for victim in victims:
            victim.signal(signal.SIGCONT)


@contextmanager
def _store_held(node: ChaosNode) -> Iterator[bool]:
    """Another program has the node's SQLite file for itself."""
    with closing(sqlite3.connect(node.database, isolation_level=None, timeout=5)) as holder:
        try:
            holder.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # it is busy
            yield False
            return
        yield True


@contextmanager
def _cut(world: World, host: str, others: Sequence[str], way: str) -> Iterator[bool]:
    out = [(host, other) for other in others] if way in ("both", "out") else []
    back = [(other, host) for other in others] if way in ("both", "in") else []
    cut = world.network.cut([*out, *back])
    try:
        yield True
    finally:
        world.network.heal(cut)
