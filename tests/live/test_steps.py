from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span, StatusCode

from otel_tokenstream import TokenCollector, correlate, step, subscribe
from otel_tokenstream.live.events import StepEnd, StepNote, StepStart
from otel_tokenstream.testing import capture
from tests.live.live_calls import streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.live.events import Event
    from otel_tokenstream.testing import Capture


@pytest.fixture
def quiet() -> Iterator[Capture]:
    with capture() as captured:
        yield captured


def test_a_step_is_a_span_in_the_same_trace(provider: ScriptedProvider, quiet: Capture) -> None:
    """Steps nest, and model calls inside are below them; attributes and events are the span's."""
    with step("answer"):
        with step("retrieval", k=3) as span:
            span.add_event("found", {"passages": 2})
            span.set_attribute("hits", 2)
        streamed(provider)

    retrieval, generation, answer = quiet.spans
    assert [each.name for each in quiet.spans] == ["retrieval", "chat test", "answer"]
    assert answer.parent is None
    assert retrieval.parent.span_id == generation.parent.span_id == answer.context.span_id
    assert dict(retrieval.attributes) == {"k": 3, "hits": 2}
    assert [(event.name, dict(event.attributes)) for event in retrieval.events] == [("found", {"passages": 2})]


def test_sinks_are_told_of_steps_and_calls_in_order(provider: ScriptedProvider, quiet: Capture) -> None:
    """Start, what the program adds, end; by the span's ids, so that a reader can draw the tree."""
    with TokenCollector() as collected, correlate(user_id="u"), step("retrieval", k=3) as span:
        span.add_event("found", {"passages": 2})
        streamed(provider)

    start, note, call, *_, end = collected.events
    assert isinstance(start, StepStart)
    assert isinstance(note, StepNote)
    assert isinstance(end, StepEnd)
    assert (start.name, start.attributes, start.operation) == ("retrieval", {"k": 3}, "retrieval")
    assert (note.name, note.attributes) == ("found", {"passages": 2})
    assert (end.name, end.error_type) == ("retrieval", None)
    (generation, retrieval) = quiet.spans
    ids = f"{retrieval.context.span_id:016x}"
    assert {start.stream_id, note.stream_id, end.stream_id, call.parent_id} == {ids}
    assert call.stream_id == f"{generation.context.span_id:016x}"
    assert {event.correlation["user_id"] for event in collected.events} == {"u"}
    assert abs(end.duration_us - (retrieval.end_time - retrieval.start_time) / 1e3) < 1e6


def test_an_operation_holds_for_all_that_is_below(provider: ScriptedProvider, quiet: Capture) -> None:
    """It is on the step's span, on the call's, and a subscriber of it sees both."""
    with TokenCollector(operation="search") as collected:
        with step("retrieval", operation="search"):
            streamed(provider)
        with step("other"):
            pass

    assert {event.type for event in collected.events} == {"step_start", "start", "token", "end", "step_end"}
    assert [span.attributes.get("tokenstream.operation") for span in quiet.spans] == ["search", "search", None]


def test_an_error_leaves_its_class_and_goes_on(quiet: Capture) -> None:
    """Its text may quote the user; the program gets the error itself."""
    said = "what the user said"
    with TokenCollector() as collected, pytest.raises(KeyError, match=said), step("retrieval"):
        raise KeyError(said)

    (span,) = quiet.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert dict(span.attributes) == {"error.type": "KeyError"}
    assert span.events == ()
    assert collected.events[-1].error_type == "KeyError"  # type: ignore[attr-defined]


def test_a_step_yields_an_opentelemetry_span(quiet: Capture) -> None:
    """With all its methods, whether somebody looks on or not; current is OpenTelemetry's own."""
    with step("unseen") as bare:
        assert isinstance(bare, ReadableSpan)
    with TokenCollector(), step("seen") as span:
        assert isinstance(span, Span)
        assert isinstance(trace.get_current_span(), ReadableSpan)
        assert span.get_span_context() == trace.get_current_span().get_span_context()
        assert span.is_recording()
        span.update_name("renamed")
        span.set_attributes({"a": 1})
        span.add_link(bare.get_span_context(), {"b": 2})
        span.set_status(StatusCode.OK)
        span.record_exception(ValueError("shown on purpose"))
        assert span.attributes == {"a": 1}  # type: ignore[attr-defined]

    seen = quiet.spans[-1]
    assert (seen.name, dict(seen.attributes), seen.status.status_code) == ("renamed", {"a": 1}, StatusCode.OK)
    assert [(dict(link.attributes), link.context) for link in seen.links] == [({"b": 2}, bare.get_span_context())]
    assert [event.name for event in seen.events] == ["exception"]


def test_a_step_without_instrumentation_is_the_global_tracers() -> None:
    """A library may use it, whether the application instruments anything or not."""
    with TokenCollector() as collected, step("alone") as span:
        span.add_event("noted")

    assert [event.type for event in collected.events] == ["step_start", "step_event", "step_end"]


def test_a_suppressed_step_is_none(quiet: Capture) -> None:
    """Where instrumentation is suppressed the block just runs."""
    with TokenCollector() as collected, suppress_instrumentation(), step("hidden") as span:
        span.add_event("noted")
    assert (collected.events, quiet.spans) == ([], [])


@pytest.mark.usefixtures("quiet")
def test_a_raising_subscriber_does_not_reach_the_step() -> None:
    """The step goes on, and so do its events."""
    told: list[str] = []

    def callback(event: Event) -> None:
        told.append(event.type)
        raise ValueError

    with subscribe(callback), step("retrieval"):
        pass
    assert told == ["step_start", "step_end"]
