"""The seat that the settings ask for, and the store whose changes are agreed on through it.

Without raft both are the store's own: a lease in it, and itself. With raft the member lives in the Leader's
process, so that a Leader that hangs or dies loses the lead with it; the node's other actors reach its log
through the Leader (``agreeing_through``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.handles import Peer
from actors.spec import NodeSpec
from services import VERSION
from services.agreement.applying import leave_raft
from services.agreement.store import Propose, agreed_store
from services.config import Settings
from services.election.election import LeaseElection
from services.election.raft_seat import RaftSeat
from services.election.registration import Registration
from services.election.seat import Seat
from services.execution.eyes import Disputed, Eyes
from services.node_errors import NodeError, OutcomeUnknownError
from services.raft.asking import Answer
from services.raft.from_settings import http_uri, raft_config, shared_http_uri
from services.store.backend import backend_of
from services.store.errors import StoreTimeoutError, StoreUnavailableError
from services.store.nodes import NodeRow
from services.store.store import Store

__all__ = ["agreeing_through", "eyes_of", "register", "take_seat"]

_AGREE_SECONDS = 6.0  # more than a proposal takes at most


async def take_seat(
    spec: NodeSpec,
    settings: Settings,
    store: Store,
    *,
    prepare: Callable[[], Awaitable[None]],
    applied: Callable[[str], None],
    answer: Answer,
) -> tuple[Seat, Store]:
    """For the Leader, which holds the node's lock. In raft ``answer`` says what another member's question is
    answered with. Raises RaftConfigurationError, StoreError."""
    if not settings.RaftEnabled:
        await leave_raft(store.database)
        lease = LeaseElection(
            store.database,
            spec.node_id,
            length=settings.LeaseMilliseconds / 1000,
            renew=settings.LeaseRenewMilliseconds / 1000,
            holds_node_lock=True,
        )
        return lease, store
    seat = RaftSeat(
        raft_config(settings),
        store.database,
        uri=http_uri(settings),
        prepare=prepare,
        applied=applied,
        answer=answer,
    )
    await seat.start()
    return seat, agreed_store(store, seat.propose)


def eyes_of(seat: Seat, settings: Callable[[], Settings], disputed: Disputed) -> Eyes | None:
    """Those of all members, if there are any."""
    if not isinstance(seat, RaftSeat):
        return None
    node = seat.node

    async def ask(question: bytes, seconds: float, heard: Callable[[str, bytes], bool]) -> None:
        await node.ask(question, seconds=seconds, heard=heard)

    return Eyes(frozenset(node.config.members), node.config.node_id, ask, settings, disputed)


def register(spec: NodeSpec, settings: Settings, store: Store) -> Registration:
    """This node's place among those that share the store."""
    me = NodeRow(
        node_id=spec.node_id,
        host=spec.hostname,
        token=spec.token,
        uri=shared_http_uri(settings, spec.hostname),
        version=VERSION,
        backend=backend_of(settings).endpoint,
    )
    return Registration(store.nodes, me)


def agreeing_through(leader: Peer) -> Propose:
    """For another actor of the node."""

    async def propose(command: bytes) -> Any:
        try:
            return await leader.call("agree", command, timeout=_AGREE_SECONDS)
        except OutcomeUnknownError as error:
            raise StoreTimeoutError(f"whether it was agreed on is not known: {error}") from None
        except NodeError as error:
            raise StoreUnavailableError(f"not agreed on, nothing was done: {error}") from None

    return propose
