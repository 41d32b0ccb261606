"""What is done with what was agreed on: the state machine, entry by entry, in order, once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from services.consensus.core import Raft
from services.consensus.messages import Entry, Snapshot
from services.raft.errors import CommandFailedError, OutcomeUnknownError, ProposalLostError
from services.raft.wire import SNAPSHOT_BYTES_MAX

__all__ = ["Applier", "StateMachine"]

_log = structlog.get_logger(__name__)
_ERRORS_KEPT = 10
_RESTORE_AGAIN_SECONDS = 1.0


class StateMachine(Protocol):
    """Deterministic: the same commands in the same order give the same state on every member.

    After a restart of the process everything after the last snapshot is applied again. A machine that is
    durable itself skips the ``index`` that it has.
    """

    async def apply(self, index: int, command: bytes) -> object:
        """The result is the proposer's. So is what it raises, which is recorded and never retried."""

    async def snapshot(self) -> bytes:
        """The state, all of it."""

    async def restore(self, index: int, data: bytes) -> None:
        """From now on the state is this one, the one after entry ``index``."""


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
        self._due: deque[Entry | Snapshot] = deque()
        self._arrived = asyncio.Event()
        self._asked = False  # for a snapshot
        self._waiting: dict[int, tuple[int, asyncio.Future[object]]] = {}

    def begin(self, core: Raft) -> None:
        """A life of the member: what it hands over comes after its snapshot."""
        self._core = core
        self._due.clear()
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

    def put(self, *due: Entry | Snapshot) -> None:
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
            await self._arrived.wait()
            while self._due:
                await self._do(self._due.popleft())
            if self._asked and self._core is not None:
                await self._compact(self._core)
            self._arrived.clear()

    async def _do(self, due: Entry | Snapshot) -> None:
        core = self._core
        if isinstance(due, Snapshot):
            if due.index > self.at:
                await self._restore(due)
        else:
            await self._apply(due)
        if core is not None and core is self._core:
            core.applied(self.at)
            await self._compact(core)
        self._wake()

    async def _restore(self, snapshot: Snapshot) -> None:
        """Nothing can be applied before it is: tried until it is, and until then this member cannot act."""
        while True:
            try:
                await self._machine.restore(snapshot.index, snapshot.data)
            except Exception as error:
                self.errors.append(f"restoring the snapshot at {snapshot.index}: {error!r}")
                _log.exception("a snapshot cannot be restored", index=snapshot.index)
                await asyncio.sleep(_RESTORE_AGAIN_SECONDS)
            else:
                break
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
                result = await self._machine.apply(entry.index, entry.command)
            except Exception as error:
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
