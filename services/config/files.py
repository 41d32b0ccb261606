"""Reading configuration files: bounded, strict JSON, and errors that say where."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from services.config.errors import ConfigurationError

__all__ = ["MAX_FILE_BYTES", "JsonObject", "read_json_object", "read_text"]

MAX_FILE_BYTES = 8 * 1024 * 1024
_MAX_DIGITS = 400
_CONSTANT = r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)'


class JsonObject(dict[str, Any]):
    """A JSON object that remembers its pairs as written and the names that occur twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = tuple(pairs)
        counts = Counter(name for name, _ in pairs)
        self.repeated = tuple(name for name, count in counts.items() if count > 1)


class _ConstantError(ValueError):
    """NaN or an infinity, which Python reads and JSON does not have."""


def read_text(path: Path) -> str:
    """The text of a regular file of at most MAX_FILE_BYTES; raises ConfigurationError.

    Never blocks: a named pipe is opened without waiting and refused.
    """
    try:
        content = _read_bytes(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        mend = "create it or correct the path" if isinstance(error, FileNotFoundError) else "make it readable"
    else:
        return _decode(path, content)
    raise ConfigurationError([f"{path}: cannot be read: {reason}; {mend}"])


def read_json_object(path: Path) -> JsonObject:
    """The one JSON object that the file consists of; raises ConfigurationError."""
    text = read_text(path)
    if not text.strip():
        raise ConfigurationError([f"{path}: is empty; write a JSON object, at least {{}}"])
    problem = ""
    value: object = None
    try:
        # Errors of the decoder hold the whole text, secrets included: they must not be chained to ours.
        value = json.loads(
            text, object_pairs_hook=JsonObject, parse_int=_whole_number, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        comma = _comma_too_many(text, error.pos)
        if comma is None:
            problem = _place(path, text, error.pos) + _what_is_wrong(text, error)
        else:
            problem = _place(path, text, comma) + "a comma stands before the closing bracket; remove it"
    except _ConstantError:
        at = next((match.start() for match in re.finditer(_CONSTANT, text) if match[1]), 0)
        problem = _place(path, text, at) + "NaN and Infinity are not JSON; write a number"
    except RecursionError:
        problem = f"{path}: is nested too deeply; the configuration is one flat JSON object"
    if not problem and not isinstance(value, JsonObject):
        problem = f"{path}: is not a JSON object; it must begin with {{ and end with }}"
    if problem or not isinstance(value, JsonObject):
        raise ConfigurationError([problem])
    return value


def _read_bytes(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise ConfigurationError([f"{path}: is a directory; name the file in it"])
        if not stat.S_ISREG(mode):
            raise ConfigurationError([f"{path}: is no regular file; a reload could not read it again"])
        content = bytearray()
        while len(content) <= MAX_FILE_BYTES:
            piece = os.read(descriptor, MAX_FILE_BYTES + 1 - len(content))
            if not piece:
                return bytes(content)
            content += piece
    finally:
        os.close(descriptor)
    raise ConfigurationError([f"{path}: is larger than {MAX_FILE_BYTES} bytes; is it the right file?"])


def _decode(path: Path, content: bytes) -> str:
    if content.startswith(b"\xef\xbb\xbf"):
        raise ConfigurationError([f"{path}: begins with a byte order mark; save it as UTF-8 without one"])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise ConfigurationError([f"{path}: line {line}: is not UTF-8; save the file as UTF-8"])


def _whole_number(digits: str) -> int:
    return int(digits[:_MAX_DIGITS])  # cut ones are out of every range; longer ones cost much time


def _refuse_constant(name: str) -> NoReturn:
    raise _ConstantError(name)


def _place(path: Path, text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"{path}: line {line}, column {column}: "


def _comma_too_many(text: str, position: int) -> int | None:
    """Where the comma before a closing bracket stands, if it is that which the decoder dislikes.

    Python points at the bracket up to 3.12, at the comma from 3.13.
    """
    if text[position : position + 1] == ",":
        comma, after = position, text[position + 1 :].lstrip()
    else:
        before = text[:position].rstrip()
        if not before.endswith(","):
            return None
        comma, after = len(before) - 1, text[position:].lstrip()
    return comma if after.startswith(("}", "]")) else None


def _what_is_wrong(text: str, error: json.JSONDecodeError) -> str:
    """The mend for the usual mistakes; else what the decoder says."""
    after = text[error.pos :].lstrip()
    if after.startswith(("//", "/*", "#")):
        return "JSON has no comments; remove it"
    if after.startswith("'"):
        return "JSON has no single quotes; use double quotes"
    if error.msg.startswith("Extra data"):
        return "something follows the closing brace; a file is one JSON object"
    if not after:
        return f"the file ends too early ({error.msg})"
    return f"is not JSON: {error.msg}"
