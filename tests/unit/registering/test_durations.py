"""Durations as people write them."""

from __future__ import annotations

import pytest

from services.registering.durations import InvalidDurationError, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0), ("1s", 1), ("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("1w", 604_800),
        ("5m\n", 300),
    ],
)  # fmt: skip
def test_a_duration(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10 m", "10M", "-5m", "1.5h", "1h30m", "10y", "٣m", "9" * 500 + "s", "99999w"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="Invalid duration"):
        seconds_of(text)
