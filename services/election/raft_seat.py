"""The seat of a raft member: it may act when raft says so, and all know its term.

* A new leader first proposes what the log begins with, if it is the first of all, and then its term. When
  that is applied here, so is everything that was agreed on before; then the node's own view is brought up
  to date (``prepare``), and only then it acts.
* A process that is started again begins as a follower: it acts only in a term that it has won since.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from services.agreement.machine import Outcome, StoreMachine
from services.agreement.store import as_store_error
from services.consensus.state import Role
from services.election.election import Holder, Leadership
from services.raft.asking import Answer, nobody_answers
from services.raft.config import RaftConfig
from services.raft.errors import OutcomeUnknownError, RaftError
from services.raft.node import RaftNode, RaftState
from services.raft.view import CANDIDATE, FOLLOWER, LEADER, SHUTDOWN, RaftView
from services.store.engine import Database
from services.store.errors import StoreError, StoreUnavailableError

__all__ = ["RaftSeat"]

_log = structlog.get_logger(__name__)
_TELL_SECONDS = 0.15  # how often a deadline is told, which lies half a second ahead
_FOLLOW_SECONDS = 1.0
_ANNOUNCE_SECONDS = 2.0
_PREPARE_SECONDS = 0.5
_LAPSE_SECONDS = 1.5
"""So long a leader may have no right to act before it is said not to lead: by then it has stepped down."""


class RaftSeat:
    """``start``, then as a `Seat`; ``release`` ends it. ``uri`` is where this node's HTTP interface is."""

    def __init__(
        self,
        config: RaftConfig,
        database: Database,
        *,
        uri: str,
        prepare: Callable[[], Awaitable[None]],
        applied: Callable[[str], None] = lambda part: None,
        answer: Answer = nobody_answers,
    ) -> None:
        """``applied`` is told which part of the store was changed, by whoever it was. ``answer`` says what
        another member's question is answered with."""
        self._uri, self._prepare = uri, prepare
        self._machine = StoreMachine(database, config.node_id, changed=applied)
        self._something = asyncio.Event()
        self.node = RaftNode(config, self._machine, changed=self._something.set, answer=answer)
        self._announced = 0  # the term
        self._error = ""

    async def start(self) -> None:
        """Raises RaftConfigurationError."""
        await self.node.start()

    # as a seat

    @property
    def last_error(self) -> str:
        return self.node.state().error or self._error

    def leadership(self) -> Leadership | None:
        held = self.node.leadership()
        if held is None or held.term != self._announced:
            return None
        return Leadership(held.term, held.deadline)

    def current_holder(self) -> Holder | None:
        leader = self.node.leader
        return None if leader is None else Holder(leader, self.node.state().term)

    @property
    def leader_uri(self) -> str:
        """Of the member that leads; empty until it has said so."""
        led, leader = self._machine.led, self.node.leader
        return led.uri if leader is not None and led.member == leader else ""

    async def step(self) -> None:
        """Begin a term that was won. Where the right to act has lapsed for a moment: what becomes of it."""
        held = self.node.leadership()
        if held is not None and held.term != self._announced:
            await self._begin_term(held.term)
        elif held is None and self._leads_in(self._announced):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._lapsed(), _LAPSE_SECONDS)

    def _leads_in(self, term: int) -> bool:
        state = self.node.state()
        return state.role is Role.LEADER and state.term == term and not state.error

    async def _lapsed(self) -> None:
        while self.node.leadership() is None and self._leads_in(self._announced):
            self._something.clear()
            await self._something.wait()

    async def _begin_term(self, term: int) -> None:
        try:
            beginning = await self._machine.beginning()
            if beginning is not None:
                await self._agree(beginning)
            await self._agree(self._machine.leading(term, self._uri))
        except (RaftError, StoreError) as error:
            self._error = f"this node was elected for term {term} and cannot act yet: {error}"
            _log.warning("a term was won and could not be begun", term=term, reason=str(error))
            return
        self._error = ""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._prepare(), _PREPARE_SECONDS)
        self._announced = term
        _log.info("elected", member=self.node.config.node_id, term=term)

    async def _agree(self, command: bytes) -> Any:
        outcome = await self.node.propose(command, timeout_seconds=_ANNOUNCE_SECONDS)
        assert isinstance(outcome, Outcome)
        return outcome.result()

    async def wait(self) -> None:
        seconds = _FOLLOW_SECONDS if self.node.leadership() is None else _TELL_SECONDS
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._something.wait(), seconds)
        self._something.clear()

    def superseded(self, term: int, where: str) -> None:
        """The members agree on terms: one that is behind is told by them, and any other is no member's."""
        if self._leads_in(term):
            _log.error(
                "another setup of this SetupName acts there, with a higher term", server=where, term=term
            )
            with contextlib.suppress(RaftError):
                self.node.step_down()

    async def stand_down(self) -> None:
        with contextlib.suppress(RaftError):
            self.node.step_down()

    async def release(self) -> None:
        """Hand over to the member that has most of the log, then take no part any more."""
        ready = [peer for peer in self.node.peers() if peer.connected and peer.match_index is not None]
        if ready and self.node.state().role is Role.LEADER:
            with contextlib.suppress(RaftError):
                await self.node.yield_to(max(ready, key=lambda peer: peer.match_index or 0).member)
        await self.node.stop()

    # what is agreed on

    async def propose(self, command: bytes) -> Any:
        """For ``agreement.store``: what applying it here returned or raised. Raises StoreError."""
        if not self._leads_in(self._announced):  # a right that lapsed for a moment is no reason: raft decides
            leader = self.node.leader
            raise StoreUnavailableError(f"not agreed on, nothing was done: {leader or 'nobody'} leads")
        try:
            outcome = await self.node.propose(command)
        except RaftError as error:
            raise as_store_error(error) from error
        assert isinstance(outcome, Outcome)
        try:
            return outcome.result()
        except OutcomeUnknownError as error:
            raise as_store_error(error) from error

    # what is shown

    def view(self) -> RaftView:
        state, config = self.node.state(), self.node.config
        reached = [peer.member for peer in self.node.peers() if peer.connected and peer.heard]
        return RaftView(
            bind=str(config.bind),
            advertise=config.node_id,
            state=self._state(state),
            leader=state.leader or "",
            leader_uri=self.leader_uri,
            peers=tuple(sorted(config.members)),
            reached=tuple(sorted((config.node_id, *reached))),
            term=state.term,
            applied_index=state.applied_index,
            note=self._note(state),
        )

    def _state(self, state: RaftState) -> str:
        if not state.takes_part:
            return SHUTDOWN
        if state.role is Role.LEADER:
            return LEADER if self.leadership() is not None else CANDIDATE
        return FOLLOWER if state.leader is not None else CANDIDATE

    def _note(self, state: RaftState) -> str:
        notes = []
        if state.takes_part and state.leader is None:
            peers = (peer for peer in self.node.peers() if not peer.connected)
            away = "; ".join(f"{peer.member} is not reached ({peer.error})" for peer in peers)
            notes.append(f"raft has no leader{': ' if away else ''}{away}")
        if state.is_learner:
            waits = f", and waits for the word of {', '.join(state.waits_for)}" if state.waits_for else ""
            notes.append(f"this raft member has lost its log, or is new: it learns from the others{waits}")
        if state.failed_commands:
            number, last = state.failed_commands, state.last_failures[-1]
            notes.append(f"{number} changes that were agreed on could not be made: {last}")
        return "; ".join(notes)
