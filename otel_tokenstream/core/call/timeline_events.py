"""The events of one stream: its chunks, neighbours merged where there are too many."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise, repeat, starmap
from operator import itemgetter, ne
from struct import Struct
from typing import TYPE_CHECKING

from otel_tokenstream.core.call.chunk_kinds import MIXED, TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tokenstream.core.call.tool_calls import ToolCall

# Common to the text of one run: kind, field, tool call.
Key = tuple[str, "str | None", "ToolCall | None"]
# arrived, gap, index, wait, characters, chunks; times in ns
Numbers = tuple[int, int, int, int, int, int]

PLAIN: Key = (TEXT, None, None)
NO_EVENT: Key = ("", None, None)
_NO_NUMBERS: list[int] = []
_ROW = Struct("=qqiqqI")
_COUNT = itemgetter(5)


class Passage:
    """Text of an event that is of one kind, field and tool call; an event merged across several has several."""

    __slots__ = ("key", "text")

    def __init__(self, key: Key, text: str) -> None:
        self.key = key
        self.text = text


class TimelineEvent:
    """One chunk, or neighbours merged: their largest gap; waits, characters and counts added up."""

    __slots__ = ("arrived", "chars", "count", "field", "gap", "index", "kind", "passages", "tool", "wait")

    def __init__(self, numbers: Numbers, key: Key, passages: list[Passage] | None = None) -> None:
        self.arrived, self.gap, self.index, self.wait, self.chars, self.count = numbers
        self.kind, self.field, self.tool = key
        self.passages = passages

    @property
    def key(self) -> Key:
        return self.kind, self.field, self.tool

    def merge(self, later: TimelineEvent) -> None:
        self.kind, self.field, self.tool = _common(self.key, later.key)
        self.gap = max(self.gap, later.gap)
        self.wait += later.wait
        self.chars += later.chars
        self.count += later.count
        self.passages = _joined(self.passages, later.passages)


class PackedEvents:
    """Events in the order of their arrival. As objects they would take five times the room in an open stream."""

    __slots__ = ("_keys", "_newest", "_passages", "_rows")

    def __init__(self) -> None:
        self._rows = bytearray()
        self._newest = _NO_NUMBERS  # still grows, and is not among the rows
        self._keys: list[Key] = []
        # None until there is text to keep.
        self._passages: list[list[Passage] | None] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[TimelineEvent]:
        passages = repeat(None) if self._passages is None else self._passages
        return map(TimelineEvent, self._unpacked(), self._keys, passages)

    def _unpacked(self) -> Iterator[Numbers]:
        yield from _ROW.iter_unpack(bytes(self._rows))
        if self._newest:
            arrived, gap, index, wait, chars, count = self._newest
            yield arrived, gap, index, wait, chars, count

    @property
    def have_text(self) -> bool:
        return self._passages is not None

    @property
    def have_tool_calls(self) -> bool:
        return any(tool is not None for _, _, tool in self._keys)

    @property
    def merged(self) -> int:
        """The number of chunks that share an event with others."""
        return sum(count for count in self._counts() if count > 1)

    @property
    def newest(self) -> tuple[Key, int, int]:
        """The newest event's key, index and number of chunks."""
        _, _, index, _, _, count = self._newest
        return self._keys[-1], index, count

    def append(self, numbers: Numbers, key: Key) -> None:
        keys = self._keys
        if self._newest:
            self._rows += _ROW.pack(*self._newest)
        self._newest = [*numbers]
        keys.append(keys[-1] if keys and keys[-1] == key else key)  # one object where they are the same
        if self._passages is not None:
            self._passages.append(None)

    def extend(self, rows: Iterable[Numbers], key: Key) -> None:
        """Append events that have the key in common, where no text is kept."""
        *before, newest = rows
        if self._newest:
            self._rows += _ROW.pack(*self._newest)
        self._rows += b"".join(starmap(_ROW.pack, before))
        self._newest = [*newest]
        self._keys += [key] * (len(before) + 1)

    def grow(self, gap: int, wait: int, chars: int, count: int) -> None:
        """Add chunks to the newest event."""
        newest = self._newest
        if gap > newest[1]:
            newest[1] = gap
        newest[3] += wait
        newest[4] += chars
        newest[5] += count

    def keep(self, key: Key, text: str) -> None:
        """Add text to the newest event."""
        if self._passages is None:
            self._passages = [None] * len(self._keys)
        self._passages[-1] = _joined(self._passages[-1], (Passage(key, text),))

    def fit(self, budget: int) -> None:
        """Merge neighbours until there are no more than ``budget``, the first and the last event left alone."""
        if len(self) <= budget:
            return
        firsts, keys, counts = list(range(len(self))), self._keys.copy(), self._counts()
        costs = [_cost(keys, counts, at) for at in range(len(keys) - 1)]
        while len(keys) > budget:
            first, last = (1, len(costs) - 1) if len(costs) > 2 else (0, len(costs))
            at = costs.index(min(costs[first:last]), first)
            keys[at] = _common(keys[at], keys.pop(at + 1))
            counts[at] += counts.pop(at + 1)
            del firsts[at + 1], costs[at]
            for changed in range(max(at - 1, 0), min(at + 1, len(costs))):
                costs[changed] = _cost(keys, counts, changed)
        self._regroup(firsts)

    def make_room(self, budget: int, stride: int) -> int:
        """Merge events after the first one to three quarters of ``budget``; return the most chunks of an event now."""
        most = budget * 3 // 4
        changes = list(map(ne, self._keys, self._keys[1:]))
        across = 1 + sum(changes[1:]) > most
        # A stream that keeps changing its kind fills no event up: doubling each time would merge it all into one.
        longest = stride if across else stride * 2
        while True:
            firsts, filled = [0], longest + 1
            for at, (count, changed) in enumerate(zip(self._counts()[1:], changes, strict=False), 1):
                filled += count
                if filled > longest or (changed and not across):
                    firsts.append(at)
                    filled = count
            self._regroup(firsts)
            if len(self) - 1 <= most or longest > stride:
                return longest
            longest = stride * 2

    def _counts(self) -> list[int]:
        return list(map(_COUNT, self._unpacked()))

    def _regroup(self, firsts: list[int]) -> None:
        """Merge each of these events with those before the next of them."""
        keys, rows = self._keys, self._unpacked()
        merged: list[list[int]] = []
        ends = list(pairwise((*firsts, len(keys))))
        for first, end in ends:
            arrived, gap, index, wait, chars, count = next(rows)
            for _ in range(first + 1, end):
                _, later_gap, _, later_wait, later_chars, later_count = next(rows)
                if later_gap > gap:
                    gap = later_gap
                wait += later_wait
                chars += later_chars
                count += later_count
            merged.append([arrived, gap, index, wait, chars, count])
        self._newest = merged.pop()
        self._rows = bytearray().join(starmap(_ROW.pack, merged))
        if keys.count(keys[0]) < len(keys):
            self._keys = [reduce(_common, keys[first:end]) for first, end in ends]
        else:
            del keys[len(firsts) :]
        if self._passages is not None:
            passages = self._passages
            self._passages = [reduce(_joined, passages[first:end]) for first, end in ends]


def _common(earlier: Key, later: Key) -> Key:
    """Return the key of an event merged from two."""
    if later == earlier:
        return earlier
    tool = earlier[2] if later[2] is earlier[2] else None
    return (*earlier[:2], tool) if later[:2] == earlier[:2] else (MIXED, None, tool)


def _cost(keys: list[Key], counts: list[int], at: int) -> int:
    """Grow with the event merged from this one and the next, and much more where two kinds or fields become one."""
    return (counts[at] + counts[at + 1] + 1) * (1 if keys[at] == keys[at + 1] else 16)


def _joined(earlier: list[Passage] | None, later: Iterable[Passage] | None) -> list[Passage] | None:
    """Return the text of two events, in the first one's list."""
    if later is None:
        return earlier
    joined = [] if earlier is None else earlier
    for passage in later:
        if joined and joined[-1].key == passage.key:
            joined[-1].text += passage.text
        else:
            joined.append(passage)
    return joined
