"""The documentation says what the code does."""

from __future__ import annotations

from tests.unit.config.docs_table import BEGIN, END, PAGE, page_with, table


def test_the_page_has_the_table_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert page == page_with(table()), "write it anew: python -m tests.unit.config.docs_table"
