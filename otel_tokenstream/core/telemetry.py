"""Where a call begins: its span, who looks on, and which signals there will be."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Link, SpanKind

from otel_tokenstream import signals
from otel_tokenstream.core import correlation, observers, open_calls, ownership, summary
from otel_tokenstream.core.capture import Captured
from otel_tokenstream.core.generation import Generation, Request
from otel_tokenstream.core.guard import fault, guarded
from otel_tokenstream.core.instruments import Instruments
from otel_tokenstream.core.live_log import LiveLog
from otel_tokenstream.core.recorder import UNRECORDED, Recorder, Unrecorded
from otel_tokenstream.core.redaction import fit_attributes, kept_for
from otel_tokenstream.core.steps import Step
from otel_tokenstream.core.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from otel_tokenstream.core.generation import Live
    from otel_tokenstream.core.observers import Watch
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
    found = _telemetries[key] = Telemetry(*key[1:])
    if known is not None:
        # It stays switched off: wrappers of ours that could not be taken away would wake up with it.
        open_calls.disarm(known.flush)
        open_calls.arm(found.flush)
    return found


def active() -> Telemetry | None:
    """Return the Telemetry that was switched on last and still is; None without instrumentation."""
    return next(reversed(_active), None)


def flush(timeout: float = 10.0) -> bool:
    """Send everything recorded so far, within ``timeout`` seconds in all; for short scripts and frozen processes.

    Returns whether all of it was handed over in time. Open streams stay open.
    """
    deadline = time.monotonic() + timeout
    done = True
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
        ours = version("otel-tokenstream")
        self.settings = settings
        self.enabled = True
        self.tracer = trace.get_tracer(signals.SCOPE, ours, tracer_provider, signals.SCHEMA_URL)
        measured_by = meter_provider or metrics.get_meter  # which leads to the global one
        if measured_by not in _instruments:
            meter = metrics.get_meter(signals.SCOPE, ours, meter_provider, signals.SCHEMA_URL)
            _instruments[measured_by] = Instruments(meter, settings)
        self.instruments = _instruments[measured_by]
        self.logger = _logs.get_logger(signals.SCOPE, ours, logger_provider, signals.SCHEMA_URL)
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
            open_calls.disarm(self.flush)

    def start(self, request: Request, continues: Generation | None = None) -> Generation | None:
        """Begin a generation under the current span; None where instrumentation is suppressed or off.

        It is linked to the one whose answer it ``continues``, or to the span that ``correlate`` names.
        """
        if not self.enabled or not is_instrumentation_enabled():
            return None
        correlated = guarded(correlation.correlation)(self.settings.baggage_keys) or {}
        labels = correlation.attributes(correlated, self.settings.redact)
        parameters = {**fit_attributes(request.parameters, self.settings.redact), **labels}
        if parameters != request.parameters:
            request = replace(request, parameters=parameters)
        adopted, above = guarded(ownership.owned_elsewhere)() is True, trace.get_current_span()
        span = above if adopted else self._start_span(request, continues)
        try:
            if adopted:
                span.set_attributes(labels)
            return self._generation(request, span, above, correlated, adopted=adopted)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("the start of a call", problem)
            if not adopted:
                span.end()
            return None

    def _generation(
        self, request: Request, span: Span, above: Span, correlated: Mapping[str, str], *, adopted: bool
    ) -> Generation:
        settings = self.settings
        logged = settings.events in ("log", "both") and self._has_logger()
        # Another instrumentation that has the span emits the call's record as well.
        detailed = settings.content_on_events and not adopted and self._has_logger()
        measured = not _is_placeholder(self._meter_provider or metrics.get_meter_provider())
        watches: list[Watch] = []
        if observers.present():
            origin = observers.origin_of(span, above, correlated, settings.redact, request=request, adopted=adopted)
            watches = observers.watches(origin)
        if span.is_recording() or measured or logged or detailed or watches:
            guarded(self._arm)()
            live: list[Live] = [*watches]
            if logged:
                labels = correlation.attributes(correlated, settings.redact)
                log = guarded(LiveLog)(self.logger, request, settings, labels)
                live += [log] if log is not None else []
            recorder: Recorder | Unrecorded = Recorder(self, span, live, adopted=adopted, detailed=detailed)
        else:
            recorder = UNRECORDED
        timeline = Timeline(
            budget=min(max(settings.event_budget, 1), summary.MOST_EVENTS),
            offsets=settings.offsets,
            stall_threshold=settings.stall_threshold_ns,
            text_limit=kept_for(settings.redact, settings.content_share) if settings.content_on_events else 0,
        )
        context = trace.set_span_in_context(span)
        context = guarded(ownership.mark)(context) or context
        if detailed or (settings.content_on_spans and span.is_recording()):
            call: Generation = Captured(request, recorder, timeline, context, settings)
        else:
            call = Generation(request, recorder, timeline, context)
        call.context = guarded(ownership.reading)(call) or context
        for watch in watches:
            guarded(watch.started)(call)
        return call

    def _arm(self) -> None:
        """See to it that we are done at exit before the providers are, those included that were set since."""
        providers = (trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider())
        if providers != self._armed:
            self._armed = providers
            open_calls.arm(self.flush)

    def step(self, name: str, attributes: Mapping[str, Any] | None = None, kind: SpanKind = SpanKind.INTERNAL) -> Step:
        """Return a context manager for a span around work that is no model call."""
        correlated = guarded(correlation.correlation)(self.settings.baggage_keys) or {}
        about = {**(attributes or {}), **correlation.attributes(correlated, self.settings.redact)}
        return Step(self.tracer if self.enabled else None, name, about, kind)

    def _has_logger(self) -> bool:
        return not _is_placeholder(self._logger_provider or _logs.get_logger_provider())

    def _start_span(self, request: Request, continues: Generation | None) -> Span:
        before = trace.get_current_span(continues.context).get_span_context() if continues else correlation.continued()
        return self.tracer.start_span(
            f"{request.operation} {request.model}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes=summary.request_attributes(request),
            links=[Link(before)] if before is not None else None,
        )

    @guarded
    def flush(self, within: float = _LONGEST_EXIT_DRAIN) -> bool:
        """Record what waits, for at most ``within`` seconds; the providers' own flush sends it."""
        open_calls.finish_dropped()
        return self.instruments.backlog.drain(within=within, pausing=False)


def _is_placeholder(provider: object) -> bool:
    """Whether a provider is the API's own, which leads nowhere."""
    return type(provider).__module__.startswith(("opentelemetry.metrics", "opentelemetry._logs"))
