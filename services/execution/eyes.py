"""A quorum of eyes: before a master is taken for dead, the other raft members are asked what they see of it.

Each dials the master and some of its replicas afresh, and so does this one; ``analysis.eyes`` judges. If no
majority sees it dead, the finding is *DisputedMaster*: nothing is done, and they are asked again after 1, 2,
4 … s. They are asked as soon as the master is in doubt, while sessions are opened and the replicas looked at:
by the time that the recovery could begin they have mostly answered.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from services.analysis import Agreement, RecoveryKind, ReplicationAnalysis, Sight, judge
from services.config import Settings
from services.execution.gates import ClusterView
from services.mysql.connection import Connection, Login
from services.mysql.errors import ConnectError
from services.policies import login
from services.store.times import utc_now
from services.topology.instance import CheckOutcome
from services.topology.keys import InstanceKey

__all__ = ["AskMembers", "Disputed", "Eyes", "answer_with", "look"]

_LOOK_SECONDS = 0.3  # for a fresh connection
_ASK_SECONDS = 0.5  # in all
_FRESH_SECONDS = 1.0
"""So old an agreement may be when a recovery begins on it: a master that hangs is asked about before the
witness, which takes longer."""
_AGAIN_SECONDS = (1.0, 60.0)
_REPLICAS_MAX = 5
_ERROR_CHARACTERS = 120
_PROMOTES = frozenset({RecoveryKind.DEAD_MASTER, RecoveryKind.DEAD_CO_MASTER})
_log = structlog.get_logger(__name__)

AskMembers = Callable[[bytes, float, Callable[[str, bytes], bool]], Awaitable[None]]
"""Ask all other members: the question, for how many seconds, and who is given each answer until it returns
True. As ``raft.asking``."""
Disputed = Callable[[InstanceKey, tuple[str, ...]], None]
"""Told of a dispute and who saw what; of its end, without that."""


# One member's eyes


async def look(master: InstanceKey, replicas: Sequence[InstanceKey], login: Login) -> Sight:
    """Dial all of them at once; return when it is known of the master, and of one replica that answers."""
    dialled = replicas[:_REPLICAS_MAX]
    at_master = asyncio.ensure_future(_dial(master, login))
    waiting = {asyncio.ensure_future(_dial(key, login)) for key in dialled}
    every, reached = [at_master, *waiting], 0
    try:
        outcome, error = await at_master
        if not outcome.is_answer:
            while waiting and not reached:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                reached += sum(task.result()[0].is_answer for task in done)
        return Sight(outcome=outcome, error=error, reached=reached, dialled=len(dialled))
    finally:
        for task in every:
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)


async def _dial(key: InstanceKey, login: Login) -> tuple[CheckOutcome, str]:
    try:
        connection = await Connection.open(key, login, timeout=_LOOK_SECONDS)
    except ConnectError as error:
        return error.outcome, error.text[:_ERROR_CHARACTERS]
    connection.abort()
    return CheckOutcome.OK, ""


async def answer_with(login: Login, question: bytes) -> bytes:
    """What this member says to another's question. Raises ValueError if it is none."""
    asked = json.loads(question)
    if not isinstance(asked, dict) or asked.get("ask") != "look":
        raise ValueError("another version of orchestray asks something else")
    seen = await look(InstanceKey(*asked["master"]), [InstanceKey(*one) for one in asked["replicas"]], login)
    return json.dumps(
        {"outcome": seen.outcome.value, "error": seen.error, "reached": seen.reached, "dialled": seen.dialled}
    ).encode()


def _question(master: InstanceKey, replicas: Sequence[InstanceKey]) -> bytes:
    return json.dumps({"ask": "look", "master": _pair(master), "replicas": [*map(_pair, replicas)]}).encode()


def _pair(key: InstanceKey) -> list[Any]:
    return [key.hostname, key.port]


def _sight(answer: bytes) -> Sight:
    """Raises ValueError, KeyError or TypeError if it is none."""
    said = json.loads(answer)
    return Sight(
        outcome=CheckOutcome(said["outcome"]),
        error=str(said["error"])[:_ERROR_CHARACTERS],
        reached=int(said["reached"]),
        dialled=int(said["dialled"]),
        at=utc_now(),
    )


# Of all


@dataclass(slots=True)
class _Asked:
    at: float
    agreement: asyncio.Task[Agreement]


@dataclass(slots=True)
class _Dispute:
    facts: tuple[str, ...]
    pause: float
    not_before: float


class Eyes:
    """Belongs to the leader's event loop. ``own`` is this node's among the ``members``."""

    def __init__(
        self,
        members: frozenset[str],
        own: str,
        ask: AskMembers,
        settings: Callable[[], Settings],
        disputed: Disputed,
    ) -> None:
        self._members, self._own = members, own
        self._ask_members, self._settings, self._disputed = ask, settings, disputed
        self._asked: dict[InstanceKey, _Asked] = {}
        self._doubted: set[InstanceKey] = set()
        self._disputes: dict[InstanceKey, _Dispute] = {}
        self._reconsidered: set[InstanceKey] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def are_asked(self) -> bool:
        return self._settings().RaftQuorumOfEyes and len(self._members) > 1

    def speak_on(self, finding: ReplicationAnalysis) -> bool:
        """Whether this finding is acted upon only if a majority sees it."""
        return self.are_asked and finding.recovery in _PROMOTES

    def begin_anew(self) -> None:
        """A new term."""
        self._disputes.clear()
        self._doubted.clear()

    def expect(self, view: ClusterView) -> None:
        """Ask already, if the cluster's master has come to be in doubt. Returns at once."""
        master = view.instance(view.cluster.master_key)
        if master is None or not self.are_asked:
            return
        if not master.last_check_outcome.is_silence:
            self._doubted.discard(master.key)
        elif master.key not in self._doubted:
            self._doubted.add(master.key)
            self._ask(view, master.key)

    def why_not(self, key: InstanceKey) -> str:
        """Why nobody is asked about this master now, "" if they may be."""
        dispute = self._disputes.get(key)
        if dispute is None or time.monotonic() >= dispute.not_before:
            return ""
        self._disputed(key, dispute.facts)  # whoever has forgotten it hears of it again
        return "a majority of the raft members did not see it dead a moment ago"

    def reconsider(self, view: ClusterView, finding: ReplicationAnalysis) -> None:
        """A dispute lasts: ask again when it is time. Returns at once."""
        key = finding.analyzed_instance_key
        if not self.are_asked:
            self._disputes.pop(key, None)
            self._disputed(key, ())
        elif self._is_due(key) and key not in self._reconsidered:
            self._reconsidered.add(key)
            task = asyncio.ensure_future(self._settle(view, key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, view: ClusterView, key: InstanceKey) -> None:
        try:
            if (await self.agree(view, key)).is_dead:
                self._disputed(key, ())  # of which an earlier run of this one may have told
        finally:
            self._reconsidered.discard(key)

    def _is_due(self, key: InstanceKey) -> bool:
        dispute = self._disputes.get(key)
        return dispute is None or time.monotonic() >= dispute.not_before

    def well(self, keys: set[InstanceKey]) -> None:
        """Nothing is to be done about these any more."""
        for key in keys & self._disputes.keys():
            del self._disputes[key]
            self._disputed(key, ())

    async def agree(self, view: ClusterView, key: InstanceKey) -> Agreement:
        """Whether a majority sees this master dead, as of now or a moment ago."""
        asked = self._asked.get(key)
        agreement = None
        if asked is not None and time.monotonic() - asked.at <= _FRESH_SECONDS:
            agreement = await asyncio.shield(asked.agreement)
        if agreement is None or not agreement.is_dead:  # what was not so before may be so now
            agreement = await asyncio.shield(self._ask(view, key))
        if agreement.is_dead:
            self._disputes.pop(key, None)
        else:
            self._dispute(key, agreement.facts)
        return agreement

    def _ask(self, view: ClusterView, key: InstanceKey) -> asyncio.Task[Agreement]:
        near = sorted(view.replicas_of(key), key=lambda one: (not one.is_last_check_valid, one.key))
        task = asyncio.ensure_future(self._asking(key, [one.key for one in near[:_REPLICAS_MAX]]))
        self._asked[key] = _Asked(time.monotonic(), task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _asking(self, master: InstanceKey, replicas: Sequence[InstanceKey]) -> Agreement:
        sights: dict[str, Sight] = {}
        settled = asyncio.Event()

        def has_seen(member: str, sight: Sight) -> bool:
            sights[member] = sight
            if judge(self._members, sights).is_dead:
                settled.set()
            return settled.is_set()

        def heard(member: str, answer: bytes) -> bool:
            try:
                return has_seen(member, _sight(answer))
            except (ValueError, KeyError, TypeError) as error:
                _log.warning("eyes: an answer that is none", member=member, reason=repr(error))
                return False

        async def others() -> None:
            await self._ask_members(_question(master, replicas), _ASK_SECONDS, heard)

        async def own() -> None:
            seen = await look(master, replicas, login(self._settings()))
            has_seen(self._own, replace(seen, at=utc_now()))

        asking: asyncio.Future[Any] = asyncio.gather(others(), own())
        deciding: asyncio.Future[Any] = asyncio.ensure_future(settled.wait())
        try:
            await asyncio.wait({asking, deciding}, timeout=_ASK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            deciding.cancel()
            asking.cancel()
            try:
                await asking
            except asyncio.CancelledError:
                pass
            except Exception:  # a defect of ours: what was not heard is not counted
                _log.exception("eyes: the members could not be asked", instance=str(master))
        return judge(self._members, sights)

    def _dispute(self, key: InstanceKey, facts: tuple[str, ...]) -> None:
        before = self._disputes.get(key)
        longest = min(_AGAIN_SECONDS[1], float(self._settings().RecoveryRetryMaxSeconds))
        pause = min(max(_AGAIN_SECONDS[0], 2 * before.pause if before else 0.0), longest)
        self._disputes[key] = _Dispute(facts, pause, time.monotonic() + pause)
        _log.info("a master is disputed", instance=str(key), facts="; ".join(facts))
        self._disputed(key, facts)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
