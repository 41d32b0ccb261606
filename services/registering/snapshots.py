"""Requests about how topologies are at a moment."""

from __future__ import annotations

from dataclasses import dataclass

from services.node_errors import RefusedError
from services.registering.request import AGREED_CHARACTERS_MAX, Book, Request, checked_key
from services.topology.keys import InstanceKey

__all__ = ["SnapshotCluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCluster(Request[None]):
    """Keep a cluster's tree in the audit, under its master's name."""

    shows = False

    key: InstanceKey
    text: str

    async def carry_out(self, book: Book) -> None:
        if len(self.text) > AGREED_CHARACTERS_MAX:
            raise RefusedError(
                f"the tree of {self.key} has {len(self.text)} characters: {AGREED_CHARACTERS_MAX} can be kept"
            )
        await book.store.audit.add(
            book.entry("snapshot-topologies", f"\n{self.text}", key=checked_key(self.key), by=self.by)
        )
