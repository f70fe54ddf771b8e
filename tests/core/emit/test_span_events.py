"""Events that a span gets at once have the effect of single calls, and are made when they are first read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_tokenstream.core.emit.span_events import add_events
from otel_tokenstream.core.runtime.guard import faults

if TYPE_CHECKING:
    from collections.abc import Iterator

encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")

EVENTS: list[tuple[str, int, dict[str, Any]]] = [
    ("tokenstream.token", 1_000 + number, {"tokenstream.index": number, "tokenstream.text": "abc" * number, "f": 0.5})
    for number in range(40)
]
LIMITS = {
    "the default": SpanLimits(),
    "few events": SpanLimits(max_events=7),
    "no events": SpanLimits(max_events=0),
    "any number of events": SpanLimits(max_events=SpanLimits.UNSET),
    "few attributes": SpanLimits(max_event_attributes=2),
    "no attributes": SpanLimits(max_event_attributes=0),
    "no limit of attributes": SpanLimits(max_event_attributes=SpanLimits.UNSET),
    "short attributes": SpanLimits(max_attribute_length=4),
}


class Made:
    """Events that count how often they were made."""

    most_attributes = 3

    def __init__(self, events: list[tuple[str, int, dict[str, Any]]] = EVENTS) -> None:
        self._events = events
        self.times = 0

    def __len__(self) -> int:
        return len(self._events)

    def made(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        self.times += 1
        return ((name, at, dict(attributes)) for name, at, attributes in self._events)


def _span(limits: SpanLimits) -> Any:
    return TracerProvider(span_limits=limits, shutdown_on_exit=False).get_tracer("test").start_span("chat")


def _sent(span: Any) -> tuple[int, bytes, list[Any]]:
    span.end()
    readable = span._readable_span()
    dropped = readable.dropped_events  # before anybody has read the events
    (encoded,) = encoder.encode_spans([readable]).resource_spans[0].scope_spans[0].spans
    events = b"".join(event.SerializeToString(deterministic=True) for event in encoded.events)
    return dropped, events, json.loads(span.to_json())["events"]


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("limits", LIMITS)
def test_events_are_those_of_single_calls(limits: str, before: int) -> None:
    together, single = _span(LIMITS[limits]), _span(LIMITS[limits])
    for number in range(before):
        for span in (together, single):
            span.add_event("somebody else's", {"number": number}, 500 + number)
    add_events(together, Made())
    for name, at, attributes in EVENTS:
        single.add_event(name, attributes, at)
    assert _sent(together) == _sent(single)


def test_events_are_made_when_they_are_first_read_and_once() -> None:
    span, events = _span(SpanLimits()), Made()
    add_events(span, events)
    span.end()
    readable = span._readable_span()
    assert events.times == 0
    assert [event.timestamp for event in readable.events] == [at for _, at, _ in EVENTS]
    assert len(readable.events) == len(span.events) == len(EVENTS)
    assert events.times == 1


def test_a_processor_that_adds_an_event_while_the_span_ends_adds_it_last() -> None:
    span = _span(SpanLimits())
    add_events(span, Made())
    span.add_event("last", {"a": 1}, 9_000)
    assert [event.name for event in span.events][-2:] == ["tokenstream.token", "last"]


def test_a_fault_while_events_are_made_leaves_the_others_and_reaches_no_exporter() -> None:
    class Broken(Made):
        def made(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
            raise LookupError

    span, before = _span(SpanLimits()), faults["LookupError"]
    span.add_event("somebody else's", {}, 500)
    add_events(span, Broken())
    span.end()
    assert [event.name for event in span.events] == ["somebody else's"]
    assert [event.name for event in span.events] == ["somebody else's"]
    assert faults["LookupError"] == before + 1


def test_an_ended_span_takes_no_event() -> None:
    span = _span(SpanLimits())
    span.end()
    add_events(span, Made())
    assert span.events == ()


def test_attributes_of_an_event_cannot_be_changed() -> None:
    span = _span(SpanLimits())
    add_events(span, Made(EVENTS[:1]))
    with pytest.raises(TypeError):
        span.events[0].attributes["tokenstream.index"] = 7


def test_this_sdk_takes_events_that_are_made_later() -> None:
    """The tested SDK is one that is known here, at its default limits."""
    span, events = _span(SpanLimits()), Made()
    add_events(span, events)
    assert events.times == 0


@pytest.mark.parametrize("without_sdk", [True, False])
def test_spans_of_others_get_public_calls(monkeypatch: pytest.MonkeyPatch, without_sdk: bool) -> None:
    class Other(NonRecordingSpan):
        _limits = SpanLimits()

        def __init__(self) -> None:
            super().__init__(SpanContext(1, 1, is_remote=False))
            self.added: list[Any] = []

        def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
            self.added.append((name, timestamp, attributes))

    if without_sdk:
        monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace")
    span = Other()
    add_events(span, Made())
    assert span.added == EVENTS


def test_a_span_that_is_built_otherwise_gets_public_calls() -> None:
    span, events = _span(SpanLimits()), Made()
    kept = list(span._events)
    span._events = kept
    add_events(span, events)
    assert [event.timestamp for event in kept] == [at for _, at, _ in EVENTS]
