"""Writes docs/endings.md from the table that the tests run: python tests/endings/page.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from leaving_at_exit import NAMES, WAYS
from table import ENDINGS, GROUPS, Ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entries import Entry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "endings.md"

HEAD = """\
# How streams end

Generated from `tests/endings/table.py` by `python tests/endings/page.py`. Every cell is a test over
real HTTP: exactly one span with this outcome; the caller's chunks and exceptions are those of the
same run without instrumentation, and the provider sees its connection go as soon as without it.
Each cell is run once as it is and once with a fault in each of our own hooks: at the call's start,
in what watches litellm's attempts, in the reader of chunks, the fold into the timeline, at the end,
in reading litellm's last word, in the span's attributes, its events, the whole recorder, the metrics.

A *failed* span has status error, `error.type` with the class of the exception the caller saw, and
the finish reason `error`. A caller that leaves early is no error: *closed* is a deliberate close,
*abandoned* a stream that was dropped, *cancelled* a task that was cancelled while it waited for a chunk
(one that was cancelled elsewhere drops the stream). Leaving after the finish reason
is completion. A dash is an ending the library's stream cannot have: what has no `close()` cannot
be closed. litellm's functions that are bridged to another API are columns of their own
(*over chat*): they end by other code of litellm's. *pass-through* is `llm_passthrough_route`. A
program of DSPy's that is made to stream (*streamify*) reads the model's stream in a task of its own,
which DSPy cancels when the program's stream is left. A program that is not async runs in a thread: it
goes on until the model's next chunk comes, and DSPy then closes the stream (*closed*) with an error of
its own in the program.

"""

EXITS = """\
## When the interpreter exits

Streams that are open then, one of each of these: {}. Each is a span, and the exit handlers export it.
"""


def page() -> str:
    tables = [f"## {group}\n\n{_table(entries)}" for group, entries in GROUPS.items()]
    return HEAD + "\n".join([*tables, _exits()])


def _exits() -> str:
    rows = [f"| {way} | {outcome} |" for way, (_, _, outcome) in WAYS.items()]
    return "\n".join([EXITS.format(", ".join(NAMES)), "| Ending | Outcome |", "|---|---|", *rows]) + "\n"


def _table(entries: Sequence[Entry]) -> str:
    rows = [("Ending", *(entry.name for entry in entries))]
    rows += [(ending.name, *(_cell(ending, entry) for entry in entries)) for ending in ENDINGS]
    first, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([first, "|---" * len(rows[0]) + "|", *rest]) + "\n"


def _cell(ending: Ending, entry: Entry) -> str:
    return ending.expected(entry) if ending.exists_for(entry) else "-"


if __name__ == "__main__":
    PAGE.write_text(page())
