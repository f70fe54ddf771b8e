"""Makes events of what one stream brought, for one reader and on the reader's thread."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.redaction import Gate, fit_attributes, fit_to_leave
from otel_tokenstream.core.timeline import EMPTY, TEXT, TOOL_CALL
from otel_tokenstream.live.events import EndEvent, Event, StallEvent, StartEvent, TokenEvent, about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.core.observers import Origin
    from otel_tokenstream.core.timeline import Row

# Characters of one run a redaction hook may hold back; such a hook says nothing of its longest match.
_LONGEST_WITHHELD = 1 << 18


class Hole:
    """What was lost before a row: how many chunks, and when the last of them arrived."""

    __slots__ = ("arrived", "chunks")

    def __init__(self) -> None:
        self.chunks = 0
        self.arrived = 0


def has_content(row: Row) -> bool:
    """Tell content from a chunk without any, markup of a program's fields, and text that is not decided yet."""
    _, _, kind, chars, _, text = row
    return kind is not EMPTY and bool(chars or text or kind != TEXT)


def is_told(row: Row, reason: str | None) -> bool:
    """Whether a row makes an event."""
    return has_content(row) or bool(reason is not None and row[0])


class Telling:
    """The events of one stream.

    Text goes through the redaction hook run by run: all of one kind and field, also where others
    come between; a program's output field ends where the next one begins.
    """

    __slots__ = ("_about", "_anchor", "_chunk", "_indexes", "_last", "_redact", "_runs", "_started", "_text", "_torn")

    def __init__(self, origin: Origin, *, text: bool) -> None:
        self._about = about(origin)
        self._redact = origin.redact
        self._text = text
        self._indexes: Counter[str | None] = Counter()
        self._runs: dict[tuple[str, str | None], _Run] = {}
        self._torn = False
        self._started = self._anchor = self._last = 0
        self._chunk = -1

    def start(self, started: int, anchor: int, *, stream: bool) -> Iterator[Event]:
        self._started, self._anchor = started, anchor
        yield StartEvent(**self._about, at_ns=anchor, stream=stream)

    def row(self, row: Row, reason: str | None, hole: Hole | None) -> Iterator[Event]:
        asked, arrived, kind, chars, field, text = row
        if hole is not None:
            self._chunk += hole.chunks
            self._last = hole.arrived or self._last
            if self._redact is None:
                yield from self._rest()
            for torn in self._runs.values():
                torn.shut()
            self._torn = self._redact is not None
        gap = wait = 0
        if asked:
            gap = arrived - self._last if self._last else 0
            wait = arrived - asked
            self._last = arrived
            self._chunk += 1
        if not has_content(row):
            if reason is not None and asked:
                yield self._token(arrived, gap, wait, EMPTY, 0, None, "" if self._text else None, reason)
            return
        passing = None
        if text is not None and self._text:
            run = self._runs.get((kind, field))
            if run is None:
                if field is not None:
                    yield from self._rest(fields_only=True)
                # After a hole nobody knows where the run began: its text could be the rest of a match.
                gate = None if self._torn else Gate(self._redact, kind, elided=False)
                self._runs[kind, field] = run = _Run(gate)
            self._torn = False
            passing = run.feed(text, bounded=self._redact is not None)
        elif kind == TOOL_CALL and self._redact is not None and (kind, field) in self._runs:
            # A piece of an older call is left out: it may be half of what the hook looks for.
            self._runs[kind, field].shut()
        yield self._token(arrived, gap, wait, kind, chars, field, passing, reason)

    def stall(self, since: int, at: int, phase: str) -> Iterator[Event]:
        yield StallEvent(**self._about, at_ns=self._wall(at), wait_us=_us(at - since), phase=phase)

    def end(self, ended: int, facts: dict[str, Any], hole: Hole | None) -> Iterator[Event]:
        if hole is not None and self._redact is not None:
            self._runs.clear()
        yield from self._rest()
        facts = {**fit_attributes(facts, None), "duration_us": _us(ended - self._started)}
        yield EndEvent(**self._about, at_ns=self._wall(ended), **facts)

    def _rest(self, *, fields_only: bool = False) -> Iterator[Event]:
        """Yield what is still held back of the runs that end here."""
        for kind, field in [key for key in self._runs if key[1] is not None or not fields_only]:
            text = self._runs.pop((kind, field)).close()
            if text:
                yield self._token(self._last, 0, 0, kind, 0, field, text, None)

    def _token(
        self,
        arrived: int,
        gap: int,
        wait: int,
        kind: str,
        chars: int,
        field: str | None,
        text: str | None,
        reason: str | None,
    ) -> TokenEvent:
        index = self._indexes[field]
        self._indexes[field] = index + 1
        return TokenEvent(
            **self._about,
            at_ns=self._wall(arrived),
            text=text,
            field=fit_to_leave(field, None),
            index=index,
            kind=kind,
            chars=chars,
            chunk=max(self._chunk, 0),
            offset_us=_us(arrived - self._started),
            gap_us=_us(gap),
            wait_us=_us(wait),
            finish_reason=fit_to_leave(reason, None),
        )

    def _wall(self, at: int) -> int:
        return self._anchor + at - self._started


class _Run:
    """The text of one kind and field; without a gate nothing of it leaves."""

    __slots__ = ("_gate", "_held")

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._held = 0

    def feed(self, text: str, *, bounded: bool) -> str:
        if self._gate is None:
            return ""
        passing = self._gate.feed(text)
        if bounded:
            self._held += len(text) - len(passing)
            if self._held > _LONGEST_WITHHELD:
                self.shut()
        return passing

    def shut(self) -> None:
        self._gate = None

    def close(self) -> str:
        return "" if self._gate is None else self._gate.close()


def _us(nanoseconds: int) -> int:
    return round(nanoseconds / 1e3)
