from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core.call import stream_proxy
from otel_tokenstream.core.call.chunk_kinds import EMPTY, REASONING, TEXT
from otel_tokenstream.core.call.model_call import CLOSED, COMPLETED, FAILED, OUTCOMES, ModelCall
from otel_tokenstream.core.call.request import Request, Usage
from otel_tokenstream.core.emit import span_data
from otel_tokenstream.core.emit.instruments import OTHER
from otel_tokenstream.core.emit.telemetry import Telemetry, flush, telemetry_for
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import capture
from tests.core.calls import letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.testing import Capture

    Record = Callable[..., tuple[Telemetry, Capture]]

MS = 1_000_000
TYPES: dict[str, Any] = {
    "string": str,
    "string[]": tuple,
    "int": int,
    "int[]": tuple,
    "double": float,
    "boolean": bool,
}
FULL = Request(
    "chat",
    "scripted",
    "test",
    stream=True,
    server_address="127.0.0.1",
    server_port=8080,
    parameters={signals.REQUEST_TEMPERATURE: 0.5, signals.REQUEST_MAX_TOKENS: 100, signals.REQUEST_SEED: 7},
)


def request(model: str = "test", *, stream: bool = True) -> Request:
    return Request("chat", "scripted", model, stream=stream)


def started(telemetry: Telemetry, about: Request = FULL) -> ModelCall:
    call = telemetry.start(about)
    assert call is not None
    call.read_started = 0
    return call


def feed(call: ModelCall, chunks: int, *, gap: int = 10 * MS, wait: int = MS, kind: str = TEXT) -> None:
    """Chunks of four characters at a steady pace after what came before."""
    at = max(call.timeline.last_arrived, call._block[-1][1] if call._block else 0, call.started)
    for _ in range(chunks):
        at += gap
        call.chunk(at - wait, at, kind, 4 if kind != EMPTY else 0, None, None)


def told_all(call: ModelCall) -> None:
    """Everything that a stream can say of itself."""
    feed(call, 1, kind=EMPTY)
    feed(call, 3, kind=REASONING)
    feed(call, 200)
    feed(call, 1, gap=3_000 * MS, wait=2_990 * MS)
    call.finish_reasons[0] = "stop"
    call.attributes[signals.FINISH_REASON_SYNTHETIC] = call.cache_hit = True
    call.response_id, call.response_model, call.cost_usd = "id-1", "test-2026", 0.01
    call.usage = Usage(input=10, output=204, cache_read=4, cache_write=2, reasoning=3)


# --- The span --------------------------------------------------------------------------------


def test_attributes_and_events_are_those_of_the_signals_table(record: Record) -> None:
    """Every attribute of a full span, and of its events, stands in the table with the type it has."""
    telemetry, captured = record()
    call = started(telemetry)
    told_all(call)
    call.end(COMPLETED)

    (generation,) = captured.generations
    for name, value in generation.attributes.items():
        assert type(value) is TYPES[signals.SPAN_ATTRIBUTES[name].type], name
    for event in generation.events:
        allowed = signals.EVENTS[event.name].attributes
        assert set(event.attributes) <= set(allowed), event.name
        assert [name for name in allowed if name in event.attributes] == list(event.attributes), event.name
        for name, value in event.attributes.items():
            assert type(value) is TYPES[signals.EVENT_ATTRIBUTES[name].type], name
    assert generation.name == "chat test"
    assert generation.span.kind is SpanKind.CLIENT
    assert generation.span.instrumentation_scope.name == signals.SCOPE


def test_values_of_a_full_span_are_right(record: Record) -> None:
    """Counts, durations in whole milliseconds, the stall and the rate are those of the chunks."""
    telemetry, captured = record()
    call = started(telemetry)
    told_all(call)
    call.end(COMPLETED)

    said = captured.generations[0].attributes
    assert said[signals.CHUNKS] == 205
    assert said[signals.TIME_TO_FIRST_CHUNK] == pytest.approx(0.01)
    assert said[signals.TIME_TO_FIRST_TOKEN_MS] == 20
    assert said[signals.TIME_TO_FIRST_ANSWER_TOKEN_MS] == 50
    assert (said[signals.GAP_P50_MS], said[signals.GAP_P95_MS], said[signals.GAP_MAX_MS]) == (10, 10, 3_000)
    assert (said[signals.WAIT_TOTAL_MS], said[signals.WAIT_MAX_MS]) == (204 + 2_990, 2_990)
    assert (said[signals.STALL_COUNT], said[signals.STALL_TOTAL_MS]) == (1, 2_990)
    assert said[signals.CONSUMER_TOTAL_MS] == 203 * 9 + 10
    assert said[signals.OUTPUT_RATE] == pytest.approx(203 / (202 * 0.01 + 3.0))
    assert (said[signals.USAGE_OUTPUT_TOKENS], said[signals.USAGE_SOURCE]) == (204, "provider")
    assert said[signals.FINISH_REASONS] == ("stop",)


@pytest.mark.parametrize("content", ["no_content", "span_only"])
def test_span_and_call_begin_at_one_instant_so_that_the_parts_make_up_the_span(record: Record, content: str) -> None:
    telemetry, captured = record(capture_content=content)
    call = telemetry.start(replace(FULL, messages=[{"role": "user", "content": "a long prompt" * 1_000}]))
    assert call is not None
    call.end(COMPLETED)

    (generation,) = captured.generations
    assert (generation.span.start_time, generation.span.end_time) == (call.anchor, call.wall(call.ended))


def test_a_request_without_a_model_is_named_by_its_operation(record: Record) -> None:
    """What is passed through to a provider need not name one."""
    telemetry, captured = record()
    started(telemetry, request(model="")).end(COMPLETED)

    (generation,) = captured.generations
    assert generation.name == "chat"


def test_unmeasured_values_are_absent(record: Record) -> None:
    """A stream that brought nothing has no times of tokens, no gaps and no usage; zero is not made up."""
    telemetry, captured = record()
    started(telemetry, request()).end(CLOSED)

    (generation,) = captured.generations
    assert set(generation.attributes) == {
        signals.OPERATION_NAME,
        signals.PROVIDER_NAME,
        signals.REQUEST_MODEL,
        signals.REQUEST_STREAM,
        signals.OUTCOME,
        signals.CHUNKS,
        signals.OPENING_MS,
        signals.WAIT_TOTAL_MS,
        signals.FINISH_REASONS,
    }
    assert generation.events == []
    metrics = captured.metrics
    assert signals.TIME_TO_FIRST_TOKEN not in metrics
    assert signals.GAP_MAX not in metrics
    assert signals.TOKENS not in metrics


def test_a_plain_call_has_no_stream_attributes(record: Record) -> None:
    """A call that was not streamed says what it used and how it ended, and nothing of chunks."""
    telemetry, captured = record()
    call = started(telemetry, request(stream=False))
    call.usage = Usage(input=1, output=2)
    call.end(COMPLETED)

    said = captured.generations[0].attributes
    assert signals.REQUEST_STREAM not in said
    assert signals.CHUNKS not in said
    assert said[signals.USAGE_OUTPUT_TOKENS] == 2
    assert signals.STREAMS not in captured.metrics


def test_a_failure_leaves_its_class_and_nothing_of_its_text(record: Record) -> None:
    """Status error without description, error.type, finish reason error; no recorded exception."""
    telemetry, captured = record()
    call = started(telemetry)
    feed(call, 2)
    call.end(FAILED, ConnectionError("the canary"))

    (generation,) = captured.generations
    assert generation.outcome == FAILED
    assert generation.span.status.status_code is StatusCode.ERROR
    assert not generation.span.status.description
    assert generation.attributes[signals.ERROR_TYPE] == "ConnectionError"
    assert generation.attributes[signals.FINISH_REASONS] == ("error",)
    assert "canary" not in generation.span.to_json()


def test_the_sampler_sees_the_requests_attributes(record: Record) -> None:
    """The attributes of the request are there when the span is made."""
    telemetry, captured = record()
    call = started(telemetry)
    at_start = dict(call.recorder._span.attributes)  # type: ignore[attr-defined]
    call.end(COMPLETED)

    assert at_start[signals.REQUEST_MODEL] == "test"
    assert at_start[signals.REQUEST_STREAM] is True
    assert at_start[signals.REQUEST_TEMPERATURE] == 0.5
    assert captured.generations[0].attributes.items() >= at_start.items()


# --- Events ----------------------------------------------------------------------------------


def test_events_begin_with_offset_gap_and_index(record: Record) -> None:
    """Dashboards address the first three attributes by their position, on every event."""
    telemetry, captured = record()
    call = started(telemetry)
    told_all(call)
    call.end(COMPLETED)

    names = set()
    for event in captured.generations[0].events:
        names.add(event.name)
        assert list(event.attributes)[:3] == [signals.AT_OFFSET_US, signals.AT_GAP_US, signals.AT_INDEX]
    assert names == {
        signals.TOKEN_EVENT,
        signals.FIRST_TOKEN_EVENT,
        signals.FIRST_ANSWER_TOKEN_EVENT,
        signals.STALL_EVENT,
    }


def test_events_stand_in_order_of_time_at_the_time_of_their_chunk(record: Record) -> None:
    """Timestamps are explicit: the start of the span plus the offset."""
    telemetry, captured = record()
    call = started(telemetry)
    feed(call, 10)
    call.end(COMPLETED)

    (generation,) = captured.generations
    times = [event.at for event in generation.events]
    assert times == sorted(times)
    for event in generation.events:
        assert event.at - call.anchor == event.attributes[signals.AT_OFFSET_US] * 1_000


@pytest.mark.parametrize("budget", [0, 1, 2, 3, 5, 16, 32, 200])
@pytest.mark.parametrize("limit", [16, 128])
def test_events_stay_in_the_budget_and_in_the_tracers_limit(budget: int, limit: int) -> None:
    """The SDK drops nothing, the counts sum to the chunks, and first and last chunk are there from three places on."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(span_limits=SpanLimits(max_events=limit))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = started(Telemetry(Settings(event_budget=budget), provider))
    feed(call, 2_000)
    call.end(COMPLETED)

    (span,) = exporter.get_finished_spans()
    tokens = [dict(event.attributes) for event in span.events if event.name == signals.TOKEN_EVENT]
    assert len(span.events) <= min(budget, limit)
    assert span.dropped_events == 0
    if budget:
        assert sum(event.get(signals.AT_COUNT, 1) for event in tokens) == 2_000
        assert span.attributes[signals.EVENT_MERGED] == sum(event.get(signals.AT_COUNT, 0) for event in tokens)
    if budget >= 5:
        assert tokens[0][signals.AT_INDEX] == 0
        assert signals.AT_COUNT not in tokens[0]
        assert tokens[-1][signals.AT_INDEX] == 1_999


def test_offsets_give_the_finer_picture_where_events_were_merged(record: Record) -> None:
    """A short stream has none; a long one has evenly chosen arrivals in microseconds."""
    telemetry, captured = record()
    for chunks in (10, 5_000):
        call = started(telemetry)
        feed(call, chunks)
        call.end(COMPLETED)

    short, long = (generation.attributes for generation in captured.generations)
    assert signals.OFFSETS_US not in short
    offsets = long[signals.OFFSETS_US]
    assert 30 <= len(offsets) <= 256
    assert offsets[0] == 10_000
    assert len({later - earlier for earlier, later in pairwise(offsets)}) == 1


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("model", ["gpt", "m" * 500, "ü" * 300])
def test_a_full_batch_stays_under_the_limit_of_grpc(record: Record, model: str, tools: bool) -> None:
    """512 full spans, as OTLP, are below 4 MiB at default settings: fields or tool calls, stalls, merged events,
    long names."""
    encode_spans = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder").encode_spans
    telemetry, captured = record(capture_content="NO_CONTENT")
    for _ in range(4):
        call = started(telemetry, Request(**{**vars(FULL), "model": model}))
        at = call.started
        for number in range(3_000):
            at += 2_500 * MS if number % 100 == 99 else 10_000_123
            wait = 2_400 * MS if number % 100 == 99 else MS
            if tools:
                call.tool_calls(at - wait, at, [(number // 500, f"call_{number // 500}", "read", "x" * 1_000)])
            else:
                call.chunk(at - wait, at, TEXT, 100_000, f"a_rather_long_field_{number // 500}", None)
        call.response_id, call.response_model = "chatcmpl-" + "x" * 32, model
        call.usage = Usage(input=10**6, output=10**6, cache_read=10**6, cache_write=10**6, reasoning=10**6)
        call.cost_usd = 0.1
        call.end(FAILED, RuntimeError())

    batch = encode_spans([generation.span for generation in captured.generations] * 128)
    assert len(batch.SerializeToString()) < 4 * 1024**2


# --- Metrics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "old", "new"), [("old", True, False), ("new", False, True), ("both", True, True)])
def test_metric_names_are_the_ones_that_were_chosen(record: Record, names: str, old: bool, new: bool) -> None:
    """The convention's metrics come under their old names, their new ones, or both."""
    telemetry, captured = record(metric_names=names)
    call = started(telemetry)
    told_all(call)
    call.end(COMPLETED)

    emitted = set(captured.metrics)
    for name in (
        signals.OPERATION_DURATION,
        signals.OPERATION_TIME_TO_FIRST_CHUNK,
        signals.OPERATION_TIME_PER_OUTPUT_CHUNK,
        signals.TOKEN_USAGE,
    ):
        assert (name in emitted) is old, name
    for name in (
        signals.INFERENCE_DURATION,
        signals.INFERENCE_TIME_TO_FIRST_CHUNK,
        signals.INFERENCE_TIME_PER_OUTPUT_CHUNK,
        signals.INFERENCE_INPUT_TOKENS,
        signals.INFERENCE_OUTPUT_TOKENS,
    ):
        assert (name in emitted) is new, name
    assert emitted <= set(signals.METRICS)


def test_metrics_have_the_attributes_and_buckets_of_the_signals_table(record: Record) -> None:
    """No point has an attribute the table does not name, and histograms have the advised bounds."""
    telemetry, captured = record(metric_names="both")
    call = started(telemetry)
    told_all(call)
    call.end(COMPLETED)

    for name, points in captured.metrics.items():
        for point in points:
            assert set(point.attributes) <= set(signals.METRICS[name].attributes), name
            if signals.METRICS[name].kind == "histogram":
                assert point.explicit_bounds == signals.METRICS[name].buckets, name


def test_metrics_do_not_depend_on_sampling() -> None:
    """With every span sampled out, each stream is counted and timed."""
    reader = InMemoryMetricReader()
    telemetry = Telemetry(Settings(), TracerProvider(sampler=ALWAYS_OFF), MeterProvider([reader]))
    for _ in range(3):
        call = started(telemetry)
        feed(call, 11)
        call.end(COMPLETED)

    counts = {
        metric.name: sum(getattr(point, "count", 0) for point in metric.data.data_points)
        for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    }
    assert counts[signals.TIME_TO_FIRST_TOKEN] == 3
    assert counts[signals.OPERATION_TIME_PER_OUTPUT_CHUNK] == 30


def test_without_a_sampled_span_or_a_meter_nothing_is_read() -> None:
    """A call that nobody observes keeps no rows, and its stream is read through all the same."""
    call = started(Telemetry(Settings(), TracerProvider(sampler=ALWAYS_OFF)))

    assert not call.observed
    assert list(stream_proxy.proxy(letters(), call, None)) == ["a", "b", "c"]


def test_exemplars_lead_to_the_trace(record: Record) -> None:
    """Each histogram's exemplar names the span of the stream it was recorded for."""
    telemetry, captured = record()
    call = started(telemetry)
    told_all(call)
    call.end(COMPLETED)

    (generation,) = captured.generations
    metrics = captured.metrics
    for name in (signals.TIME_TO_FIRST_TOKEN, signals.STALL_DURATION, signals.OPERATION_TIME_PER_OUTPUT_CHUNK):
        (point,) = metrics[name]
        assert {exemplar.span_id for exemplar in point.exemplars} == {generation.span.context.span_id}, name


def test_streams_are_counted_from_zero_for_every_outcome(record: Record) -> None:
    """The first stream of a model starts the series of all outcomes, so that a first failure is a rise."""
    telemetry, captured = record()
    call = started(telemetry)
    feed(call, 2)
    call.end(COMPLETED)

    points = {
        (point.attributes[signals.OUTCOME], point.attributes[signals.FIRST_TOKEN_SEEN]): point.value
        for point in captured.metrics[signals.STREAMS]
    }
    assert points == {
        (outcome, seen): int((outcome, seen) == (COMPLETED, True)) for outcome in OUTCOMES for seen in (True, False)
    }


def test_models_beyond_the_limit_share_a_name_in_metrics_only(record: Record) -> None:
    """Metrics say _OTHER from the third model on, spans keep the name."""
    telemetry, captured = record(model_limit=2)
    for model in ("one", "two", "three", "four", "one"):
        started(telemetry, request(model)).end(COMPLETED)

    counted = Counter(
        {point.attributes[signals.REQUEST_MODEL]: point.count for point in captured.metrics[signals.OPERATION_DURATION]}
    )
    assert counted == {"one": 2, "two": 1, OTHER: 2}
    assert [g.attributes[signals.REQUEST_MODEL] for g in captured.generations] == ["one", "two", "three", "four", "one"]


def test_a_later_instrumentation_measures_by_its_own_settings() -> None:
    """Names and limits of metrics are not those of the first one for the length of the process."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    for names, limit in (("old", 100), ("new", 0)):
        telemetry = telemetry_for(Settings(metric_names=names, model_limit=limit), None, meters)
        telemetry.switch(on=True)
        started(telemetry).end(COMPLETED)
        telemetry.switch(on=False)

    (resource,) = reader.get_metrics_data().resource_metrics
    points = {metric.name: metric.data.data_points for scope in resource.scope_metrics for metric in scope.metrics}
    (old,), (new,) = points[signals.OPERATION_DURATION], points[signals.INFERENCE_DURATION]
    assert (old.count, old.attributes[signals.REQUEST_MODEL]) == (1, "test")
    assert (new.count, new.attributes[signals.REQUEST_MODEL]) == (1, OTHER)


def test_a_wrapper_stays_inactive_after_uninstrumenting() -> None:
    """Wrappers that another instrumentation has wrapped cannot be taken away: the next instrumentation has its own."""
    first = telemetry_for(Settings(), library="tested")
    first.switch(on=True)
    assert telemetry_for(Settings(), library="tested") is first
    first.switch(on=False)
    second = telemetry_for(Settings(), library="tested")
    second.switch(on=True)
    try:
        assert first.start(FULL) is None
        started(second).end(COMPLETED)
    finally:
        second.switch(on=False)


def test_a_provider_that_cannot_be_flushed_is_not_waited_for() -> None:
    """One that raises has not handed everything over, and that is known at once."""

    class Broken(TracerProvider):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            raise ConnectionError(timeout_millis)

    telemetry = telemetry_for(Settings(), Broken())
    telemetry.switch(on=True)
    try:
        assert flush(timeout=1e6) is False
    finally:
        telemetry.switch(on=False)


def test_ever_new_providers_and_servers_make_no_ever_new_series(record: Record) -> None:
    """Both can come from outside, by a gateway's routes; an answer's model does not use up the names of those asked."""
    telemetry, captured = record()
    for number in range(200):
        asked = replace(
            request("one"), provider=f"provider-{number}", server_address=f"host-{number}", server_port=number + 1
        )
        call = started(telemetry, asked)
        call.response_model = f"one-{number}"
        call.end(COMPLETED)
    started(telemetry, request("two")).end(COMPLETED)

    points = captured.metrics[signals.OPERATION_DURATION]
    assert {point.attributes[signals.REQUEST_MODEL] for point in points} == {"one", "two"}
    assert len(points) <= 103


def test_streams_are_counted_by_the_meter_that_measures_them(record: Record) -> None:
    """Two sets of providers in a process: each gauge shows its own streams."""
    telemetry, captured = record()
    call = started(Telemetry(Settings(), TracerProvider(), MeterProvider([InMemoryMetricReader()])))
    assert signals.STREAM_ACTIVE not in captured.metrics

    mine = started(telemetry)
    assert gauge(captured, signals.STREAM_ACTIVE) == {"": 1}
    mine.end(COMPLETED)
    call.end(COMPLETED)


def test_providers_are_let_go_after_the_instrumentation() -> None:
    """Test suites instrument for each test, with providers made for it."""
    with capture() as captured:
        providers = [weakref.ref(captured.tracer_provider), weakref.ref(captured.meter_provider)]
    del captured
    gc.collect()

    assert [provider() for provider in providers] == [None, None]


def test_ever_new_words_for_errors_make_no_ever_new_series(record: Record) -> None:
    """An error that came as content is called what the provider calls it, which nobody bounds; spans keep the word."""
    telemetry, captured = record()
    for number in range(100):
        call = started(telemetry)
        call.error_type = f"error_{number}"
        call.end(COMPLETED)

    counted = Counter(
        {point.attributes[signals.ERROR_TYPE]: point.count for point in captured.metrics[signals.OPERATION_DURATION]}
    )
    assert len(counted) == 65
    assert counted[OTHER] == 36
    assert captured.generations[-1].attributes[signals.ERROR_TYPE] == "error_99"


def test_suppressed_instrumentation_is_honoured(record: Record) -> None:
    """Inside suppress_instrumentation() no call is begun and no step has a span."""
    telemetry, captured = record()
    with suppress_instrumentation():
        assert telemetry.start(request()) is None
        with telemetry.step("Predict") as span:
            assert not span.is_recording()

    assert captured.spans == []


def gauge(captured: Capture, name: str) -> dict[str, int]:
    return {point.attributes.get(signals.PHASE, ""): point.value for point in captured.metrics.get(name, [])}


def test_silent_streams_show_while_they_are_silent_and_are_zero_afterwards(record: Record) -> None:
    """A stream that hangs counts as stalled by its phase while a read is pending, and leaves explicit zeros."""
    telemetry, captured = record(stall_threshold=1e-6, first_token_threshold=1e-6)
    call = started(telemetry)
    assert gauge(captured, signals.STREAM_ACTIVE) == {"": 1}
    assert gauge(captured, signals.STREAM_STALLED) == {"first_token": 0, "tokens": 0}
    call.read_started = call.started
    assert gauge(captured, signals.STREAM_STALLED) == {"first_token": 1, "tokens": 0}
    feed(call, 1)
    assert gauge(captured, signals.STREAM_STALLED) == {"first_token": 0, "tokens": 1}
    call.read_started = 0
    assert gauge(captured, signals.STREAM_STALLED) == {"first_token": 0, "tokens": 0}
    call.end(COMPLETED)
    assert gauge(captured, signals.STREAM_ACTIVE) == {"": 0}
    assert gauge(captured, signals.STREAM_STALLED) == {"first_token": 0, "tokens": 0}


def test_each_stall_is_in_the_metric_and_the_longest_are_events(record: Record) -> None:
    """The worst streams are those whose stalls one looks at."""
    telemetry, captured = record(stall_threshold=0.001)
    call = started(telemetry)
    feed(call, 21, gap=10 * MS)
    call.end(COMPLETED)

    (point,) = captured.metrics[signals.STALL_DURATION]
    (generation,) = captured.generations
    assert point.count == generation.attributes[signals.STALL_COUNT] == 20
    assert sum(event.name == signals.STALL_EVENT for event in generation.events) == 8


def test_a_threshold_of_zero_looks_for_no_stalls(record: Record) -> None:
    """Zero switches the search off, for the gauge and for the events."""
    telemetry, captured = record(stall_threshold=0, first_token_threshold=0)
    call = started(telemetry)
    call.read_started = call.started
    assert gauge(captured, signals.STREAM_STALLED) == {"first_token": 0, "tokens": 0}
    feed(call, 3, wait=9 * MS)
    call.end(COMPLETED)
    assert captured.generations[0].attributes[signals.STALL_COUNT] == 0


# --- Log records -----------------------------------------------------------------------------


def test_log_records_come_while_the_stream_runs_and_at_most_ten_a_second(record: Record) -> None:
    """Chunks within a tenth of a second share a record; counts sum to the chunks, and the names are the events'."""
    telemetry, captured = record(events="log")
    call = started(telemetry)
    feed(call, 1_000, gap=5 * MS)
    while_running = len(captured.logs)
    call.end(COMPLETED)

    tokens = [entry for entry in captured.logs if entry.name == signals.TOKEN_EVENT]
    assert while_running > 40
    assert len(tokens) <= 10 * 5 + 2
    assert sum(entry.attributes.get(signals.AT_COUNT, 1) for entry in tokens) == 1_000
    assert [entry.name for entry in captured.logs[:3]] == [
        signals.START_EVENT,
        signals.FIRST_TOKEN_EVENT,
        signals.FIRST_ANSWER_TOKEN_EVENT,
    ]
    times = [entry.at for entry in tokens]
    assert times == sorted(times)
    assert captured.generations[0].events == []
    for entry in captured.logs:
        assert list(entry.attributes)[:3] == [signals.AT_OFFSET_US, signals.AT_GAP_US, signals.AT_INDEX]
        assert entry.attributes[signals.REQUEST_MODEL] == "test"


@pytest.mark.parametrize("fields", [2, 40])
def test_log_records_of_kinds_and_fields_by_turns_are_at_most_ten_a_second(record: Record, fields: int) -> None:
    """Each has a record of its own, until there are too many; all chunks are counted."""
    telemetry, captured = record(events="log")
    call = started(telemetry)
    for i in range(1_000):
        at = call.started + (i + 1) * 5 * MS
        call.chunk(at - MS, at, TEXT, 1, f"field{i % fields}", None)
    call.end(COMPLETED)

    tokens = [entry for entry in captured.logs if entry.name == signals.TOKEN_EVENT]
    assert len(tokens) <= 10 * 5 + 2 * min(fields, 10)
    assert sum(entry.attributes.get(signals.AT_COUNT, 1) for entry in tokens) == 1_000
    told = {entry.attributes.get(signals.AT_FIELD) for entry in tokens}
    assert {"field0", "field1"} <= told
    assert (None in told) is (fields > 10)


@pytest.mark.parametrize(
    ("events", "on_span", "in_log"), [("span", 1, 0), ("log", 0, 1), ("both", 1, 1), ("none", 0, 0)]
)
def test_events_go_where_the_setting_says(record: Record, events: str, on_span: int, in_log: int) -> None:
    """To the span, to the log, to both or nowhere."""
    telemetry, captured = record(events=events)
    call = started(telemetry)
    feed(call, 3)
    call.end(COMPLETED)

    assert bool(captured.generations[0].events) is bool(on_span)
    assert bool(captured.logs) is bool(in_log)


def test_log_records_belong_to_the_span(record: Record) -> None:
    """Their trace and span ids are those of the generation span."""
    telemetry, captured = record(events="log")
    call = started(telemetry)
    feed(call, 3)
    call.end(COMPLETED)

    (generation,) = captured.generations
    records = [each.log_record for each in captured._logs.get_finished_logs()]
    assert {(each.trace_id, each.span_id) for each in records} == {
        (generation.span.context.trace_id, generation.span.context.span_id)
    }


# --- Content ---------------------------------------------------------------------------------

CANARY = "the canary sings"


@pytest.mark.parametrize("mode", ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"])
def test_content_leaves_only_where_it_was_asked_for(record: Record, mode: str) -> None:
    """Prompt and answer are on the span's attributes, on events, on both, or in no signal at all."""
    telemetry, captured = record(capture_content=mode, events="both")
    messages = [{"role": "user", "content": f"prompt: {CANARY}"}]
    call = started(telemetry, Request("chat", "scripted", "test", stream=True, messages=messages))
    for piece in CANARY.split(" "):
        call.text(call.started + MS, call.started + MS, f"{piece} ")
    call.end(COMPLETED)

    (generation,) = captured.generations
    on_span = mode in ("SPAN_ONLY", "SPAN_AND_EVENT")
    on_events = mode in ("EVENT_ONLY", "SPAN_AND_EVENT")
    assert (CANARY in generation.attributes.get(signals.OUTPUT_MESSAGES, "")) is on_span
    assert (CANARY in generation.attributes.get(signals.INPUT_MESSAGES, "")) is on_span
    assert (generation.text.strip() == CANARY) is on_events
    said = "".join(entry.attributes.get(signals.AT_TEXT, "") for entry in captured.logs)
    assert (said.strip() == CANARY) is on_events
    if mode == "NO_CONTENT":
        everything = generation.span.to_json() + repr(captured.logs) + repr(captured.metrics)
        assert "canary" not in everything


# --- Memory ----------------------------------------------------------------------------------


def test_open_streams_stay_small(record: Record) -> None:
    """An open stream adds less than 2 kB to its SDK span before its events, and takes less than 12 kB with them."""
    telemetry, _ = record()
    about = span_data.request_attributes(FULL)
    warm = [started(telemetry) for _ in range(10)]  # what the first calls load is not theirs
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        spans = [telemetry.tracer.start_span("chat test", attributes=about) for _ in range(300)]
        bare, _ = tracemalloc.get_traced_memory()
        calls = [started(telemetry) for _ in range(1_000)]
        opened, _ = tracemalloc.get_traced_memory()
        for call in calls:
            feed(call, 60)
        full, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for call in (*warm, *calls):
        call.end(COMPLETED)

    span = (bare - before) / len(spans)
    assert (opened - bare) / len(calls) - span < 2_000
    assert (full - bare) / len(calls) < 12_000
