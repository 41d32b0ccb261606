"""Which of the nodes that share a store live: those whose counter moves, on the reader's own clock. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.store.nodes import NodeRow

__all__ = ["GONE_SECONDS", "LIVES_SECONDS", "Neighbours"]

LIVES_SECONDS = 3.0
"""Each node counts once a second, and looks as often."""
GONE_SECONDS = 3600.0
"""A row that has stood still for so long is removed."""


@dataclass(frozen=True, slots=True)
class _Seen:
    row: NodeRow
    since: float  # when it was first seen like this
    moves: bool  # not only seen: seen to move


class Neighbours:
    """Times are in seconds of one clock, which the caller reads."""

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self._seen: dict[str, _Seen] = {}

    def saw(self, rows: Iterable[NodeRow], now: float) -> None:
        """All rows, as they were read at ``now``."""
        before, self._seen = self._seen, {}
        for row in rows:
            known = before.get(row.node_id)
            if known is not None and known.row.counter == row.counter:
                self._seen[row.node_id] = known
            else:
                self._seen[row.node_id] = _Seen(row, now, moves=known is not None)

    def living(self, now: float) -> tuple[NodeRow, ...]:
        """The other nodes that were seen to move of late, by node id."""
        return tuple(
            seen.row
            for node_id, seen in sorted(self._seen.items())
            if node_id != self._own_id and seen.moves and now - seen.since <= LIVES_SECONDS
        )

    def gone(self, now: float) -> tuple[str, ...]:
        """Ids of rows that have stood still for GONE_SECONDS."""
        return tuple(
            node_id
            for node_id, seen in sorted(self._seen.items())
            if node_id != self._own_id and now - seen.since > GONE_SECONDS
        )

    def row_of(self, node_id: str) -> NodeRow | None:
        """What a node wrote of itself, whether it lives or not."""
        seen = self._seen.get(node_id)
        return None if seen is None else seen.row
