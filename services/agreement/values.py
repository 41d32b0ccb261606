"""Values of the store as JSON and back, by the types that the store's methods declare.

A data class is an object of those fields that differ from their defaults, so that a field which is added
later needs no change here. What does not fit is an error, never a guess.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

__all__ = ["from_data", "to_data"]

_PLAIN = (str, int, float, bool, type(None))


def to_data(value: Any) -> Any:
    """What ``json`` can write."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _PLAIN):
        return value
    if is_dataclass(value):
        given = [(one, getattr(value, one.name)) for one in fields(value)]
        return {
            one.name: to_data(item) for one, item in given if one.default is MISSING or item != one.default
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_data(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_data(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} cannot be agreed on")


def from_data(hint: Any, data: Any) -> Any:
    """The value of that type. Raises TypeError, ValueError or KeyError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, data)
    if origin is tuple and arguments[-1:] != (...,):
        if len(arguments) != len(data):
            raise ValueError(f"{len(data)} values where {hint} is expected")
        return tuple(from_data(one, item) for one, item in zip(arguments, data, strict=True))
    if origin in (tuple, list, Sequence, Iterable):
        return tuple(from_data(arguments[0], item) for item in _list(data))
    if is_dataclass(hint):
        hints = _hints(typing.cast(Any, hint))
        return typing.cast(Any, hint)(**{name: from_data(hints[name], item) for name, item in data.items()})
    return hint(data) if isinstance(hint, type) and issubclass(hint, Enum) else _plain(hint, data)


def _plain(hint: Any, data: Any) -> Any:
    if hint is float and type(data) is int:
        return float(data)
    if hint not in _PLAIN or type(data) is not hint:
        raise TypeError(f"{type(data).__name__} where {hint} is expected")
    return data


def _one_of(hints: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in hints:
        return None
    (hint,) = (one for one in hints if one is not type(None))
    return from_data(hint, data)


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"{type(data).__name__} where a list is expected")
    return data


@cache
def _hints(data_class: Any) -> dict[str, Any]:
    return typing.get_type_hints(data_class)
