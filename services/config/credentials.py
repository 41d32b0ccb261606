r"""Credentials files: user and password under ``[client]``, as MySQL's option files have them.

``key = value`` lines, ``[section]`` lines, comments after ``#``, or ``;`` at the start of a line. A value in
double or single quotes is taken as it stands (in double quotes ``\\`` and ``\"`` give one character). An
unquoted ``;`` within a value is refused: some readers of such files take it for a comment, some for a part.
Everything outside ``[client]`` and every other key is skipped. No error shows a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from services.config.errors import ConfigurationError
from services.config.files import read_text

__all__ = ["Credentials", "read_credentials"]

_DOUBLE_QUOTED = r'"((?:[^"\\]|\\.)*)"\s*(?:[#;].*)?'
_SINGLE_QUOTED = r"'([^']*)'\s*(?:[#;].*)?"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the file gives; None for what it does not mention."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)


def read_credentials(path: Path) -> Credentials:
    """Read a credentials file; raises ConfigurationError naming the file and, where it helps, the line."""
    found: dict[str, str] = {}
    section = ""
    for number, raw in enumerate(read_text(path).split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line[1:].partition("]")[0].strip().lower()
            continue
        name, equals, value = line.partition("=")
        name = name.strip().lower()
        if section == "client" and name in ("user", "password"):
            text = _value(value.strip()) if equals else None
            if text is None:
                raise ConfigurationError(
                    [f"{path}: line {number}: the {name} is ambiguous; put it in double quotes"]
                )
            found[name] = text
    if not found:
        raise ConfigurationError([f"{path}: has neither user nor password under [client]; add them"])
    return Credentials(found.get("user"), found.get("password"))


def _value(text: str) -> str | None:
    """A value without quotes and comment; None if it can be read in more than one way."""
    if text.startswith('"'):
        quoted = re.fullmatch(_DOUBLE_QUOTED, text)
        return re.sub(r'\\(["\\])', r"\1", quoted[1]) if quoted else None
    if text.startswith("'"):
        quoted = re.fullmatch(_SINGLE_QUOTED, text)
        return quoted[1] if quoted else None
    text = text.partition("#")[0].rstrip()
    return None if ";" in text else text
