"""Attributes that a span gets unchecked are those of the public call."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_tokenstream.core.emit.span_attributes import set_attributes

PLAIN = {"text": "abcdef", "count": 3, "share": 0.5, "seen": True, "points": [1, 2, 3], "reasons": ["stop"], "none": []}
GIVEN: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "nothing": {},
    "some that are set already": {**PLAIN, "before": "new"},
    "nested": {**PLAIN, "nested": [[1], ["a"]]},
    "mappings": {**PLAIN, "mapping": {"a": 1}},
    "bytes": {**PLAIN, "raw": b"abc"},
    "objects": {**PLAIN, "object": SpanContext(1, 1, is_remote=False)},
    "no value": {**PLAIN, "absent": None},
}
LIMITS = {
    "the default": SpanLimits(),
    "few attributes": SpanLimits(max_span_attributes=4),
    "no attributes": SpanLimits(max_span_attributes=0),
    "short attributes": SpanLimits(max_span_attribute_length=4),
    "no limits": SpanLimits(max_span_attributes=SpanLimits.UNSET, max_span_attribute_length=SpanLimits.UNSET),
}


def _span(limits: SpanLimits) -> Any:
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    return provider.get_tracer("test").start_span("chat", attributes={"before": 1, "also": "x"})


def _held(span: Any) -> tuple[list[tuple[str, Any]], int]:
    return list(span.attributes.items()), span._readable_span().dropped_attributes


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("given", GIVEN)
def test_attributes_are_those_of_the_public_call(given: str, limits: str) -> None:
    unchecked, checked = _span(LIMITS[limits]), _span(LIMITS[limits])
    for _ in range(2):
        set_attributes(unchecked, GIVEN[given])
        checked.set_attributes(GIVEN[given])
    assert repr(_held(unchecked)) == repr(_held(checked))


def test_later_changes_of_a_list_do_not_reach_the_span() -> None:
    span, points = _span(SpanLimits()), [1, 2]
    set_attributes(span, {"points": points})
    points.append(3)
    assert span.attributes["points"] == (1, 2)


def test_an_ended_span_takes_no_attribute() -> None:
    span = _span(SpanLimits())
    span.end()
    set_attributes(span, PLAIN)
    assert dict(span.attributes) == {"before": 1, "also": "x"}


@pytest.mark.parametrize("without_sdk", [True, False])
def test_spans_of_others_get_the_public_call(monkeypatch: pytest.MonkeyPatch, without_sdk: bool) -> None:
    class Other(NonRecordingSpan):
        def __init__(self) -> None:
            super().__init__(SpanContext(1, 1, is_remote=False))
            self.given: list[Any] = []

        def set_attributes(self, attributes: Any) -> None:
            self.given.append(attributes)

    if without_sdk:
        monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace")
    span = Other()
    set_attributes(span, PLAIN)
    assert span.given == [PLAIN]
