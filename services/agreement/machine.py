"""The state machine of a raft member: the store's changes, applied to this node's own store.

* Exactly once: see ``applying``.
* What the store refuses (a cluster that is being recovered, an older term) is refused on every member, and is
  applied thereby. The caller gets the error as if its own store had said it.
* So is what makes no sense, of which the store says so by a ValueError: that comes of nothing but the command
  and the agreed tables.
* What hinders this member only, a full disk, a server that hangs, memory that is short or a defect of ours,
  leaves nothing out: see ``raft.machine``. So does a command that this version does not know: a member that
  is older than the leader stops applying until it is upgraded.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, update

from services.agreement.applying import AppliedBeforeError, ApplyingDatabase, place_in
from services.agreement.commands import UnknownCommandError, decode, encode
from services.agreement.founding import FoundingStore, Led
from services.agreement.operations import OPERATIONS, PARTS
from services.agreement.tables import dump, pack, replace_all, unpack
from services.raft.errors import MachineUnavailableError, OutcomeUnknownError
from services.store.engine import Database
from services.store.errors import StoreError, StoreRefusedError
from services.store.schema import RAFT_STATE

__all__ = ["Outcome", "StoreMachine"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_WHOLE_SECONDS = 60.0  # for all of the state at once


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the store's method returned, or raised."""

    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class StoreMachine:
    """``changed`` is told the part of the store that a command changed; of a whole new state, all parts."""

    def __init__(
        self, database: Database, member: str, *, changed: Callable[[str], None] = lambda part: None
    ) -> None:
        self.led = Led()
        """As of what was applied."""
        self._database = database
        self._member = member
        self._changed = changed
        self._applying = ApplyingDatabase(database, member)
        self._founding = FoundingStore(database)
        self._parts = {name: store(self._applying) for name, (store, _) in PARTS.items()}

    # what a leader proposes first

    async def beginning(self) -> bytes | None:
        """The command with which a log begins; None if it has begun. Raises StoreError."""
        if await self._founding.is_founded():
            return None
        state = await self._founding.beginning()
        return encode(OPERATIONS["founding.found"], secrets.token_hex(16), state)

    def leading(self, term: int, uri: str) -> bytes:
        """The command with which a leader begins its term."""
        return encode(OPERATIONS["founding.lead"], self._member, term, uri)

    # as raft wants it

    async def begin(self, *, is_new: bool) -> int:
        def work(connection: Connection) -> int:
            applied, _ = place_in(connection, self._database.path, self._member)
            if not is_new:
                return applied
            connection.execute(update(RAFT_STATE).values(applied_index=0, log_id=""))
            return 0

        applied = await self._locally(lambda: self._database.write(work))
        await self._locally(self._look)
        return applied

    async def apply(self, index: int, command: bytes) -> Outcome:
        try:
            operation, bound = decode(command)
        except UnknownCommandError as error:
            raise MachineUnavailableError(
                f"entry {index} was written by another version of orchestray, upgrade this node: {error}"
            ) from error
        self._applying.begin(index)
        method = getattr(self._parts[operation.part], operation.method)
        outcome = await self._outcome(method, bound.args, bound.kwargs)
        if not self._applying.is_written:
            await self._pass_over()
        if operation.part == "founding":
            await self._locally(self._look)
        if outcome.error is None:
            self._changed(operation.part)
        return outcome

    async def _outcome(self, method: Any, arguments: Any, named: Any) -> Outcome:
        try:
            return Outcome(await method(*arguments, **named))
        except AppliedBeforeError:
            self._applying.is_written = True
            return Outcome(error=OutcomeUnknownError("it was applied; what came of it was not heard"))
        except StoreRefusedError as error:
            return Outcome(error=error)
        except StoreError as error:
            raise MachineUnavailableError(str(error)) from error
        except ValueError as error:  # a call that makes no sense: it makes none on any member
            return Outcome(error=error)

    async def _pass_over(self) -> None:
        """It has no effect, and is applied."""
        try:
            await self._applying.write(lambda connection: None)
        except AppliedBeforeError:
            return
        except StoreError as error:
            raise MachineUnavailableError(str(error)) from error

    async def check(self) -> None:
        same = update(RAFT_STATE).values(applied_index=RAFT_STATE.c.applied_index)
        await self._locally(lambda: self._database.write(lambda connection: connection.execute(same)))

    async def snapshot(self) -> bytes:
        def work(connection: Connection) -> dict[str, Any]:
            applied, log_id = place_in(connection, self._database.path, self._member)
            return {**dump(connection), "log_id": log_id, "applied_index": applied}

        dumped = await self._locally(lambda: self._database.read(work, limit_seconds=_WHOLE_SECONDS))
        return await asyncio.to_thread(pack, dumped)

    async def restore(self, index: int, data: bytes) -> None:
        dumped = await asyncio.to_thread(unpack, data)

        def work(connection: Connection) -> None:
            place_in(connection, self._database.path, self._member)
            replace_all(connection, dumped)
            connection.execute(update(RAFT_STATE).values(applied_index=index, log_id=dumped["log_id"]))

        await self._locally(lambda: self._database.write(work, limit_seconds=_WHOLE_SECONDS))
        _log.info("the agreed state was taken over from another member", index=index)
        await self._locally(self._look)
        for part in PARTS:
            self._changed(part)

    async def _look(self) -> None:
        self.led = await self._founding.led()

    @staticmethod
    async def _locally(work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except StoreError as error:
            raise MachineUnavailableError(str(error)) from error
