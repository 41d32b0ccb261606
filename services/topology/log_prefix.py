"""What is known of a replica without GTID: how far it came in its source's binary log.

As a set of transactions it is the beginning of that log, up to a file and position. Two are comparable only
if they are of one sequence of files; nothing else is known of what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from services.topology.coordinates import BinlogCoordinates, IncomparableCoordinatesError
from services.topology.transactions import Bounds, TransactionSet, intervals_of

__all__ = ["LogPrefix"]

_POSITION_BITS = 48


@dataclass(frozen=True, slots=True, repr=False)
class LogPrefix(TransactionSet):
    """The beginning of a binary log. Made by ``up_to`` and by operations on others."""

    EMPTY: ClassVar[LogPrefix]

    _runs: tuple[tuple[str, Bounds], ...]  # by the base name of the files

    @classmethod
    def up_to(cls, coordinates: BinlogCoordinates) -> LogPrefix:
        """Raises IncomparableCoordinatesError for coordinates that are no place in a numbered log."""
        if coordinates.is_empty:
            return cls.EMPTY
        number = coordinates.file_number
        if number is None or coordinates.is_detached or coordinates.is_relay:
            raise IncomparableCoordinatesError(f"{coordinates} is not a place in a numbered binary log")
        base = coordinates.log_file.rpartition(".")[0]
        return cls(((base, (0, (number << _POSITION_BITS) + coordinates.log_pos + 1)),))

    def __str__(self) -> str:
        return ", ".join(
            (f"from {_place(base, start)} " if start else "") + f"up to {_place(base, end)}"
            for base, bounds in self._runs
            for start, end in intervals_of(bounds)
        )

    def __repr__(self) -> str:
        return f"<LogPrefix {self}>"

    @property
    def count(self) -> int:
        """At least: how many transactions lie between two places cannot be told."""
        return len(self._runs)


LogPrefix.EMPTY = LogPrefix(())


def _place(base: str, bound: int) -> str:
    number, position = divmod(bound - 1, 1 << _POSITION_BITS)
    return f"{base}.{number:06d}:{position}"
