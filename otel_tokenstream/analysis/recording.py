"""A recording, which sources fill: spans and log events in any order, once or twice, become streams."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import Attributes, text
from otel_tokenstream.analysis.stream import Event, Pace, Span, Stream, chunks_told, pace_of, stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_Id = tuple[str, str]
_DEEPEST_TRACE = 200
_LATEST_NS = 2**63


class Recording:
    """``notes`` are for the reader of the report: what a source had to leave out."""

    def __init__(
        self,
        wanted: Collection[str] = (),
        since_ns: int = 0,
        until_ns: int = _LATEST_NS,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Keep the attributes ``wanted`` of each stream, and only streams that began in a time.

        ``on_progress`` is told how much of a source was read, from 0 to 1, where that is known.
        """
        self.wanted = wanted
        self.since_ns = since_ns
        self.until_ns = until_ns
        self.on_progress = on_progress
        self.notes: list[str] = []
        self._streams: dict[_Id, tuple[Stream, tuple[int, int], Attributes]] = {}
        self._logged: dict[_Id, dict[tuple[object, ...], Event]] = {}
        self._above: dict[_Id, tuple[str, str | None]] = {}

    def add_span(self, span: Span) -> None:
        at = (span.trace_id, span.span_id)
        in_time = self.since_ns <= span.start_ns < self.until_ns
        stream = stream_of(span, self.wanted) if in_time else None
        if stream is None:
            self._above[at] = (span.parent_id, text(span.attributes, signals.DSPY_MODULE))
        else:
            kept = {name: span.attributes.get(name) for name in (signals.CHUNKS, signals.OFFSETS_US)}
            self._streams[at] = (stream, chunks_told(span.events), kept)

    def add_log_event(self, trace_id: str, span_id: str, event: Event) -> None:
        """Others than a stream's events are ignored. Adding an event twice changes nothing: exporters retry."""
        name, attributes = event
        if name in signals.EVENTS and trace_id and span_id:
            where = (signals.AT_OFFSET_US, signals.AT_INDEX, signals.AT_KIND, signals.AT_FIELD)
            identity = (name, *(str(attributes.get(each)) for each in where))
            self._logged.setdefault((trace_id, span_id), {})[identity] = event

    def streams(self) -> list[Stream]:
        """In the order of their starts."""
        found = [self._complete(at, *parts) for at, parts in self._streams.items()]
        return sorted(found, key=lambda stream: (stream.start_ns, stream.span_id))

    def _complete(self, at: _Id, stream: Stream, told: tuple[int, int], attributes: Attributes) -> Stream:
        stream = replace(stream, module=self._module(at[0], stream.parent_id))
        logged = list(self._logged.get(at, {}).values())
        if chunks_told(logged) <= told:
            return stream
        pace = pace_of(logged, attributes)
        return replace(stream, **_told_by(pace))

    def _module(self, trace_id: str, span_id: str) -> str | None:
        for _ in range(_DEEPEST_TRACE):  # a loop of parents must not become one of ours
            span_id, module = self._above.get((trace_id, span_id), ("", None))
            if module or not span_id:
                return module
        return None


def _told_by(pace: Pace) -> Attributes:
    return {name: value for name, value in vars(pace).items() if value is not None and value != ()}
