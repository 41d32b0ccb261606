"""docs/beyond.md: every gap of weight is answered, and each test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "beyond.md").read_text(encoding="utf-8")

WEIGHTY = {
    1: [9],
    5: [1, 2, 3, 4, 6, 7, 9, 10, 13, 16, 17],
    6: [1, 2, 3, 4, 5, 10, 11, 13],
    10: [1, 2, 3, 8],
}
"""Of severity A and B, in the sections on design, discovery, availability and configuration."""


def test_every_gap_of_weight_is_answered() -> None:
    row = r"^\| (\d+\.\d+) [AB] \| [^|]+ \| (.+) \|$"
    rows = {found[1]: found[2] for found in re.finditer(row, PAGE, re.MULTILINE)}
    assert list(rows) == [f"{section}.{gap}" for section, gaps in WEIGHTY.items() for gap in gaps]
    for number, answer in rows.items():
        assert "::" in answer, f"{number} names no test"


def test_each_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE))
    assert len(named) > 40
    for file, name in sorted(named):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^ *(async )?def {name}\(", text, re.MULTILINE), f"{file}::{name}"
