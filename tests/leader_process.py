"""A Leader in a process of its own, on a real store, that dies or stops where it is told to.

``python -m tests.leader_process FILE``; the file is a pickled `Order`. It takes the lease, completes or voids
what an earlier term left, recovers the failed master if its cluster still has it, and prints a `Report` as
JSON.

Where it ends itself is a point of its way: ``write:3`` is the third write of a recovery to the store (its
registration apart), ``statement:START REPLICA`` the first statement to a server in which this stands; each
``resolve`` the end of the recovery; each with ``before`` or ``after``.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from services.analysis import AnalysisPolicy, analyze
from services.config import Settings, settings_for_demo
from services.election.clock import boottime
from services.election.election import LeaseElection
from services.execution.coordinator import ClusterView, Coordinator, RecoveryRefusedError
from services.mysql.connection import Login
from services.mysql.errors import MySQLError
from services.mysql.poll import PolledServer
from services.mysql.session import ActingSession, Mandate
from services.store.store import Store
from services.topology.instance import CheckOutcome, Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.merging import merge
from services.topology.tree import ClusterIdentity, TreePolicy, derive
from tests.servers import wait_until_async

CLUSTER = "cluster-of-the-test"
_RESUME_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do. ``seen`` is the topology as it was last seen well."""

    database: Path
    login: Login
    failed: InstanceKey
    seen: tuple[Instance, ...]
    node_id: str = "node"
    ends_at: str = ""
    when: str = "before"
    ending: signal.Signals = signal.SIGKILL
    settings: tuple[tuple[str, object], ...] = ()
    lives_until: Path | None = None
    """It does not end by itself before there is such a file, and its hooks have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it ended. ``said`` are the events."""

    term: int
    master: str
    open_recoveries: int
    error: str = ""
    said: list[str] = field(default_factory=list)


class Events:
    def __init__(self) -> None:
        self.said: list[str] = []

    def event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        self.said.append(f"{kind}: {message}")

    def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        self.said.append(f"promoted: {successor} in place of {failed}")

    def changed(self, keys: tuple[InstanceKey, ...]) -> None:
        pass

    def look_again(self, key: InstanceKey) -> None:
        pass

    def witnessed(self, master: InstanceKey) -> None:
        self.said.append(f"witnessed: {master}")


class ElectionMandate:
    """The right to act under one term of a seat."""

    setup = "test"

    def __init__(self, election: LeaseElection, term: int) -> None:
        self.term = term
        self._election = election

    def superseded(self, where: InstanceKey) -> None:
        return

    def remaining_seconds(self) -> float:
        held = self._election.leadership()
        return held.deadline - boottime() if held is not None and held.term == self.term else 0.0


def settings_of(order: Order) -> Settings:
    account = {
        "MySQLTopologyUser": order.login.user,
        "MySQLTopologyPassword": order.login.password,
        "ReasonableReplicationLagSeconds": 1,
        **dict(order.settings),
    }
    return settings_for_demo(order.database, overrides=account).settings


async def view_of(seen: tuple[Instance, ...], failed: InstanceKey, login: Login) -> ClusterView:
    """The cluster as Topology would hand it over: the replicas read afresh, the master refusing."""
    now = time.monotonic()
    instances = []
    for known in seen:
        if known.key == failed:
            refused = Observation(key=known.key, outcome=CheckOutcome.REFUSED, error="connection refused")
        else:
            refused = await _observed(known, login)
        instances.append(merge(replace(known, seen_at=now), refused, now=now, utc="2026-11-23T08:00:00Z"))
    identity = ClusterIdentity(id=CLUSTER, master_key=failed)
    topology = derive(instances, [identity], TreePolicy(), now)
    cluster = topology.cluster_of(failed)
    assert cluster is not None
    return ClusterView(
        cluster=cluster,
        instances=topology.instances_of(cluster),
        findings=analyze(topology, AnalysisPolicy(), now),
    )


async def _observed(known: Instance, login: Login) -> Observation:
    try:
        polled = await PolledServer.connect(known.key, login, timeout=2)
        instance = await polled.poll(timeout=2)
        await polled.connection.close()
    except MySQLError as error:
        outcome = getattr(error, "outcome", CheckOutcome.FAILED)
        return Observation(key=known.key, outcome=outcome, error=str(error))
    return Observation(key=known.key, outcome=CheckOutcome.OK, instance=instance)


async def actionable_view(order: Order) -> ClusterView:
    """Once the replicas have noticed that their master is gone."""
    deadline = time.monotonic() + 10
    while True:
        view = await view_of(order.seen, order.failed, order.login)
        if any(found.actionable and found.analyzed_instance_key == order.failed for found in view.findings):
            return view
        assert time.monotonic() < deadline, f"nothing is to be done about {order.failed}: {view.findings}"
        await asyncio.sleep(0.02)


def end_at(order: Order, store: Store) -> None:
    """Have this process end, or stop, at the point that the order names."""
    what, _, which = order.ends_at.partition(":")

    def around(
        work: Callable[..., Awaitable[Any]], is_the_point: Callable[..., bool]
    ) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*arguments: Any, **more: Any) -> Any:
            here = is_the_point(*arguments, **more)
            if here and order.when == "before":
                os.kill(os.getpid(), order.ending)
            result = await work(*arguments, **more)
            if here and order.when == "after":
                os.kill(os.getpid(), order.ending)
            return result

        return wrapped

    numbers = count(1)
    if what == "write":

        def is_nth(*_: Any, **__: Any) -> bool:
            return next(numbers) == int(which)

        writes = ((store.journal, "write"), (store.clusters, "promote"), (store.recoveries, "resolve"))
        for part, name in writes:
            setattr(part, name, around(getattr(part, name), is_nth))
    elif what == "resolve":
        store.recoveries.resolve = around(  # type: ignore[method-assign]
            store.recoveries.resolve, lambda *_, **__: True
        )
    elif what == "statement":

        def is_first_such(_session: ActingSession, statements: Sequence[str], *_: Any, **__: Any) -> bool:
            return any(which in sql for sql in statements) and next(numbers) == 1

        ActingSession._guarded = around(ActingSession._guarded, is_first_such)  # type: ignore[method-assign]


async def lead(order: Order) -> Report:
    store = await Store.open(order.database)
    election = LeaseElection(store.database, order.node_id, holds_node_lock=True)
    seat = asyncio.ensure_future(election.run())
    held = await wait_until_async(election.leadership, 20, "the lease is taken")
    settings, events = settings_of(order), Events()

    def mandate() -> Mandate | None:
        now = election.leadership()
        return ElectionMandate(election, now.term) if now is not None else None

    coordinator = Coordinator(store, lambda: settings, mandate, events, ("host", order.node_id))
    coordinator.elected()
    end_at(order, store)
    error = ""
    try:
        await _complete_what_is_open(store, coordinator)
        if await _master(store) == order.failed:
            view = await actionable_view(order)
            finding = next(one for one in view.findings if one.analyzed_instance_key == order.failed)
            await coordinator.recover_now(view, finding)
    except (RecoveryRefusedError, TimeoutError) as failure:
        error = str(failure)
    if order.lives_until is not None:
        await wait_until_async(order.lives_until.exists, 20, f"{order.lives_until} is there")
        await wait_until_async(lambda: not coordinator._hooks._running, 20, "the hooks have ended")
    report = Report(
        term=held.term,
        master=str(await _master(store)),
        open_recoveries=len(await store.journal.open_recoveries()),
        error=error,
        said=events.said,
    )
    await coordinator.stop()
    seat.cancel()
    await asyncio.wait({seat})
    await election.release()
    await store.close()
    return report


async def _complete_what_is_open(store: Store, coordinator: Coordinator) -> None:
    deadline = time.monotonic() + _RESUME_SECONDS
    await coordinator.resume_open()
    while await store.journal.open_recoveries():
        if time.monotonic() > deadline:
            raise TimeoutError("a recovery stays open")
        await asyncio.sleep(0.02)
        await coordinator.resume_open()


async def _master(store: Store) -> InstanceKey:
    (record,) = await store.clusters.load()
    return record.master_key


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = pickle.loads(Path(sys.argv[1]).read_bytes())
    print(json.dumps(asdict(asyncio.run(lead(given)))), flush=True)
