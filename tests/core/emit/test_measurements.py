"""Values that go to the SDK's aggregations directly have the effect of the instrument's own calls."""

from __future__ import annotations

import contextlib
import math
import random
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)

from otel_tokenstream.core.emit import measurements
from otel_tokenstream.core.emit.measurements import Measurements
from tests.core.emit.data_points import data_points, sampled_context

if TYPE_CHECKING:
    from opentelemetry.context import Context

ATTRIBUTES = {"model": "letters", "port": 443, "stream": True}
VIEWS: dict[str, list[View]] = {
    "the default": [],
    "explicit bounds of a view": [View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation([0.03]))],
    "exponential": [View(instrument_name="times", aggregation=ExponentialBucketHistogramAggregation())],
    "a sum": [View(instrument_name="times", aggregation=SumAggregation())],
    "dropped": [View(instrument_name="*", aggregation=DropAggregation())],
    "fewer attributes": [View(instrument_name="*", attribute_keys={"model"})],
    "two views": [
        View(instrument_name="times", name="one", aggregation=ExponentialBucketHistogramAggregation()),
        View(instrument_name="times", name="two", attribute_keys={"port"}),
    ],
}
FILTERS = {"by trace": TraceBasedExemplarFilter(), "all": AlwaysOnExemplarFilter(), "none": AlwaysOffExemplarFilter()}


def _reader(temporality: AggregationTemporality) -> InMemoryMetricReader:
    return InMemoryMetricReader(preferred_temporality={Histogram: temporality, Counter: temporality})


class Metered:
    """A histogram and a counter with a reader of each temporality."""

    def __init__(self, views: list[View], sampling: Any = None) -> None:
        self.readers = [_reader(AggregationTemporality.CUMULATIVE), _reader(AggregationTemporality.DELTA)]
        self.provider = MeterProvider(self.readers, views=views, exemplar_filter=sampling, shutdown_on_exit=False)
        meter = self.provider.get_meter("test")
        self.histogram = meter.create_histogram("times", explicit_bucket_boundaries_advisory=[0.01, 0.1, 1.0])
        self.counter = meter.create_counter("counts")

    def points(self) -> list[Any]:
        """Return every data point of all readers without its times."""
        return data_points(self.readers, dict)


def _record(metered: Metered, seed: int, context: Context | None, *, directly: bool) -> list[Any]:
    random.seed(seed)  # some aggregations draw their exemplars
    rng, points = random.Random(seed), []
    histogram, counter = metered.histogram.record, metered.counter.add
    if directly:
        histogram, counter = Measurements(metered.histogram).record, Measurements(metered.counter).record
    for number in range(60):
        attributes = {**ATTRIBUTES, "model": rng.choice(["letters", "numbers"])}
        value = rng.choice((0.0, 0.01, -1.0, math.nan, math.inf, 2, rng.lognormvariate(-4, 2)))
        for record in (histogram, counter):
            with contextlib.suppress(ValueError, OverflowError):  # earlier versions of the SDK do not look for NaN
                record(value, attributes, context)
        if number % 15 == 14:
            points.append(metered.points())
    return points


@pytest.mark.parametrize("sampling", FILTERS)
@pytest.mark.parametrize("view", VIEWS)
def test_values_are_those_of_the_instruments_own_calls(view: str, sampling: str) -> None:
    """Counts, sums, buckets, exemplars, over several collections; values that the SDK refuses are left out."""
    context = sampled_context()
    told = [
        _record(Metered(VIEWS[view], FILTERS[sampling]), 5, context, directly=directly) for directly in (True, False)
    ]
    assert repr(told[0]) == repr(told[1])


def test_without_a_context_the_current_one_counts() -> None:
    metered = Metered([])
    recording = Measurements(metered.histogram)
    with trace.use_span(trace.get_current_span(sampled_context())) as span:
        for _ in range(3):
            recording.record(0.05, ATTRIBUTES, None)
    exemplars = dict(metered.points()[0][1:])["exemplars"]
    assert [span_id for _, span_id, _ in exemplars] == [span.get_span_context().span_id]


def test_a_reader_that_comes_later_gets_what_is_recorded_from_then_on() -> None:
    metered = Metered([])
    recording = Measurements(metered.counter)
    for _ in range(3):
        recording.record(1, ATTRIBUTES, None)
    late = _reader(AggregationTemporality.CUMULATIVE)
    if not hasattr(metered.provider, "add_metric_reader"):
        pytest.skip("this SDK takes no further reader")
    metered.provider.add_metric_reader(late)
    for _ in range(2):
        recording.record(1, ATTRIBUTES, None)
    metered.readers.append(late)
    assert [dict(parts)["value"] for _, *parts in metered.points()] == [5, 5, 2]


def test_an_instrument_that_was_made_before_its_provider_counts_from_then_on() -> None:
    from opentelemetry.metrics._internal import _ProxyMeter

    early = _ProxyMeter("test", None, None)
    recording = Measurements(early.create_counter("counts"))
    recording.record(1, ATTRIBUTES, None)
    metered = Metered([])
    early.on_set_meter_provider(metered.provider)
    for _ in range(3):
        recording.record(1, ATTRIBUTES, None)
    assert [dict(parts)["value"] for _, *parts in metered.points()] == [3, 3]


def test_this_sdk_is_known() -> None:
    """The tested SDK gets its own call once for each set of attributes."""
    metered = Metered([])
    recording, calls = Measurements(metered.counter), []
    add = metered.counter.add
    recording._record = lambda value, *rest: (calls.append(value), add(value, *rest))
    for value in range(5):
        recording.record(value, ATTRIBUTES, None)
        recording.record(value, {"model": "numbers"}, None)
    assert calls == [0, 0]
    assert [dict(parts)["value"] for _, *parts in metered.points()] == [10, 10, 10, 10]


def test_an_sdk_that_is_built_otherwise_gets_its_own_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise AttributeError

    monkeypatch.setattr(measurements, "aggregations_of", unknown)
    told = [_record(Metered([]), 3, None, directly=directly) for directly in (True, False)]
    assert repr(told[0]) == repr(told[1])


def test_instruments_of_the_api_take_values_too() -> None:
    meter = NoOpMeterProvider().get_meter("test")
    for instrument in (meter.create_counter("counts"), meter.create_histogram("times")):
        for _ in range(2):
            Measurements(instrument).record(1, ATTRIBUTES, None)
