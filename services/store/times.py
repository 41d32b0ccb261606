"""Times as the store keeps them: text in UTC, to the second, ``2026-11-22T20:46:24Z``.

All have the same width, so that they compare as text alike in every database.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

__all__ = ["checked", "seconds_until", "shifted", "utc_now"]

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> str:
    return datetime.now(timezone.utc).strftime(_FORMAT)


def checked(text: str) -> str:
    """The same text. ValueError if it is not a time as the store keeps it."""
    return _parse(text).strftime(_FORMAT)


def shifted(text: str, seconds: float) -> str:
    """The time so many seconds later, or earlier if negative; fractions are rounded up.

    Up, because what is computed with it are ends of blocks.
    """
    whole = int(seconds) + (seconds > int(seconds))
    return (_parse(text) + timedelta(seconds=whole)).strftime(_FORMAT)


def seconds_until(text: str) -> float:
    """From now; negative if it has passed."""
    return (_parse(text) - datetime.now(timezone.utc)).total_seconds()


def _parse(text: str) -> datetime:
    try:
        return datetime.strptime(text, _FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:
        raise ValueError(f"{text!r} is not a time in UTC such as 2026-11-22T20:46:24Z") from None
