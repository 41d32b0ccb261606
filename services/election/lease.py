"""The counter lease: who may act, decided without trusting any clock but one's own. Pure.

The row names its holder, a term, a counter and a length, and no time. Its rules:

1. The holder renews by counting up. It may act until ``length`` after the moment *before* it sent the
   renewal; a renewal whose outcome is unknown did not happen.
2. A taker acts only after it has *seen* the same term and counter for TAKE_AFTER times the length, on
   its own clock, counted from when the reading returned. The holder sent that count before, so that
   its deadline passed earlier; the factor covers clocks that run at different speeds.
3. Every change is conditional on the term and counter that were read. Whoever takes counts the term
   up; it never falls, not by a release either.
4. A released lease, one that never was, and one that an earlier run of the same node left behind (known
   to be dead by the node's file lock) are taken at once.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TAKE_AFTER", "Lease", "Renew", "Seen", "Take", "Wait", "decide", "next_counter", "released"]

TAKE_AFTER = 1.1


@dataclass(frozen=True, slots=True)
class Lease:
    """The row. ``node_id`` is empty when nobody holds it."""

    node_id: str
    term: int
    counter: int
    length_ms: int

    @property
    def length_seconds(self) -> float:
        return self.length_ms / 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """The row as last read (None: there is none), and since when its term and counter are the same."""

    lease: Lease | None
    since: float

    def then(self, lease: Lease | None, now: float) -> Seen:
        """After another reading, which returned at ``now``."""
        return self if lease == self.lease else Seen(lease, now)


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else may hold it for ``seconds`` more, if it is not renewed until then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Write ``lease`` if the row is still ``expected``: the same term goes on."""

    expected: Lease
    lease: Lease


@dataclass(frozen=True, slots=True)
class Take:
    """Write ``lease`` if the row is still ``expected`` (None: if there is none): a new term begins."""

    expected: Lease | None
    lease: Lease


def decide(
    seen: Seen,
    now: float,
    *,
    node_id: str,
    length_ms: int,
    term: int | None,
    newest_term: int,
    holds_node_lock: bool,
) -> Wait | Renew | Take:
    """What to do about the row.

    ``term`` is the one that this process was given and has not lost; None if none. ``newest_term`` is the
    highest that it ever saw: should somebody delete the row, terms go on from there.
    ``holds_node_lock``: no other process of this node can be alive.
    """
    lease = seen.lease
    if lease is None:
        return Take(None, Lease(node_id, newest_term + 1, 1, length_ms))
    if term is not None and lease.term == term and lease.node_id == node_id:
        return Renew(lease, next_counter(lease, length_ms))
    taken = Lease(node_id, max(lease.term, newest_term) + 1, lease.counter + 1, length_ms)
    if not lease.node_id or (holds_node_lock and lease.node_id == node_id):
        return Take(lease, taken)
    left = seen.since + TAKE_AFTER * lease.length_seconds - now
    return Wait(left) if left > 0 else Take(lease, taken)


def next_counter(lease: Lease, length_ms: int) -> Lease:
    return Lease(lease.node_id, lease.term, lease.counter + 1, length_ms)


def released(lease: Lease) -> Lease:
    """The row that lets anybody take it at once. The term stays: the next one is higher."""
    return Lease("", lease.term, lease.counter + 1, lease.length_ms)
