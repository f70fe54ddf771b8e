from __future__ import annotations

import gc
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import TEXT
from otel_tokenstream.core.call.model_call import COMPLETED
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.call.timeline import Timeline
from otel_tokenstream.core.emit.gap_queue import GapQueue
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.settings import Settings
from tests.core.timelines import size_of

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

MS = 1_000_000
DELTA = dict.fromkeys((Counter, Histogram, ObservableCounter, ObservableGauge), AggregationTemporality.DELTA)


def recorded(telemetry: Telemetry, gaps: list[int]) -> None:
    """One finished stream with these gaps."""
    call = telemetry.start(Request("chat", "scripted", "test", stream=True))
    assert call is not None
    at = call.started
    for gap in [0, *gaps]:
        at += gap
        call.chunk(at, at, TEXT, 1, None, None)
    call.end(COMPLETED)


def gap_points(reader: InMemoryMetricReader) -> list[HistogramDataPoint]:
    data = reader.get_metrics_data()
    return [
        point
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == signals.OPERATION_TIME_PER_OUTPUT_CHUNK
        for point in metric.data.data_points
    ]


def test_every_gap_arrives_at_a_cumulative_and_a_delta_reader() -> None:
    """After a thousand gaps each reader has counted a thousand, and their sum is the measured one."""
    cumulative, delta = InMemoryMetricReader(), InMemoryMetricReader(preferred_temporality=DELTA)
    telemetry = Telemetry(Settings(), None, MeterProvider([cumulative, delta]))
    chance = random.Random(7)
    streams = [[chance.randrange(MS, 900 * MS) for _ in range(100)] for _ in range(10)]
    deltas: list[HistogramDataPoint] = []
    for gaps in streams:
        recorded(telemetry, gaps)
        deltas += gap_points(delta)
    deltas += gap_points(delta)
    (total,) = gap_points(cumulative)

    expected = sum(map(sum, streams)) / 1e9
    assert total.count == 1_000
    assert total.sum == pytest.approx(expected)
    assert sum(point.count for point in deltas) == 1_000
    assert sum(point.sum for point in deltas) == pytest.approx(expected)


def test_gaps_beyond_the_time_limit_wait_for_the_next_collection() -> None:
    """A drain keeps to its time; nothing is recorded twice or lost over many short drains."""
    values: list[float] = []
    gap_queue = GapQueue(lambda seconds, *_: values.extend(each for each, count in seconds for _ in range(count)))
    gap_queue.add({"a": 1}, {1200: 550, 1300: 450}, 5_000_000_000, Context())
    drains = 0
    while not gap_queue.drain(within=1e-9, pausing=False):
        drains += 1
        assert drains < 100
        gap_queue.drain(within=1e-4, pausing=True)

    assert len(values) == 1_000


def test_a_queue_that_nobody_drains_is_bounded_and_loses_no_gap() -> None:
    """Without a reader streams of the same attributes are joined."""
    values: list[float] = []
    gap_queue = GapQueue(lambda seconds, *_: values.extend(each for each, count in seconds for _ in range(count)))
    for number in range(5_000):
        gap_queue.add({"model": number % 3}, {1200: 1, 1300 + number % 7: 1}, 15 * MS, Context())
    gc.collect()

    assert size_of(list(gap_queue._queue)) < 1_500_000
    assert gap_queue.drain(within=60, pausing=False)
    assert len(values) == 10_000


def test_streams_may_end_while_the_queue_is_drained() -> None:
    """Threads that add and threads that drain lose nothing between them."""
    values: list[float] = []
    gap_queue = GapQueue(lambda seconds, *_: values.extend(each for each, count in seconds for _ in range(count)))
    adding = [
        threading.Thread(target=lambda: [gap_queue.add({"a": 1}, {1200: 2}, 10 * MS, Context()) for _ in range(1_500)])
        for _ in range(2)
    ]
    for thread in adding:
        thread.start()
    while any(thread.is_alive() for thread in adding):
        gap_queue.drain(within=0.01, pausing=False)
    gap_queue.drain(within=60, pausing=False)

    assert len(values) == 6_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_with_an_empty_queue() -> None:
    """What the parent measured is the parent's to record, also if it was draining in that moment."""
    gap_queue = GapQueue(lambda *_: None)
    gap_queue.add({}, {1200: 1}, MS, Context())
    gap_queue._draining.acquire()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"drained" if gap_queue.drain(within=1, pausing=True) and not gap_queue._queue else b"not")
        os._exit(0)
    os.waitpid(child, 0)
    gap_queue._draining.release()

    assert os.read(reading, 10) == b"drained"
    assert len(gap_queue._queue) == 1
    os.close(reading)
    os.close(writing)


def test_gaps_link_to_their_streams_trace() -> None:
    """An exemplar of a long gap leads to the trace it came from."""
    from opentelemetry.sdk.trace import TracerProvider

    reader = InMemoryMetricReader()
    telemetry = Telemetry(Settings(), TracerProvider(), MeterProvider([reader]))
    call: Any = telemetry.start(Request("chat", "scripted", "test", stream=True))
    for number in range(3):
        call.chunk(call.started, call.started + number * 700 * MS, TEXT, 1, None, None)
    call.end(COMPLETED)
    span = call.recorder._span.get_span_context()

    (point,) = gap_points(reader)
    assert {(exemplar.trace_id, exemplar.span_id) for exemplar in point.exemplars} == {(span.trace_id, span.span_id)}


def test_waiting_gaps_keep_no_timeline_alive() -> None:
    """What waits are counts: a finished stream's events are free at once."""
    gap_queue = GapQueue(lambda *_: None)
    timeline = Timeline(budget=32)
    timeline.extend([(MS * n, MS * n, TEXT, 1, None, None, None) for n in range(1, 50)])
    gap_queue.add({}, timeline.gap_counts, timeline.gap_total, Context())

    assert all(waiting.counts is not timeline.gap_counts for waiting in gap_queue._queue)
