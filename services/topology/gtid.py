"""MySQL GTID sets: which transactions a server has, as values that can be compared.

A set is written ``uuid:1-3:7:tag:1-5,\\nuuid:9`` (tags since MySQL 8.3). What is accepted, what it
means and how it is printed are what a 9.7 server does with it: tests/property/test_gtid_against_server.py
asks one. In short:

* Pieces are separated by commas, blank pieces are ignored, and ASCII white space may stand around every part.
* UUIDs (with dashes, with braces around that, or as 32 digits) and tags are of any case.
* A tag applies to the intervals that follow it, up to the next tag or comma.
* An interval that ends before it starts is empty, and so is a UUID or a tag without intervals.
* Printed: lower case, one piece for each UUID, in the order of the UUIDs, joined by a comma and a newline;
  inside it untagged intervals first, then tags in ASCII order; adjacent intervals merged.

How sets are held and compared: ``services.topology.transactions``. MariaDB's GTIDs (``0-1-100``) are
positions, not sets: ``services.topology.mariadb_gtid``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, NamedTuple

from services.topology.transactions import Bounds, TransactionSet, bounds_of, intervals_of

__all__ = ["MAX_GNO", "MAX_TEXT_LENGTH", "GtidSet", "GtidSource", "GtidSyntaxError"]

MAX_GNO = 2**63 - 2
"""The highest transaction number that a server accepts in a set."""

MAX_TEXT_LENGTH = 4 * 1024 * 1024
"""Characters. A longer text is refused: some 400,000 intervals, which take a second to read."""

_SPACE = " \t\n\v\f\r"
_INTERVAL = re.compile(rf"[{_SPACE}]*([0-9]+)[{_SPACE}]*(?:-[{_SPACE}]*([0-9]+)[{_SPACE}]*)?")
_TAG = re.compile(rf"[{_SPACE}]*([A-Za-z_][A-Za-z0-9_]{{0,31}})[{_SPACE}]*")
_DASHED = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_UUID = re.compile(rf"{_DASHED}|\{{{_DASHED}\}}|[0-9A-Fa-f]{{32}}")

_MAX_DIGITS = len(str(MAX_GNO))


class GtidSyntaxError(ValueError):
    """A text is not a GTID set; the message names the offending piece."""


class GtidSource(NamedTuple):
    """Who numbered the transactions: a server, and a tag ("" without one), each counting from 1."""

    uuid: str
    tag: str


@dataclass(frozen=True, slots=True, repr=False)
class GtidSet(TransactionSet):
    """Transactions of MySQL servers. Made by ``parse`` and by operations on others."""

    EMPTY: ClassVar[GtidSet]

    _runs: tuple[tuple[GtidSource, Bounds], ...]

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read a set as a server does; "" is the empty set. Raises GtidSyntaxError."""
        if len(text) > MAX_TEXT_LENGTH:
            raise GtidSyntaxError(
                f"a GTID set of {len(text)} characters, beginning {_shown(text)}, is longer"
                f" than the {MAX_TEXT_LENGTH} that are read"
            )
        found: dict[GtidSource, list[tuple[int, int]]] = {}
        for piece in text.split(","):
            if stripped := piece.strip(_SPACE):
                _read_piece(stripped, found)
        return cls(tuple((source, bounds_of(found[source])) for source in sorted(found) if found[source]))

    def __str__(self) -> str:
        """The server's own form, as in ``@@gtid_executed``."""
        pieces = []
        for uuid, runs in groupby(self._runs, key=lambda run: run[0].uuid):
            parts = [uuid]
            for source, bounds in runs:
                if source.tag:
                    parts.append(source.tag)
                parts += (f"{s}-{e - 1}" if e - s > 1 else str(s) for s, e in intervals_of(bounds))
            pieces.append(":".join(parts))
        return ",\n".join(pieces)

    def __repr__(self) -> str:
        return f"GtidSet.parse({_shown(str(self))})"

    def sources(self) -> frozenset[GtidSource]:
        """The (uuid, tag) pairs of which there is at least one transaction."""
        return frozenset(source for source, _ in self._runs)

    def only(self, uuids: Iterable[str]) -> GtidSet:
        """The transactions of these servers, whatever their tags. A UUID is given in the dashed form."""
        wanted = _uuids(uuids)
        return GtidSet(tuple(run for run in self._runs if run[0].uuid in wanted))

    def without(self, uuids: Iterable[str]) -> GtidSet:
        """The transactions of all other servers, whatever their tags. UUIDs as in ``only``."""
        unwanted = _uuids(uuids)
        return GtidSet(tuple(run for run in self._runs if run[0].uuid not in unwanted))


GtidSet.EMPTY = GtidSet(())


def _read_piece(piece: str, found: dict[GtidSource, list[tuple[int, int]]]) -> None:
    """Add the intervals, ends excluded, of what stands between two commas: ``uuid:1-3:tag:5``."""
    uuid_text, *parts = piece.split(":")
    uuid_text = uuid_text.strip(_SPACE)
    if not _UUID.fullmatch(uuid_text):
        raise GtidSyntaxError(
            f"{_shown(piece)} does not begin with a server's UUID: write uuid:1-5 or uuid:tag:1-5"
        )
    digits = uuid_text.strip("{}").replace("-", "").lower()
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    intervals = found.setdefault(GtidSource(uuid, ""), [])
    for part in parts:
        if match := _INTERVAL.fullmatch(part):
            first, last = match.groups()
            start = _number(first, piece, lowest=1)
            end = start + 1 if last is None else _number(last, piece, lowest=0) + 1
            if start < end:
                intervals.append((start, end))
        elif match := _TAG.fullmatch(part):
            intervals = found.setdefault(GtidSource(uuid, match[1].lower()), [])
        else:
            raise GtidSyntaxError(
                f"{_shown(part)} in {_shown(piece)} is neither an interval (7 or 1-5) nor a tag"
                " (up to 32 letters, digits and underscores, not beginning with a digit)"
            )


def _number(digits: str, piece: str, *, lowest: int) -> int:
    # The length first: int() of a long text takes quadratic time, or refuses.
    if len(digits) > _MAX_DIGITS:
        digits = digits.lstrip("0") or "0"
    if len(digits) > _MAX_DIGITS or not lowest <= (number := int(digits)) <= MAX_GNO:
        raise GtidSyntaxError(
            f"{_shown(digits)} in {_shown(piece)} is out of range: transactions are numbered 1 to {MAX_GNO}"
        )
    return number


def _uuids(uuids: Iterable[str]) -> frozenset[str]:
    assert not isinstance(uuids, str), "a collection of UUIDs is asked for, not one UUID"
    return frozenset(uuid.strip(_SPACE).lower() for uuid in uuids)


def _shown(text: str) -> str:
    """Quoted, and cut to what fits a message."""
    return repr(text if len(text) <= 100 else text[:97] + "...")
