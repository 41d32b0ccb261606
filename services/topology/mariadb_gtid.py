"""MariaDB's GTIDs: which transactions a server has, as far as its states and positions tell.

A GTID is ``domain-server-sequence``. A *state* (``gtid_binlog_state``) names, for each domain and server, the
highest sequence number; a *position* (``gtid_slave_pos``, ``Gtid_IO_Pos``) names the last transaction of each
domain and nothing of what came before it. Both are written ``0-1-100,0-2-150,1-1-7``.

What is read here is a set of transactions, under two rules that hold for servers that replicate from one
another and number as MariaDB does:

1. Who has a server's transaction has all earlier ones of that server in that domain: ``0-1-100`` stands for
   sequence numbers 1 to 100 of server 1 in domain 0.
2. Along one history a domain's sequence numbers grow, whichever server gives them. So a position tells
   more where the history is known that it is a position in: see ``reached``.

Differences need not begin at 1; those are written ``0-1-101..105``, a form of our own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, NamedTuple

from services.topology.gtid import GtidSyntaxError
from services.topology.transactions import Bounds, TransactionSet, bounds_of, intervals_of

__all__ = ["MAX_SEQUENCE", "MariadbGtidSet", "MariadbSource"]

MAX_SEQUENCE = 2**64 - 1
_MAX_ID = 2**32 - 1
_MAX_TEXT_LENGTH = 1024 * 1024
_PIECE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})(?:\.\.([0-9]{1,20}))?")


class MariadbSource(NamedTuple):
    """Who numbered the transactions: a server, in a domain."""

    domain: int
    server: int


@dataclass(frozen=True, slots=True, repr=False)
class MariadbGtidSet(TransactionSet):
    """Transactions of MariaDB servers. Made by ``parse``, ``reached`` and by operations on others."""

    EMPTY: ClassVar[MariadbGtidSet]

    _runs: tuple[tuple[MariadbSource, Bounds], ...]

    @classmethod
    def parse(cls, text: str) -> MariadbGtidSet:
        """Read a state, a position, or what ``str`` printed; "" is the empty set. Raises GtidSyntaxError."""
        if len(text) > _MAX_TEXT_LENGTH:
            raise GtidSyntaxError(f"a MariaDB GTID state of {len(text)} characters is not read")
        found: dict[MariadbSource, list[tuple[int, int]]] = {}
        for piece in filter(None, (part.strip() for part in text.split(","))):
            source, interval = _read(piece)
            found.setdefault(source, []).append(interval)
        runs = ((source, bounds_of(i for i in found[source] if i[0] < i[1])) for source in sorted(found))
        return cls(tuple(run for run in runs if run[1]))

    @classmethod
    def reached(cls, position: str, history: MariadbGtidSet, masters: Collection[int] = ()) -> MariadbGtidSet:
        """What a server has that replicates from the one that has ``history``, and has come to ``position``.

        The history goes on with what ``masters`` numbered since. In a domain whose position is not of it,
        rule 2 says nothing, and only what rule 1 says is in the result.
        """
        at = cls.parse(position)
        known = dict(history._runs)
        before: dict[MariadbSource, Bounds] = {}
        for source, bounds in at._runs:
            if source not in known and source.server not in masters:
                continue
            for other, others in known.items():
                if other.domain == source.domain:
                    limit = cls(((other, (1, bounds[-1])),))
                    shared = dict((limit & cls(((other, others),)))._runs).get(other, ())
                    before[other] = max(before.get(other, ()), shared)
        return at | cls(tuple(sorted((source, bounds) for source, bounds in before.items() if bounds)))

    def __str__(self) -> str:
        return ",".join(
            f"{source.domain}-{source.server}-{_interval(start, end)}"
            for source, bounds in self._runs
            for start, end in intervals_of(bounds)
        )

    def __repr__(self) -> str:
        return f"MariadbGtidSet.parse({str(self)[:100]!r})"

    @property
    def count(self) -> int:
        """How many transactions at least: one number of a domain is that of one transaction (rule 2)."""
        total = 0
        for _, runs in groupby(self._runs, key=lambda run: run[0].domain):
            merged = bounds_of(interval for _, bounds in runs for interval in intervals_of(bounds))
            total += sum(end - start for start, end in intervals_of(merged))
        return total

    def in_domains_of(self, other: MariadbGtidSet) -> MariadbGtidSet:
        """The transactions of the domains that ``other`` has any of."""
        domains = {source.domain for source, _ in other._runs}
        return MariadbGtidSet(tuple(run for run in self._runs if run[0].domain in domains))

    def without(self, servers: Iterable[int]) -> MariadbGtidSet:
        """The transactions of all other servers."""
        unwanted = frozenset(servers)
        return MariadbGtidSet(tuple(run for run in self._runs if run[0].server not in unwanted))


MariadbGtidSet.EMPTY = MariadbGtidSet(())


def _interval(start: int, end: int) -> str:
    if start == 1:
        return str(end - 1)
    return f"{start}..{end - 1}"


def _read(piece: str) -> tuple[MariadbSource, tuple[int, int]]:
    match = _PIECE.fullmatch(piece)
    if match is None:
        raise GtidSyntaxError(
            f"{piece[:100]!r} is not a MariaDB GTID: write domain-server-sequence, as 0-1-100"
        )
    domain, server, first, last = (int(part) if part else 0 for part in match.groups())
    if domain > _MAX_ID or server > _MAX_ID or max(first, last) > MAX_SEQUENCE:
        raise GtidSyntaxError(f"{piece[:100]!r} is out of range: domain and server 2^32-1, sequence 2^64-1")
    if match[4] is None:
        return MariadbSource(domain, server), (1, first + 1)
    return MariadbSource(domain, server), (max(1, first), last + 1)
