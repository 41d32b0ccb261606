"""Binary log coordinates: a log file and a byte position in it.

Files are numbered, and the number is what orders them: a server counts ``mysql-bin.999999``,
``mysql-bin.1000000``, where a comparison of texts would put the later file first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from services.topology.travelling import travelling

__all__ = ["NO_COORDINATES", "BinlogCoordinates", "IncomparableCoordinatesError", "InvalidCoordinatesError"]

_MAX_POSITION = 2**63 - 1
_NUMBERED_FILE = re.compile(r"(?P<base>.+)\.(?P<number>[0-9]{1,19})", re.DOTALL)
_POSITION = re.compile(r"[0-9]{1,19}")


class InvalidCoordinatesError(ValueError):
    """A text that should be ``file:position`` is not; the message says why."""


class IncomparableCoordinatesError(ValueError):
    """Neither of two coordinates comes before the other: they are not of one sequence of files."""


@total_ordering
@travelling
@dataclass(frozen=True, slots=True)
class BinlogCoordinates:
    """A place in a sequence of binary log files, or of relay log files if ``is_relay``.

    ``log_pos`` is in bytes. Equality is of the values; it never raises. Order is by file number, then
    position, and asks that both are of one sequence: the same base name, both binary or both
    relay logs, neither absent nor detached. IncomparableCoordinatesError otherwise, because an
    answer would be a guess about who is ahead.
    """

    log_file: str
    log_pos: int
    is_relay: bool = False

    def __str__(self) -> str:
        return f"{self.log_file}:{self.log_pos}"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, BinlogCoordinates):
            return NotImplemented
        if self.is_relay != other.is_relay:
            raise IncomparableCoordinatesError(f"{self} and {other}: one is of a relay log, the other is not")
        base, number = self._base_and_number()
        other_base, other_number = other._base_and_number()
        if base != other_base:
            raise IncomparableCoordinatesError(
                f"{self} and {other}: files named {base!r} and {other_base!r} are not one sequence"
            )
        # The text comes last so that x.1 and x.000001, equal as places, still agree with ==.
        return (number, self.log_pos, self.log_file) < (other_number, other.log_pos, other.log_file)

    @classmethod
    def parse(cls, text: str, *, is_relay: bool = False) -> BinlogCoordinates:
        """Read ``file:position``, the form in which coordinates are printed.

        Raises InvalidCoordinatesError if a part is missing or the position is not within 0..2^63-1.
        """
        log_file, colon, position = text.strip().rpartition(":")
        if not colon:
            raise InvalidCoordinatesError(f"no position in {text!r}: write file:position")
        if not _POSITION.fullmatch(position) or int(position) > _MAX_POSITION:
            raise InvalidCoordinatesError(f"the position in {text!r} is not a number within 0..2^63-1")
        if not log_file and int(position) != 0:
            raise InvalidCoordinatesError(f"no file name in {text!r}: write file:position")
        return cls(log_file, int(position), is_relay)

    @property
    def is_empty(self) -> bool:
        """No file: the server has no binary log, or nothing was read yet."""
        return not self.log_file

    @property
    def is_detached(self) -> bool:
        """Made unusable on purpose, to stop a replica: the file name carries ``//``."""
        return self.log_file.startswith("//")

    @property
    def file_number(self) -> int | None:
        """The number at the end of the file name; None if there is none."""
        match = _NUMBERED_FILE.fullmatch(self.log_file)
        return int(match["number"]) if match else None

    def _base_and_number(self) -> tuple[str, int]:
        match = _NUMBERED_FILE.fullmatch(self.log_file)
        if match is None or self.is_detached:
            raise IncomparableCoordinatesError(
                f"{str(self)!r} is not a place in a numbered log: it has no order"
            )
        return match["base"], int(match["number"])


NO_COORDINATES = BinlogCoordinates("", 0)
"""The absent coordinates: no binary log, or not known."""
