from __future__ import annotations

import pytest

from tests.endings.page import PAGE, page
from tests.endings.table import MISSES_THE_REASON


@pytest.mark.skipif(not MISSES_THE_REASON, reason="the page says what newer versions of litellm do")
def test_the_page_of_endings_is_the_table() -> None:
    """docs/endings.md is up to date; python tests/endings/page.py writes it."""
    assert PAGE.read_text() == page()
