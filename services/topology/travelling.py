"""Values that travel between actors by the thousand.

A frozen data class with slots is unpickled by looking up its fields anew for each value: 40 microseconds for
an instance, 40 ms for a topology of a thousand, several times a second in each gateway, which answers nobody
meanwhile. Here the fields are looked up once for the class.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

__all__ = ["travelling"]

T = TypeVar("T")


def travelling(kind: type[T]) -> type[T]:
    """For data classes that are frozen, have slots and two fields at least: stands above ``@dataclass``."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    assert len(names) > 1  # of one, attrgetter gives no tuple
    values_of = attrgetter(*names)
    setters = [getattr(kind, name).__set__ for name in names]  # of the slots: past what forbids changes

    def getstate(self: T) -> tuple[Any, ...]:
        values: tuple[Any, ...] = values_of(self)
        return values

    def setstate(self: T, values: tuple[Any, ...]) -> None:
        for put, value in zip(setters, values, strict=True):
            put(self, value)

    kind.__getstate__ = getstate  # type: ignore[attr-defined]
    kind.__setstate__ = setstate  # type: ignore[attr-defined]
    return kind
