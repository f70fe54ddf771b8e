"""When chunks came: exact sums, percentiles and a bounded list of events, in constant memory."""

from __future__ import annotations

from array import array
from operator import sub
from typing import TYPE_CHECKING

from otel_tokenstream.core.call.chunk_kinds import EMPTY
from otel_tokenstream.core.call.gap_histogram import GapCounts
from otel_tokenstream.core.call.timeline_events import NO_EVENT, PLAIN, PackedEvents
from otel_tokenstream.core.runtime.sanitize import head, size

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_tokenstream.core.call.timeline_events import Key
    from otel_tokenstream.core.call.tool_calls import ToolCall

# (read_started, arrived, kind, characters, field, text, tool call): one chunk, times in ns of one monotonic
# clock. A further row of the same chunk, for another field or tool call of it, has read_started = 0.
Row = tuple[int, int, str, int, "str | None", "str | None", "ToolCall | None"]

STALLS_KEPT = 256
_NEVER = 1 << 62
_LONGEST_OFFSET = (1 << 32) - 1  # of four bytes, in us: more than an hour


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
        "_key",
        "_last_kept",
        "_last_wait",
        "_next_offset",
        "_offsets_kept",
        "_origin",
        "_room",
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
        self,
        *,
        budget: int,
        offsets: int = 0,
        stall_threshold: int = 0,
        text_limit: int = 0,
        stride: int = 1,
        origin: int = 0,
    ) -> None:
        """Keep at most ``budget`` events, ``offsets`` arrivals and ``text_limit`` bytes of text."""
        self._budget = budget
        self._stride = stride
        self._origin = origin
        self._offsets_kept = offsets
        self._next_offset = 0 if offsets else _NEVER
        self._step = 1
        self._stall_threshold = stall_threshold or _NEVER
        self._text_left = text_limit or -1
        self.text_missing = 0  # bytes of text there was no room for
        self.text_torn: Collection[Key] = ()  # whose text it was
        self.chunks = 0
        self.events = PackedEvents()
        self._key, self._room = NO_EVENT, 0  # of the newest event, and the chunks that it may still take
        self.offsets = array("I")  # arrivals in us since ``origin``
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
        events = self.events
        (kind, field, tool), room = self._key, self._room
        more_gap = more_wait = more_chars = more = 0  # what the newest event has grown by
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
                if gap > more_gap:
                    more_gap = gap
                more_wait += wait
                more_chars += chars
                more += count
                room -= count
            else:
                if more or more_chars:
                    events.grow(more_gap, more_wait, more_chars, more)
                    more_gap = more_wait = more_chars = more = 0
                events.append((arrived, gap, chunks - 1, wait, chars, count), (row_kind, row_field, row_tool))
                self._make_room()
                (kind, field, tool), room = self._key, self._room
                if noted == _NEVER and row_kind != EMPTY:
                    noted = min(self.wait_max, self._stall_threshold - 1)
            if text and self._text_left >= 0:
                # The row's own, not the event's: that one may have been merged with another kind by now.
                self._keep((row_kind, row_field, row_tool), text)
        if more or more_chars:
            events.grow(more_gap, more_wait, more_chars, more)
        self._room = room
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
        room = self._room if self._key == PLAIN else 0
        if room >= many:  # most runs go into one event as they are
            self.events.grow(largest, waited, sum(chars), many)
            self._room -= many
        else:
            if room > 0:
                self.events.grow(max(gaps[:room]), sum(waits[:room]), sum(chars[:room]), room)
            at = room
            while at < many:
                at = self._begin_plain(at, waits, arrived, chars, gaps)
        if self._next_offset < chunks + many:
            self._keep_offsets(arrived)
        self.chunks = chunks + many
        self.last_arrived = self.last_content = arrived[-1]

    def _begin_plain(self, at: int, waits: list[int], arrived: list[int], chars: list[int], gaps: list[int]) -> int:
        """Begin events of plain text with the chunks from ``at`` on, as many as there are places; return the next."""
        index, stride, places = self.chunks + at, self._stride, self._budget + 1 - len(self.events)
        if not index:
            stride = places = 1
        end = min(at + places * stride, len(chars))
        if stride == 1:
            counts = [1] * (end - at)
            gaps, waits, chars = gaps[at:end], waits[at:end], chars[at:end]
        else:
            parts = [slice(first, first + stride) for first in range(at, end, stride)]
            counts = [len(chars[part]) for part in parts]
            gaps, waits = [max(gaps[part]) for part in parts], [sum(waits[part]) for part in parts]
            chars = [sum(chars[part]) for part in parts]
        indexes = range(index, index + end - at, stride)
        self.events.extend(zip(arrived[at:end:stride], gaps, indexes, waits, chars, counts, strict=True), PLAIN)
        self._make_room()
        return end

    def _make_room(self) -> None:
        """Keep to the budget, and note what the newest event may still take; the first chunk stays alone."""
        events = self.events
        if len(events) > self._budget:
            self._stride = events.make_room(self._budget, self._stride)
        self._key, index, count = events.newest
        self._room = self._stride - count if index else 0

    def clear_events(self) -> None:
        """Forget the events until now; the next chunk begins one."""
        self.events = PackedEvents()
        self._key, self._room = NO_EVENT, 0

    def close(self, rows: Sequence[Row]) -> None:
        """Take the rows of the last chunk, in events of their own."""
        self._budget, self._stride, self._room = _NEVER, 0, 0
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

    def fit(self, budget: int) -> PackedEvents:
        """Return at most ``budget`` events that cover the whole stream, first and last chunk apart."""
        if not budget:
            return PackedEvents()
        self.events.fit(budget)
        return self.events

    def _keep_offsets(self, arrivals: Sequence[int]) -> None:
        """Keep every so manieth arrival; twice as few each time there are too many."""
        before, after, origin = self.chunks, self.chunks + len(arrivals), self._origin
        offsets, next_offset, step = self.offsets, self._next_offset, self._step
        while next_offset < after:
            if len(offsets) == self._offsets_kept:
                offsets = self.offsets = offsets[::2]
                step = self._step = step * 2
                next_offset += next_offset % step
                continue
            offset = round((arrivals[next_offset - before] - origin) / 1e3)
            if not 0 <= offset <= _LONGEST_OFFSET:
                offsets = self.offsets = array("q", offsets)
            offsets.append(offset)
            next_offset += step
        self._next_offset = next_offset

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

    def _keep(self, key: Key, text: str) -> None:
        kept = head(text, self._text_left)
        self._text_left -= size(kept)
        if len(kept) < len(text):
            # Nothing that is shorter may follow: what is kept has no holes.
            self._text_left = 0
            self.text_missing += size(text) - size(kept)
            self.text_torn = {*self.text_torn, key}
        if kept:
            self.events.keep(key, kept)
