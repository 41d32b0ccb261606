"""The log of one member: what is in memory, and what of it the disk does not have yet.

It begins after ``base``: what stands before is in the snapshot, which may reach further, so that a member
that is a little behind is sent entries and not the snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.consensus.messages import Entry, Snapshot
from services.consensus.state import ConsensusError, Persist, Stored

__all__ = ["Log"]


class Log:
    """Indexes count from 1 and have no gaps."""

    def __init__(self, stored: Stored) -> None:
        self.snapshot = stored.snapshot
        self.base_index, self.base_term = stored.base_index, stored.base_term
        self._entries = list(stored.entries)
        self._dirty_from: int | None = None
        self._dirty_base = self._dirty_snapshot = False
        if not self.base_index <= self.snapshot.index <= self.last_index:
            raise ConsensusError(
                f"the log from {self.base_index} to {self.last_index} does not contain the end of its "
                f"snapshot, {self.snapshot.index}"
            )

    @property
    def last_index(self) -> int:
        return self._entries[-1].index if self._entries else self.base_index

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base_term

    def term_at(self, index: int) -> int | None:
        """None where there is no entry, or none any more."""
        if index == self.base_index:
            return self.base_term
        if self.base_index < index <= self.last_index:
            return self._entries[index - self.base_index - 1].term
        return None

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries ``first`` to ``last``, both included."""
        start = first - self.base_index - 1
        if start < 0:
            raise ConsensusError(f"entry {first} is asked for, the log begins at {self.base_index + 1}")
        return tuple(self._entries[start : last - self.base_index])

    def batch(self, first: int, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from ``first`` on that fit into one message; at least one, if there is one."""
        chosen: list[Entry] = []
        size = 0
        for entry in self.between(first, min(self.last_index, first + entries_max - 1)):
            size += entry.size_bytes
            if chosen and size > bytes_max:
                break
            chosen.append(entry)
        return tuple(chosen)

    def append(self, term: int, command: bytes | None) -> Entry:
        entry = Entry(self.last_index + 1, term, command)
        self._entries.append(entry)
        self._touch(entry.index)
        return entry

    def conflict_before(self, index: int, commit: int) -> int:
        """Where the leader's log may agree if it does not at ``index``: before the term that is there."""
        if index > self.last_index:
            return self.last_index
        if index <= commit:
            raise ConsensusError(f"a leader contradicts the committed entry {index}")
        term = self.term_at(index)
        while index > max(self.base_index, commit) and self.term_at(index) == term:
            index -= 1
        return index

    def merge(self, entries: Sequence[Entry], commit: int) -> None:
        """Take a leader's entries, which follow on one that agrees. Cuts only what differs."""
        for position, entry in enumerate(entries):
            known = self.term_at(entry.index)
            if known == entry.term:
                continue
            if known is not None:
                if entry.index <= commit:
                    raise ConsensusError(f"a leader would replace the committed entry {entry.index}")
                del self._entries[entry.index - self.base_index - 1 :]
            self._entries.extend(entries[position:])
            self._touch(entry.index)
            return

    def compact(self, snapshot: Snapshot, keep: int) -> None:
        """From now on the state up to ``snapshot`` is in it; at least ``keep`` entries before stay."""
        if self.term_at(snapshot.index) != snapshot.term:
            raise ConsensusError(f"a snapshot of entry {snapshot.index}, which the log does not have")
        self._take(snapshot)
        base = max(self.base_index, snapshot.index - keep)
        term = self.term_at(base)
        if base > self.base_index and term is not None:
            self._entries = self._entries[base - self.base_index :]
            self._rebase(base, term)

    def install(self, snapshot: Snapshot) -> None:
        """A leader's snapshot. What follows on it here stays only if the log agrees with it."""
        agrees = self.term_at(snapshot.index) == snapshot.term
        self._take(snapshot)
        if not agrees:
            self._entries = []
            self._rebase(snapshot.index, snapshot.term)
            self._touch(snapshot.index + 1)

    def unsaved(self) -> Persist:
        """What changed since this was last called."""
        first = self._dirty_from
        if first is not None:
            first = max(first, self.base_index + 1)
        persist = Persist(
            snapshot=self.snapshot if self._dirty_snapshot else None,
            base=(self.base_index, self.base_term) if self._dirty_base else None,
            replace_from=first,
            entries=() if first is None else self.between(first, self.last_index),
        )
        self._dirty_from, self._dirty_base, self._dirty_snapshot = None, False, False
        return persist

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshot, self._dirty_snapshot = snapshot, True

    def _rebase(self, index: int, term: int) -> None:
        self.base_index, self.base_term, self._dirty_base = index, term, True

    def _touch(self, index: int) -> None:
        self._dirty_from = index if self._dirty_from is None else min(self._dirty_from, index)
