"""Record many values in a histogram at once.

OpenTelemetry has no public call for that. A single record costs some ten microseconds, because the
SDK builds a measurement, hashes the attributes and looks up the views for each value. Here the first
value goes through the public call, which makes the aggregations; the other values are added to these
under their own locks. Where the SDK is built otherwise, every value goes through the public call.
"""

from __future__ import annotations

import time
import weakref
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.context import Context

    # value, how often it is recorded: once or more
    Values = Sequence[tuple[float, int]]
    Labels = tuple[tuple[str, Any], ...]

# By the view of an instrument in a reader, and by attributes. A view keeps its aggregations for good.
_known: weakref.WeakKeyDictionary[Any, dict[Labels, Any]] = weakref.WeakKeyDictionary()


class Measurement:
    """The part of the SDK's measurement that aggregations read; it is used for one value after the other."""

    __slots__ = ("attributes", "context", "time_unix_nano", "value")

    def __init__(self, attributes: dict[str, Any], context: Context) -> None:
        self.value = 0.0
        self.time_unix_nano = time.time_ns()
        self.attributes = attributes
        self.context = context


def record_many(histogram: Any, values: Values, attributes: dict[str, Any], context: Context | None) -> None:
    """Record each value as often as its count says, with the effect of as many single records in this order."""
    first, count = values[0]
    histogram.record(first, attributes, context)
    rest = [(first, count - 1), *values[1:]]
    measurement = Measurement(attributes, context or get_current())
    try:
        aggregations = aggregations_of(histogram, attributes)
        sampled = _may_be_exemplar(histogram, first, measurement)
    except (AttributeError, ImportError, KeyError, TypeError):  # an SDK that is built otherwise
        for value in _each(rest):
            histogram.record(value, attributes, context)
        return
    for aggregation in aggregations:
        if _has(aggregation, "_ExplicitBucketHistogramAggregation", _EXPLICIT):
            _add(aggregation, rest)
        elif _has(aggregation, "_ExponentialBucketHistogramAggregation", _EXPONENTIAL):
            _add_exponential(aggregation, rest, measurement)
        else:
            for measurement.value in _each(rest):
                aggregation.aggregate(measurement, sampled)
            continue
        if sampled:
            _offer(aggregation, rest, measurement)


def _each(values: Values) -> Iterable[float]:
    return (value for value, count in values for _ in range(count))


def aggregations_of(histogram: Any, attributes: dict[str, Any]) -> list[Any]:
    """Return the aggregations that a record of these attributes goes to, one for each view of each reader."""
    instrument = sdk_instrument(histogram)
    if not getattr(instrument, "_is_enabled", lambda: True)():
        return []
    return [
        _aggregation(view, attributes)
        for reader in instrument._measurement_consumer._reader_storages.values()  # noqa: SLF001
        for view in reader._get_or_init_view_instrument_match(instrument)  # noqa: SLF001
    ]


def sdk_instrument(histogram: Any) -> Any:
    """Return the SDK's instrument; one that was made before the SDK was set up stands before it."""
    return getattr(histogram, "_real_instrument", None) or histogram


def _aggregation(view: Any, attributes: dict[str, Any]) -> Any:
    names = view._view._attribute_keys  # noqa: SLF001
    kept = attributes if names is None else {name: attributes[name] for name in attributes if name in names}
    known, labels = _known.setdefault(view, {}), tuple(kept.items())
    if labels not in known:
        # Found by its attributes: the SDK's own keys differ between its versions. Copied, as other threads add to it.
        known[labels] = next(
            each
            for each in list(view._attributes_aggregation.values())  # noqa: SLF001
            if dict(each._attributes) == kept  # noqa: SLF001
        )
    return known[labels]


def _may_be_exemplar(histogram: Any, value: float, measurement: Measurement) -> bool:
    sampling = sdk_instrument(histogram)._measurement_consumer._sdk_config.exemplar_filter  # noqa: SLF001
    sampled: bool = sampling.should_sample(
        value, measurement.time_unix_nano, measurement.attributes, measurement.context
    )
    return sampled


_TOTALS = ("_lock", "_reservoir", "_sum", "_min", "_max", "_record_min_max")
_EXPLICIT = (*_TOTALS, "_value", "_boundaries")
_EXPONENTIAL = (*_TOTALS, "_count", "_value_positive", "_mapping")


def _has(aggregation: Any, name: str, state: Sequence[str]) -> bool:
    """Return whether this is the SDK's aggregation of that name, with the state that is changed here."""
    return type(aggregation).__name__ == name and all(hasattr(aggregation, each) for each in state)


def _add(aggregation: Any, values: Values) -> None:
    bounds = aggregation._boundaries  # noqa: SLF001
    with aggregation._lock:  # noqa: SLF001
        # A collection since the first value has begun anew.
        counts = aggregation._value  # noqa: SLF001
        if counts is None:
            counts = aggregation._value = [0] * (len(bounds) + 1)  # noqa: SLF001
        for value, count in values:
            counts[bisect_left(bounds, value)] += count
        _sum_up(aggregation, values)


def _add_exponential(aggregation: Any, values: Values, measurement: Measurement) -> None:
    """Leave to the SDK each value for which its buckets have to change."""
    done = 0
    while True:
        done += _add_inside(aggregation, values[done:] if done else values)
        if done == len(values):
            return
        measurement.value, count = values[done]
        for _ in range(count):
            aggregation.aggregate(measurement, False)
        done += 1


def _add_inside(aggregation: Any, values: Values) -> int:
    """Add values until one is outside the buckets that there are; return how many were added."""
    with aggregation._lock:  # noqa: SLF001
        buckets = aggregation._value_positive  # noqa: SLF001
        if not buckets:
            return 0
        counts, map_to_index = buckets.counts, aggregation._mapping.map_to_index  # noqa: SLF001
        base, low, high = buckets.index_base, buckets.index_start, buckets.index_end
        done = 0
        for value, count in values:
            index = map_to_index(value) if value > 0 else low - 1
            if not low <= index <= high:
                break
            counts[index - base] += count  # below the base it counts from the end, as there
            aggregation._count += count  # noqa: SLF001
            done += 1
        _sum_up(aggregation, values[:done])
    return done


def _sum_up(aggregation: Any, values: Values) -> None:
    total = aggregation._sum  # noqa: SLF001
    for value, count in values:
        for _ in range(count):  # a product is rounded otherwise than a sum
            total += value
    aggregation._sum = total  # noqa: SLF001
    recorded = [value for value, count in values if count]
    if recorded and aggregation._record_min_max:  # noqa: SLF001
        aggregation._min = min(aggregation._min, *recorded)  # noqa: SLF001
        aggregation._max = max(aggregation._max, *recorded)  # noqa: SLF001


def _offer(aggregation: Any, values: Values, measurement: Measurement) -> None:
    """Offer exemplars. The usual reservoir keeps the last one of each bucket, so that is enough for it."""
    reservoir = aggregation._reservoir  # noqa: SLF001
    if type(reservoir).__name__ == "AlignedHistogramBucketExemplarReservoir":
        bounds = aggregation._boundaries  # noqa: SLF001
        offered: Iterable[float] = {bisect_left(bounds, value): value for value, count in values if count}.values()
    else:
        offered = _each(values)
    for value in offered:
        reservoir.offer(value, measurement.time_unix_nano, measurement.attributes, measurement.context)
