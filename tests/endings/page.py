"""Writes docs/endings.md from the table that the tests run: python tests/endings/page.py."""

from __future__ import annotations

from pathlib import Path

from entries import ENTRIES, Entry
from table import ENDINGS, Ending

PAGE = Path(__file__).resolve().parents[2] / "docs" / "endings.md"

HEAD = """\
# How streams end

Generated from `tests/endings/table.py` by `python tests/endings/page.py`. Every cell is a test over
real HTTP: exactly one span with this outcome; the caller's chunks and exceptions are those of the
same run without instrumentation, and the provider sees its connection go as soon as without it.
Each cell is run once as it is and once with a fault in each of our own hooks: the reader of
chunks, the fold into the timeline, the span's attributes, its events, the whole recorder, the metrics.

A *failed* span has status error, `error.type` with the class of the exception the caller saw, and
the finish reason `error`. A caller that leaves early is no error: *closed* is a deliberate close,
*abandoned* a stream that was dropped, *cancelled* a cancelled task. Leaving after the finish reason
is completion. A dash is an ending the library's stream cannot have: what has no `close()` cannot
be closed.

"""


def page() -> str:
    rows = [("Ending", *(entry.name for entry in ENTRIES))]
    rows += [(ending.name, *(_cell(ending, entry) for entry in ENTRIES)) for ending in ENDINGS]
    first, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return HEAD + "\n".join([first, "|---" * len(rows[0]) + "|", *rest]) + "\n"


def _cell(ending: Ending, entry: Entry) -> str:
    return ending.expected(entry)[0] if ending.exists_for(entry) else "-"


if __name__ == "__main__":
    PAGE.write_text(page())
