"""When chunks came: exact sums, percentiles and a bounded list of events, in constant memory."""

from __future__ import annotations

from array import array
from itertools import pairwise
from operator import sub
from typing import TYPE_CHECKING

from otel_tokenstream.core.call.gap_histogram import GapCounts
from otel_tokenstream.core.runtime.sanitize import head, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.core.call.tool_calls import ToolCall

TEXT = "text"
REASONING = "reasoning"
TOOL_CALL = "tool_call"
REFUSAL = "refusal"
AUDIO = "audio"
IMAGE = "image"
VIDEO = "video"
TOOL_RESULT = "tool_result"
OTHER = "other"
EMPTY = "empty"
MIXED = "mixed"

# (read_started, arrived, kind, characters, field, text, tool call): one chunk, times in ns of one monotonic
# clock. A further row of the same chunk, for another field or tool call of it, has read_started = 0.
Row = tuple[int, int, str, int, "str | None", "str | None", "ToolCall | None"]
# Common to the text of one run: kind, field, tool call.
Key = tuple[str, "str | None", "ToolCall | None"]

STALLS_KEPT = 256
_NEVER = 1 << 62


class Passage:
    """Text of an event that is of one kind, field and tool call; an event merged across several has several."""

    __slots__ = ("key", "text")

    def __init__(self, key: Key, text: str) -> None:
        self.key = key
        self.text = text


class TimelineEvent:
    """One chunk, or neighbours merged: their largest gap; waits, characters and counts added up."""

    __slots__ = ("arrived", "chars", "count", "field", "gap", "index", "kind", "passages", "tool", "wait")

    def __init__(
        self,
        arrived: int,
        gap: int,
        index: int,
        wait: int,
        chars: int,
        count: int,
        kind: str,
        field: str | None,
        tool: ToolCall | None,
    ) -> None:
        self.arrived = arrived
        self.gap = gap
        self.index = index
        self.wait = wait
        self.chars = chars
        self.count = count
        self.kind = kind
        self.field = field
        self.tool = tool
        self.passages: list[Passage] | None = None

    @property
    def key(self) -> Key:
        return self.kind, self.field, self.tool

    def append(self, key: Key, text: str) -> None:
        """Add to the text."""
        if self.passages is None:
            self.passages = []
        last = self.passages[-1] if self.passages else None
        if last is not None and last.key == key:
            last.text += text
        else:
            self.passages.append(Passage(key, text))

    def continues(self, earlier: TimelineEvent) -> bool:
        return self.kind == earlier.kind and self.field == earlier.field and self.tool == earlier.tool

    def merge(self, later: TimelineEvent) -> None:
        if later.kind != self.kind or later.field != self.field:
            self.kind, self.field = MIXED, None
        if later.tool is not self.tool:
            self.tool = None
        self.gap = max(self.gap, later.gap)
        self.wait += later.wait
        self.chars += later.chars
        self.count += later.count
        for passage in later.passages or ():
            self.append(passage.key, passage.text)


_NONE = TimelineEvent(0, 0, 0, 0, 0, 0, "", None, None)  # of no kind that a row could go on with


class Stall:
    """A read blocked for at least the threshold; ``arrived`` is when it returned or gave up."""

    __slots__ = ("arrived", "gap", "index", "wait")

    def __init__(self, arrived: int, gap: int, index: int, wait: int) -> None:
        self.arrived = arrived
        self.gap = gap
        self.index = index
        self.wait = wait


class Timeline:
    """Statistics and events of one stream. All times in ns."""

    __slots__ = (
        "_budget",
        "_first_wait",
        "_gaps",
        "_last_kept",
        "_last_wait",
        "_next_offset",
        "_offsets_kept",
        "_stall_threshold",
        "_step",
        "_stride",
        "_text_left",
        "chunks",
        "events",
        "first_arrived",
        "gap_max",
        "last_arrived",
        "last_content",
        "offsets",
        "stall_count",
        "stall_total",
        "stalls",
        "text_missing",
        "text_torn",
        "wait_max",
        "wait_total",
    )

    def __init__(
        self, *, budget: int, offsets: int = 0, stall_threshold: int = 0, text_limit: int = 0, stride: int = 1
    ) -> None:
        """Keep at most ``budget`` events, ``offsets`` arrivals and ``text_limit`` bytes of text."""
        self._budget = budget
        self._stride = stride
        self._offsets_kept = offsets
        self._next_offset = 0 if offsets else _NEVER
        self._step = 1
        self._stall_threshold = stall_threshold or _NEVER
        self._text_left = text_limit or -1
        self.text_missing = 0  # bytes of text there was no room for
        self.text_torn: dict[Key, None] = {}  # whose text it was; a set is three times as large
        self.chunks = 0
        self.events: list[TimelineEvent] = []
        self.offsets = array("q")
        self._gaps = GapCounts()
        self.gap_max = 0
        self.wait_total = 0
        self.wait_max = 0
        self.stall_count = 0
        self.stall_total = 0
        self.stalls: list[Stall] = []
        self.first_arrived = self._first_wait = 0
        self._last_wait = self._last_kept = 0
        self.last_arrived = 0
        self.last_content = 0

    @property
    def keeps_text(self) -> bool:
        return self._text_left > 0

    @property
    def gap_counts(self) -> dict[int, int]:
        """Number of gaps in each bucket of ``gap_counts``."""
        return self._gaps.by_bucket()

    @property
    def gap_total(self) -> int:
        return self.last_arrived - self.first_arrived

    @property
    def consumer_total(self) -> int:
        """Time the caller kept chunks: whatever of the gaps was not spent waiting."""
        waits_between = self.wait_total - self._first_wait - self._last_wait
        return self.gap_total - waits_between + self._last_kept

    def extend(self, rows: Sequence[Row]) -> None:
        """Take rows in the order of their arrival."""
        # The hot loop of the whole package: locals only, and a branch where max() would be a call.
        last, chunks = self.last_arrived, self.chunks
        gaps: list[int] = []
        wait_total, gap_max = self.wait_total, self.gap_max
        # The wait from which on something is to be noted; none before the first token.
        noted = min(self.wait_max, self._stall_threshold - 1) if self.last_content else _NEVER
        current, room = self._current()
        kind, field, tool = current.key
        gap = wait = 0
        for read_started, arrived, row_kind, chars, row_field, text, row_tool in rows:
            count = 0
            if read_started:
                count = 1
                wait = arrived - read_started
                wait_total += wait
                if last:
                    gap = arrived - last
                    if gap > gap_max:
                        gap_max = gap
                    gaps.append(gap)
                    if wait > noted:
                        noted = self._long_wait(arrived, gap, chunks, wait)
                else:
                    self.first_arrived, self._first_wait = arrived, wait
                last = arrived
                chunks += 1
            else:  # more of the same chunk: its gap and wait are told already
                gap = wait = 0
            if (room > 0 or not read_started) and row_kind == kind and row_field == field and row_tool is tool:
                if gap > current.gap:
                    current.gap = gap
                current.wait += wait
                current.chars += chars
                current.count += count
                room -= count
            else:
                event = TimelineEvent(arrived, gap, chunks - 1, wait, chars, count, row_kind, row_field, row_tool)
                self.events.append(event)
                if len(self.events) > self._budget:
                    self._merge_neighbours()
                current, room = self._current()
                kind, field, tool = current.key
                if noted == _NEVER and row_kind != EMPTY:
                    noted = min(self.wait_max, self._stall_threshold - 1)
            if text and self._text_left >= 0:
                # The row's own, not the event's: that one may have been merged with another kind by now.
                self._keep(current, (row_kind, row_field, row_tool), text)
        if self._next_offset < chunks:
            self._keep_offsets([row[1] for row in rows if row[0]])
        self._gaps.add(gaps)
        self.last_arrived, self.chunks = last, chunks
        self.wait_total, self.gap_max = wait_total, gap_max
        for row in reversed(rows):
            if row[2] != EMPTY:
                self.last_content = row[1]
                break

    def extend_run(self, waits: list[int], arrived: list[int], chars: list[int]) -> None:
        """Take chunks of plain text after a first one: what ``extend`` does, in columns and so at half the cost."""
        chunks, many = self.chunks, len(waits)
        gaps = list(map(sub, arrived, [self.last_arrived, *arrived]))
        self._gaps.add(gaps)
        waited, largest = sum(waits), max(gaps)
        self.wait_total += waited
        if largest > self.gap_max:
            self.gap_max = largest
        noted = min(self.wait_max, self._stall_threshold - 1)
        if max(waits) > noted:
            for index, wait in enumerate(waits):
                if wait > noted:
                    noted = self._long_wait(arrived[index], gaps[index], chunks + index, wait)
        at = 0
        while at < many:
            current, room = self._current()
            if room <= 0 or current.kind != TEXT or current.field is not None:
                event = TimelineEvent(arrived[at], gaps[at], chunks + at, waits[at], chars[at], 1, TEXT, None, None)
                self.events.append(event)
                if len(self.events) > self._budget:
                    self._merge_neighbours()
                at += 1
                continue
            if room < many or at:  # most runs go into one event as they are
                part = slice(at, at + room)
                largest, waited, of_event = max(gaps[part]), sum(waits[part]), chars[part]
            else:
                of_event = chars
            current.gap = max(current.gap, largest)
            current.wait += waited
            current.chars += sum(of_event)
            current.count += len(of_event)
            at += room
        if self._next_offset < chunks + many:
            self._keep_offsets(arrived)
        self.chunks = chunks + many
        self.last_arrived = self.last_content = arrived[-1]

    def _current(self) -> tuple[TimelineEvent, int]:
        """Return the event that is filled now and the chunks it may still take; the first chunk stays alone."""
        if not self.events:
            return _NONE, 0
        current = self.events[-1]
        return current, self._stride - current.count if current.index else 0

    def close(self, rows: Sequence[Row]) -> None:
        """Take the rows of the last chunk, in events of their own."""
        self._budget, self._stride = _NEVER, 0
        self.extend(rows)

    def blocked(self, read_started: int, returned: int, *, token_awaited: bool) -> None:
        """Count the last read, which gave no chunk; ``token_awaited`` if a token was waited for."""
        wait = self._last_wait = returned - read_started
        self.wait_total += wait
        if self.last_arrived:
            self._last_kept = read_started - self.last_arrived
        if self.last_content and token_awaited:
            self._long_wait(returned, returned - self.last_arrived, self.chunks, wait)

    def gap_percentiles(self, *shares: float) -> list[int]:
        """Return the gaps below which these shares of all gaps lie, in ns; off by less than 0.8 %."""
        return [min(gap, self.gap_max) for gap in self._gaps.percentiles(shares)]

    def fit(self, budget: int) -> list[TimelineEvent]:
        """Return at most ``budget`` events that cover the whole stream, first and last chunk apart."""
        events = self.events
        if len(events) > budget > 0:
            costs = list(map(_merge_cost, events, events[1:]))
            while len(events) > budget:
                first, last = (1, len(costs) - 1) if len(costs) > 2 else (0, len(costs))
                at = costs.index(min(costs[first:last]), first)
                events[at].merge(events.pop(at + 1))
                del costs[at]
                if at < len(costs):
                    costs[at] = _merge_cost(events[at], events[at + 1])
                if at:
                    costs[at - 1] = _merge_cost(events[at - 1], events[at])
        return events if budget else []

    def _merge_neighbours(self) -> None:
        first, *rest = self.events
        runs = 1 + sum(not later.continues(earlier) for earlier, later in pairwise(rest))
        across = runs > self._budget * 3 // 4
        # A stream that keeps changing its kind fills no event up: doubling each time would merge it all into one.
        for stride in (self._stride, self._stride * 2) if across else (self._stride * 2,):
            rest = _merged(rest, stride, across=across)
            self._stride = stride
            if len(rest) <= self._budget * 3 // 4:
                break
        self.events[:] = [first, *rest]

    def _keep_offsets(self, arrivals: Sequence[int]) -> None:
        """Keep every so manieth arrival; twice as few each time there are too many."""
        before, after = self.chunks, self.chunks + len(arrivals)
        while self._next_offset < after:
            if len(self.offsets) == self._offsets_kept:
                self.offsets = self.offsets[::2]
                self._step *= 2
            if self._next_offset % self._step == 0:
                self.offsets.append(arrivals[self._next_offset - before])
            self._next_offset += self._step - self._next_offset % self._step

    def _long_wait(self, arrived: int, gap: int, index: int, wait: int) -> int:
        """Note a wait and return the one from which on the next is to be noted."""
        self.wait_max = max(self.wait_max, wait)
        if wait >= self._stall_threshold:
            self._stall(arrived, gap, index, wait)
        return min(self.wait_max, self._stall_threshold - 1)

    def _stall(self, arrived: int, gap: int, index: int, wait: int) -> None:
        self.stall_count += 1
        self.stall_total += wait
        self.stalls.append(Stall(arrived, gap, index, wait))
        if len(self.stalls) > STALLS_KEPT:
            self.stalls.remove(min(self.stalls, key=lambda stall: stall.wait))

    def _keep(self, event: TimelineEvent, key: Key, text: str) -> None:
        kept = head(text, self._text_left)
        self._text_left -= size(kept)
        if len(kept) < len(text):
            # Nothing that is shorter may follow: what is kept has no holes.
            self._text_left = 0
            self.text_missing += size(text) - size(kept)
            self.text_torn[key] = None
        if kept:
            event.append(key, kept)


def _merged(events: list[TimelineEvent], stride: int, *, across: bool) -> list[TimelineEvent]:
    kept = events[:1]
    for event in events[1:]:
        if kept[-1].count + event.count <= stride and (across or event.continues(kept[-1])):
            kept[-1].merge(event)
        else:
            kept.append(event)
    return kept


def _merge_cost(earlier: TimelineEvent, later: TimelineEvent) -> int:
    """Grow with the merged event, and much more where two kinds or fields become one."""
    return (earlier.count + later.count + 1) * (1 if later.continues(earlier) else 16)
