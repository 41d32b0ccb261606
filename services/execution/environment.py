"""What a recovery needs from the world around it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.execution.before import BEFORE_KIND, before_to
from services.mysql.connection import Login
from services.mysql.errors import ConnectError
from services.mysql.session import ActingSession, Mandate
from services.planning.plan import Step
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.records import JournalEntry, JournalPhase

__all__ = ["Environment", "Journal", "Sessions", "Timing"]


class Journal(Protocol):
    """Where intents and outcomes go before and after each step."""

    async def write(self, entries: Sequence[JournalEntry]) -> None:
        """Durable when it returns; all or nothing. Raises if it could not be written."""
        ...

    async def say(self, message: str) -> None:
        """One line of the audit of this recovery, for people. Never fails and never waits long."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Bounds of a recovery's steps, in seconds."""

    dial: float = 0.5  # a fresh connection to a server that is being judged
    statement: float = 1.5  # any one statement
    stop: float = 10.0  # STOP REPLICA, which waits for a receiver that hangs in a connect
    no_progress: float = 10.0  # an applier that drains (ReasonableReplicationLagSeconds)
    drain_within: float = math.inf  # all of it, if FailMasterPromotionIfSQLThreadNotUpToDate
    connect_replica: float = 5.0  # a re-pointed receiver until it receives
    look: float = 0.005  # first pause between looks at a condition; grows tenfold at most


class Sessions:
    """The acting sessions of one recovery, one per server, opened when first needed."""

    def __init__(self, login: Login, mandate: Mandate, timing: Timing) -> None:
        self._login = login
        self._mandate = mandate
        self._timing = timing
        self._open: dict[InstanceKey, ActingSession] = {}
        self._turns: dict[InstanceKey, asyncio.Lock] = {}
        self._silent: dict[InstanceKey, ConnectError] = {}
        self._stopping: dict[InstanceKey, asyncio.Task[None]] = {}
        self._known: dict[InstanceKey, Instance] = {}

    def know(self, instances: Iterable[Instance]) -> None:
        """From now on statements about replication name the channels that are known of these, where they
        must."""
        self._known.update({instance.key: instance for instance in instances})

    async def on(self, key: InstanceKey) -> ActingSession:
        """The session on a server; a new one if there is none or it was lost. Raises as its ``open``."""
        async with self._turns.setdefault(key, asyncio.Lock()):
            silent = self._silent.pop(key, None)
            if silent is not None:
                raise silent
            session = self._open.get(key)
            if session is None or session.closed:
                session = await ActingSession.open(
                    key, self._login, self._mandate, timeout=self._timing.statement
                )
                self._open[key] = session
            if key in self._known:
                session.speak_of_channel(self._known[key])
            return session

    async def prepare(self, instances: Iterable[Instance]) -> None:
        """Open sessions on all of them side by side. Who cannot be reached is found out when it is needed.

        Who did not answer now is not waited for a second time then.
        """
        keys = [instance.key for instance in instances]
        found = await asyncio.gather(*(self.on(key) for key in keys), return_exceptions=True)
        for key, error in zip(keys, found, strict=True):
            if isinstance(error, ConnectError) and error.outcome.is_silence:
                self._silent[key] = error

    async def dial(self, key: InstanceKey) -> ActingSession:
        """A new session on a server that may be dead, within the short bound."""
        before = self._open.pop(key, None)
        if before is not None:
            await before.close()
        session = await ActingSession.open(key, self._login, self._mandate, timeout=self._timing.dial)
        self._open[key] = session
        return session

    def stop_beside(self, session: ActingSession, *, step: str, timeout: float) -> asyncio.Task[None]:
        """Have the receiver stopped in a session beside this one. ``stopped`` awaits its return."""

        async def stop() -> None:
            beside = await session.beside(timeout=self._timing.statement)
            try:
                await beside.act(session.dialect.stop_receiver, step=step, timeout=timeout)
            finally:
                await beside.close()

        task = asyncio.ensure_future(stop())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # who asks is told
        self._stopping[session.key] = task
        return task

    async def stopped(self, key: InstanceKey) -> None:
        """Wait until a STOP that was issued on the server has returned; its time-out is the bound."""
        task = self._stopping.pop(key, None)
        if task is not None:
            await asyncio.wait({task})

    async def close(self) -> None:
        for task in self._stopping.values():
            task.cancel()
        sessions, self._open = list(self._open.values()), {}
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)


async def _is_not(_key: InstanceKey) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One recovery's world. ``clock`` gives UTC texts for the journal."""

    recovery_uid: str
    mandate: Mandate
    sessions: Sessions
    login: Login
    journal: Journal
    utc_now: Callable[[], str]
    depose: Callable[[InstanceKey, InstanceKey], Awaitable[None]]
    """Durably: (failed, promoted). The failed one is deposed, the other is the cluster's master."""
    before: dict[InstanceKey, Instance] = field(default_factory=dict)
    """Servers as they were before the recovery touched them: what an abort restores."""
    timing: Timing = Timing()
    fence: Callable[[InstanceKey, InstanceKey], Awaitable[str]] | None = None
    """Runs FenceProcesses for (failed, candidate); gives why they failed, "" if they did not."""
    hook_facts: str = ""
    """What the hooks of this recovery are told, for a later term; "" if it is to run none."""
    is_master: Callable[[InstanceKey], Awaitable[bool]] = _is_not
    """Whether the store has this server as the cluster's master by now."""
    detach_lost: bool = False
    names: dict[InstanceKey, InstanceKey] = field(default_factory=dict)
    """Other endpoints under which replicas may know a server, and that server."""
    same: dict[tuple[InstanceKey, InstanceKey], asyncio.Task[bool | None]] = field(default_factory=dict)
    """Pairs of endpoints that were compared in this recovery; see ``source_names``."""

    async def remember(self, before: Instance, step: Step) -> None:
        """Durably, before ``step`` changes a server that the plan did not expect to find alive."""
        if before.key in self.before:
            return
        entry = JournalEntry(
            recovery_uid=self.recovery_uid,
            term=self.mandate.term,
            step_no=step.number,
            kind=BEFORE_KIND,
            instance=before.key,
            phase=JournalPhase.INTENT,
            detail=before_to([before]),
            at=self.utc_now(),
        )
        await self.journal.write([entry])
        self.before[before.key] = before
