from __future__ import annotations

from page import PAGE, page


def test_the_page_of_endings_is_the_table() -> None:
    """docs/endings.md is up to date; python tests/endings/page.py writes it."""
    assert PAGE.read_text() == page()
