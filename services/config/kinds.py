"""Kinds of value: how a JSON value becomes the typed value of a key, and what is refused.

A kind's ``read`` returns the typed, read-only value or raises UnfitValueError, whose text shows the value
(never a secret's) and says what to write instead. ``label`` is the type's name in the documentation.
Kinds are plain classes: a dozen data classes would cost the command line client's start too much.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from services.config.errors import UnfitValueError
from services.config.values import FrozenMap, Secret

__all__ = [
    "FLAG",
    "NATURAL",
    "NO_SECRET",
    "PATH",
    "PORT",
    "POSITIVE",
    "SECRET",
    "TEXT",
    "TEXTS",
    "Backend",
    "CheckedText",
    "Choice",
    "Flag",
    "Kind",
    "Map",
    "Number",
    "PathText",
    "SecretText",
    "Text",
    "Texts",
    "Whole",
    "no_check",
    "shown",
]

T = TypeVar("T")
V = TypeVar("V")

_SHOWN_CHARS = 80
_LARGEST = 2**31 - 1
_USER_INFO = re.compile(r"//[^/@\"]*@")


class Kind(ABC, Generic[T]):
    """One kind of value; see the module."""

    __slots__ = ()
    label: ClassVar[str]

    @abstractmethod
    def read(self, value: object) -> T:
        """The typed value, or UnfitValueError."""


def no_check(text: str) -> None:
    """Accept any text."""


def shown(value: object) -> str:
    """A value as an error text shows it: JSON in ASCII, cut, without user and password of a URL."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    text = _USER_INFO.sub("//***@", text)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _type_name(value: object) -> str:
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a string"),
        (Mapping, "an object"),
        ((list, tuple), "a list"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _wrong_type(value: object, mend: str) -> UnfitValueError:
    what = "is null" if value is None else f"{shown(value)} is {_type_name(value)}"
    return UnfitValueError(f"{what}; give {mend}")


def _sound_text(value: str) -> str | None:
    """What makes a text unusable anywhere, or None."""
    if "\0" in value:
        return "holds a NUL character; remove it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair, which is no character; remove it"
    return None


def _text(value: object, check: Callable[[str], None]) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, "a string in double quotes")
    unsound = _sound_text(value)
    if unsound:
        raise UnfitValueError(f"{shown(value)} {unsound}")
    _checked(value, check)
    return value


def _checked(value: str, check: Callable[[str], None]) -> None:
    try:
        check(value)
    except UnfitValueError as error:
        raise UnfitValueError(f"{shown(value)} {error}") from None


class Flag(Kind[bool]):
    label: ClassVar[str] = "bool"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise _wrong_type(value, "true or false, without quotes")
        return value


class Whole(Kind[int]):
    """A whole number within bounds (inclusive)."""

    __slots__ = ("maximum", "minimum")
    label: ClassVar[str] = "int"

    def __init__(self, minimum: int = 0, maximum: int = _LARGEST) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def read(self, value: object) -> int:
        mend = f"a whole number from {self.minimum} to {self.maximum}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong_type(value, f"{mend}, without quotes")
        if not isinstance(value, int):
            raise UnfitValueError(f"{shown(value)} is not written as a whole number; give {mend}")
        if not self.minimum <= value <= self.maximum:
            raise UnfitValueError(f"{shown(value)} is out of range; give {mend}")
        return value


class Number(Kind[float]):
    """A finite number within bounds (inclusive)."""

    __slots__ = ("maximum", "minimum")
    label: ClassVar[str] = "float"

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def read(self, value: object) -> float:
        mend = f"a number from {self.minimum:g} to {self.maximum:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong_type(value, f"{mend}, without quotes")
        if not math.isfinite(value) or not self.minimum <= value <= self.maximum:
            raise UnfitValueError(f"{shown(value)} is out of range; give {mend}")
        return float(value)


class Text(Kind[str]):
    label: ClassVar[str] = "string"

    def read(self, value: object) -> str:
        return _text(value, no_check)


class CheckedText(Kind[str]):
    """A text that ``check`` accepts; unless ``required``, the empty one means "not set"."""

    __slots__ = ("check", "required")
    label: ClassVar[str] = "string"

    def __init__(self, check: Callable[[str], None], required: bool = False) -> None:
        self.check = check
        self.required = required

    def read(self, value: object) -> str:
        return "" if value == "" and not self.required else _text(value, self.check)


class SecretText(Kind[Secret]):
    """A text that no error shows."""

    label: ClassVar[str] = "string, secret"

    def read(self, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise UnfitValueError(f"is {_type_name(value)}; give a string in double quotes")
        unsound = _sound_text(value)
        if unsound:
            raise UnfitValueError(unsound)
        return Secret(value)


class PathText(Kind[str]):
    """A file or directory; a relative one is made absolute at once, because actors run elsewhere."""

    label: ClassVar[str] = "string"

    def read(self, value: object) -> str:
        text = _text(value, no_check)
        if text.startswith((":memory:", "file:")):
            raise UnfitValueError(f"{shown(text)} does not outlive the process; give the path of a file")
        return str(Path(text).absolute()) if text else ""


class Choice(Kind[str]):
    """One of a few words, in any case; kept in the spelling given here."""

    __slots__ = ("options",)
    label: ClassVar[str] = "string"

    def __init__(self, *options: str) -> None:
        self.options = options

    def read(self, value: object) -> str:
        text = _text(value, no_check)
        for option in self.options:
            if option.lower() == text.lower():
                return option
        words = ", ".join(shown(option) for option in self.options)
        raise UnfitValueError(f"{shown(text)} is not known; give one of {words}")


class Backend(Kind[str]):
    """``mysql``, or anything that contains ``sqlite``; kept as ``mysql`` or ``sqlite``."""

    label: ClassVar[str] = "string"

    def read(self, value: object) -> str:
        text = _text(value, no_check)
        if "sqlite" in text.lower():
            return "sqlite"
        if text.lower() == "mysql":
            return "mysql"
        raise UnfitValueError(f'{shown(text)} is not known; give "sqlite" or "mysql"')


class Texts(Kind[tuple[str, ...]]):
    """A list of texts, each accepted by ``check``."""

    __slots__ = ("check",)
    label: ClassVar[str] = "list of strings"

    def __init__(self, check: Callable[[str], None] = no_check) -> None:
        self.check = check

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise _wrong_type(value, 'a list of strings, such as ["…"]')
        entries = []
        for number, entry in enumerate(value, 1):
            try:
                entries.append(_text(entry, self.check))
            except UnfitValueError as error:
                raise UnfitValueError(f"entry {number}: {error}") from None
        return tuple(entries)


class Map(Kind[FrozenMap[V]]):
    """An object whose names ``check`` accepts and whose values are of kind ``values``."""

    __slots__ = ("check", "values")
    label: ClassVar[str] = "map"

    def __init__(self, values: Kind[V], check: Callable[[str], None]) -> None:
        self.values = values
        self.check = check

    def read(self, value: object) -> FrozenMap[V]:
        if not isinstance(value, Mapping):
            raise _wrong_type(value, 'an object, such as {"…": …}')
        repeated: tuple[str, ...] = getattr(value, "repeated", ())
        if repeated:
            raise UnfitValueError(f"has {shown(repeated[0])} twice; keep one")
        result: dict[str, Any] = {}
        for name, entry in value.items():
            _text(name, self.check)
            try:
                result[name] = self.values.read(entry)
            except UnfitValueError as error:
                raise UnfitValueError(f"entry {shown(name)}: {error}") from None
        return FrozenMap(result)


FLAG = Flag()
NATURAL = Whole(0)
POSITIVE = Whole(1)
PORT = Whole(1, 65535)
TEXT = Text()
TEXTS = Texts()
PATH = PathText()
SECRET = SecretText()
NO_SECRET = Secret()
