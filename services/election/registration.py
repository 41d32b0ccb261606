"""A node among those that share its store: says that it lives, and knows which others do.

Beside the election, not part of it: a report that fails takes no lease away.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from services.election.clock import boottime
from services.election.neighbours import Neighbours
from services.store.errors import StoreError
from services.store.nodes import NodeRow, NodeStore

__all__ = ["Registration"]

_SECRET_EACH = 10
_log = structlog.get_logger(__name__)


class Registration:
    """Call ``report`` once a second. ``last_error`` is why the last one failed, empty if it did not."""

    def __init__(self, store: NodeStore, me: NodeRow, *, clock: Callable[[], float] = boottime) -> None:
        self.last_error = ""
        self._store, self._me, self._clock = store, me, clock
        self._others = Neighbours(me.node_id)
        self._reports = 0

    async def report(self, *, tidies: bool) -> None:
        """Bounded; raises no StoreError. Who ``tidies`` removes the rows of nodes that are long gone."""
        try:
            rows = await self._store.report(self._me)
            self._others.saw(rows, self._clock())  # after the reading
            if self._reports % _SECRET_EACH == 0:  # again and again: it may be another store by now
                await self._store.make_secret()
            self._reports += 1
            gone = self._others.gone(self._clock()) if tidies else ()
            if gone:
                _log.info("nodes removed that have not been heard of for long", nodes=gone)
                await self._store.forget(gone)
        except StoreError as error:
            self.last_error = f"this node is not registered: {error}"
        else:
            self.last_error = ""

    def others(self) -> tuple[NodeRow, ...]:
        """That live."""
        return self._others.living(self._clock())

    def row_of(self, node_id: str) -> NodeRow | None:
        return self._others.row_of(node_id)
