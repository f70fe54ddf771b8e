"""Writes docs/endings.md from the table that the tests run: python -m tests.endings.page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.endings.leaving_at_exit import NAMES, WAYS
from tests.endings.table import ENDINGS, GROUPS, Ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.endings.entries import Entry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "endings.md"

HEAD = """\
# How streams end

Generated from `tests/endings/table.py` by `python -m tests.endings.page`. Every cell is a test over
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
be closed. It was run with litellm 1.106.12, 1.109.3 and 1.110.2.
litellm's functions that are bridged to another API are columns of their own
(*over chat*): they end by other code of litellm's, as they do *by native code* (`litellm.rust(True)`). An
exception that drops a stream of litellm's native messages crashes Python, without this package too
(1.110.2): that cell is not run. *pass-through* is `llm_passthrough_route`. A
program of DSPy's that is made to stream (*streamify*) reads the model's stream in a task of its own,
which DSPy cancels when the program's stream is left. A program that is not async runs in a thread: it
goes on until the model's next chunk comes, and DSPy then closes the stream (*closed*) with an error of
its own in the program.

"""

RECOVERY = """\
## When a router replaces a stream that broke

A litellm router may answer with another stream when one fails: from the same group or from a fallback, before it
returns the stream or while the program reads it. The program made one call and holds one stream, so there is one span
with the model group's name. Nothing is linked, and no second span is made. This is the same in all versions of litellm;
the tests are in `tests/patches/test_litellm_recovery.py`.

| The program had | Then | Outcome | Attempts | Times | Usage and cost |
|---|---|---|---|---|---|
| nothing | another stream answers | completed | the broken one has an `error.type` | the first token \
is measured from the call, with the broken stream's time in it | of the answer |
| nothing | no other stream answers | failed | each has an `error.type`, the last one too | no first token | none |
| content | another stream goes on (an option of litellm's, or the Responses API) | completed | the same | the first \
token is the broken stream's; the switch is part of one read, so it is a gap, a wait, and a stall if it lasted as long \
| usage is estimated, because litellm adds its own count of the broken part; no cost |
| content | litellm does not replace it | failed, with the error the program saw | as many as were made before | of \
the part that came | as on any stream that broke off |
| any of it | the program leaves | as in the tables above | with the broken ones | of the part that came \
| of the part that came |

An attempt's duration ends when it gave its stream, or when that stream broke. Provider, server, `gen_ai.response.model`
and `gen_ai.response.id` are those of the attempt that answered last.

"""

EXITS = """\
## When the interpreter exits

Streams that are open then, one of each of these: {}. Each is a span, and the exit handlers export it.
"""


def page() -> str:
    tables = [f"## {group}\n\n{_table(entries)}" for group, entries in GROUPS.items()]
    return HEAD + "\n".join([*tables, RECOVERY + _exits()])


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
