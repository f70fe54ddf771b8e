"""The instruments of one meter, made from ``signals``: bounded attributes, observable gauges."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.metrics import CallbackOptions, Observation

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.call.model_call import OUTCOMES, now
from otel_tokenstream.core.emit import sdk_limits
from otel_tokenstream.core.emit.bulk_histogram import record_many
from otel_tokenstream.core.emit.gap_queue import GapQueue
from otel_tokenstream.core.emit.measurements import Measurements
from otel_tokenstream.core.emit.observers import dropped
from otel_tokenstream.core.runtime import forking
from otel_tokenstream.core.runtime.guard import fault, faults, unseen
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.emit.bulk_histogram import Values
    from otel_tokenstream.settings import Settings

Labels = tuple[tuple[str, Any], ...]

OTHER = "_OTHER"
_LONGEST_DRAIN = 2.0
_SINKS = 32
_ERRORS = 64  # classes are few, but an error that comes as content has a word of the provider's
_NAMES = 100  # of providers, of servers and of output fields

_LEFT_OUT = {"old": signals.NEW_NAMES, "new": signals.OLD_NAMES, "both": frozenset[str]()}
_OBSERVED = (signals.FAULTS, signals.LIVE_DROPPED, signals.SEAMS_MISSING)


class Bounded:
    """At most so many values of an attribute; further ones read ``_OTHER``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        value = repaired(value)
        if value in self._values:
            return value
        if len(self._values) < self._limit:
            self._values.add(value)
            return value
        return OTHER


class Instruments:
    """Records by a signal's name; a name that the settings leave out is ignored."""

    def __init__(self, meter: Meter, settings: Settings) -> None:
        self._meter = meter
        self._provider = Bounded(_NAMES)
        self._address = Bounded(_NAMES)
        self.field = Bounded(_NAMES)
        self.error = Bounded(_ERRORS)
        self.agent = Bounded(_NAMES)
        self._counted: set[Labels] = set()
        self._made: dict[str, Measurements] = {}
        self.use(settings)
        self.gap_queue = GapQueue(self._record_gaps)
        self._observe(meter.create_observable_gauge, signals.STREAM_ACTIVE, self._active)
        self._observe(meter.create_observable_gauge, signals.STREAM_STALLED, self._stalled)
        self._observe(meter.create_observable_counter, signals.FAULTS, _faults)
        self._observe(meter.create_observable_counter, signals.LIVE_DROPPED, _Dropped())
        self._observe(meter.create_observable_counter, signals.SEAMS_MISSING, _unseen)
        forking.look_after(self)

    def use(self, settings: Settings) -> None:
        """Go by these settings from now on; not while metrics are collected, which deadlocks."""
        self._settings = settings
        self.model = Bounded(settings.model_limit)
        self.response_model = Bounded(settings.model_limit)
        wanted = [
            metric
            for metric in signals.METRICS.values()
            if metric.kind != "gauge" and metric.name not in (*_OBSERVED, *_LEFT_OUT[settings.metric_names])
        ]
        for metric in wanted:
            if metric.name not in self._made:
                self._made[metric.name] = Measurements(self._make(metric))
        self._histograms = {each.name: self._made[each.name] for each in wanted if each.kind == "histogram"}
        self._counters = {each.name: self._made[each.name] for each in wanted if each.kind == "counter"}

    def _make(self, metric: signals.Metric) -> Any:
        if metric.kind == "counter":
            return self._meter.create_counter(metric.name, unit=metric.unit, description=metric.brief)
        return self._meter.create_histogram(
            metric.name,
            unit=metric.unit,
            description=metric.brief,
            explicit_bucket_boundaries_advisory=metric.buckets,
        )

    @property
    def has_new_names(self) -> bool:
        return self._settings.new_names

    def record(self, name: str, value: float, attributes: dict[str, Any], context: Context | None) -> None:
        histogram = self._histograms.get(name)
        if histogram is not None:
            histogram.record(value, attributes, context)

    def count(self, name: str, value: float, attributes: dict[str, Any], context: Context | None = None) -> None:
        counter = self._counters.get(name)
        if counter is not None:
            counter.record(value, attributes, context)

    def count_stream(self, outcome: str, attributes: dict[str, Any], *, token_seen: bool, context: Context) -> None:
        """Count a stream. A new label set starts with zeros, or rates would not see its first failure."""
        labels = tuple(attributes.items())
        if labels not in self._counted:
            self._counted.add(labels)
            for each in OUTCOMES:
                for seen in (True, False):
                    zero = {**attributes, signals.OUTCOME: each, signals.FIRST_TOKEN_SEEN: seen}
                    self.count(signals.STREAMS, 0, zero)
        counted = {**attributes, signals.OUTCOME: outcome, signals.FIRST_TOKEN_SEEN: token_seen}
        self.count(signals.STREAMS, 1, counted, context)

    def locks(self) -> list[Any]:
        """Return what is taken while metrics are collected.

        Recording gaps makes collections long, and a child that is forked during one inherits the
        SDK's locks: it exports no metrics, and its exit takes half a minute.
        """
        return sdk_limits.locks_of_collection(self._meter)

    def forked(self) -> None:
        """The SDK looks after its own."""

    def model_attributes(self, request: Request) -> dict[str, Any]:
        return {
            signals.OPERATION_NAME: request.operation,
            signals.PROVIDER_NAME: self._provider(request.provider),
            signals.REQUEST_MODEL: self.model(request.model),
        }

    def call_attributes(self, request: Request) -> dict[str, Any]:
        attributes = self.model_attributes(request)
        if request.server_address is not None:
            attributes[signals.SERVER_ADDRESS] = address = self._address(request.server_address)
            if request.server_port is not None and address != OTHER:
                attributes[signals.SERVER_PORT] = request.server_port
        return attributes

    def _record_gaps(self, seconds: Values, attributes: dict[str, Any], context: Context | None) -> None:
        for name in (signals.OPERATION_TIME_PER_OUTPUT_CHUNK, signals.INFERENCE_TIME_PER_OUTPUT_CHUNK):
            histogram = self._histograms.get(name)
            if histogram is not None:
                record_many(histogram.instrument, seconds, attributes, context)

    def _observe(self, create: Callable[..., Any], name: str, count: Callable[..., Counter[Labels]]) -> None:
        metric = signals.METRICS[name]
        seen: set[Labels] = set()

        def callback(options: CallbackOptions) -> Iterable[Observation]:
            try:
                counted = count(options)
            except Exception as problem:  # noqa: BLE001  # ours, not the application's
                fault(f"the callback of {name}", problem)
                return []
            # A series that just stops keeps its last value in a back end for minutes: say zero.
            seen.update(counted)
            return [Observation(counted[labels], dict(labels)) for labels in seen]

        create(name, callbacks=[callback], unit=metric.unit, description=metric.brief)

    def _active(self, options: CallbackOptions) -> Counter[Labels]:
        in_flight.finish_dropped()
        self.gap_queue.drain(within=min(_LONGEST_DRAIN, options.timeout_millis / 2_000), pausing=True)
        return Counter(tuple(self.model_attributes(call.request).items()) for call in self._streams())

    def _streams(self) -> list[ModelCall]:
        """Return the streams under way that are measured here, and not with another meter."""
        calls = cast("list[ModelCall]", in_flight.snapshot())
        return [call for call in calls if call.request.stream and call.recorder.instruments is self]

    def _stalled(self, _: CallbackOptions) -> Counter[Labels]:
        at = now()
        stalled: Counter[Labels] = Counter()
        for call in self._streams():
            labels = tuple(self.model_attributes(call.request).items())
            waiting, read_started = call.first_token is None, call.read_started
            threshold = self._settings.first_token_threshold_ns if waiting else self._settings.stall_threshold_ns
            since = call.started if waiting else read_started
            late = bool(read_started) and 0 < threshold <= at - since
            stalled[(*labels, (signals.PHASE, "first_token"))] += late and waiting
            stalled[(*labels, (signals.PHASE, "tokens"))] += late and not waiting
            live = call.recorder.live
            if late and live is not None:
                live.stalled(call, since, at, "first_token" if waiting else "tokens")
        return stalled


class _Dropped:
    """Losses of live sinks; a program that makes ever new classes of them makes no ever new series."""

    def __init__(self) -> None:
        self._name = Bounded(_SINKS)

    def __call__(self, _: CallbackOptions) -> Counter[Labels]:
        counted: Counter[Labels] = Counter()
        for name, count in dropped.copy().items():
            counted[((signals.LIVE_SINK, self._name(name)),)] += count
        return counted


def _faults(_: CallbackOptions) -> Counter[Labels]:
    return Counter({((signals.ERROR_TYPE, name),): count for name, count in faults.items()})


def _unseen(_: CallbackOptions) -> Counter[Labels]:
    return Counter(
        {((signals.LIBRARY, key[0]), (signals.ENTRY, key[1])): count for key, count in unseen.copy().items()}
    )
