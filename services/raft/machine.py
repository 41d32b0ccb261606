"""What is done with what was agreed on: the state machine, entry by entry, in order, once.

A command that makes no sense, of which the machine says so by a ValueError, is recorded and passed over: it
is the same on every member. A machine that cannot work *here and now* (its store's disk is full, memory is
short, it has a defect) is another thing: the entry is tried again until it works, and until then this member
is in *trouble*, which it says and for which it does not lead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from services.consensus.core import Raft
from services.consensus.messages import Entry, Snapshot
from services.raft.errors import (
    CommandFailedError,
    MachineUnavailableError,
    OutcomeUnknownError,
    ProposalLostError,
)
from services.raft.wire import SNAPSHOT_BYTES_MAX

__all__ = ["Applier", "StateMachine"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_ERRORS_KEPT = 10
_AGAIN_SECONDS = 0.5
_CHECK_SECONDS = 1.0
_STUCK_SECONDS = 2.0
"""Longer than this no command takes to apply on a member that is well."""


class StateMachine(Protocol):
    """Deterministic: the same commands in the same order give the same state on every member.

    Each may raise MachineUnavailableError, before anything was done, for what may be mended: it is called
    again.
    """

    async def begin(self, *, is_new: bool) -> int:
        """Up to which entry the state has everything; what follows is applied, again if need be.

        ``is_new``: this member's log is empty. What the state has is of another log, and counts no more.
        """

    async def apply(self, index: int, command: bytes) -> object:
        """The result is the proposer's. So is a ValueError, which is recorded and never retried.

        After any other error it is called again with the same, until it returns: nothing is passed over on
        this member only.
        """

    async def check(self) -> None:
        """Whether something could be applied now; asked when nothing has been for a while."""

    async def snapshot(self) -> bytes:
        """The state, all of it."""

    async def restore(self, index: int, data: bytes) -> None:
        """From now on the state is this one, the one after entry ``index``."""


@dataclass(frozen=True, slots=True)
class _Begin:
    is_new: bool


class Applier:
    """The one that calls the state machine. It outlives the member's lives, as the machine's state does."""

    def __init__(
        self, machine: StateMachine, *, snapshot_every: int, keep: int, wake: Callable[[], None]
    ) -> None:
        self.at = 0  # the machine has everything up to here
        self.failed = 0
        self.errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        self._machine = machine
        self._snapshot_every, self._keep = snapshot_every, keep
        self._wake = wake
        self._core: Raft | None = None
        self._due: deque[Entry | Snapshot | _Begin] = deque()
        self._hindrance = ""
        self._working_since: float | None = None
        self._arrived = asyncio.Event()
        self._asked = False  # for a snapshot
        self._waiting: dict[int, tuple[int, asyncio.Future[object]]] = {}

    @property
    def trouble(self) -> str:
        """Why nothing can be applied now; empty if it can."""
        if self._hindrance or self._working_since is None:
            return self._hindrance
        for_seconds = asyncio.get_running_loop().time() - self._working_since
        if for_seconds < _STUCK_SECONDS:
            return ""
        return f"nothing could be applied for {for_seconds:.0f} s: does the store's disk or server hang?"

    def begin(self, core: Raft, *, is_new: bool) -> None:
        """A life of the member: what it hands over comes after its snapshot."""
        self._core = core
        self._due.clear()
        self.put(_Begin(is_new))
        if core.log.snapshot.index:
            self.put(core.log.snapshot)

    def end(self) -> None:
        """The life is over: whoever waits is not told how it ended."""
        self._core = None
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            _fail(
                future, OutcomeUnknownError("this member's raft stopped: the command may still be agreed on")
            )

    def put(self, *due: Entry | Snapshot | _Begin) -> None:
        self._due.extend(due)
        self._arrived.set()

    @property
    def backlog(self) -> int:
        return len(self._due) + len(self._waiting)

    def wait_for(self, entry: Entry) -> asyncio.Future[object]:
        """What becomes of an entry just proposed."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        _, before = self._waiting.pop(entry.index, (0, None))
        if before is not None:
            _fail(before, OutcomeUnknownError("another term began: the command may still be agreed on"))
        self._waiting[entry.index] = (entry.term, future)
        return future

    def forget(self, entry: Entry) -> None:
        """Nobody waits any more."""
        term, _ = self._waiting.get(entry.index, (0, None))
        if term == entry.term:
            del self._waiting[entry.index]

    async def run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._arrived.wait(), _CHECK_SECONDS)
            except asyncio.TimeoutError:
                await self._until_it_works(self._machine.check, "check")
                continue
            self._arrived.clear()  # before the work: what comes meanwhile is work of the next round
            while self._due:
                await self._do(self._due.popleft())
            if self._asked and self._core is not None:
                await self._compact(self._core)

    async def _do(self, due: Entry | Snapshot | _Begin) -> None:
        core = self._core
        match due:
            case _Begin():
                self.at = await self._until_it_works(lambda: self._machine.begin(is_new=due.is_new), "begin")
            case Snapshot():
                if due.index > self.at:
                    await self._restore(due)
            case Entry():
                await self._apply(due)
        if core is not None and core is self._core:
            core.applied(self.at)
            await self._compact(core)
        self._wake()

    async def _until_it_works(self, work: Callable[[], Awaitable[T]], what: str) -> T:
        """Nothing can be applied before this is: tried until it is, and until then this member is in
        trouble."""
        while True:
            try:
                done = await self._timed(work)
            except MachineUnavailableError as error:
                self._hinder(str(error))
            except Exception as error:
                self._hinder(f"{what}: {error!r}")
                _log.exception("the state machine fails", what=what)
            else:
                self._hinder("")
                return done
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _timed(self, work: Callable[[], Awaitable[T]]) -> T:
        self._working_since = asyncio.get_running_loop().time()
        try:
            return await work()
        finally:
            self._working_since = None

    def _hinder(self, why: str) -> None:
        if why != self._hindrance:
            if why:
                _log.error("nothing can be applied", reason=why, after=self.at)
            else:
                _log.info("what was agreed on is applied again", after=self.at)
            self._hindrance = why
            self._wake()

    async def _restore(self, snapshot: Snapshot) -> None:
        await self._until_it_works(
            lambda: self._machine.restore(snapshot.index, snapshot.data),
            f"restoring the snapshot at {snapshot.index}",
        )
        self.at = snapshot.index
        self._restored(snapshot.index)

    async def _apply(self, entry: Entry) -> None:
        term, future = self._waiting.pop(entry.index, (entry.term, None))
        if future is not None and term != entry.term:
            _fail(
                future, ProposalLostError("another leader's entry took the place of this command: not done")
            )
            future = None
        if entry.index <= self.at:
            return
        result: object = None
        if entry.command is not None:
            try:
                result = await self._apply_patiently(entry.index, entry.command)
            except ValueError as error:
                self.failed += 1
                self.errors.append(f"entry {entry.index}: {error!r}")
                _log.exception("a command that was agreed on cannot be applied", index=entry.index)
                if future is not None:
                    _fail(
                        future, CommandFailedError(f"agreed on as entry {entry.index}, but failed: {error!r}")
                    )
                future = None
        self.at = entry.index
        if future is not None and not future.done():
            future.set_result(result)

    async def _apply_patiently(self, index: int, command: bytes) -> object:
        while True:
            try:
                result = await self._timed(lambda: self._machine.apply(index, command))
            except MachineUnavailableError as error:
                self._hinder(str(error))
            except ValueError:
                self._hinder("")
                raise
            except Exception as error:
                why = f"entry {index} cannot be applied here, and none after it: {error!r}"
                if self._hindrance != why:
                    _log.exception("an entry cannot be applied here", index=index)
                self._hinder(why)
            else:
                self._hinder("")
                return result
            await asyncio.sleep(_AGAIN_SECONDS)

    def _restored(self, index: int) -> None:
        for known in [known for known in self._waiting if known <= index]:
            _, future = self._waiting.pop(known)
            _fail(future, OutcomeUnknownError("a snapshot took its place: the command may be in it"))

    def ask_for_snapshot(self) -> None:
        self._asked = True
        self._arrived.set()

    async def _compact(self, core: Raft) -> None:
        """A snapshot, between two entries, if it is time for one."""
        if not self._asked and self.at < core.log.snapshot.index + self._snapshot_every:
            return
        if self.at > core.commit_index:
            return  # a state that was ahead when this life began: what it has is committed, as will be heard
        self._asked = False
        try:
            data = await self._machine.snapshot()
        except Exception as error:
            self.errors.append(f"snapshot at {self.at}: {error!r}")
            _log.exception("no snapshot of the state", index=self.at)
            return
        if len(data) > SNAPSHOT_BYTES_MAX:
            self.errors.append(f"a snapshot of {len(data)} bytes, at most {SNAPSHOT_BYTES_MAX} are allowed")
            return
        if core is self._core:
            core.compact(self.at, data, keep=self._keep)


def _fail(future: asyncio.Future[object], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
