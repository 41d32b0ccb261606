"""docs/api.md: the counts of routes are those of the table of routes."""

from __future__ import annotations

from pathlib import Path

from tests.reference_routes import counts

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_has_the_counts_of_the_table() -> None:
    # python -m tests.reference_routes prints them
    assert "\n".join(counts()) in PAGE.read_text(encoding="utf-8")
