"""Watching one server: polls on time, looks at once when something happens.

Between its polls a watcher keeps the idle connection registered with the event loop, so that a reset or
an end of file is known in the millisecond in which the kernel knows it, and pings a server that has
replicas every heartbeat. Either is a reason to look, never a verdict: what is reported is what a check on a
fresh connection finds, at once and again after 25, 50, 100 … ms.

Nothing here can hang: every check has a bound, and a server that keeps a poll waiting is dialled on a
second connection meanwhile, so that slow and dead can be told apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from services.mysql.classification import Classifier, ClassifyingQueries
from services.mysql.connection import Connection, Login, speaks_http
from services.mysql.errors import ConnectError, LostError, StatementError
from services.mysql.names import OwnName
from services.mysql.poll import DiscoveryPolicy, PartialPollError, PolledServer
from services.topology.instance import CheckOutcome, Instance, Observation, ThreadState
from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy

__all__ = ["DEAD_AT_ONCE", "WatchPolicy", "Watcher"]

_log = structlog.get_logger(__name__)

BURST_SECONDS = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4)
"""Pauses before each of the looks that follow an event."""

_LATE = 0.25
"""A ping that is not answered within this part of the heartbeat is late."""

_FULL_AFTER_SECONDS = 1.0
"""A burst of light looks is followed by a whole check so soon."""

_NEWS = (
    "receiver_state", "applier_state", "last_io_errno", "last_sql_errno", "master_key", "read_only",
)  # fmt: skip
"""What the analysis may judge differently from one look to the next."""

DEAD_AT_ONCE = 32
_LONG_DEAD = 12
"""After so many failures a server is dialled less and less often, also where no factor says so …"""
_LONG_DEAD_FACTOR = 1.25
_LONG_DEAD_POLLS = 6.0
"""… up to so many polls apart."""

Report = Callable[[Observation], None]


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """Times of a watcher, in seconds, and what else it asks."""

    poll: float = 5.0
    heartbeat: float = 0.5
    connect_timeout: float = 2.0
    read_timeout: float = 10.0
    dead_factor: float = 1.0
    dead_max: float = 300.0
    lifetime: float = 0.0
    """A connection is not kept for longer; 0: as long as it lasts."""
    dead_at_once: int = 0
    """So many servers that do not answer are dialled at a time by one process; 0: `DEAD_AT_ONCE`."""
    queries: ClassifyingQueries = field(default_factory=ClassifyingQueries)
    discovery: DiscoveryPolicy = field(default_factory=DiscoveryPolicy)
    names: NamePolicy = field(default_factory=NamePolicy)


class Watcher:
    """Polls and watches one server until ``stop``; ``report`` is called with each finished check."""

    def __init__(
        self,
        key: InstanceKey,
        login: Login,
        policy: WatchPolicy,
        report: Report,
        lane: asyncio.Semaphore | None = None,
    ) -> None:
        """``lane``: what the watchers of a process share to dial servers that do not answer."""
        self.key = key
        self._lane = lane or asyncio.Semaphore(DEAD_AT_ONCE)
        self._login = login
        self._policy = policy
        self._report = report
        self._server: PolledServer | None = None
        self._wake = asyncio.Event()
        self._burst: list[float] = []
        self._light = False
        self._has_replicas = False
        self._ever_spoke = False
        self._last: Instance | None = None
        self._speaks_http: bool | None = None
        self._failures = 0
        self._redial = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._own_name = OwnName(key, login, policy.names, timeout=policy.connect_timeout)
        self._classifier = Classifier(
            key,
            login,
            policy.queries,
            pause=policy.poll,
            timeout=policy.read_timeout,
            news=self.look,
            lifetime=policy.lifetime,
        )

    def start(self) -> None:
        self._tasks.add(asyncio.ensure_future(self._run()))
        if self._policy.queries:
            self._tasks.add(asyncio.ensure_future(self._classifier.run()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        self._drop()

    def look(self, *, burst: bool = False, light: bool = False) -> None:
        """Check at once; with ``burst`` also again shortly after, several times.

        A ``light`` burst asks from the first look on only what replication moves, if the rest is known and
        the connection still the same: it is for what is urgent, and the rest follows within a second.
        """
        if not self._burst:  # looks that are due already are not begun anew
            self._burst = list(BURST_SECONDS) if burst else []
            self._light = burst and light and self._server is not None
        self._wake.set()

    def redial(self, enabled: bool) -> None:
        """Dial a server that does not answer at every heartbeat, without backoff."""
        if enabled and not self._redial:
            self._wake.set()
        self._redial = enabled

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            light = self._light or 0 < len(self._burst) < len(BURST_SECONDS)
            if self._burst:
                await self._pause(self._burst.pop(0))
            try:
                async with self._own_lane():
                    observation = await self._check(light=light)
            except Exception as error:
                # A defect of ours must not end the watching of a server, nor pass for its death.
                _log.exception("check failed", instance=str(self.key))
                observation = self._failed(CheckOutcome.UNKNOWN, f"internal error: {error}", time.monotonic())
            if _is_conclusive(observation):
                self._burst = []
            # The last look is always told: somebody may wait for it, and ask again before the next poll.
            if not (self._burst and self._tells_nothing_new(observation)):
                self._emit(observation)
            if observation.outcome is CheckOutcome.OK:
                self._failures = 0
            else:
                self._failures += 1
                if self._failures == 1 and not self._burst and not _is_conclusive(observation):
                    self._burst = list(BURST_SECONDS[1:])
            if not self._burst:
                pause = min(self._interval(), _FULL_AFTER_SECONDS) if self._light else self._interval()
                self._light = False
                await self._idle(pause)

    def _own_lane(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Of those that do not answer some are dialled at a time; one that is being judged never waits."""
        if self._failures and not self._burst and not self._redial:
            return self._lane
        return contextlib.nullcontext()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    def _interval(self) -> float:
        policy = self._policy
        if not self._failures:
            return policy.poll
        if self._redial:
            return policy.heartbeat
        if policy.dead_factor > 1:
            return min(policy.poll * policy.dead_factor ** min(self._failures - 1, 64), policy.dead_max)
        longer = _LONG_DEAD_FACTOR ** min(max(0, self._failures - _LONG_DEAD), 64)
        return min(policy.poll * min(longer, _LONG_DEAD_POLLS), max(policy.poll, policy.dead_max))

    async def _idle(self, seconds: float) -> None:
        """Wait for the next poll, pinging meanwhile. Returns early when there is reason to look."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._wake.is_set() and (left := until - loop.time()) > 0:
            server = self._server
            if server is None or not self._has_replicas:
                if server is not None:
                    server.connection.watch(self._event)
                await self._pause(left)
                continue
            server.connection.watch(self._event)
            await self._pause(min(left, self._policy.heartbeat))
            if self._wake.is_set() or until - loop.time() <= 0:
                return
            await self._ping(server)

    async def _ping(self, server: PolledServer) -> None:
        """While the answer is late a fresh connection is tried already: a server that hangs is known sooner.

        Each has a heartbeat's time. What is reported here is what the fresh connection met.
        """
        heartbeat = self._policy.heartbeat
        pinging = asyncio.ensure_future(server.connection.ping(timeout=heartbeat))
        dialling: asyncio.Future[Connection] | None = None
        began = time.monotonic()
        try:
            await asyncio.wait({pinging}, timeout=heartbeat * _LATE)
            if not pinging.done():
                began = time.monotonic()
                dialling = asyncio.ensure_future(Connection.open(self.key, self._login, timeout=heartbeat))
            await pinging
        except (LostError, StatementError, ConnectError):
            self._event()
            if dialling is not None:
                try:
                    await dialling
                except ConnectError as error:
                    self._emit(self._failed(error.outcome, error.reason, began))
        finally:
            pinging.cancel()
            if dialling is not None:
                dialling.add_done_callback(_close)
                dialling.cancel()

    def _event(self) -> None:
        self._drop()
        self.look(burst=True)

    def _drop(self) -> None:
        if self._server is not None:
            self._server.connection.abort()
            self._server = None

    def _emit(self, observation: Observation) -> None:
        if observation.outcome.is_answer:
            self._ever_spoke = True
        if observation.outcome is not CheckOutcome.NOT_MYSQL and not observation.outcome.is_silence:
            self._speaks_http = None
        if observation.instance is not None:
            self._last = observation.instance
            self._has_replicas = bool(observation.instance.replicas)
        self._report(observation)

    def _tells_nothing_new(self, observation: Observation) -> bool:
        """A look between others that finds replication as it was is not worth a report."""
        last, now = self._last, observation.instance
        if last is None or now is None or self._failures:
            return False
        return all(getattr(last, name) == getattr(now, name) for name in _NEWS)

    async def _check(self, *, light: bool) -> Observation:
        began = time.monotonic()
        try:
            instance = await self._poll(light=light)
        except ConnectError as error:
            self._drop()
            return self._failed(*await self._explained(error), began)
        except LostError as error:
            self._drop()
            return self._failed(error.outcome, error.reason, began)
        except StatementError as error:
            self._drop()
            return self._failed(CheckOutcome.FAILED, error.reason, began)
        except PartialPollError as error:
            return self._failed(CheckOutcome.FAILED, str(error), began, partial=error.basics_read)
        elapsed = time.monotonic() - began
        self._classifier.answers()
        own_key = None if self._burst else await self._own_name.of(instance)  # a server in doubt is not asked
        return Observation(
            key=self.key,
            outcome=CheckOutcome.OK,
            error=self._server.complaint if self._server is not None else "",
            partial_success=True,
            age_seconds=time.monotonic() - began,
            latency_seconds=elapsed,
            instance=self._classifier.applied(instance),
            told=self._classifier.told,
            own_key=own_key,
        )

    def _failed(
        self, outcome: CheckOutcome, text: str, began: float, *, partial: bool = False
    ) -> Observation:
        elapsed = time.monotonic() - began
        return Observation(
            key=self.key,
            outcome=outcome,
            error=text,
            partial_success=partial,
            age_seconds=elapsed,
            latency_seconds=elapsed,
        )

    async def _explained(self, error: ConnectError) -> tuple[CheckOutcome, str]:
        """A port that never spoke MySQL may be asked what it is; a MySQL server is never sent garbage."""
        if error.outcome is CheckOutcome.SILENT and not self._ever_spoke:
            if self._speaks_http is None:
                self._speaks_http = await speaks_http(self.key, timeout=self._policy.heartbeat)
            if self._speaks_http:
                return CheckOutcome.NOT_MYSQL, "this is not a MySQL server: it speaks HTTP"
        return error.outcome, error.reason

    async def _poll(self, *, light: bool) -> Instance:
        """Everything; or, ``light``, what replication moves, if the rest is known."""
        policy = self._policy
        if self._server is not None and not light and self._server.connection.is_older(policy.lifetime):
            self._drop()
        if self._server is None:
            # A server known to speak is given the heartbeat to do so again: it is being judged.
            patience = policy.heartbeat if self._ever_spoke and self._burst else policy.connect_timeout
            self._server = await PolledServer.connect(
                self.key,
                self._login,
                timeout=min(patience, policy.connect_timeout),
                policy=policy.discovery,
            )
        if light and self._last is not None:
            work = self._server.poll_replica(self._last, timeout=policy.read_timeout)
        else:
            work = self._server.poll(timeout=policy.read_timeout)
        polling = asyncio.ensure_future(work)
        try:
            await asyncio.wait({polling}, timeout=policy.heartbeat)
            if not polling.done():
                await self._dial_meanwhile(polling)
            return await polling
        finally:
            polling.cancel()

    async def _dial_meanwhile(self, polling: asyncio.Future[Instance]) -> None:
        """While a poll keeps us waiting, report silence as soon as a fresh connection meets it too."""
        while not polling.done():
            began = time.monotonic()
            try:
                probe = await Connection.open(self.key, self._login, timeout=self._policy.heartbeat)
            except ConnectError as error:
                if not polling.done():
                    self._emit(self._failed(error.outcome, error.reason, began))
            else:
                await probe.close()
            await asyncio.wait({polling}, timeout=self._policy.heartbeat)


def _close(dialled: asyncio.Future[Connection]) -> None:
    """It was only to see whether somebody answers."""
    if not dialled.cancelled() and dialled.exception() is None:
        dialled.result().abort()


def _is_conclusive(observation: Observation) -> bool:
    """Looking again in some milliseconds would tell no more: nobody listens, or the receiver has stopped."""
    if observation.outcome is CheckOutcome.REFUSED:
        return True
    instance = observation.instance
    if instance is None:
        return False
    connecting = instance.receiver_state is ThreadState.OTHER
    return instance.receiver_state is ThreadState.STOPPED or (connecting and bool(instance.last_io_errno))
