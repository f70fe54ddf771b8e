"""Explicit buckets beside the exponential aggregation: cost, size, series, and errors of quantiles.

The exponential one is that of ``OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION``. Values are drawn from
distributions of the kind that streams have, of so many streams. A quantile is taken from the OTLP data point
as PromQL takes it: linear within an explicit bucket, exponential within an exponential one. Its error is told
beside the exact quantile of the values.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation

from otel_tokenstream import signals
from otel_tokenstream.core.emit.bulk_histogram import record_many
from otel_tokenstream.core.emit.measurements import Measurements

AGGREGATIONS = {
    "explicit": ExplicitBucketHistogramAggregation(),
    "exponential": ExponentialBucketHistogramAggregation(),
}
ATTRIBUTES = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "bench"}
SHARES = (0.5, 0.95, 0.99)
GAPS, FIRST_TOKENS = signals.OPERATION_TIME_PER_OUTPUT_CHUNK, signals.TIME_TO_FIRST_TOKEN


def steady(rng):
    return rng.lognormvariate(-3.9, 0.3)


def bursts(rng):
    """Chunks that came together, and pauses between them."""
    return rng.lognormvariate(-9, 0.6) if rng.random() < 0.7 else rng.lognormvariate(-2.5, 0.4)


def stalling(rng):
    return rng.uniform(2, 20) if rng.random() < 0.002 else rng.lognormvariate(-3.9, 0.5)


def first_token(rng):
    return rng.lognormvariate(-0.7, 0.5)


def first_token_reasoning(rng):
    return rng.lognormvariate(2, 0.7)


DRAWN = (
    (GAPS, "gaps, steady at 20 ms", steady),
    (GAPS, "gaps, in bursts", bursts),
    (GAPS, "gaps, 0.2 % of stalls", stalling),
    (FIRST_TOKENS, "first tokens, half a second", first_token),
    (FIRST_TOKENS, "first tokens after reasoning", first_token_reasoning),
)


def metered(aggregation, name):
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: AGGREGATIONS[aggregation]})
    metric = signals.METRICS[name]
    histogram = (
        MeterProvider([reader], shutdown_on_exit=False)
        .get_meter("bench")
        .create_histogram(name, unit=metric.unit, explicit_bucket_boundaries_advisory=metric.buckets)
    )
    return reader, histogram


def collected(reader):
    data = reader.get_metrics_data()
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    return point, len(encode_metrics(data).SerializeToString())


def explicit_quantile(point, share):
    rank, seen = share * point.count, 0
    bounds = point.explicit_bounds
    for number, count in enumerate(point.bucket_counts):
        if count and seen + count >= rank:
            if number == len(bounds):
                return bounds[-1]
            low = bounds[number - 1] if number else 0.0
            return low + (bounds[number] - low) * (rank - seen) / count
        seen += count
    return bounds[-1]


def exponential_quantile(point, share):
    rank, seen = share * point.count, point.zero_count
    base = 2.0 ** (2.0**-point.scale)
    for number, count in enumerate(point.positive.bucket_counts):
        if count and seen + count >= rank:
            return base ** (point.positive.offset + number + (rank - seen) / count)
        seen += count
    return point.max


def series(aggregation, point):
    """Return how many series Prometheus makes of one data point."""
    return 1 if aggregation == "exponential" else len(point.explicit_bounds) + 3


def errors(aggregation, name, values):
    reader, histogram = metered(aggregation, name)
    record_many(histogram, [(value, 1) for value in values], ATTRIBUTES, None)
    point, size = collected(reader)
    exact = sorted(values)
    take = exponential_quantile if aggregation == "exponential" else explicit_quantile
    told = []
    for share in SHARES:
        right = exact[min(int(share * len(exact)), len(exact) - 1)]
        told.append(f"p{share * 100:.0f} {take(point, share) / right - 1:+7.1%}")
    return told, size, series(aggregation, point), getattr(point, "scale", None)


def cost(aggregation, rounds=200):
    """Print the CPU of single values and of a value among those of a stream of 100 chunks, in us."""
    reader, histogram = metered(aggregation, GAPS)
    recording, rng = Measurements(histogram), random.Random(3)
    streams = [[(steady(rng), 1) for _ in range(99)] for _ in range(rounds)]
    counted = [[(value, 3) for value, _ in stream[:33]] for stream in streams]
    recording.record(0.02, ATTRIBUTES, None)
    single, bulk, in_counts = [], [], []
    for stream, buckets in zip(streams, counted, strict=True):
        started = time.thread_time()
        for value, _ in stream:
            recording.record(value, ATTRIBUTES, None)
        single.append((time.thread_time() - started) / 99 * 1e6)
        started = time.thread_time()
        record_many(histogram, stream, ATTRIBUTES, None)
        bulk.append((time.thread_time() - started) / 99 * 1e6)
        started = time.thread_time()
        record_many(histogram, buckets, ATTRIBUTES, None)
        in_counts.append((time.thread_time() - started) / 99 * 1e6)
    started = time.thread_time()
    for _ in range(rounds):
        recording.record(0.02, ATTRIBUTES, None)
        collected(reader)
    collection = (time.thread_time() - started) / rounds * 1e6
    figures = (statistics.median(single), statistics.median(bulk), statistics.median(in_counts), collection)
    print(
        f"{aggregation:12} a value {figures[0]:5.2f} us, one of a stream's 99 {figures[1]:5.2f} us, "
        f"the same in 33 counts {figures[2]:5.2f} us, a data point collected and encoded {figures[3]:5.0f} us"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=50_000)
    arguments = parser.parse_args()
    for aggregation in AGGREGATIONS:
        cost(aggregation)
    for name, title, draw in DRAWN:
        rng = random.Random(7)
        values = [draw(rng) for _ in range(arguments.values)]
        for aggregation in AGGREGATIONS:
            told, size, many, scale = errors(aggregation, name, values)
            print(f"{title:30} {aggregation:12} {', '.join(told)}   {size} bytes, {many} series, scale {scale}")


if __name__ == "__main__":
    main()
