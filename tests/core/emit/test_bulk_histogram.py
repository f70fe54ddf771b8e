"""Values that are recorded at once have the effect of single records."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)

from otel_tokenstream.core.emit import bulk_histogram
from otel_tokenstream.core.emit.bulk_histogram import record_many
from tests.core.emit.data_points import data_points, sampled_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

ATTRIBUTES = {"model": "letters", "port": 443, "stream": True}
BOUNDS = [0.01, 0.02, 0.05, 0.1, 1.0]
VIEWS: dict[str, list[View]] = {
    "the default": [],
    "explicit bounds of a view": [View(instrument_name="gaps", aggregation=ExplicitBucketHistogramAggregation([0.03]))],
    "no minimum and maximum": [
        View(instrument_name="gaps", aggregation=ExplicitBucketHistogramAggregation([0.03], record_min_max=False))
    ],
    "exponential": [View(instrument_name="gaps", aggregation=ExponentialBucketHistogramAggregation())],
    "exponential, of few buckets": [
        View(
            instrument_name="gaps",
            aggregation=ExponentialBucketHistogramAggregation(max_size=6, record_min_max=False),
        )
    ],
    "a sum": [View(instrument_name="gaps", aggregation=SumAggregation())],
    "dropped": [View(instrument_name="gaps", aggregation=DropAggregation())],
    "fewer attributes": [View(instrument_name="gaps", attribute_keys={"model"})],
    "two views": [
        View(instrument_name="gaps", name="one", aggregation=ExponentialBucketHistogramAggregation()),
        View(instrument_name="gaps", name="two", attribute_keys={"port"}),
    ],
}


class Metered:
    """A histogram with two readers, one of each temporality."""

    def __init__(self, views: list[View]) -> None:
        self.readers = [
            InMemoryMetricReader(),
            InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA}),
        ]
        provider = MeterProvider(self.readers, views=views, shutdown_on_exit=False)
        self.histogram = provider.get_meter("test").create_histogram(
            "gaps", unit="s", explicit_bucket_boundaries_advisory=BOUNDS
        )

    def points(self) -> list[Any]:
        """Return every data point of both readers without its times."""
        return data_points(self.readers, _kept)


def _kept(parts: dict[str, Any]) -> dict[str, Any]:
    # Other aggregations draw their exemplars: of these, whether there are any.
    return parts if "explicit_bounds" in parts else {**parts, "exemplars": bool(parts["exemplars"])}


def _values(seed: int) -> list[tuple[float, int]]:
    rng = random.Random(seed)
    return [(rng.choice((0.0, 0.01, rng.lognormvariate(-4, 2))), rng.randint(1, 40)) for _ in range(rng.randint(1, 30))]


def _record_each(histogram: Any, values: Any, attributes: dict[str, Any], context: Context | None) -> None:
    for value, count in values:
        for _ in range(count):
            histogram.record(value, attributes, context)


@pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "not sampled"])
@pytest.mark.parametrize("view", VIEWS)
def test_many_at_once_are_the_same_as_one_by_one(view: str, sampled: bool) -> None:
    """Buckets, sum, count, minimum, maximum and exemplars are equal, over several collections."""
    context = sampled_context() if sampled else trace.set_span_in_context(trace.INVALID_SPAN)
    collected = []
    for record in (record_many, _record_each):
        random.seed(3)
        metered, points = Metered(VIEWS[view]), []
        for seed in range(12):
            record(metered.histogram, _values(seed), ATTRIBUTES, context)
            record(metered.histogram, _values(seed + 50), {**ATTRIBUTES, "model": "numbers"}, context)
            if seed % 3 == 2:
                points.append(metered.points())
        collected.append(points)
    assert collected[0] == collected[1]


def test_an_sdk_that_is_built_otherwise_gets_single_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise AttributeError

    single, bulk = Metered([]), Metered([])
    _record_each(single.histogram, _values(1), ATTRIBUTES, None)
    monkeypatch.setattr(bulk_histogram, "aggregations_of", unknown)
    record_many(bulk.histogram, _values(1), ATTRIBUTES, None)
    assert bulk.points() == single.points()


def test_an_histogram_of_the_api_without_an_sdk_takes_it_too() -> None:
    from opentelemetry.metrics import NoOpMeterProvider

    record_many(NoOpMeterProvider().get_meter("test").create_histogram("gaps"), _values(1), ATTRIBUTES, None)


def test_this_sdk_takes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tested SDK is one that is known here: its histogram is called once, whatever the number of values."""
    calls: list[float] = []
    metered = Metered([])
    record: Callable[..., None] = metered.histogram.record
    monkeypatch.setattr(metered.histogram, "record", lambda value, *rest: (calls.append(value), record(value, *rest)))
    record_many(metered.histogram, [(0.5, 1_000), (0.7, 10)], ATTRIBUTES, None)
    assert calls == [0.5]
    assert all(dict(parts)["count"] == 1_010 for _, *parts in metered.points())
