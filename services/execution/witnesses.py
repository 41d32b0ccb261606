"""Asks a witness whether a master that does not answer hangs: one replica has its receiver restarted.

One at a time for each cluster, never beside a recovery of it. For that one connect its
``replica_net_timeout``, which is read at connect, is a second: a recovery that follows has to wait for the
end of the connect before it can re-point the witness. What was changed is kept in the store until it is put
back, so that a later term does it. What was found goes to the observer, which has the analysis take it into
account, and into the audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import structlog

from services.analysis.facts import NETWORK_ERRNOS
from services.config import Settings
from services.execution.gates import ClusterView
from services.execution.relay_logs import channel_of
from services.mysql.channel_facts import apply_replica_status
from services.mysql.connection import Row
from services.mysql.errors import MySQLError
from services.mysql.session import ActingSession, Mandate, MandateOverError
from services.planning.witness import NoWitness, Witness, choose_witness, is_suspected
from services.policies import login, timing
from services.store.errors import StoreError
from services.store.store import Store
from services.store.times import utc_now
from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.records import AuditEntry

__all__ = ["Found", "WitnessObserver", "Witnesses"]

_WITHOUT_WITNESS_SECONDS = 1.0
_LOOK_SECONDS = 0.02
_STOP_SECONDS = 10.0
_CONNECT_SECONDS = 1
"""The least that ``replica_net_timeout`` can be, and more than a witness is given."""
_log = structlog.get_logger(__name__)


class Found(Enum):
    """What a witness found; the value is how many seconds the master is not tried again."""

    ALIVE = 30.0
    DEAD = 10.0
    """Before the finding that rests on it expires, if nothing came of that."""
    UNKNOWN = 2.0


class WitnessObserver(Protocol):
    def event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None: ...

    def witnessed(self, master: InstanceKey) -> None:
        """A witness could not connect to this master."""
        ...


@dataclass(frozen=True, slots=True)
class _Report:
    found: Found
    said: str


class Witnesses:
    """Belongs to the leader's event loop. ``consider`` returns at once."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], Settings],
        mandate: Callable[[], Mandate | None],
        observer: WitnessObserver,
    ) -> None:
        self._store = store
        self._settings = settings
        self._mandate = mandate
        self._observer = observer
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[InstanceKey, float] = {}
        self._restarted: set[InstanceKey] = set()
        self._refused: dict[InstanceKey, str] = {}
        self._suspected_since: dict[InstanceKey, float] = {}

    def is_asking(self, cluster_id: str) -> bool:
        return cluster_id in self._asking

    async def asked(self, cluster_id: str) -> None:
        """Wait until no witness of the cluster is being asked."""
        task = self._asking.get(cluster_id)
        if task is not None:
            await asyncio.wait({task})

    def as_they_were(self, replicas: Iterable[Instance]) -> tuple[Instance, ...]:
        """A receiver that was seen stopped while it was restarted here was not stopped by anybody else."""
        return tuple(
            replace(one, receiver_state=ThreadState.OTHER)
            if one.key in self._restarted and one.receiver_state is ThreadState.STOPPED
            else one
            for one in replicas
        )

    def consider(self, view: ClusterView) -> None:
        """Ask a witness, if the cluster's master is suspected to hang and was not asked about of late."""
        master = view.instance(view.cluster.master_key)
        if master is None or view.cluster.id in self._asking:
            return
        if not is_suspected(master):
            self._refused.pop(master.key, None)
            self._suspected_since.pop(master.key, None)
            return
        since = self._suspected_since.setdefault(master.key, time.monotonic())
        mandate = self._mandate()
        if mandate is None or time.monotonic() < self._not_before.get(master.key, 0.0):
            return
        chosen = choose_witness(master, view.replicas_of(master.key))
        if isinstance(chosen, NoWitness):
            # In the first moments nobody has looked at the replicas yet: that is no news.
            lasts = time.monotonic() - since >= _WITHOUT_WITNESS_SECONDS
            if lasts and self._refused.get(master.key) != chosen.reason:
                self._refused[master.key] = chosen.reason
                said = f"whether {master.key} hangs cannot be told: {chosen.reason}"
                self._observer.event("witness", said, master.key, view.cluster.name)
            return
        task = asyncio.ensure_future(self._ask(view, master.key, chosen, mandate))
        self._asking[view.cluster.id] = task
        task.add_done_callback(lambda _: self._asking.pop(view.cluster.id, None))

    async def _ask(self, view: ClusterView, master: InstanceKey, witness: Witness, mandate: Mandate) -> None:
        cluster = view.cluster
        how = "restarting its receiver" if witness.restart else "watching its receiver"
        said = (
            f"{master} does not answer: {witness.key} is asked whether it hangs, by {how} ({witness.reason})"
        )
        self._observer.event("witness", said, master, cluster.name)
        try:
            report = await self._connects(view, master, witness, mandate)
        except (MySQLError, MandateOverError, StoreError) as error:
            report = _Report(Found.UNKNOWN, f"{witness.key} cannot tell: {error}")
        self._not_before[master] = time.monotonic() + report.found.value
        if report.found is Found.DEAD:
            said = f"{report.said}: {master} is dead"
            self._observer.witnessed(master)
        elif report.found is Found.ALIVE:
            said = f"{report.said}: {master} lives, and is not tried again for {report.found.value:g} s"
        else:
            said = report.said
        self._observer.event("witness", said, master, cluster.name)
        with contextlib.suppress(StoreError):
            await self._store.audit.add(
                AuditEntry(at=utc_now(), type="witness", instance=master, message=said)
            )

    async def _connects(
        self, view: ClusterView, master: InstanceKey, witness: Witness, mandate: Mandate
    ) -> _Report:
        settings, cluster_id = self._settings(), view.cluster.id
        wait_seconds, bounds = settings.WitnessWaitMilliseconds / 1000, timing(settings)
        session = await ActingSession.open(witness.key, login(settings), mandate, timeout=bounds.statement)
        try:
            await _speak_of_its_channel(session)
            elsewhere = _other_source(await _channel(session), view, master)
            if elsewhere:
                return _Report(
                    Found.UNKNOWN, f"{witness.key} cannot tell: it replicates from {elsewhere} now"
                )
            if not witness.restart or await _state(session) != "Yes":
                return await _watched(session, witness.key, wait_seconds)
            name = session.dialect.net_timeout
            net_timeout = int((await session.read(f"SELECT @@global.{name} AS seconds"))[0]["seconds"])
            await self._store.witnesses.begin(cluster_id, witness.key, net_timeout, term=mandate.term)
            self._restarted.add(witness.key)
            await _reconnect(session, _CONNECT_SECONDS)
            report = await _watched(session, witness.key, wait_seconds)
            if report.found is Found.ALIVE:
                # What it has connected with would make it connect anew after each second without news.
                await _reconnect(session, net_timeout)
            else:
                await _set_net_timeout(session, net_timeout)
        finally:
            await session.close()
        with contextlib.suppress(StoreError):  # then it is done once more, by ``resume``
            await self._store.witnesses.end(cluster_id)
        return report

    async def resume(self) -> None:
        """Put back what an earlier term, or an interruption, left as a witness. Raises StoreError."""
        for cluster_id, (key, net_timeout) in (await self._store.witnesses.open()).items():
            mandate = self._mandate()
            if mandate is None or cluster_id in self._asking:
                continue
            try:
                session = await ActingSession.open(key, login(self._settings()), mandate)
                try:
                    await _speak_of_its_channel(session)
                    await _reconnect(session, net_timeout)
                finally:
                    await session.close()
            except (MySQLError, MandateOverError) as error:
                _log.warning("a witness was not put back", instance=str(key), reason=str(error))
                continue
            await self._store.witnesses.end(cluster_id)
            self._observer.event("witness", f"{key} was a witness, and its receiver runs as before", key, "")

    async def stop(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)


async def _set_net_timeout(session: ActingSession, seconds: int) -> None:
    await session.act(f"SET GLOBAL {session.dialect.net_timeout} = {seconds:d}", step="witness")


async def _reconnect(session: ActingSession, net_timeout: int) -> None:
    """Have the receiver connect anew, with this time-out."""
    await _set_net_timeout(session, net_timeout)
    for statement in (session.dialect.stop_receiver, session.dialect.start_receiver):
        await session.act(statement, step="witness", timeout=_STOP_SECONDS)


async def _speak_of_its_channel(session: ActingSession) -> None:
    """Where it has several, only the receiver of the one that the API speaks of is restarted and watched."""
    rows = await session.read(session.dialect.channels)
    session.speak_of_channel(apply_replica_status(Instance(key=session.key), rows))


def _other_source(channel: Row, view: ClusterView, master: InstanceKey) -> InstanceKey | None:
    """From whom it replicates, if not from the master by any of its names."""
    source = InstanceKey(str(channel.get("Source_Host")), int(channel.get("Source_Port") or 0))
    known = view.instance(master)
    names = {master, *(known.also_known_as if known is not None else ())}
    return None if source in names else source


async def _channel(session: ActingSession) -> Row:
    return await channel_of(session) or {}


async def _state(session: ActingSession) -> str:
    return str((await _channel(session)).get("Replica_IO_Running", ""))


async def _watched(session: ActingSession, key: InstanceKey, wait_seconds: float) -> _Report:
    """Whether its receiver gets through to the master within the wait."""
    deadline = time.monotonic() + wait_seconds
    while True:
        channel = await _channel(session)
        state, errno = str(channel.get("Replica_IO_Running", "")), int(str(channel.get("Last_IO_Errno") or 0))
        if state == "Yes":
            return _Report(Found.ALIVE, f"{key} receives")
        if errno:
            found = Found.DEAD if errno in NETWORK_ERRNOS else Found.ALIVE
            return _Report(found, f"{key} could not connect: {channel['Last_IO_Error']!r} [{errno}]")
        if state != "Connecting":
            return _Report(Found.UNKNOWN, f"{key} cannot tell: its receiver was stopped by somebody")
        if time.monotonic() > deadline:
            return _Report(Found.DEAD, f"{key} hangs in its connect for {wait_seconds:g} s")
        await asyncio.sleep(_LOOK_SECONDS)
