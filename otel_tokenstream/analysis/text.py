"""The report for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.tables import Table, overview, tables_of
from otel_tokenstream.analysis.terminal import columns
from otel_tokenstream.analysis.units import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.analysis.report import Report

_WIDTH = 100


def as_text(report: Report) -> str:
    first, *others = (printable(line) for line in overview(report))
    parts = ["\n".join([first, *(f"  {line}" for line in others)])]
    parts += [_drawn(table) for table in tables_of(report)]
    parts += [_wrapped(f"Note: {printable(note)}") for note in report.notes]
    return "\n\n".join(parts) + "\n"


def _drawn(table: Table) -> str:
    rows = [tuple(printable(cell) for cell in row) for row in (table.columns, *table.rows)]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths, table.names) for row in rows]
    rule = "  ".join("─" * width for width in widths)
    note = [_wrapped(printable(table.note))] if table.note else []
    return "\n".join([table.title, "", lines[0], rule, *lines[1:], *note])


def _line(cells: Sequence[str], widths: Sequence[int], names: int) -> str:
    padded = [
        cell + " " * (width - columns(cell)) if index < names else " " * (width - columns(cell)) + cell
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH)
