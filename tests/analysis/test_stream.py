from __future__ import annotations

from array import array
from dataclasses import replace

from otel_tokenstream import signals
from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.stream import stream_of
from tests.analysis.made import span, token


def test_values_missing_on_a_span_are_absent() -> None:
    """Nothing becomes zero; only the attempts are one where no number is given."""
    stream = stream_of(span())
    assert stream is not None
    values = {name: value for name, value in vars(stream).items() if value is not None}
    assert values == {
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "parent_id": "",
        "start_ns": stream.start_ns,
        "end_ns": stream.start_ns + 10**9,
        "duration_ms": 1000.0,
        "outcome": "completed",
        "streamed": True,
        "service": "shop",
        "attempts": 1,
        "fields": (),
        "attributes": {},
    }


def test_a_value_of_another_type_is_absent() -> None:
    """Spans come from outside: a number that is text, true or NaN was not measured."""
    stream = stream_of(
        span(
            {
                signals.TIME_TO_FIRST_TOKEN_MS: "12",
                signals.CHUNKS: True,
                signals.OUTPUT_RATE: float("nan"),
                signals.STALL_COUNT: 2.0,
            }
        )
    )
    assert stream is not None
    assert (stream.first_token_ms, stream.chunks, stream.output_rate, stream.stall_count) == (None, None, None, 2)


def test_a_span_that_is_no_generation_is_no_stream() -> None:
    """Only those that say how they ended."""
    generation = span()
    request = replace(generation, attributes={"http.request.method": "GET"})
    assert stream_of(generation) is not None
    assert stream_of(request) is None


def test_milestones_are_to_the_microsecond_where_events_tell_them() -> None:
    """The attribute in whole milliseconds is for spans without events."""
    attributes = {signals.TIME_TO_FIRST_TOKEN_MS: 12}
    without = stream_of(span(attributes))
    event = (signals.FIRST_TOKEN_EVENT, {signals.AT_OFFSET_US: 12_345})
    with_event = stream_of(span(attributes, [event]))
    assert without is not None
    assert with_event is not None
    assert (without.first_token_ms, with_event.first_token_ms) == (12, 12.345)


def test_gaps_are_known_only_if_every_arrival_is() -> None:
    """From events of one chunk each, or from as many offsets as there were chunks; never from merged events."""
    alone = [token(1000, 0, 0), token(3000, 2000, 1), token(3000, 0, 1, count=0, field="b"), token(9000, 6000, 2)]
    merged = [token(1000, 0, 0), token(3000, 2000, 1, count=2)]
    chunks = {signals.CHUNKS: 3}
    found = [
        stream_of(span(chunks, alone)),
        stream_of(span(chunks, merged)),
        stream_of(span(chunks | {signals.OFFSETS_US: [1000, 3000, 9000]}, merged)),
        stream_of(span(chunks | {signals.OFFSETS_US: [1000, 9000]}, merged)),
        stream_of(span({}, alone)),
    ]
    assert [each and each.gaps_us for each in found] == [
        array("q", [2000, 6000]),
        None,
        array("q", [2000, 6000]),
        None,
        None,
    ]


def test_a_field_that_begins_inside_a_mixed_event_has_no_first_token() -> None:
    """Where it began is not known; when it was last heard of is."""
    events = [
        token(1000, 0, 0, field="reasoning"),
        token(2000, 1000, 1, field="reasoning"),
        token(3000, 1000, 2, count=4, kind="mixed"),
        token(7000, 1000, 6, field="answer"),
        token(8000, 1000, 7, field="answer"),
    ]
    stream = stream_of(span({signals.CHUNKS: 8}, events))
    assert stream is not None
    reasoning, answer = stream.fields
    assert (reasoning.name, reasoning.first_token_ms, reasoning.last_token_ms, reasoning.chars) == (
        *("reasoning", 1.0, 2.0, 8),
    )
    assert (answer.first_token_ms, answer.last_token_ms) == (None, 8.0)


def test_events_of_the_log_serve_where_the_span_has_none() -> None:
    """Whichever tells more is taken, in whatever order they come, once however often they were sent."""
    recording = Recording()
    events = [(signals.FIRST_TOKEN_EVENT, {signals.AT_OFFSET_US: 1500}), token(1500, 0, 0), token(2500, 1000, 1)]
    for event in [*events, *events]:
        recording.add_log_event("a" * 32, "b" * 16, event)
    recording.add_span(span({signals.CHUNKS: 2, signals.TIME_TO_FIRST_TOKEN_MS: 2}))
    (stream,) = recording.streams()
    assert (stream.first_token_ms, stream.gaps_us) == (1.5, array("q", [1000]))


def test_a_span_sent_twice_counts_once() -> None:
    """An exporter that did not hear the answer sends again."""
    recording = Recording()
    recording.add_span(span())
    recording.add_span(span())
    assert len(recording.streams()) == 1


def test_parents_in_a_loop_end() -> None:
    """Broken spans must not hang the report."""
    recording = Recording()
    recording.add_span(span(parent_id="1" * 16))
    for here, above in (("1" * 16, "2" * 16), ("2" * 16, "1" * 16)):
        recording.add_span(replace(span(span_id=here, parent_id=above), attributes={}))
    assert [stream.module for stream in recording.streams()] == [None]
