"""Objects of the API as tables: a row per field, in the order of the reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from api.wire_kinds import Kind

__all__ = ["Always", "Compiled", "Field", "Shown"]


@dataclass(frozen=True, slots=True)
class Field:
    """A value that is kept under ``attribute``, written and read."""

    name: str
    kind: Kind
    attribute: str
    is_historic: bool = False
    """The older of two names of one value."""

    def value(self, source: object) -> Any:
        return self.kind.write(getattr(source, self.attribute))

    def text(self, source: object) -> str:
        return self.kind.text(getattr(source, self.attribute))


@dataclass(frozen=True, slots=True)
class Shown:
    """A value that follows from others, or is always the same: written, not read."""

    name: str
    source: Callable[[Any], Any]
    kind: Kind

    def value(self, source: object) -> Any:
        return self.kind.write(self.source(source))

    def text(self, source: object) -> str:
        return self.kind.text(self.source(source))


@dataclass(frozen=True, slots=True)
class Always:
    """The source of a value that is the same for all."""

    value: Any

    def __call__(self, _source: object) -> Any:
        return self.value


class Compiled:
    """Writes fields as JSON text: what stays for long, and what moves by itself from snapshot to snapshot.

    What is the same for all is written once. What is written alike is fetched and written together; then all
    of it is put in the order of the rows.
    """

    __slots__ = ("_alone", "_groups", "_in_order", "_moving", "_template", "moving")

    def __init__(self, rows: Sequence[Field | Shown], moving: Collection[str] = ()) -> None:
        fixed = {
            row.name: row.text(None)
            for row in rows
            if isinstance(row, Shown) and isinstance(row.source, Always)
        }
        slots = fixed | dict.fromkeys(moving, _SLOT)
        self._template = "{" + ",".join(f'"{row.name}":{slots.get(row.name, "%s")}' for row in rows) + "}"
        assert self._template.count("%") == len(rows) - len(slots)
        self._moving = [row for row in rows if isinstance(row, Field) and row.name in moving]
        self.moving = tuple(row.attribute for row in self._moving)
        assert len(self.moving) == len(moving)
        rows = [row for row in rows if row.name not in slots]
        by_writer: dict[Callable[[Any], str], list[Field]] = {}
        for row in rows:
            if isinstance(row, Field):
                by_writer.setdefault(row.kind.text, []).append(row)
        # attrgetter gives a tuple of two attributes or more
        alike = {write: fields for write, fields in by_writer.items() if len(fields) > 1}
        self._groups = [
            (write, attrgetter(*(row.attribute for row in fields))) for write, fields in alike.items()
        ]
        grouped: list[Field | Shown] = [row for fields in alike.values() for row in fields]
        self._alone = [row for row in rows if row not in grouped]
        written = [*grouped, *self._alone]
        self._in_order = itemgetter(*(written.index(row) for row in rows))

    def staying(self, source: object) -> list[str]:
        """What stays, in pieces: between them stands what moves."""
        texts: list[str] = []
        for write, attributes in self._groups:
            texts.extend(map(write, attributes(source)))
        texts.extend([row.text(source) for row in self._alone])
        text: str = self._template % self._in_order(texts)
        return text.split(_SLOT)

    def filled(self, pieces: Sequence[str], source: object) -> str:
        """The whole: what moves, put between the pieces."""
        texts = [pieces[0]]
        for row, piece in zip(self._moving, pieces[1:], strict=True):
            texts += (row.text(source), piece)
        return "".join(texts)


_SLOT = "\0"
"""In JSON it stands nowhere: strings have it escaped."""
