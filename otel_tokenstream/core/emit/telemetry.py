"""The beginning of a call: its span, its observers and its signals."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Link, SpanKind

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight, nesting
from otel_tokenstream.core.call.model_call import ModelCall, Start
from otel_tokenstream.core.call.timeline import Timeline
from otel_tokenstream.core.content import correlation
from otel_tokenstream.core.content.redaction import redaction_buffer_size, sanitize_attributes
from otel_tokenstream.core.content.transcript import Captured
from otel_tokenstream.core.emit import agents, deferred, log_watch, observers, silence, span_data
from otel_tokenstream.core.emit.instruments import Instruments
from otel_tokenstream.core.emit.internal_span import Step
from otel_tokenstream.core.emit.log_events import LiveLog
from otel_tokenstream.core.emit.recorder import UNRECORDED, Recorder, Unrecorded
from otel_tokenstream.core.emit.sdk_limits import is_placeholder
from otel_tokenstream.core.runtime.guard import attempt, fault, guarded
from otel_tokenstream.core.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from otel_tokenstream.core.call.interfaces import Live
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.emit.observers import Watch
    from otel_tokenstream.settings import Settings

_LONGEST_EXIT_DRAIN = 2.0


_telemetries: dict[tuple[Any, ...], Telemetry] = {}
_active: dict[Telemetry, None] = {}
# A second set for one provider would make every instrument and gauge twice.
_instruments: WeakKeyDictionary[object, Instruments] = WeakKeyDictionary()


def telemetry_for(
    settings: Settings,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    library: str = "",
) -> Telemetry:
    """Return the one Telemetry for a library with these settings and providers."""
    key = (library, settings, tracer_provider, meter_provider, logger_provider)
    known = _telemetries.get(key)
    if known is not None and known.enabled:
        return known
    found = Telemetry(*key[1:])
    # Objects that were switched off stay so: wrappers of ours that could not be removed would wake up with them.
    # Their unrecorded data is with the instruments, which belong to the provider.
    for replaced, other in list(_telemetries.items()):
        if not other.enabled and (replaced[0], *replaced[2:]) == (key[0], *key[2:]):
            del _telemetries[replaced]
            in_flight.disarm(other.flush)
            in_flight.arm(found.flush)
    _telemetries[key] = found
    return found


def active() -> Telemetry | None:
    """Return the Telemetry that was switched on last and still is; None without instrumentation."""
    deferred.make_all()
    return next(reversed(_active), None)


def flush(timeout: float = 10.0) -> bool:
    """Send everything recorded so far, within ``timeout`` seconds in all; for short scripts and frozen processes.

    Returns whether all of it was handed over in time. Open streams stay open.
    """
    deadline = time.monotonic() + timeout
    done = True
    deferred.make_all()  # providers that were given are flushed too
    for telemetry in list(_telemetries.values()):
        done = telemetry.flush(within=max(deadline - time.monotonic(), 0.0)) is True and done
    sent: SimpleQueue[bool] = SimpleQueue()
    providers = _providers()
    for provider in providers:
        # In threads, as the SDK's batch processors wait for their exporter whatever time they are given.
        send = partial(_force_flush, provider, deadline, sent)
        try:
            threading.Thread(target=send, name="tokenstream-flush", daemon=True).start()
        except RuntimeError:  # no threads are made any more when the interpreter exits
            send()
    try:
        for _ in providers:
            done = sent.get(timeout=max(deadline - time.monotonic(), 0.0)) and done
    except Empty:
        done = False
    return observers.flush(max(deadline - time.monotonic(), 0.0)) and done


def _providers() -> list[Any]:
    given = [provider for key in _telemetries for provider in key[2:] if provider is not None]
    found = [*given, trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()]
    return [provider for provider in dict.fromkeys(found) if hasattr(provider, "force_flush")]


@guarded
def _force_flush(provider: Any, deadline: float, sent: SimpleQueue[bool]) -> None:
    done = False
    try:
        done = provider.force_flush(max(round((deadline - time.monotonic()) * 1_000), 1)) is not False
    finally:
        sent.put(done)


class Telemetry:
    """Signals through one set of providers; a provider that is None is the global one."""

    def __init__(
        self,
        settings: Settings,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
    ) -> None:
        self.settings = settings
        self.enabled = True
        self.tracer = trace.get_tracer(signals.SCOPE, __version__, tracer_provider, signals.SCHEMA_URL)
        measured_by = meter_provider or metrics.get_meter  # which leads to the global one
        if measured_by not in _instruments:
            meter = metrics.get_meter(signals.SCOPE, __version__, meter_provider, signals.SCHEMA_URL)
            _instruments[measured_by] = Instruments(meter, settings)
        self.instruments = _instruments[measured_by]
        self.logger = _logs.get_logger(signals.SCOPE, __version__, logger_provider, signals.SCHEMA_URL)
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._logger_provider = logger_provider
        self._armed: tuple[Any, ...] = ()

    def switch(self, *, on: bool) -> None:
        """Switch off after uninstrument(): programs may hold wrappers of ours that cannot be taken from them."""
        self.enabled = on
        _active.pop(self, None)
        if on:
            if all(other.instruments is not self.instruments for other in _active):
                self.instruments.use(self.settings)
            _active[self] = None
            return
        # Providers that were given for the time of the instrumentation are not ours to keep.
        for key in [key for key, known in _telemetries.items() if known is self and key[2:] != (None, None, None)]:
            del _telemetries[key]
            in_flight.disarm(self.flush)

    def start(self, request: Request) -> ModelCall | None:
        """Begin a model call under the current span; None where instrumentation is suppressed or off.

        It is linked to the span that ``correlate`` names.
        """
        if not self.enabled or not is_instrumentation_enabled():
            return None
        start = Start.now()
        if self.settings.new_names:
            attempt(_count_call)
        correlated = attempt(correlation.correlation, self.settings.baggage_keys) or {}
        labels = correlation.attributes(correlated, self.settings.redact) if correlated else {}
        parameters = {**sanitize_attributes(request.parameters, self.settings.redact), **labels}
        if parameters != request.parameters:
            request = replace(request, parameters=parameters)
        adopted, above = attempt(nesting.owned_elsewhere) is True, trace.get_current_span()
        span = above if adopted else self._start_span(request, start)
        try:
            if adopted:
                span.set_attributes(labels)
            return self._generation(request, start, span, above, correlated, adopted=adopted)
        except BaseException as problem:
            if not adopted:
                span.end()
            if not isinstance(problem, Exception):
                raise
            fault("the start of a call", problem)
            return None

    def _generation(
        self, request: Request, start: Start, span: Span, above: Span, correlated: Mapping[str, str], *, adopted: bool
    ) -> ModelCall:
        settings = self.settings
        providers = (trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider())
        logger = None if is_placeholder(self._logger_provider or providers[2]) else self.logger
        logged = settings.events in ("log", "both") and logger is not None
        # Another instrumentation that has the span emits the call's record as well.
        detailed = settings.content_on_events and not adopted and logger is not None
        measured = not is_placeholder(self._meter_provider or providers[1])
        watches: list[Watch] = []
        log: LiveLog | None = None
        if observers.present():
            origin = observers.origin_of(span, above, correlated, settings.redact, request=request, adopted=adopted)
            watches = observers.watches(origin)
        if span.is_recording() or measured or logged or detailed or watches:
            attempt(self._arm, providers)
            live: list[Live] = [*watches]
            if logged:
                labels = correlation.attributes(correlated, settings.redact)
                log = attempt(LiveLog, self.logger, request, settings, labels)
                live += [log] if log is not None else []
            recorder: Recorder | Unrecorded = Recorder(
                settings, self.instruments, span, live, logger, adopted=adopted, detailed=detailed
            )
        else:
            recorder = UNRECORDED
            silence.no_provider(self._tracer_provider)
        kept = redaction_buffer_size(settings.redact, settings.content_share) if settings.content_on_events else 0
        timeline = Timeline(
            budget=min(max(settings.event_budget, 1), span_data.MOST_EVENTS),
            offsets=settings.offsets,
            stall_threshold=settings.stall_threshold_ns,
            text_limit=kept,
            origin=start.clock,
        )
        context = trace.set_span_in_context(span)
        context = attempt(nesting.mark, context) or context
        if detailed or (settings.content_on_spans and span.is_recording()):
            call: ModelCall = Captured(request, recorder, timeline, context, start, settings)
        else:
            call = ModelCall(request, recorder, timeline, context, start)
        call.context = attempt(nesting.reading, call) or context
        for watch in watches:
            attempt(watch.started, call)
        if log is not None:
            attempt(log_watch.add, log, call)
        return call

    def _arm(self, providers: tuple[Any, ...]) -> None:
        """See to it that we are done at exit before the providers are, those included that were set since."""
        if providers != self._armed:
            self._armed = providers
            in_flight.arm(self.flush)

    def step(self, name: str, attributes: Mapping[str, Any] | None = None, kind: SpanKind = SpanKind.INTERNAL) -> Step:
        """Return a context manager for a span around work that is no model call."""
        correlated = attempt(correlation.correlation, self.settings.baggage_keys) or {}
        about = {**(attributes or {}), **correlation.attributes(correlated, self.settings.redact)}
        return Step(self.tracer if self.enabled else None, name, about, kind)

    def agent(self, operation: str, name: str, attributes: Mapping[str, Any]) -> Step:
        """Return a context manager for the span and the metrics of one invocation of an agent or a whole program."""
        correlated = attempt(correlation.correlation, self.settings.baggage_keys) or {}
        about = {**attributes, **correlation.attributes(correlated, self.settings.redact)}
        return agents.AgentStep(self.tracer if self.enabled else None, self.instruments, operation, name, about)

    def _start_span(self, request: Request, start: Start) -> Span:
        before = correlation.continued()
        return self.tracer.start_span(
            f"{request.operation} {request.model}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes=span_data.request_attributes(request),
            links=[Link(before)] if before is not None else None,
            start_time=start.wall,
        )

    @guarded
    def flush(self, within: float = _LONGEST_EXIT_DRAIN) -> bool:
        """Record what waits, for at most ``within`` seconds; the providers' own flush sends it."""
        in_flight.finish_dropped()
        return self.instruments.gap_queue.drain(within=within, pausing=False)


def _count_call() -> None:
    calls = agents.current_calls()
    if calls is not None:
        calls.models += 1
