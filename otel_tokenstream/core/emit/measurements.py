"""Values of one instrument, recorded for the same attributes again and again.

For each value the SDK checks and copies the attributes, hashes them and looks up the views. Here the
first value of some attributes goes through the public call, which makes the aggregations; further
ones go to these. Where the SDK is built otherwise, every value goes through the public call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current

from otel_tokenstream.core.emit.bulk_histogram import Measurement, aggregations_of, sdk_instrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from otel_tokenstream.core.emit.bulk_histogram import Labels

_INFINITE = float("inf")


class Measurements:
    """Records the values of a counter or a histogram."""

    __slots__ = ("_consumer", "_found", "_record", "_sdk", "instrument")

    def __init__(self, instrument: Any) -> None:
        self.instrument = instrument
        self._record: Callable[[float, dict[str, Any], Context | None], None] = (
            instrument.add if hasattr(instrument, "add") else instrument.record
        )
        self._sdk: Any = None
        self._consumer: Any = None
        # Readers, and the aggregations that were found for these; the SDK keeps them for good.
        self._found: dict[Labels, tuple[Any, list[Any]]] = {}

    def record(self, value: float, attributes: dict[str, Any], context: Context | None) -> None:
        """Record a value, with the effect of the instrument's own call."""
        consumer = self._consumer or self._consumer_of_sdk()
        if consumer is None:
            self._record(value, attributes, context)
            return
        labels = tuple(attributes.items())
        try:
            readers, aggregations = self._found[labels]
            same = readers is consumer._reader_storages  # noqa: SLF001
            known = same and 0 <= value < _INFINITE and self._sdk._is_enabled()  # noqa: SLF001
        except KeyError:
            known = False
        if not known:
            self._record(value, attributes, context)
            self._find(consumer, labels, attributes)
            return
        measurement = Measurement(attributes, context or get_current())
        measurement.value = value
        sampling = consumer._sdk_config.exemplar_filter  # noqa: SLF001
        sampled = sampling.should_sample(value, measurement.time_unix_nano, attributes, measurement.context)
        for aggregation in aggregations:
            aggregation.aggregate(measurement, sampled)

    def _consumer_of_sdk(self) -> Any:
        """Return what takes the instrument's values in the SDK; None before there is one, and in another SDK."""
        sdk = sdk_instrument(self.instrument)
        consumer = getattr(sdk, "_measurement_consumer", None)
        if consumer is not None:
            self._sdk = sdk
            self._consumer = consumer  # last: other threads go by it
        return consumer

    def _find(self, consumer: Any, labels: Labels, attributes: dict[str, Any]) -> None:
        try:
            readers = consumer._reader_storages  # noqa: SLF001
            if self._sdk._is_enabled() and hasattr(consumer._sdk_config, "exemplar_filter"):  # noqa: SLF001
                self._found[labels] = readers, aggregations_of(self._sdk, attributes)
        except (AttributeError, KeyError, StopIteration, TypeError):  # another SDK, or a value that was refused
            return
