"""The disk of a simulated member: what is on it survives a crash, transaction by transaction."""

from __future__ import annotations

from services.consensus.messages import EMPTY_SNAPSHOT, Entry, Snapshot
from services.consensus.state import Hard, Persist, Stored

__all__ = ["Disk"]


class Disk:
    """``write`` is one transaction: all of it or, if the crash came before, nothing."""

    def __init__(self) -> None:
        self.hard = Hard()
        self.snapshot: Snapshot = EMPTY_SNAPSHOT
        self.base = (0, 0)
        self.entries: dict[int, Entry] = {}

    def write(self, persist: Persist) -> None:
        if persist.hard is not None:
            assert persist.hard.term >= self.hard.term, "terms only grow"
            self.hard = persist.hard
        if persist.snapshot is not None:
            self.snapshot = persist.snapshot
        if persist.base is not None:
            self.base = persist.base
            self.entries = {index: entry for index, entry in self.entries.items() if index > self.base[0]}
        if persist.replace_from is not None:
            for index in range(persist.replace_from, max(self.entries, default=0) + 1):
                self.entries.pop(index, None)
            self.entries.update({entry.index: entry for entry in persist.entries})

    def read(self) -> Stored:
        entries = tuple(self.entries[index] for index in sorted(self.entries))
        return Stored(self.hard, self.snapshot, *self.base, entries)
