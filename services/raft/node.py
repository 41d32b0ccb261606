"""One raft member: drives the core with the clock, its disk and its peers, in the order that the core
demands.

``start``, then ``propose``, ``leadership``, ``state``; ``stop``. It promises:

* What ``propose`` returned is agreed on, on the disks of a majority, and applied here. An error says whether
  it was done: not (`NotLeadingError`, `BusyError`, `ProposalLostError`), unknown (`OutcomeUnknownError`), or
  done in vain.
* ``leadership()`` is computed from the clock each time, and never overlaps with another member's.
* A state machine that cannot work now stops the applying and the leading, and nothing else: this member still
  votes and keeps the log. It hands the leadership over, and does not ask for it.
* A disk that fails ends this member's *life*: the core, with all that it believed, is thrown away, nothing
  more is sent, and every second it is tried to begin again from what is on the disk. ``state().error`` says
  what to mend.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom

import structlog

from services.consensus.core import Raft
from services.consensus.messages import Message
from services.consensus.state import ConsensusError, Leadership, Ready, Role
from services.consensus.state import NotLeadingError as CoreNotLeadingError
from services.election.clock import boottime
from services.raft.asking import Answer, nobody_answers
from services.raft.config import RaftConfig
from services.raft.errors import BusyError, NotLeadingError, OutcomeUnknownError, RaftError, StorageError
from services.raft.machine import Applier, StateMachine
from services.raft.peers import Peers
from services.raft.storage import Storage
from services.raft.wire import COMMAND_BYTES_MAX

__all__ = ["PeerState", "RaftNode", "RaftState"]

_log = structlog.get_logger(__name__)

_BACKLOG_MAX = 1024
_BEGIN_AGAIN_SECONDS = 1.0
_DISK_STALLS_SECONDS = 1.0
_YIELD_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftState:
    """One look at a member. ``error`` is what to mend, empty if nothing."""

    node_id: str
    role: Role
    term: int
    leader: str | None
    is_learner: bool
    waits_for: tuple[str, ...]  # a learner: for the word of these members
    commit_index: int
    applied_index: int
    last_index: int
    snapshot_index: int
    failed_commands: int
    last_failures: tuple[str, ...]
    takes_part: bool  # it votes and keeps the log
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """Another member, as seen from here."""

    member: str
    address: str
    connected: bool  # this one can send to it
    heard: bool  # it is connected to this one
    error: str
    match_index: int | None  # up to where it has the log, if this one leads


class RaftNode:
    """One seat. The caller holds the node's file lock; the log's own lock guards against who does not."""

    def __init__(
        self,
        config: RaftConfig,
        machine: StateMachine,
        *,
        clock: Callable[[], float] = boottime,
        changed: Callable[[], None] = lambda: None,
        answer: Answer = nobody_answers,
    ) -> None:
        """``changed`` is called when another leads, in another term, or this one may act, or not any more.
        ``answer`` says what another member's question (``ask``) is answered with."""
        self.config = config
        self._clock = clock
        self._changed = changed
        self._seen: tuple[object, ...] = ()
        self._core: Raft | None = None
        self._error = "not started"
        self._wake = asyncio.Event()
        self._writing_since: float | None = None
        self._failure: ConsensusError | None = None
        self._storage = Storage(config.file, config.node_id, frozenset(config.members))
        self._applier = Applier(
            machine, snapshot_every=config.snapshot_every, keep=config.keep_entries, wake=self._wake.set
        )
        self._peers = Peers(config, self._receive, answer)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises RaftConfigurationError. A disk that fails is no reason to: see ``state``."""
        await self._peers.start()
        self._tasks = [asyncio.ensure_future(self._live()), asyncio.ensure_future(self._applier.run())]

    async def stop(self) -> None:
        """Others elect as if it had died. For a quiet end hand over first: ``yield_to``."""
        self._error = "stopped"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peers.stop()
        self._end_life()
        with contextlib.suppress(StorageError):
            await self._storage.close()
        self._storage.end()

    # Asked

    def leadership(self) -> Leadership | None:
        """The right to act as of now; its deadline is on the clock ``boottime``."""
        if self._core is None or self._failure is not None or self._applier.trouble:
            return None
        return self._core.leadership(self._clock())

    @property
    def leader(self) -> str | None:
        """The id of the member that leads, as far as this one knows."""
        return None if self._core is None else self._core.leader

    def state(self) -> RaftState:
        core = self._core
        return RaftState(
            node_id=self.config.node_id,
            role=Role.FOLLOWER if core is None else core.role,
            term=0 if core is None else core.hard.term,
            leader=self.leader,
            is_learner=core is not None and core.is_learner,
            waits_for=tuple(sorted(core.acquaintance.silent)) if core is not None and core.is_learner else (),
            commit_index=0 if core is None else core.commit_index,
            applied_index=self._applier.at,
            last_index=0 if core is None else core.log.last_index,
            snapshot_index=0 if core is None else core.log.snapshot.index,
            failed_commands=self._applier.failed,
            last_failures=tuple(self._applier.errors),
            takes_part=core is not None,
            error=self._error or self._applier.trouble,
        )

    def peers(self) -> tuple[PeerState, ...]:
        matches = {} if self._core is None else self._core.matches()
        return tuple(
            PeerState(
                member=name,
                address=str(peer.address),
                connected=peer.connected,
                heard=self._peers.is_heard(name),
                error=peer.error,
                match_index=matches.get(name),
            )
            for name, peer in self._peers.members.items()
        )

    async def ask(self, question: bytes, *, seconds: float, heard: Callable[[str, bytes], bool]) -> None:
        """Ask all other members something, beside the log. See `Asking.ask`."""
        await self._peers.asking.ask(self._peers.members, question, seconds=seconds, heard=heard)

    # Changed

    async def propose(self, command: bytes, *, timeout_seconds: float = 5.0) -> object:
        """Have it agreed on and applied; returns what the state machine made of it here."""
        if len(command) > COMMAND_BYTES_MAX:
            raise RaftError(f"a command of {len(command)} bytes, at most {COMMAND_BYTES_MAX} are allowed")
        if self._applier.backlog >= _BACKLOG_MAX:
            raise BusyError(f"{_BACKLOG_MAX} commands wait to be agreed on or applied: try again later")
        try:
            entry = self._living().propose(command)
        except CoreNotLeadingError:
            raise NotLeadingError(self.leader) from None
        result = self._applier.wait_for(entry)
        self._wake.set()
        try:
            return await asyncio.wait_for(result, timeout_seconds)
        except asyncio.TimeoutError:
            raise OutcomeUnknownError(
                f"not agreed on within {timeout_seconds:g} s: it may still be, as entry {entry.index}"
            ) from None
        finally:
            self._applier.forget(entry)

    async def yield_to(self, member: str) -> None:
        """Hand the leadership over. Returns when it does not lead any more; ``leader`` tells who does."""
        if member not in self.config.members:
            raise RaftError(f"{member} is no raft member: these are {', '.join(sorted(self.config.members))}")
        core = self._living()
        if member == self.config.node_id and core.role is Role.LEADER:
            return
        peer = self._peers.members.get(member)
        if core.role is Role.LEADER and peer is not None and not peer.connected:
            raise RaftError(
                f"{member} is not reached and cannot lead now: {peer.error or 'not connected yet'}"
            )
        self._tell(lambda: core.transfer(member, self._clock()))
        deadline = self._clock() + _YIELD_SECONDS
        while core is self._core and core.role is Role.LEADER and self._clock() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(self.config.timing.heartbeat / 4)

    def step_down(self) -> None:
        """Stop leading; the members elect, perhaps this one again."""
        core = self._living()
        self._tell(lambda: core.step_down(self._clock()))

    async def snapshot(self) -> None:
        """Take one soon: when what is due has been applied."""
        self._applier.ask_for_snapshot()

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            what()
        except CoreNotLeadingError:
            raise NotLeadingError(self.leader) from None
        self._wake.set()

    def _living(self) -> Raft:
        if self._core is None:
            raise RaftError(f"this node takes no part in raft now: {self._error}")
        return self._core

    # Lives

    async def _live(self) -> None:
        while True:
            try:
                await self._life()
            except StorageError as error:
                said, mendable = str(error), error.mendable
            except ConsensusError as error:
                said, mendable = f"{error}. This must not happen: keep {self.config.file}, report it", False
            self._end_life()
            if said != self._error:
                _log.error("raft: this node takes no part", node=self.config.node_id, error=said)
            self._error = said
            with contextlib.suppress(StorageError):
                await self._storage.close()
            if not mendable:
                return
            await asyncio.sleep(_BEGIN_AGAIN_SECONDS)

    async def _life(self) -> None:
        stored = await self._storage.open()
        core = Raft(
            self.config.node_id,
            self.config.members,
            stored,
            self._clock(),
            random=SystemRandom(),
            timing=self.config.timing,
        )
        self._applier.begin(core, is_new=core.log.last_index == 0)
        self._core, self._error = core, ""
        while True:
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            if self._applier.trouble:
                self._stand_back(core)
            core.tick(self._clock())
            ready = core.ready()
            if ready:
                await self._do(ready)
            self._tell_changes()
            if ready:
                continue
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.001, core.wake_at() - self._clock()))

    def _stand_back(self, core: Raft) -> None:
        """Another is to lead, if there is one that can."""
        if core.role is not Role.LEADER:
            core.stand_back(self._clock())
            return
        matches = core.matches()
        able = [name for name, peer in self._peers.members.items() if peer.connected and name in matches]
        if able:
            core.transfer(max(able, key=lambda name: matches[name]), self._clock())

    def _tell_changes(self) -> None:
        core = self._core
        seen = () if core is None else (core.role, core.hard.term, core.leader, self.leadership() is not None)
        if seen != self._seen:
            self._seen = seen
            self._changed()

    async def _do(self, ready: Ready) -> None:
        if ready.persist:
            self._writing_since = self._clock()
            try:
                await self._storage.write(ready.persist)
            finally:
                self._writing_since = None
        for envelope in ready.messages:
            self._peers.members[envelope.to].send(envelope.message)
        if ready.restore is not None:
            self._applier.put(ready.restore)
        if ready.apply:
            self._applier.put(*ready.apply)

    def _end_life(self) -> None:
        self._core = None
        self._failure = None
        self._applier.end()
        self._tell_changes()

    def _receive(self, sender: str, message: Message) -> None:
        core = self._core
        if core is None:
            return
        now = self._clock()
        if self._writing_since is not None and now - self._writing_since > _DISK_STALLS_SECONDS:
            return  # answers could not go out: they must not pile up
        try:
            core.step(sender, message, now)
        except ConsensusError as error:
            self._failure = error
        self._wake.set()
