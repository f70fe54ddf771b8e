"""The only writer of spans, events and metrics."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core import correlation, details, observers, open_calls, ownership, summary
from otel_tokenstream.core.capture import Captured
from otel_tokenstream.core.content import content_attributes
from otel_tokenstream.core.generation import FAILED, Generation, Request
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.instruments import Instruments
from otel_tokenstream.core.live_log import LiveLog
from otel_tokenstream.core.redaction import kept_for
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

_SDK_EVENT_LIMIT = 128
_LONGEST_EXIT_DRAIN = 2.0


_telemetries: dict[tuple[Any, ...], Telemetry] = {}
_active: dict[Telemetry, None] = {}
_instruments: dict[MeterProvider | None, Instruments] = {}


def telemetry_for(
    settings: Settings,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    library: str = "",
) -> Telemetry:
    """Return the one Telemetry for a library with these settings and providers."""
    key = (library, settings, tracer_provider, meter_provider, logger_provider)
    if key not in _telemetries:
        _telemetries[key] = Telemetry(*key[1:])
    return _telemetries[key]


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
    sent.put(provider.force_flush(max(round((deadline - time.monotonic()) * 1_000), 1)) is not False)


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
        if meter_provider not in _instruments:  # a second set would make every instrument and gauge twice
            meter = metrics.get_meter(signals.SCOPE, ours, meter_provider, signals.SCHEMA_URL)
            _instruments[meter_provider] = Instruments(meter, settings)
        self.instruments = _instruments[meter_provider]
        self.logger = _logs.get_logger(signals.SCOPE, ours, logger_provider, signals.SCHEMA_URL)
        self._meter_provider = meter_provider
        self._logger_provider = logger_provider

    def switch(self, *, on: bool) -> None:
        """Switch off after uninstrument(): programs may hold wrappers of ours that cannot be taken from them."""
        self.enabled = on
        _active.pop(self, None)
        if on:
            _active[self] = None

    def start(self, request: Request, continues: Generation | None = None) -> Generation | None:
        """Begin a generation under the current span; None where instrumentation is suppressed or off.

        It is linked to the one whose answer it ``continues``, or to the span that ``correlate`` names.
        """
        if not self.enabled or not is_instrumentation_enabled():
            return None
        settings = self.settings
        correlated = correlation.correlation(settings.baggage_keys)
        labels = correlation.attributes(correlated)
        if labels:
            request = replace(request, parameters={**request.parameters, **labels})
        adopted, above = ownership.owned_elsewhere(), trace.get_current_span()
        span = above if adopted else self._start_span(request, continues)
        if adopted:
            span.set_attributes(labels)
        recorder: Recorder | Unrecorded = UNRECORDED
        logged = settings.events in ("log", "both") and self._has_logger()
        # Another instrumentation that has the span emits the call's record as well.
        detailed = settings.content_on_events and not adopted and self._has_logger()
        measured = not _is_placeholder(self._meter_provider or metrics.get_meter_provider())
        watches: list[Watch] = []
        if observers.present():
            origin = observers.origin_of(span, above, correlated, settings.redact, request=request, adopted=adopted)
            watches = observers.watches(origin)
        if span.is_recording() or measured or logged or detailed or watches:
            open_calls.arm(self.flush)
            live: list[Live] = [*watches]
            if logged:
                live.append(LiveLog(self.logger, request, settings, labels))
            recorder = Recorder(self, span, live, adopted=adopted, detailed=detailed)
        timeline = Timeline(
            budget=max(settings.event_budget, 1),
            offsets=settings.offsets,
            stall_threshold=settings.stall_threshold_ns,
            text_limit=kept_for(settings.redact, settings.content_share) if settings.content_on_events else 0,
        )
        context = ownership.mark(trace.set_span_in_context(span))
        if detailed or (settings.content_on_spans and span.is_recording()):
            call: Generation = Captured(request, recorder, timeline, context, settings)
        else:
            call = Generation(request, recorder, timeline, context)
        call.context = ownership.reading(call)
        for watch in watches:
            guarded(watch.started)(call)
        return call

    def step(self, name: str, attributes: Mapping[str, Any] | None = None, kind: SpanKind = SpanKind.INTERNAL) -> Step:
        """Return a context manager for a span around work that is no model call."""
        labels = self._labels() if self.enabled else None
        return Step(self.tracer if self.enabled else None, name, {**(attributes or {}), **(labels or {})}, kind)

    @guarded
    def _labels(self) -> dict[str, str]:
        return correlation.attributes(correlation.correlation(self.settings.baggage_keys))

    def _has_logger(self) -> bool:
        return not _is_placeholder(self._logger_provider or _logs.get_logger_provider())

    def _start_span(self, request: Request, continues: Generation | None) -> Span:
        before = trace.get_current_span(continues.context).get_span_context() if continues else correlation.continued()
        return self.tracer.start_span(
            f"{request.operation} {request.model}",
            kind=SpanKind.CLIENT,
            attributes=summary.request_attributes(request),
            links=[Link(before)] if before is not None else None,
        )

    @guarded
    def flush(self, within: float = _LONGEST_EXIT_DRAIN) -> bool:
        """Record what waits, for at most ``within`` seconds; the providers' own flush sends it."""
        open_calls.finish_dropped()
        return self.instruments.backlog.drain(within=within, pausing=False)


class Unrecorded:
    """For calls that nobody samples or measures: nothing is read and nothing written."""

    observed = False
    live = None

    def finish(self, call: Generation) -> None:
        pass


UNRECORDED = Unrecorded()


class Recorder:
    """Writes one generation: its span, its events, its metrics.

    An adopted span is another instrumentation's: it is enriched, and theirs to end.
    """

    __slots__ = ("_adopted", "_detailed", "_span", "_telemetry", "live")
    observed = True

    def __init__(self, telemetry: Telemetry, span: Span, live: list[Live], *, adopted: bool, detailed: bool) -> None:
        self._telemetry = telemetry
        self._span = span
        self._adopted = adopted
        self._detailed = detailed
        self.live: Live | None = observers.Several(live) if len(live) > 1 else live[0] if live else None

    def finish(self, call: Generation) -> None:
        # What one step cannot do must not keep the next ones from theirs.
        for step in (
            self._close_live,
            self._write_outcome,
            self._write_span,
            self._write_content,
            self._end_span,
            self._record_metrics,
        ):
            guarded(step)(call)

    def _close_live(self, call: Generation) -> None:
        if self.live is not None:
            self.live.close(call)

    def _write_outcome(self, call: Generation) -> None:
        self._span.set_attribute(signals.OUTCOME, call.outcome)
        if call.error_type is not None:
            self._span.set_attribute(signals.ERROR_TYPE, call.error_type)
        if call.outcome == FAILED and not self._adopted:
            self._span.set_status(Status(StatusCode.ERROR))

    def _end_span(self, call: Generation) -> None:
        if not self._adopted:
            self._span.end(end_time=_wall(call, call.ended))

    def _write_span(self, call: Generation) -> None:
        if not self._span.is_recording():
            return
        attributes = summary.response_attributes(call)
        try:
            self._write_events(call, attributes)
        finally:
            self._span.set_attributes(attributes)

    def _write_content(self, call: Generation) -> None:
        if not isinstance(call, Captured):
            return
        settings, logger, span = self._telemetry.settings, self._telemetry.logger, self._span
        on_span = settings.content_on_spans and span.is_recording()
        limits = (_longest_value(span) if on_span else None, details.longest_value(logger) if self._detailed else None)
        try:
            content = content_attributes(call, settings, *limits)
            if on_span:
                guarded(span.set_attributes)(content)
            if self._detailed:
                details.emit_details(logger, call, content)
        finally:
            call.transcript.release()

    def _write_events(self, call: Generation, attributes: dict[str, Any]) -> None:
        settings, span = self._telemetry.settings, self._span
        if settings.events in ("span", "both") and settings.event_budget:
            limit = min(settings.event_budget, _event_limit(span))
            for name, at, event in summary.fit_events(call, settings, limit, attributes):
                span.add_event(name, event, _wall(call, at))
            merged = attributes.get(signals.EVENT_MERGED)
            if merged:
                self._telemetry.instruments.count(signals.EVENTS_MERGED, merged, {})

    def _record_metrics(self, call: Generation) -> None:
        record, instruments = self._telemetry.instruments.record, self._telemetry.instruments
        request, line, context = call.request, call.timeline, call.context
        attributes = instruments.call_attributes(request)
        model = instruments.model_attributes(request)
        full = dict(attributes)
        if call.response_model is not None:
            full[signals.RESPONSE_MODEL] = instruments.model(call.response_model)
        if call.usage is not None:
            self._record_usage(call, full, model)
        if call.cost_usd is not None:
            instruments.count(signals.COST, call.cost_usd, model, context)
        if call.error_type is not None:
            full[signals.ERROR_TYPE] = instruments.error(call.error_type)
        duration = (call.ended - call.started) / 1e9
        record(signals.OPERATION_DURATION, duration, full, context)
        record(signals.INFERENCE_DURATION, duration, full, context)
        if not request.stream:
            return
        instruments.count_stream(call.outcome, model, token_seen=call.first_token is not None, context=context)
        if line.chunks:
            first = (line.first_arrived - call.started) / 1e9
            record(signals.OPERATION_TIME_TO_FIRST_CHUNK, first, attributes, context)
            record(signals.INFERENCE_TIME_TO_FIRST_CHUNK, first, attributes, context)
        if call.first_token is not None:
            record(signals.TIME_TO_FIRST_TOKEN, (call.first_token[0] - call.started) / 1e9, model, context)
            record(signals.WAIT_MAX, line.wait_max / 1e9, model, context)
        if call.first_answer_token is not None:
            first_answer = (call.first_answer_token[0] - call.started) / 1e9
            record(signals.TIME_TO_FIRST_ANSWER_TOKEN, first_answer, model, context)
        for field, arrived in call.field_first.items():
            of_field = {**model, signals.AT_FIELD: instruments.field(field)}
            record(signals.FIELD_TIME_TO_FIRST_TOKEN, (arrived - call.started) / 1e9, of_field, context)
        for stall in line.stalls:
            record(signals.STALL_DURATION, stall.wait / 1e9, model, context)
        if line.chunks > 1:
            record(signals.GAP_MAX, line.gap_max / 1e9, model, context)
            if self._telemetry.settings.chunk_metrics:
                instruments.backlog.add(attributes, line.gap_counts, line.gap_total, context)
        seconds_per_token = summary.time_per_output_token(call)
        if seconds_per_token:
            record(signals.TIME_PER_OUTPUT_TOKEN, seconds_per_token, model, context)
            record(signals.OUTPUT_RATE_METRIC, 1 / seconds_per_token, model, context)

    def _record_usage(self, call: Generation, full: dict[str, Any], model: dict[str, Any]) -> None:
        usage, context, instruments = call.usage, call.context, self._telemetry.instruments
        if usage is None or usage.estimated:
            return
        for kind, tokens, successor in (
            ("input", usage.input, signals.INFERENCE_INPUT_TOKENS),
            ("output", usage.output, signals.INFERENCE_OUTPUT_TOKENS),
        ):
            if tokens is not None:
                instruments.record(signals.TOKEN_USAGE, tokens, {**full, signals.TOKEN_TYPE: kind}, context)
                instruments.record(successor, tokens, full, context)
        for kind, counted in (
            ("input", usage.input),
            ("cached_input", usage.cache_read),
            ("output", usage.output),
            ("reasoning", usage.reasoning),
            ("audio_input", usage.audio_input),
            ("audio_output", usage.audio_output),
        ):
            if counted is not None:
                instruments.count(signals.TOKENS, counted, {**model, signals.TOKEN_TYPE: kind}, context)


def _wall(call: Generation, at: int) -> int:
    return call.anchor + at - call.started


def _is_placeholder(provider: object) -> bool:
    """Whether a provider is the API's own, which leads nowhere."""
    return type(provider).__module__.startswith(("opentelemetry.metrics", "opentelemetry._logs"))


def _longest_value(span: Span) -> int | None:
    """Return how long the SDK lets an attribute be, None for any length; JSON that it cuts is none any more."""
    limit: int | None = getattr(getattr(span, "_limits", None), "max_span_attribute_length", None)
    return limit


def _event_limit(span: Span) -> int:
    # The API does not tell a tracer's limit; beyond it the SDK drops the oldest events.
    limits = getattr(span, "_limits", None)
    limit = getattr(limits, "max_events", _SDK_EVENT_LIMIT)
    return 1 << 30 if limit is None else int(limit)
