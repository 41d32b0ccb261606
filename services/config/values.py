"""Two kinds of value that a plain ``str`` or ``dict`` would not keep safe: secrets and read-only maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

__all__ = ["FrozenMap", "Secret"]

V = TypeVar("V")


class Secret:
    """A text that shows itself only when asked by ``reveal()``.

    Deliberately no ``str``: formatting, joining, logging or writing it as JSON gives ``***`` or fails.
    ``bool(secret)`` tells whether one is set.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str = "") -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself: for the connection that needs it, never for a log or a reply."""
        return self.__text

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.__text == other.__text

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __repr__(self) -> str:
        return "Secret('***')" if self else "Secret('')"

    def __str__(self) -> str:
        return "***" if self else ""

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.__text,)  # settings travel to other processes


class FrozenMap(Mapping[str, V], Generic[V]):
    """A read-only, hashable map that can be pickled (``MappingProxyType`` cannot)."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        self._items: Mapping[str, V] = MappingProxyType(dict(items or {}))

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(dict(self._items))

    def __reduce__(self) -> tuple[type[FrozenMap[V]], tuple[dict[str, V]]]:
        return FrozenMap, (dict(self._items),)
