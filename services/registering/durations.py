"""How long something is to last, as people write it: ``90s``, ``10m``, ``2h``, ``3d``, ``1w``."""

from __future__ import annotations

import re

__all__ = ["InvalidDurationError", "seconds_of"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_WRITTEN = re.compile(r"([0-9]{1,9})([smhdw])")
_LONGEST_SECONDS = 100 * 366 * 86_400


class InvalidDurationError(ValueError):
    """A text is no duration; the message says what is."""


def seconds_of(text: str) -> int:
    """Raises InvalidDurationError, also for more than a hundred years."""
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise InvalidDurationError(
            f"Invalid duration: {text[:40]!r}; write a number and s, m, h, d or w, such as 10m"
        )
    seconds = int(written[1]) * _UNITS[written[2]]
    if seconds > _LONGEST_SECONDS:
        raise InvalidDurationError(f"Invalid duration: {text!r} is more than a hundred years")
    return seconds
