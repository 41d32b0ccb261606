"""This process's seat in the election: takes, renews and gives back the lease in the store.

What it gives out is a term and a deadline, never a flag: ``leadership()`` looks at the clock each time
it is asked, so that a process that was paused, or whose store hangs, stops leading by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from services.election.clock import boottime
from services.election.lease import Lease, Renew, Seen, Take, Wait, decide, released
from services.election.row import read, replace
from services.store.engine import Database
from services.store.errors import StoreConflictError, StoreError

__all__ = ["ASIDE_SECONDS", "Holder", "Leadership", "LeaseElection"]

ASIDE_SECONDS = 30.0
"""So long a node takes no lease after it has met a newer term that its store does not know."""

_LOOKS = 4
"""So many at another's lease within the time after which it is renewed."""
_CONFLICTS_TOLD = 5
"""So many attempts in a row that came to nothing are no accident: it is told why nobody is elected."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Leadership:
    """The right to act. ``deadline`` is in seconds of the election's clock: no act may outlive it.

    ``earlier_until``: so long a server that hung may still carry out what an earlier term sent; 0 where that
    is over already.
    """

    term: int
    deadline: float
    earlier_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who held the lease when it was last read; ``node_id`` is empty if it was released."""

    node_id: str
    term: int


class LeaseElection:
    """One seat. ``run`` it as a task, or call ``step`` and ``wait`` in turns; never both.

    ``length`` is how long a renewal lasts, in seconds; one that others hold has the length that they
    wrote. ``holds_node_lock`` says that this process has the exclusive lock of the node's data
    directory, hence that earlier runs of ``node_id`` are dead: their lease is replaced at once.
    ``last_error`` is why the last step came to nothing, empty if it did not.
    """

    def __init__(
        self,
        store_engine: Database,
        node_id: str,
        *,
        length: float = 3.0,
        renew: float = 1.0,
        holds_node_lock: bool = False,
        clock: Callable[[], float] = boottime,
    ) -> None:
        if not node_id:
            raise ValueError("the election needs a node id that is not empty")
        if not 0 < renew < length:
            raise ValueError(f"a lease of {length:g} s cannot be renewed each {renew:g} s")
        self.node_id = node_id
        self.last_error = ""
        self._database = store_engine
        self._length_ms = round(length * 1000)
        self._renew = renew
        self._holds_node_lock = holds_node_lock
        self._clock = clock
        self._seen: Seen | None = None
        self._held: Leadership | None = None  # the term stays after the deadline, until it is lost
        self._newest_term = 0
        self._wait = 0.0
        self._conflicts = 0  # in a row
        self._hurried = asyncio.Event()
        self._superseded: tuple[int, str] | None = None  # a term of ours, and where a newer one acts
        self._aside: tuple[float, str] = (-math.inf, "")  # until when, and why

    def leadership(self) -> Leadership | None:
        """The right to act as of now; None if there is none."""
        held = self._held
        return held if held is not None and self._clock() < held.deadline else None

    def current_holder(self) -> Holder | None:
        """Who held the lease at the last step; None if nobody ever did."""
        lease = None if self._seen is None else self._seen.lease
        return None if lease is None else Holder(lease.node_id, lease.term)

    async def step(self) -> None:
        """Look at the lease; renew it or take it if that is due. Bounded; never raises StoreError."""
        try:
            await self._step()
        except StoreError as error:
            self._wait = self._renew
            if not self.last_error:
                _log.warning("no election: the store fails", node=self.node_id, error=str(error))
            self.last_error = str(error)
        else:
            self.last_error = self._aside[1]

    async def wait(self) -> None:
        """Until the next step is due: each ``renew`` seconds, and at once when another's lease runs out.

        Another's is looked at more often: what was written just after a reading is noticed that much later,
        and its end with it.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), self._wait)
        self._hurried.clear()

    def hurry(self) -> None:
        """The next step is due now: somebody has just given the lease back."""
        self._hurried.set()

    def superseded(self, term: int, where: str) -> None:
        """A newer term than ``term``, which is ours, acts at ``where``. See ``_stands_aside``."""
        held = self._held
        if held is not None and held.term == term:
            _log.warning("superseded", node=self.node_id, term=term, server=where)
            self._held, self._superseded = None, (term, where)

    async def stand_down(self) -> None:
        """Let whoever comes first take the lease; it may be this node again."""
        await self.release()

    async def run(self) -> None:
        """Step for ever."""
        while True:
            await self.step()
            await self.wait()

    async def release(self) -> None:
        """Stop acting, then let others take the lease at once. For a clean stop, after ``run`` has ended.

        If the store fails, the lease runs out by itself. Nothing to do for who does not hold it.
        """
        held, self._held = self._held, None
        if held is None:
            return

        def give_back(connection: Connection) -> None:
            lease = read(connection)
            if lease is not None and lease.term == held.term and lease.node_id == self.node_id:
                replace(connection, lease, released(lease))

        try:
            await self._database.write(give_back, limit_seconds=self._limit)
        except StoreError as error:
            _log.warning("the lease was not given back, it runs out", node=self.node_id, error=str(error))

    @property
    def _limit(self) -> float:
        """An answer after this many seconds is of no use."""
        return self._length_ms / 1000

    async def _step(self) -> None:
        lease = await self._database.read(read, limit_seconds=self._limit)
        seen = self._look(lease)
        if self._stands_aside(lease):
            self._wait = self._renew
            return
        action = decide(
            seen,
            self._clock(),
            node_id=self.node_id,
            length_ms=self._length_ms,
            term=None if self._held is None else self._held.term,
            newest_term=self._newest_term,
            holds_node_lock=self._holds_node_lock,
        )
        if isinstance(action, Wait):
            self._lose()
            self._wait = min(action.seconds, self._renew / _LOOKS)
            return
        self._wait = self._renew
        if isinstance(action, Take):
            self._lose()
        await self._change(action)

    def _stands_aside(self, lease: Lease | None) -> bool:
        """Whether another node of this setup acts by another store, as far as that can be told.

        A newer term was met on a server. If the lease has been taken over, that is why, and all is well. If
        it is still ours, whoever acts there does not see this store: two halves of a pair that have lost
        each other. Then this node takes no lease for ASIDE_SECONDS.
        """
        now = self._clock()
        if self._superseded is not None:
            (term, where), self._superseded = self._superseded, None
            if lease is not None and (lease.node_id, lease.term) == (self.node_id, term):
                said = (
                    f"a newer term than {term} acts on {where}, and this node's store does not know it: "
                    "another node of this setup uses another store (do both servers of a pair take writes, "
                    "and not replicate?), or another setup has the same SetupName; this node does not act"
                )
                _log.error("stands aside", node=self.node_id, seconds=ASIDE_SECONDS, reason=said)
                self._aside = now + ASIDE_SECONDS, said
                self._lose()
        if now < self._aside[0]:
            return True
        self._aside = (-math.inf, "")
        return False

    def _look(self, lease: Lease | None) -> Seen:
        now = self._clock()  # after the reading, see rule 2
        self._seen = Seen(lease, now) if self._seen is None else self._seen.then(lease, now)
        if lease is not None:
            self._newest_term = max(self._newest_term, lease.term)
        return self._seen

    async def _change(self, action: Renew | Take) -> None:
        held, sent = self._held, self._clock()  # before the sending, see rule 1

        def compare_and_set(connection: Connection) -> bool:
            return replace(connection, action.expected, action.lease)

        try:
            done = await self._database.write(compare_and_set, limit_seconds=self._limit)
        except StoreConflictError:  # on one of several servers that all take writes
            self._conflicts += 1
            if self._conflicts >= _CONFLICTS_TOLD:
                raise
            done = False
        else:
            self._conflicts = 0
        if not done:
            # Somebody was first: another node, or a renewal of ours that was given up too early. The next
            # reading tells which, and until then the deadline stands: nobody takes a lease before it.
            self._wait = self._renew / 10
            return
        if self._held is not held:
            return  # it was given up, or superseded, while this was on its way: that stands
        earlier_until = 0.0 if self._held is None else self._held.earlier_until
        if isinstance(action, Take):
            earlier_until = self._right_of_earlier_run(action)
        self._held = Leadership(action.lease.term, sent + action.lease.length_seconds, earlier_until)
        self._look(action.lease)
        if isinstance(action, Take):
            _log.info("elected", node=self.node_id, term=action.lease.term)

    def _right_of_earlier_run(self, action: Take) -> float:
        """Until when it would have lasted: of a lease that was taken before it had run out."""
        earlier = action.expected
        if not self._holds_node_lock or earlier is None or earlier.node_id != self.node_id:
            return 0.0
        return self._clock() + earlier.length_seconds

    def _lose(self) -> None:
        if self._held is not None:
            _log.warning("no longer elected", node=self.node_id, term=self._held.term)
            self._held = None
