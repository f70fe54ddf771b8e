"""When chunks came: exact sums, percentiles and a bounded list of events, in constant memory."""

from __future__ import annotations

from array import array
from itertools import pairwise
from operator import sub
from typing import TYPE_CHECKING

from otel_tokenstream.core.gap_counts import GapCounts
from otel_tokenstream.core.text import head, size

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = "text"
REASONING = "reasoning"
TOOL_CALL = "tool_call"
REFUSAL = "refusal"
AUDIO = "audio"
EMPTY = "empty"
MIXED = "mixed"

# (asked, arrived, kind, characters, field, text): one chunk, times in ns of one monotonic
# clock. A further row of the same chunk, for another field of it, has asked = 0.
Row = tuple[int, int, str, int, "str | None", "str | None"]

STALLS_KEPT = 256
_NEVER = 1 << 62


class Passage:
    """Text of an event that is of one kind and field; an event merged across several has several."""

    __slots__ = ("field", "kind", "text")

    def __init__(self, kind: str, field: str | None, text: str) -> None:
        self.kind = kind
        self.field = field
        self.text = text


class TokenEvent:
    """One chunk, or neighbours merged: their largest gap; waits, characters and counts added up."""

    __slots__ = ("arrived", "chars", "count", "field", "gap", "index", "kind", "passages", "wait")

    def __init__(
        self, arrived: int, gap: int, index: int, wait: int, chars: int, count: int, kind: str, field: str | None
    ) -> None:
        self.arrived = arrived
        self.gap = gap
        self.index = index
        self.wait = wait
        self.chars = chars
        self.count = count
        self.kind = kind
        self.field = field
        self.passages: list[Passage] | None = None

    def append(self, kind: str, field: str | None, text: str) -> None:
        """Add to the text."""
        if self.passages is None:
            self.passages = []
        last = self.passages[-1] if self.passages else None
        if last is not None and last.kind == kind and last.field == field:
            last.text += text
        else:
            self.passages.append(Passage(kind, field, text))

    def continues(self, earlier: TokenEvent) -> bool:
        return self.kind == earlier.kind and self.field == earlier.field

    def merge(self, later: TokenEvent) -> None:
        if not later.continues(self):
            self.kind, self.field = MIXED, None
        self.gap = max(self.gap, later.gap)
        self.wait += later.wait
        self.chars += later.chars
        self.count += later.count
        for passage in later.passages or ():
            self.append(passage.kind, passage.field, passage.text)


_NONE = TokenEvent(0, 0, 0, 0, 0, 0, "", None)  # of no kind that a row could go on with


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
        self.text_torn: dict[tuple[str, str | None], None] = {}  # kinds and fields of it; a set is three times as large
        self.chunks = 0
        self.events: list[TokenEvent] = []
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
        """How many gaps fell into each bucket of ``gap_counts``."""
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
        kind, field = current.kind, current.field
        gap = wait = 0
        for asked, arrived, row_kind, chars, row_field, text in rows:
            count = 0
            if asked:
                count = 1
                wait = arrived - asked
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
            if (room > 0 or not asked) and row_kind == kind and row_field == field:
                if gap > current.gap:
                    current.gap = gap
                current.wait += wait
                current.chars += chars
                current.count += count
                room -= count
            else:
                self.events.append(TokenEvent(arrived, gap, chunks - 1, wait, chars, count, row_kind, row_field))
                if len(self.events) > self._budget:
                    self._merge_neighbours()
                current, room = self._current()
                kind, field = current.kind, current.field
                if noted == _NEVER and row_kind != EMPTY:
                    noted = min(self.wait_max, self._stall_threshold - 1)
            if text and self._text_left >= 0:
                # The row's own, not the event's: that one may have been merged with another kind by now.
                self._keep(current, row_kind, row_field, text)
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
                event = TokenEvent(arrived[at], gaps[at], chunks + at, waits[at], chars[at], 1, TEXT, None)
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

    def _current(self) -> tuple[TokenEvent, int]:
        """Return the event that is filled now and the chunks it may still take; the first chunk stays alone."""
        if not self.events:
            return _NONE, 0
        current = self.events[-1]
        return current, self._stride - current.count if current.index else 0

    def close(self, rows: Sequence[Row]) -> None:
        """Take the rows of the last chunk, in events of their own."""
        self._budget, self._stride = _NEVER, 0
        self.extend(rows)

    def blocked(self, asked: int, returned: int, *, token_awaited: bool) -> None:
        """Count the last read, which gave no chunk; ``token_awaited`` if a token was waited for."""
        wait = self._last_wait = returned - asked
        self.wait_total += wait
        if self.last_arrived:
            self._last_kept = asked - self.last_arrived
        if self.last_content and token_awaited:
            self._long_wait(returned, returned - self.last_arrived, self.chunks, wait)

    def gap_percentile(self, share: float) -> int:
        """Return the gap below which ``share`` of all gaps lie, in ns; off by less than 0.8 %."""
        return min(self._gaps.percentile(share), self.gap_max)

    def fit(self, budget: int) -> list[TokenEvent]:
        """Return at most ``budget`` events that cover the whole stream, first and last chunk apart."""
        events = self.events
        while len(events) > budget > 0:
            pairs = range(1, len(events) - 2) or range(len(events) - 1)
            at = min(pairs, key=lambda i: _merge_cost(events[i], events[i + 1]))
            events[at].merge(events.pop(at + 1))
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

    def _keep(self, event: TokenEvent, kind: str, field: str | None, text: str) -> None:
        kept = head(text, self._text_left)
        self._text_left -= size(kept)
        if len(kept) < len(text):
            # Nothing that is shorter may follow: what is kept has no holes.
            self._text_left = 0
            self.text_missing += size(text) - size(kept)
            self.text_torn[kind, field] = None
        if kept:
            event.append(kind, field, kept)


def _merged(events: list[TokenEvent], stride: int, *, across: bool) -> list[TokenEvent]:
    kept = events[:1]
    for event in events[1:]:
        if kept[-1].count + event.count <= stride and (across or event.continues(kept[-1])):
            kept[-1].merge(event)
        else:
            kept.append(event)
    return kept


def _merge_cost(earlier: TokenEvent, later: TokenEvent) -> int:
    """Grow with the merged event, and much more where two kinds or fields become one."""
    return (earlier.count + later.count + 1) * (1 if later.continues(earlier) else 16)
