"""How single values are written in the JSON of the API, and read back (http-api.md 6).

A kind writes a value twice: as a value for ``json``, and as its JSON text. The texts are for lists of a
thousand servers with a hundred fields each; a test holds both to be the same.

Reading is strict about types and says what was expected; what may be missing is for the reader of a
whole object to decide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from api import wire_types
from services.topology.coordinates import BinlogCoordinates
from services.topology.keys import InstanceKey

__all__ = [
    "COMPUTED_TIME",
    "COORDINATES",
    "FLAG",
    "KEY",
    "KEYS",
    "LONG_TEXT",
    "NOTHING",
    "NULLABLE_FLAG",
    "NULLABLE_WHOLE",
    "NUMBER",
    "QUOTED",
    "RELAY_COORDINATES",
    "STORED_TIME",
    "TEXT",
    "TEXTS",
    "WHOLE",
    "Kind",
    "MisfitError",
    "dumps",
    "key_to_wire",
    "quote",
    "unquote",
]


class MisfitError(ValueError):
    """A JSON value of the wrong type. ``path`` is where inside the value, ``.Port``; "" for all of it."""

    def __init__(self, expected: str, value: object, path: str = "") -> None:
        super().__init__(expected, value, path)
        self.expected, self.value, self.path = expected, value, path


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of the API: how it is written, as value and as text, and read. ``read`` raises MisfitError."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    type: Any
    """What is written, as a type."""
    text: Callable[[Any], str]
    """The JSON of what is written."""


def dumps(value: Any) -> str:
    """Compact JSON as the API gives it: order kept, ``<``, ``>`` and ``&`` escaped, no newline at the end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)  # outside of strings none of these can stand


_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def _long_text_json(text: str) -> str:
    return encode_basestring(text).translate(_ESCAPES) if text else '""'


_text_json = lru_cache(maxsize=16_384)(_long_text_json)
"""For texts that are short, and the same for many servers."""


def key_to_wire(key: InstanceKey) -> wire_types.Key:
    return {"Hostname": key.hostname, "Port": key.port}


def quote(text: str) -> str:
    """The ASCII literal, in Go's syntax, that the API shows of a server's error text; "" stays ""."""
    return f'"{"".join(map(_escaped, text))}"' if text else ""


def unquote(text: str) -> str:
    """The reverse of `quote`. What is not a quoted literal is taken as it is."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    return _ESCAPE.sub(_unescaped, text[1:-1])


_SHORT_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}
_LONG_ESCAPES = {escape[1]: char for char, escape in _SHORT_ESCAPES.items()}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\"\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}))"
)


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if 0x20 <= code < 0x7F:
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return "\\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescaped(match: re.Match[str]) -> str:
    short, byte, *wide = match.groups()
    if short:
        return _LONG_ESCAPES[short]
    if byte:
        code = int(byte, 16)
        return chr(code) if code < 0x80 else chr(0xDC00 + code)
    return chr(int(wide[0] or wide[1], 16))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MisfitError("a text", value)
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MisfitError("a whole number", value)
    return value


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise MisfitError("a number", value)
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MisfitError("true or false", value)
    return value


def _member(value: Mapping[str, Any], name: str, read: Callable[[Any], Any], default: Any) -> Any:
    inner = value.get(name)
    try:
        return default if inner is None else read(inner)
    except MisfitError as error:
        raise MisfitError(error.expected, error.value, f".{name}{error.path}") from None


def _object(value: Any, form: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MisfitError(form, value)
    return value


def _key(value: Any) -> InstanceKey:
    members = _object(value, 'an object {"Hostname":…,"Port":…}')
    port = _member(members, "Port", _whole, 0)
    if not 0 <= port <= 65535:
        raise MisfitError("a port within 0..65535", port, ".Port")
    return InstanceKey(_member(members, "Hostname", _text, ""), port)


def _keys(value: Any) -> tuple[InstanceKey, ...]:
    if not isinstance(value, list):
        raise MisfitError("a list", value)
    found = []
    for index, item in enumerate(value):
        try:
            found.append(_key(item))
        except MisfitError as error:
            raise MisfitError(error.expected, error.value, f"[{index}]{error.path}") from None
    return tuple(sorted(found))


def _coordinates(is_relay: bool) -> Kind:
    log_type = int(is_relay)

    def read(value: Any) -> BinlogCoordinates:
        members = _object(value, 'an object {"LogFile":…,"LogPos":…,"Type":…}')
        log_file = _member(members, "LogFile", _text, "")
        # Absent coordinates are equal, whichever log they would be of.
        return BinlogCoordinates(log_file, _member(members, "LogPos", _whole, 0), is_relay and log_file != "")

    def write(place: BinlogCoordinates) -> dict[str, Any]:
        return {"LogFile": place.log_file, "LogPos": place.log_pos, "Type": log_type}

    def text(place: BinlogCoordinates) -> str:
        return f'{{"LogFile":{_text_json(place.log_file)},"LogPos":{place.log_pos},"Type":{log_type}}}'

    return Kind(write, read, wire_types.BinlogCoordinates, text)


def _nullable(member: str, zero: Any, read_member: Callable[[Any], Any], kind: Any) -> Kind:
    """``{"Int64":5,"Valid":true}``; read also from the bare value."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return read_member(value)
        inner = _member(value, member, read_member, zero)
        return inner if _member(value, "Valid", _flag, False) else None

    def write(value: Any) -> dict[str, Any]:
        return {member: zero if value is None else value, "Valid": value is not None}

    return Kind(write, read, kind, lru_cache(maxsize=1024)(lambda value: dumps(write(value))))


def _same(value: Any) -> Any:
    return value


def _never(_value: Any) -> Any:
    raise AssertionError("this is written only")


_STORED_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z")
_SHOWN_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)")


def _as_computed(time: str) -> str:
    return _STORED_TIME.sub(r"\1 \2", time)


def _as_stored(value: Any) -> str:
    return _SHOWN_TIME.sub(r"\1T\2Z", _text(value))


def _key_json(key: InstanceKey) -> str:
    return f'{{"Hostname":{_text_json(key.hostname)},"Port":{key.port}}}'


TEXT = Kind(_same, _text, str, _text_json)
LONG_TEXT = Kind(_same, _text, str, _long_text_json)
COMPUTED_TIME = Kind(_as_computed, _as_stored, str, lambda time: _text_json(_as_computed(time)))
"""A time that the reference's backend computes, such as an end: without ``T`` and ``Z`` (http-api.md 6)."""
STORED_TIME = Kind(_same, _as_stored, str, _long_text_json)
"""One that it reads as it is; on MySQL without ``T`` and ``Z`` too (``api.replies.times_of_mysql``)."""
WHOLE = Kind(_same, _whole, int, str)
NUMBER = Kind(_same, _number, float, repr)
FLAG = Kind(_same, _flag, bool, {True: "true", False: "false"}.__getitem__)
QUOTED = Kind(
    quote,
    lambda value: unquote(_text(value)),
    str,
    lambda text: _long_text_json(quote(text)) if text else '""',
)
TEXTS = Kind(list, _never, list[str], lru_cache(maxsize=1024)(lambda texts: dumps(list(texts))))
NOTHING = Kind(_same, _never, wire_types.Nothing, dumps)
KEY = Kind(key_to_wire, _key, wire_types.Key, _key_json)
KEYS = Kind(
    lambda keys: [key_to_wire(key) for key in sorted(keys)],
    _keys,
    list[wire_types.Key],
    lambda keys: f"[{','.join(map(_key_json, sorted(keys)))}]",
)
COORDINATES = _coordinates(is_relay=False)
RELAY_COORDINATES = _coordinates(is_relay=True)
NULLABLE_WHOLE = _nullable("Int64", 0, _whole, wire_types.NullInt64)
NULLABLE_FLAG = _nullable("Bool", False, _flag, wire_types.NullBool)
