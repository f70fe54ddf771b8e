"""Makes events of what one stream brought, for one reader and on the reader's thread."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY, TEXT
from otel_tokenstream.core.content.redaction import sanitize, sanitize_attributes
from otel_tokenstream.core.content.text_runs import Runs
from otel_tokenstream.live.events import EndEvent, Event, StallEvent, StartEvent, TokenEvent, about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.core.call.timeline import Row
    from otel_tokenstream.core.call.timeline_events import Key
    from otel_tokenstream.core.emit.observers import Origin

# Characters of one stream a redaction hook may hold back; such a hook says nothing of its longest match.
_LONGEST_WITHHELD = 1 << 18


class DroppedRange:
    """Loss before a row: number of chunks, arrival of the last one, and the runs that lost text."""

    __slots__ = ("arrived", "chunks", "runs")

    def __init__(self) -> None:
        self.chunks = 0
        self.arrived = 0
        self.runs: set[Key] = set()

    def lose(self, row: Row) -> None:
        read_started, arrived, kind, _, field, text, tool = row
        if read_started:
            self.chunks += 1
            self.arrived = arrived
        if text:
            self.runs.add((kind, field, tool))


def has_content(row: Row) -> bool:
    """Tell content from a chunk without any, markup of a program's fields, and text that is not decided yet."""
    _, _, kind, chars, _, text, _ = row
    return kind is not EMPTY and bool(chars or text or kind != TEXT)


def is_told(row: Row, reason: str | None) -> bool:
    """Return whether a row makes an event."""
    return has_content(row) or bool(reason is not None and row[0])


class EventBuilder:
    """The events of one stream.

    Text goes through the redaction hook run by run: all of one kind, field and tool call, also where
    others come between; a program's output field ends where the next one begins.
    """

    __slots__ = (
        "_about",
        "_anchor",
        "_chunk",
        "_indexes",
        "_last",
        "_newest_id",
        "_redact",
        "_runs",
        "_started",
        "_text",
    )

    def __init__(self, origin: Origin, *, text: bool) -> None:
        self._about = about(origin)
        self._redact = origin.redact
        self._text = text
        self._indexes: Counter[str | None] = Counter()
        bound = _LONGEST_WITHHELD if origin.redact is not None else None
        self._runs: Runs[Key] = Runs(origin.redact, elided=False, longest_withheld=bound)
        self._newest_id = ("", "")  # as it came, and as it may leave
        self._started = self._anchor = self._last = 0
        self._chunk = -1

    def start(self, started: int, anchor: int, *, stream: bool) -> Iterator[Event]:
        self._started, self._anchor = started, anchor
        yield StartEvent(**self._about, at_ns=anchor, stream=stream)

    def row(self, row: Row, reason: str | None, dropped_range: DroppedRange | None) -> Iterator[Event]:
        read_started, arrived, kind, chars, field, text, tool = row
        key = (kind, field, tool)
        if dropped_range is not None:
            self._chunk += dropped_range.chunks
            self._last = dropped_range.arrived or self._last
            yield from self._tear(dropped_range)
        gap = wait = 0
        if read_started:
            gap = arrived - self._last if self._last else 0
            wait = arrived - read_started
            self._last = arrived
            self._chunk += 1
        if not has_content(row):
            if reason is not None and read_started:
                yield self._token(arrived, gap, wait, (EMPTY, None, None), 0, "" if self._text else None, reason)
            return
        passing = None
        if text is not None and self._text:
            yield from self._withheld(self._runs.begin(key))
            passing = self._runs.feed(key, text, key)
        yield self._token(arrived, gap, wait, key, chars, passing, reason)

    def stall(self, since: int, at: int, phase: str) -> Iterator[Event]:
        yield StallEvent(**self._about, at_ns=self._wall(at), wait_us=_us(at - since), phase=phase)

    def end(self, ended: int, facts: dict[str, Any], dropped_range: DroppedRange | None) -> Iterator[Event]:
        if dropped_range is not None:
            yield from self._tear(dropped_range)
        yield from self._withheld(self._runs.close())
        facts = {**sanitize_attributes(facts, None), "duration_us": _us(ended - self._started)}
        yield EndEvent(**self._about, at_ns=self._wall(ended), **facts)

    def _tear(self, dropped_range: DroppedRange) -> Iterator[Event]:
        """Let no more text leave of the runs that lost some: what comes could be the rest of a match."""
        if self._redact is None:
            yield from self._withheld(self._runs.close())
            return
        for key in dropped_range.runs:
            self._runs.shut(key)

    def _withheld(self, ended: Iterator[tuple[Key, str]]) -> Iterator[Event]:
        """Yield what was held back of the runs that end here."""
        for key, text in ended:
            yield self._token(self._last, 0, 0, key, 0, text, None)

    def _token(
        self,
        arrived: int,
        gap: int,
        wait: int,
        key: Key,
        chars: int,
        text: str | None,
        reason: str | None,
    ) -> TokenEvent:
        kind, field, tool = key
        index = self._indexes[field]
        self._indexes[field] = index + 1
        return TokenEvent(
            **self._about,
            at_ns=self._wall(arrived),
            text=text,
            field=sanitize(field, None),
            index=index,
            kind=kind,
            chars=chars,
            chunk=max(self._chunk, 0),
            offset_us=_us(arrived - self._started),
            gap_us=_us(gap),
            wait_us=_us(wait),
            finish_reason=sanitize(reason, None),
            tool_call=None if tool is None else tool.number,
            tool_call_id=None if tool is None or tool.call_id is None else self._id(tool.call_id),
        )

    def _id(self, given: str) -> str:
        if given != self._newest_id[0]:
            self._newest_id = given, sanitize(given, self._redact)
        return self._newest_id[1]

    def _wall(self, at: int) -> int:
        return self._anchor + at - self._started


def _us(nanoseconds: int) -> int:
    return round(nanoseconds / 1e3)
