r"""Placeholders in a shell text, so that no value is ever read as code.

A value of harmless characters is written in place, as orchestrator does. Any other is written as a reference
to the environment variable that holds it: what a variable expands to is not parsed again, so that even where
the quoting is misread a hostile value comes out garbled and is not executed.

    where it stands          {x} becomes
    bare                     "${ORC_X}"
    in double quotes         ${ORC_X}
    in single quotes         '"${ORC_X}"'
    in ${…} or a heredoc     ${ORC_X}

Where that would not hold, such a value is refused and the hook not run: in arithmetic, in text that another
program reads as code (``sh -c '…'``, ``ssh host '…'``, ``eval``, ``mysql -e``), and for interpreters that are
no POSIX shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath

from services.config.hook_commands import PLACEHOLDER, PLACEHOLDERS

__all__ = ["UnsafeValueError", "shell_text"]

_HARMLESS = re.compile(r"[A-Za-z0-9_.,:/@%+-]*")
_HARMLESS_WITH_SPACES = re.compile(r"[A-Za-z0-9_.,:/@%+ -]*")
_POSIX_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "busybox"})
_PROGRAM_TEXT = re.compile(
    r"""\b(?:ba|da|a|k|mk|z)?sh\s+(?:-\S+\s+)*-\w*c\b        # sh -c '…'
      | \|\s*(?:\S*/)?(?:(?:ba|da|a|k|mk|z)?sh|at|batch|parallel)\b  # … | sh
      | \b(?:ssh|eval|trap|watch|awk|gawk|mawk|sed|jq)\s
      | \bsu\s.*\s-c\b
      | \b(?:python[\d.]*|perl|ruby|node|php|lua)\s+(?:-\S+\s+)*-\w*[cer]\b
      | \b(?:mysql|mariadb|psql|sqlite3)\s
    """,
    re.VERBOSE,
)
_ARITHMETIC = re.compile(r"\(\(|\$\[|\b(?:let|declare|typeset)\s|\s-(?:eq|ne|lt|le|gt|ge)\s")


class UnsafeValueError(ValueError):
    """A value cannot be written where its placeholder stands; the text says which, and what to do."""


class _In(Enum):
    BARE = "bare"
    SINGLE = "single quotes"
    DOUBLE = "double quotes"
    OTHER = "other"  # ${…}, $'…', a heredoc


def shell_text(command: str, variables: Mapping[str, str], interpreter: str = "bash") -> str:
    """The command with its placeholders filled in; those without a value stay as they are.

    It is to be run with ``variables`` in its environment. Raises UnsafeValueError.
    """
    refused = _why_only_harmless(command, interpreter)
    parts, end = [], 0
    for start, stop, name, where in _placeholders(command):
        variable = PLACEHOLDERS[name]
        value = variables.get(variable)
        if value is None:
            continue
        parts += [command[end:start], _written(name, variable, value, where, refused)]
        end = stop
    return "".join([*parts, command[end:]])


def _written(name: str, variable: str, value: str, where: _In, refused: str) -> str:
    if _HARMLESS.fullmatch(value) or (refused and _HARMLESS_WITH_SPACES.fullmatch(value)):
        return value
    if refused:
        raise UnsafeValueError(
            f"the value of {{{name}}} has characters that cannot be quoted {refused}; use the environment "
            f"variable {variable} in a script instead"
        )
    reference = f"${{{variable}}}"
    return {_In.BARE: f'"{reference}"', _In.SINGLE: f"'\"{reference}\"'"}.get(where, reference)


def _why_only_harmless(command: str, interpreter: str) -> str:
    if PurePath(interpreter).name not in _POSIX_SHELLS:
        return f"for {interpreter}"
    if _PROGRAM_TEXT.search(command):
        return "within the text of another program"
    if _ARITHMETIC.search(command):
        return "within arithmetic"
    return ""


def _placeholders(command: str) -> Iterator[tuple[int, int, str, _In]]:
    """Start, end, name and surroundings of each placeholder."""
    # What is open, innermost last: its surroundings, and what closes it.
    nested: list[tuple[_In, str]] = [(_In.BARE, "")]
    at = 0
    while at < len(command):
        where, closing = nested[-1]
        if closing and command.startswith(closing, at):
            nested.pop()
            at += len(closing)
            continue
        if where is _In.BARE and command[at] == "#" and (at == 0 or command[at - 1] in _BEFORE_COMMENT):
            at = (command.find("\n", at) + 1) or len(command)
            continue
        match = PLACEHOLDER.match(command, at)
        if match:
            yield match.start(), match.end(), match[1], where
            at = match.end()
            continue
        step, opened = _step(command, at, where)
        if opened is not None:
            nested.append(opened)
        at += step


_BEFORE_COMMENT = " \t\n;&|("
_OPENINGS = (
    ("$((", _In.OTHER, "))"),
    ("$(", _In.BARE, ")"),
    ("${", _In.OTHER, "}"),
    ("`", _In.BARE, "`"),
    ("$'", _In.OTHER, "'"),
    ('$"', _In.DOUBLE, '"'),
    ("'", _In.SINGLE, "'"),
    ('"', _In.DOUBLE, '"'),
    ("<<<", _In.BARE, ""),
    ("<<", _In.OTHER, "\0"),
    ("(", _In.BARE, ")"),
)
_WITHIN_DOUBLE = frozenset({"$((", "$(", "${", "`"})
_WITHIN_OTHER = frozenset({"${"})


def _step(command: str, at: int, where: _In) -> tuple[int, tuple[_In, str] | None]:
    """How far to go from here, and what opens here."""
    if where is _In.SINGLE:
        return 1, None
    if command[at] == "\\":
        return 2, None
    for text, inner, closing in _OPENINGS:
        if not command.startswith(text, at):
            continue
        opens = {_In.DOUBLE: text in _WITHIN_DOUBLE, _In.OTHER: text in _WITHIN_OTHER}.get(where, True)
        return len(text), (inner, closing) if opens and closing else None
    return 1, None
