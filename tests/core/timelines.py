"""Rows and timelines for the tests of the core."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from otel_tokenstream.core.call.chunk_kinds import TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tokenstream.core.call.timeline import Row, Timeline

MS = 1_000_000
START = 1_000 * MS  # any moment but 0, which means never


def rows(arrivals: Iterable[int], *, wait: int = 0, kinds: str = "t") -> Iterator[Row]:
    """Rows that arrive at these times; ``kinds`` is repeated, a letter a row."""
    names = {"t": TEXT, "r": "reasoning", "e": "empty"}
    for number, arrived in enumerate(arrivals):
        yield arrived - wait, arrived, names[kinds[number % len(kinds)]], 2, None, None, None


def arrivals_of(gaps: Iterable[int]) -> Iterator[int]:
    """Arrival times with these gaps between them."""
    at = START
    yield at
    for gap in gaps:
        at += gap
        yield at


def steady(count: int, gap: int = 10 * MS) -> Iterator[int]:
    return (START + number * gap for number in range(count))


def fed(timeline: Timeline, given: Iterable[Row], block: int = 16) -> Timeline:
    """The timeline after it took these rows in blocks, the last row as the last chunk."""
    held: list[Row] = []
    for row in given:
        held.append(row)
        if len(held) > block:
            timeline.extend(held[:-1])
            del held[:-1]
    timeline.extend(held[:-1])
    timeline.close(held[-1:])
    return timeline


def size_of(thing: object) -> int:
    """Bytes of an object and everything it holds that is no class, function or module."""
    seen: dict[int, object] = {}
    todo = [thing]
    while todo:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, (type, type(size_of), type(sys))):
            seen[id(each)] = each
            todo += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))
