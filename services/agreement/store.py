"""The store of a raft member as its callers see it: changes are proposed, reads are of this node's own store.

A proposed change returns, or raises, what applying it here did, as if it had been made here. If it is not
agreed on, it raises StoreUnavailableError (nothing was done) or StoreTimeoutError (it may have been).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from services.agreement.commands import encode
from services.agreement.operations import OPERATIONS, PARTS, Operation
from services.raft.errors import (
    BusyError,
    NotLeadingError,
    OutcomeUnknownError,
    ProposalLostError,
    RaftError,
)
from services.store.errors import StoreError, StoreTimeoutError, StoreUnavailableError
from services.store.store import Store

__all__ = ["Propose", "agreed_store", "as_store_error"]

Propose = Callable[[bytes], Awaitable[Any]]
"""Have a command agreed on and applied; what came of it. Raises StoreError."""


def agreed_store(store: Store, propose: Propose) -> Store:
    """The same store, with its agreed changes proposed. Closing one closes both."""
    agreed = Store(store.database)
    for part in PARTS:
        if hasattr(agreed, part):
            setattr(agreed, part, _Part(getattr(agreed, part), part, propose))
    return agreed


class _Part:
    """One part of the store. What is not agreed on is the part's own."""

    def __init__(self, local: Any, name: str, propose: Propose) -> None:
        self._local, self._name, self._propose = local, name, propose

    def __getattr__(self, name: str) -> Any:
        operation = OPERATIONS.get(f"{self._name}.{name}")
        return getattr(self._local, name) if operation is None else partial(self._agree, operation)

    async def _agree(self, operation: Operation, /, *arguments: Any, **named: Any) -> Any:
        return await self._propose(encode(operation, *arguments, **named))


def as_store_error(error: RaftError) -> StoreError:
    """What a caller of the store can tell apart: that nothing was done, or that it is not known."""
    if isinstance(error, OutcomeUnknownError):
        return StoreTimeoutError(f"whether it was agreed on is not known: {error}")
    if isinstance(error, (NotLeadingError, BusyError, ProposalLostError)):
        return StoreUnavailableError(f"not agreed on, nothing was done: {error}")
    return StoreUnavailableError(f"it could not be agreed on: {error}")
