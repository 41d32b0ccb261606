"""Objects of the API as tables: a row per field, in the order of the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from api.wire_kinds import Kind

__all__ = ["Always", "Field", "Shown", "compiled"]


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


def compiled(rows: Sequence[Field | Shown]) -> Callable[[object], str]:
    """The function that writes these fields as JSON text.

    What is the same for all is written once. What is written alike is fetched and written together; then all
    of it is put in the order of the rows.
    """
    fixed = {
        row.name: row.text(None) for row in rows if isinstance(row, Shown) and isinstance(row.source, Always)
    }
    template = "{" + ",".join(f'"{row.name}":{fixed.get(row.name, "%s")}' for row in rows) + "}"
    assert template.count("%") == len(rows) - len(fixed)
    rows = [row for row in rows if row.name not in fixed]
    by_writer: dict[Callable[[Any], str], list[Field]] = {}
    for row in rows:
        if isinstance(row, Field):
            by_writer.setdefault(row.kind.text, []).append(row)
    # attrgetter gives a tuple of two attributes or more
    alike = {write: fields for write, fields in by_writer.items() if len(fields) > 1}
    groups = [(write, attrgetter(*(row.attribute for row in fields))) for write, fields in alike.items()]
    grouped: list[Field | Shown] = [row for fields in alike.values() for row in fields]
    alone = [row for row in rows if row not in grouped]
    written = [*grouped, *alone]
    in_order = itemgetter(*(written.index(row) for row in rows))

    def write_all(source: object) -> str:
        texts: list[str] = []
        for write, attributes in groups:
            texts.extend(map(write, attributes(source)))
        texts.extend([row.text(source) for row in alone])
        text: str = template % in_order(texts)
        return text

    return write_all
