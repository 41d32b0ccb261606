"""The Leader: this node's seat in the election, and the recoveries.

Holds the seat (a lease in the store, or a raft member, see ``seats``) and the running recoveries; one per
node, on the head, exclusive by a file lock that it holds for life. It promises: decisions about one cluster
are strictly serial; nothing is done without a term whose deadline lies ahead; what it had begun when it died
is completed or voided by the next term, from the journal. It watches Topology.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

import structlog

from actors.handles import Peer, create
from actors.leadership import Clock, ElectionMandate, clock_here, lead_of
from actors.logs import configure_logging
from actors.names import GATEWAY, LEADER_LOCK, TOPOLOGY, TOPOLOGY_LOCK, head_options
from actors.news import NewsQueue
from actors.seats import eyes_of, register, take_seat
from actors.sharing import answer_what_is_found, learn_what_is_found
from actors.spec import Configuration, NodeSpec
from actors.supervision import ORPHAN_SECONDS, watch_over
from actors.tasks import Periodic, until_started
from services.config import Settings
from services.election.clock import boottime
from services.election.election import LeaseElection
from services.election.process_lock import ProcessLock, end_holder
from services.election.raft_seat import RaftSeat
from services.election.registration import Registration
from services.election.seat import Seat
from services.execution.coordinator import ClusterView, Coordinator, RecoveryRefusedError
from services.execution.deposed import fence_deposed
from services.execution.eyes import Eyes, answer_with
from services.mysql.session import Mandate
from services.node_view import (
    NodeError,
    NotLeaderError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
)
from services.policies import login
from services.raft.errors import RaftError
from services.registering import Book, Request
from services.registry.sharing import WHAT_IS_FOUND
from services.store.backend import backend_of
from services.store.errors import StoreError, StoreTimeoutError
from services.store.recoveries import RecoveryFilter
from services.store.rehearsal import rehearse
from services.store.store import Store
from services.store.times import utc_now
from services.topology.instance import Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry

__all__ = ["LeaderActor"]

T = TypeVar("T")

_PEER_SECONDS = 2.0
_TOPOLOGY_SECONDS = 0.9
_GATHER_SECONDS = 0.05
_FOLLOWER_SECONDS = 5.0  # they ask each second
_STAND_SECONDS = 1.5
_SHOWN_PARTS = frozenset({"clusters", "instances", "registrations"})
"""What Topology reads of the store."""
_log = structlog.get_logger(__name__)


class LeaderActor:
    """See the module. Calls made before it is ready raise UnavailableError."""

    def __init__(self, spec: NodeSpec) -> None:
        configure_logging()
        self._spec = spec
        self._state = "is starting"
        self._lock = ProcessLock(spec.folder / LEADER_LOCK)
        self._topology = Peer(TOPOLOGY)
        self._gateway = Peer(GATEWAY)
        self._followers: dict[str, tuple[float, Peer]] = {}  # gateways of workers, and when they asked
        self._news = NewsQueue(self._topology)
        self._periodic = Periodic()
        self._configuration: Configuration | None = None
        self._store: Store | None = None
        self._election: Seat | None = None
        self._registration: Registration | None = None  # on a store that others may share
        self._coordinator: Coordinator | None = None
        self._eyes: Eyes | None = None
        self._term = 0
        self._won = asyncio.Event()  # set while this node leads, as of the last step of the election
        self._led_at = 0.0  # when Topology was last told whether this node leads
        self._catching_up = False
        self._fencing: set[InstanceKey] = set()
        self._stopping = False
        self._main_task = asyncio.ensure_future(until_started(self._start, self._failed_to_start))

    def __repr__(self) -> str:
        return "Leader"

    def _failed_to_start(self, why: str) -> None:
        self._state = why

    async def _start(self) -> None:
        await self._lock.acquire(patience=ORPHAN_SECONDS)
        self._configuration = Configuration(self._spec)
        store = await Store.open(backend_of(self._configuration.settings))
        try:
            await self._take_seat(store, self._configuration.settings)
        except BaseException:
            if isinstance(self._election, RaftSeat):
                await self._election.node.stop()
            await store.close()
            raise
        self._state = ""

    async def _take_seat(self, store: Store, settings: Settings) -> None:
        await rehearse(store.database)
        self._election, self._store = await take_seat(
            self._spec,
            settings,
            store,
            prepare=self._bring_topology_up_to_date,
            applied=self._agreed,
            answer=self._answer,
        )
        self._eyes = eyes_of(self._election, lambda: self._settings, self._disputed)
        self._coordinator = Coordinator(
            self._store,
            lambda: self._settings,
            self._mandate,
            self,
            (self._spec.hostname, self._spec.token),
            eyes=self._eyes,
        )
        self._periodic.run(self._news.send)
        if settings.RaftEnabled:
            self._periodic.every(float(settings.InstancePollSeconds), self._learn)
        else:
            self._registration = register(self._spec, settings, self._store)
            self._periodic.every(1.0, self._report)
        await self._elect()
        self._periodic.run(self._hold_seat)
        self._periodic.every(1.0, self._resume)
        self._periodic.every(1.0, self._watch_topology)
        self._periodic.every(3600.0, self._purge)
        self._periodic.every(float(settings.InstancePollSeconds), self._expire)

    async def _answer(self, question: bytes) -> bytes:
        """What this raft member says to another's question. Raises ValueError or NodeError."""
        if question == WHAT_IS_FOUND:
            return await answer_what_is_found(self._topology)
        return await answer_with(login(self._settings), question)

    async def _learn(self) -> None:
        if isinstance(self._election, RaftSeat) and self._mandate() is not None:
            await learn_what_is_found(self._election.node, self._topology)

    @property
    def _settings(self) -> Settings:
        if self._configuration is None:
            raise UnavailableError(f"the Leader {self._state or 'is starting'}")
        return self._configuration.settings

    def _mandate(self) -> Mandate | None:
        election = self._election
        held = election.leadership() if election is not None else None
        if election is None or held is None:
            return None
        return ElectionMandate(election, self._settings.SetupName, held.term)

    # the election

    async def _hold_seat(self) -> None:
        assert self._election is not None
        while True:
            await self._election.wait()
            await self._elect()

    async def _elect(self) -> None:
        election, coordinator = self._election, self._coordinator
        assert election is not None and coordinator is not None
        await election.step()
        held = election.leadership()
        self._won.clear() if held is None else self._won.set()
        is_news = (held.term if held else 0) != self._term
        if held is not None and held.term != self._term:
            self._term = held.term
            coordinator.elected(earlier_for=held.earlier_until - boottime())
            self.event("leader", f"leads with term {held.term}", NO_KEY, "")
            self._periodic.spawn(self._resume())
        elif held is None and self._term:
            self._term = 0
            self.event(
                "leader", f"does not lead any more: {election.last_error or 'another does'}", NO_KEY, ""
            )
        holder = election.current_holder()
        raft = election.view() if isinstance(election, RaftSeat) else None
        lead = lead_of(held, holder, raft, self._registration, election.last_error)
        for gateway in (self._gateway, *self._living_followers()):
            self._periodic.spawn(self._tell(gateway, "lead", lead))
        if is_news or boottime() - self._led_at >= _TOPOLOGY_SECONDS:
            self._led_at = boottime()
            self._periodic.spawn(self._tell_topology(held is not None))

    async def follow(self, gateway: str) -> Clock:
        """A gateway of a worker wants to be told who leads, for the next seconds; what time it is here."""
        _, peer = self._followers.get(gateway, (0.0, Peer(gateway)))
        self._followers[gateway] = boottime(), peer
        return clock_here()

    def _living_followers(self) -> list[Peer]:
        oldest = boottime() - _FOLLOWER_SECONDS
        for name in [name for name, (asked_at, _) in self._followers.items() if asked_at < oldest]:
            del self._followers[name]
        return [peer for _, peer in self._followers.values()]

    async def _report(self) -> None:
        assert self._registration is not None
        await self._registration.report(tidies=self._mandate() is not None)

    async def _bring_topology_up_to_date(self) -> None:
        """Before this node acts: it then knows of whatever an earlier term did."""
        await self._tell(self._topology, "synchronise")

    def _agreed(self, part: str) -> None:
        """In raft: something was applied, be it another node's."""
        if part in _SHOWN_PARTS and not self._catching_up:
            self._catching_up = True
            self._periodic.spawn(self._catch_up())

    async def _catch_up(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        self._catching_up = False
        await self._bring_topology_up_to_date()

    async def _tell_topology(self, leads: bool) -> None:
        with contextlib.suppress(NodeError):
            self._news.peer_is(await self._topology.call("leading", leads, timeout=_PEER_SECONDS))

    async def _resume(self) -> None:
        assert self._coordinator is not None
        with contextlib.suppress(StoreError):
            await self._coordinator.resume_open()

    async def _purge(self) -> None:
        if self._store is not None and self._mandate() is not None:
            await self._store.audit.purge(utc_now(), days=float(self._settings.AuditPurgeDays))

    @staticmethod
    async def _tell(peer: Peer, method: str, *arguments: object) -> None:
        with contextlib.suppress(NodeError):
            await peer.call(method, *arguments, timeout=_PEER_SECONDS)

    # Observer of the coordinator

    def event(self, kind: str, message: str, instance: InstanceKey, cluster: str) -> None:
        _log.info(kind, message=message, instance=str(instance), cluster=cluster)
        self._news.add(kind, message, instance, cluster)

    def promoted(self, cluster_id: str, failed: InstanceKey, successor: InstanceKey) -> None:
        self._periodic.spawn(self._tell(self._topology, "promoted", cluster_id, failed, successor))

    def changed(self, keys: tuple[InstanceKey, ...]) -> None:
        self._periodic.spawn(self._tell(self._topology, "changed", list(keys)))

    def look_again(self, key: InstanceKey) -> None:
        self._periodic.spawn(self._look_again(key))

    async def _look_again(self, key: InstanceKey) -> None:
        with contextlib.suppress(NodeError):
            patience = _PEER_SECONDS + self._settings.InstanceHeartbeatMilliseconds / 1000
            await self.consider(await self._topology.call("fresh_view_of", key, timeout=patience))

    def witnessed(self, master: InstanceKey) -> None:
        self._periodic.spawn(self._tell(self._topology, "witnessed", master))

    def _disputed(self, master: InstanceKey, facts: tuple[str, ...]) -> None:
        self._periodic.spawn(self._tell(self._topology, "disputed", master, facts))

    # calls

    async def ping(self) -> str:
        return self._state

    async def stop(self) -> None:
        """Give the lease back, so that another node may act at once."""
        self._stopping = True
        self._main_task.cancel()
        self._periodic.stop()
        if self._coordinator is not None:
            await self._coordinator.stop()
        if self._eyes is not None:
            await self._eyes.stop()
        if self._election is not None:
            await self._election.release()
        if self._store is not None:
            await self._store.close()

    async def consider(self, view: ClusterView) -> None:
        """Topology's news of a cluster. Idempotent: what is under way or refused is not begun again."""
        if self._coordinator is not None and not self._state:
            self._coordinator.consider(view)

    async def meet_deposed(self, instance: Instance) -> None:
        """Rule 12: a deposed master answers. It is made read-only before anything else is thought about."""
        mandate = self._mandate()
        if mandate is None or instance.key in self._fencing or self._store is None:
            return
        self._fencing.add(instance.key)
        try:
            said = await fence_deposed(instance, login(self._settings), mandate, self._store)
        finally:
            self._fencing.discard(instance.key)
        if said:
            self.event("deposed", said, instance.key, "")
            self.changed((instance.key,))

    def _acting(self) -> tuple[Store, Coordinator]:
        """For changes. Raises UnavailableError or NotLeaderError."""
        if self._store is None or self._coordinator is None or self._state:
            raise UnavailableError(f"the Leader {self._state or 'is starting'}")
        if self._mandate() is None:
            holder = self._election.current_holder() if self._election else None
            raise NotLeaderError(f"this node does not lead; {holder.node_id if holder else 'nobody'} does")
        return self._store, self._coordinator

    async def recover(self, key: InstanceKey, candidate: InstanceKey | None, skip_hooks: bool) -> InstanceKey:
        """Recover a failed server because somebody asked. Raises RefusedError."""
        _, coordinator = self._acting()
        view: ClusterView = await self._topology.call("view_of", key, timeout=_PEER_SECONDS)
        finding = next((f for f in view.findings if f.analyzed_instance_key == key), None)
        if finding is None:
            raise RefusedError(f"Recovery not attempted: nothing is wrong with {key}", key)
        try:
            return await coordinator.recover_now(view, finding, candidate or NO_KEY, skip_hooks=skip_hooks)
        except RecoveryRefusedError as error:
            raise RefusedError(f"Recovery not attempted or not successful: {error}", key) from None

    async def acknowledge(self, which: RecoveryFilter, comment: str, owner: str) -> int:
        store, coordinator = self._acting()
        number = await self._stored(
            store.recoveries.acknowledge(which, owner=owner, comment=comment, at=utc_now())
        )
        coordinator.acknowledged()
        return number

    async def register(self, request: Request[T]) -> T:
        """Carry out what somebody wants registered. Raises RefusedError."""
        store, _ = self._acting()
        book = Book(store, self._settings)
        result = await self._stored(request.carry_out(book))
        for entry in book.told:
            about = f"{entry.instance}: " if entry.instance.names_a_server else ""
            self.event(entry.type, f"{about}{entry.message}", entry.instance, "")
        if request.shows:
            await self._tell(self._topology, "synchronise")
        return result

    async def _expire(self) -> None:
        """Remove from the store what was registered for a time that is over."""
        if self._store is None or self._mandate() is None:
            return
        with contextlib.suppress(StoreError):  # the next time will do
            if await self._store.registrations.is_any_over(utc_now()):
                await self._store.registrations.expire(utc_now())

    async def end_deposal(self, key: InstanceKey, owner: str) -> None:
        """A person says that this former master is to be left alone. Raises RefusedError."""
        store, _ = self._acting()
        deposed = await self._stored(store.clusters.deposed_masters())
        clusters = [one.cluster_id for one in deposed if one.key == key]
        if not clusters:
            raise RefusedError(f"{key} is not deposed", key)
        for cluster_id in clusters:
            await self._stored(store.clusters.rejoined(cluster_id, key))
        said = f"{key} is not deposed any more: {owner or 'somebody'} says so"
        await self._stored(
            store.audit.add(AuditEntry(at=utc_now(), type="deposed", instance=key, message=said))
        )
        self.event("deposed", said, key, "")
        await self._tell(self._topology, "changed", [key])

    async def set_global_recoveries(self, enabled: bool) -> None:
        store, coordinator = self._acting()
        registrations = store.registrations
        await self._stored(
            registrations.enable_recoveries() if enabled else registrations.disable_recoveries()
        )
        await self._stored(coordinator.synchronise())
        self.event("recoveries", f"recoveries globally {'enabled' if enabled else 'disabled'}", NO_KEY, "")
        await self._tell(self._topology, "synchronise")

    @staticmethod
    async def _stored(work: Awaitable[T]) -> T:
        try:
            return await work
        except StoreTimeoutError as error:
            raise OutcomeUnknownError(f"{error}: it may have been done, or not") from None
        except StoreError as error:
            raise UnavailableError(str(error)) from None

    # raft

    def _raft_seat(self) -> RaftSeat:
        if not isinstance(self._election, RaftSeat) or self._state:
            raise UnavailableError(f"the Leader {self._state or 'is not in a raft setup'}")
        return self._election

    async def agree(self, command: bytes) -> Any:
        """For Topology: have a change of the store agreed on. Returns and raises as the store does."""
        return await self._raft_seat().propose(command)

    async def raft_yield(self, member: str) -> None:
        """Hand the leadership over. Raises RefusedError, NotLeaderError."""
        seat = self._raft_seat()
        self._acting()
        try:
            await seat.node.yield_to(member)
        except RaftError as error:
            raise RefusedError(str(error)) from None

    async def raft_snapshot(self) -> None:
        await self._raft_seat().node.snapshot()

    async def reelect(self) -> None:
        """Stop leading; whoever is elected next leads, perhaps this node again."""
        self._acting()
        assert self._election is not None
        await self._election.stand_down()

    async def stand(self) -> bool:
        """Somebody has given the lease back: whether this node has it now."""
        if not isinstance(self._election, LeaseElection) or self._state:
            raise UnavailableError(f"the Leader {self._state or 'has no lease to stand for'}")
        self._election.hurry()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._won.wait(), _STAND_SECONDS)
        return self._mandate() is not None

    async def adopt_configuration(self) -> None:
        """Take over what Topology has put in force. One that is only starting reads it anyway."""
        if self._configuration is not None:
            self._configuration.adopt()

    async def _watch_topology(self) -> None:
        from actors.topology import TopologyActor

        if self._stopping:
            return
        patience = float(self._settings.RestartLeaderAfterSeconds)

        async def end_it() -> None:
            if end_holder(self._spec.folder / TOPOLOGY_LOCK) is not None:
                said = f"topology did not answer for {patience:g} s: ended, it is started anew"
                self.event("supervision", said, NO_KEY, "")

        await watch_over(
            self._topology,
            patience=patience,
            start=partial(create, TopologyActor, head_options(TOPOLOGY), self._spec),
            replace=end_it,
        )
