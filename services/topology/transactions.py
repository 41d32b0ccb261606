"""Sets of numbered transactions, whoever numbers them: the algebra that the flavours' GTIDs share.

The transactions of one source are held as one tuple of bounds, ``start, end, start, end, …``, strictly
increasing, each end excluded. So a number is in the set if an odd number of bounds is not greater
than it, and no operation looks at single transactions: a set of 2^62 of them costs two numbers.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Bounds", "TransactionSet", "bounds_of", "intervals_of"]

Bounds = tuple[int, ...]
_BEYOND = 1 << 128  # greater than any bound
_Set = TypeVar("_Set", bound="TransactionSet")


@dataclass(frozen=True, slots=True, repr=False)
class TransactionSet:
    """An immutable, hashable set of transactions.

    ``|``, ``-``, ``&`` are union, difference and intersection; ``>=``, ``>``, ``<=``, ``<`` compare by
    inclusion, so that of two sets neither may be ``>=`` the other. All are linear in the number of
    intervals. A set is true if it is not empty. Sets of two flavours do not mix.
    """

    _runs: tuple[tuple[Any, Bounds], ...]
    """Sorted by source; no source twice, none without bounds."""

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __or__(self: _Set, other: _Set) -> _Set:
        return self._combined(other, operator.or_)

    def __and__(self: _Set, other: _Set) -> _Set:
        return self._combined(other, operator.and_)

    def __sub__(self: _Set, other: _Set) -> _Set:
        return self._combined(other, operator.gt)  # in this one > in the other: here and not there

    def __ge__(self: _Set, other: _Set) -> bool:
        return self.contains(other)

    def __le__(self: _Set, other: _Set) -> bool:
        return other.contains(self)

    def __gt__(self: _Set, other: _Set) -> bool:
        return self != other and self.contains(other)

    def __lt__(self: _Set, other: _Set) -> bool:
        return self != other and other.contains(self)

    def contains(self: _Set, other: _Set) -> bool:
        """Every transaction of ``other`` is in this set (``GTID_SUBSET(other, self)``)."""
        mine = dict(self._runs)
        return all(_covers(mine.get(source, ()), bounds) for source, bounds in other._runs)

    @property
    def is_empty(self) -> bool:
        return not self._runs

    @property
    def count(self) -> int:
        """How many transactions; may exceed 64 bits."""
        return sum(end - start for _, bounds in self._runs for start, end in intervals_of(bounds))

    def _combined(self: _Set, other: _Set, keep: Callable[[bool, bool], bool]) -> _Set:
        if type(other) is not type(self):
            raise TypeError(f"{type(self).__name__} and {type(other).__name__} do not mix")
        if self._runs == other._runs:  # the usual case, at the speed of C
            return self if keep(True, True) else type(self)(())
        mine, theirs = dict(self._runs), dict(other._runs)
        runs = (
            (source, _sweep(mine.get(source, ()), theirs.get(source, ()), keep))
            for source in sorted(mine.keys() | theirs.keys())
        )
        return type(self)(tuple(run for run in runs if run[1]))


def bounds_of(intervals: Iterable[tuple[int, int]]) -> Bounds:
    """Intervals, ends excluded, in one tuple: sorted, and merged where they overlap or touch."""
    bounds: list[int] = []
    for start, end in sorted(intervals):
        if not bounds or start > bounds[-1]:
            bounds += (start, end)
        elif end > bounds[-1]:
            bounds[-1] = end
    return tuple(bounds)


def intervals_of(bounds: Bounds) -> Iterator[tuple[int, int]]:
    return zip(bounds[::2], bounds[1::2], strict=True)


def _sweep(left: Bounds, right: Bounds, keep: Callable[[bool, bool], bool]) -> Bounds:
    """Walk both in step and keep the numbers for which ``keep(is in left, is in right)``.

    ``keep(False, False)`` must be false.
    """
    left, right = (*left, _BEYOND), (*right, _BEYOND)
    at_left = at_right = 0  # how many bounds are passed: odd means inside an interval
    kept: list[int] = []
    while (bound := min(left[at_left], right[at_right])) != _BEYOND:
        at_left += left[at_left] == bound
        at_right += right[at_right] == bound
        if keep(at_left % 2 == 1, at_right % 2 == 1) != (len(kept) % 2 == 1):
            kept.append(bound)
    return tuple(kept)


def _covers(outer: Bounds, inner: Bounds) -> bool:
    if outer == inner:  # the usual case, at the speed of C
        return True
    at = 0
    for start, end in intervals_of(inner):
        at = bisect_right(outer, start, at)
        if at % 2 == 0 or outer[at] < end:
            return False
    return True
