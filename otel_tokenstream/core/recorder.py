"""The only writer of a call's span, events and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core import details, observers, summary
from otel_tokenstream.core.capture import Captured
from otel_tokenstream.core.content import content_attributes
from otel_tokenstream.core.generation import FAILED, Generation
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.text import repaired

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_tokenstream.core.generation import Live
    from otel_tokenstream.core.telemetry import Telemetry

_SDK_EVENT_LIMIT = 128


class Unrecorded:
    """For calls that nobody samples or measures: nothing is read and nothing written."""

    observed = False
    live = None
    instruments = None

    def finish(self, call: Generation) -> None:
        pass


UNRECORDED = Unrecorded()


class Recorder:
    """Writes one generation: its span, its events, its metrics.

    An adopted span is another instrumentation's: it is enriched, and theirs to end.
    """

    __slots__ = ("_adopted", "_detailed", "_span", "_telemetry", "instruments", "live")
    observed = True

    def __init__(self, telemetry: Telemetry, span: Span, live: list[Live], *, adopted: bool, detailed: bool) -> None:
        self._telemetry = telemetry
        self.instruments = telemetry.instruments
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
            self._span.set_attribute(signals.ERROR_TYPE, repaired(call.error_type))
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
                self.instruments.count(signals.EVENTS_MERGED, merged, {})

    def _record_metrics(self, call: Generation) -> None:
        instruments, record = self.instruments, guarded(self.instruments.record)
        request, line, context = call.request, call.timeline, call.context
        attributes = instruments.call_attributes(request)
        model = instruments.model_attributes(request)
        full = dict(attributes)
        if call.response_model is not None:
            full[signals.RESPONSE_MODEL] = instruments.response_model(call.response_model)
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
        usage, context, instruments = call.usage, call.context, self.instruments
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


def _longest_value(span: Span) -> int | None:
    """Return how long the SDK lets an attribute be, None for any length; JSON that it cuts is none any more."""
    limit: int | None = getattr(getattr(span, "_limits", None), "max_span_attribute_length", None)
    return limit


def _event_limit(span: Span) -> int:
    # The API does not tell a tracer's limit; beyond it the SDK drops the oldest events.
    limits = getattr(span, "_limits", None)
    limit = getattr(limits, "max_events", _SDK_EVENT_LIMIT)
    return 1 << 30 if limit is None else int(limit)
