"""The only writer of a call's span, events and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core.call.model_call import FAILED, ModelCall
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.core.content.attributes import content_attributes, value_attribute
from otel_tokenstream.core.content.transcript import Captured
from otel_tokenstream.core.emit import details_event, observers, sdk_limits, span_data
from otel_tokenstream.core.emit.exception_record import emit_exception
from otel_tokenstream.core.emit.span_attributes import set_attributes
from otel_tokenstream.core.emit.span_events import add_events
from otel_tokenstream.core.runtime.guard import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry._logs import Logger
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otel_tokenstream.core.call.interfaces import Live
    from otel_tokenstream.core.emit.instruments import Instruments
    from otel_tokenstream.settings import Settings


class Unrecorded:
    """For calls that nobody samples or measures: nothing is read and nothing written."""

    observed = False
    live = None
    instruments = None

    def finish(self, call: ModelCall) -> None:
        pass


UNRECORDED = Unrecorded()


class Recorder:
    """Writes one model call: its span, its events, its metrics.

    An adopted span is another instrumentation's: it is enriched, and theirs to end. Without a
    ``logger`` the call has no records; a ``detailed`` one has its content in a record.
    """

    __slots__ = ("_adopted", "_detailed", "_logger", "_settings", "_span", "_steps", "_written", "instruments", "live")
    observed = True

    def __init__(
        self,
        settings: Settings,
        instruments: Instruments,
        span: Span,
        live: list[Live],
        logger: Logger | None = None,
        *,
        adopted: bool,
        detailed: bool,
    ) -> None:
        self._settings = settings
        self._logger = logger
        self.instruments = instruments
        self._span = span
        self._adopted = adopted
        self._steps: Iterator[Callable[[ModelCall], None]] | None = None
        self._detailed = detailed
        self._written = False
        self.live: Live | None = observers.FanOut(live) if len(live) > 1 else live[0] if live else None

    def finish(self, call: ModelCall) -> None:
        """Write the call; called once more, go on where it was interrupted."""
        interrupted = self._steps is not None
        if self._steps is None:
            self._steps = iter(
                (
                    self._close_live,
                    self._write_span,
                    self._write_outcome,
                    self._write_exception,
                    self._write_content,
                    self._end_span,
                    self._record_metrics,
                )
            )
        # A step that fails must not keep the next ones from running.
        for step in self._steps:
            attempt(step, call)
        if interrupted and self._span.is_recording():
            attempt(self._end_span, call)

    def _close_live(self, call: ModelCall) -> None:
        if self.live is not None:
            self.live.close(call)

    def _write_outcome(self, call: ModelCall) -> None:
        if not self._written:  # for want of a part of it
            set_attributes(self._span, span_data.outcome_attributes(call))
        if call.outcome == FAILED and not self._adopted:
            self._span.set_status(Status(StatusCode.ERROR))

    def _end_span(self, call: ModelCall) -> None:
        if not self._adopted:
            self._span.end(end_time=call.wall(call.ended))

    def _write_span(self, call: ModelCall) -> None:
        if not self._span.is_recording():
            return
        attributes = span_data.response_attributes(call)
        try:
            self._write_events(call, attributes)
        finally:
            set_attributes(self._span, attributes)
        self._written = True

    def _write_exception(self, call: ModelCall) -> None:
        settings, logger = self._settings, self._logger
        if call.outcome == FAILED and settings.new_names and not self._adopted and logger is not None:
            text = call.error_message if isinstance(call, Captured) and self._detailed else None
            emit_exception(logger, call, value_attribute(text, settings) if text else None)

    def _write_content(self, call: ModelCall) -> None:
        if not isinstance(call, Captured):
            return
        settings, logger, span = self._settings, self._logger if self._detailed else None, self._span
        on_span = settings.content_on_spans and span.is_recording()
        limits = (
            sdk_limits.longest_span_value(span) if on_span else None,
            sdk_limits.longest_record_value(logger) if logger is not None else None,
        )
        try:
            content = content_attributes(call, settings, *limits)
            if on_span:
                attempt(span.set_attributes, content)
            if logger is not None:
                details_event.emit_details(logger, call, content)
        finally:
            call.transcript.release()

    def _write_events(self, call: ModelCall, attributes: dict[str, Any]) -> None:
        settings, span = self._settings, self._span
        if settings.events in ("span", "both") and settings.event_budget:
            limit = min(settings.event_budget, sdk_limits.most_events(span))
            events = span_data.fit_events(call, settings, limit, attributes)
            add_events(span, events)
            merged = attributes.get(signals.EVENT_MERGED)
            if merged:
                self.instruments.count(signals.EVENTS_MERGED, merged, {})

    def _record_metrics(self, call: ModelCall) -> None:
        instruments = self.instruments

        def record(name: str, value: float, attributes: dict[str, Any], context: Context) -> None:
            attempt(instruments.record, name, value, attributes, context)

        request, line, context = call.request, call.timeline, call.context
        attributes = instruments.call_attributes(request)
        model = instruments.model_attributes(request)
        full = dict(attributes)
        if call.response_model is not None:
            full[signals.RESPONSE_MODEL] = instruments.response_model(call.response_model)
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
            if self._settings.chunk_metrics:
                instruments.gap_queue.add(attributes, line.gap_counts, line.gap_total, context)
        seconds_per_token = span_data.time_per_output_token(call)
        if seconds_per_token:
            record(signals.TIME_PER_OUTPUT_TOKEN, seconds_per_token, model, context)
            record(signals.OUTPUT_RATE_METRIC, 1 / seconds_per_token, model, context)

    def _record_usage(self, call: ModelCall, full: dict[str, Any], model: dict[str, Any]) -> None:
        context, instruments = call.context, self.instruments
        usage = call.usage if call.usage is not None and not call.usage.estimated else None
        if instruments.has_new_names:
            for name, tokens, modality in _usage_counts(usage or Usage(input=0, output=0)):
                instruments.count(name, tokens, {**full, signals.TOKEN_MODALITY: modality}, context)
        if usage is None:
            return
        for kind, whole, successor in (
            ("input", usage.input, signals.INFERENCE_INPUT_TOKENS),
            ("output", usage.output, signals.INFERENCE_OUTPUT_TOKENS),
        ):
            if whole is not None:
                instruments.record(signals.TOKEN_USAGE, whole, {**full, signals.TOKEN_TYPE: kind}, context)
                instruments.record(successor, whole, full, context)
        for kind, counted in (
            ("input", usage.input),
            ("cached_input", usage.cache_read),
            ("output", usage.output),
            ("reasoning", usage.reasoning),
            ("audio_input", (usage.input_by or {}).get("audio")),
            ("audio_output", (usage.output_by or {}).get("audio")),
        ):
            if counted is not None:
                instruments.count(signals.TOKENS, counted, {**model, signals.TOKEN_TYPE: kind}, context)


def _usage_counts(usage: Usage) -> Iterator[tuple[str, int, str]]:
    """Yield the convention's counters, each with its tokens and their modality."""
    for name, tokens, parts in (
        (signals.INFERENCE_USAGE_INPUT, usage.input, usage.input_by),
        (signals.INFERENCE_USAGE_OUTPUT, usage.output, usage.output_by),
        (signals.INFERENCE_USAGE_CACHE_READ, usage.cache_read, usage.cache_read_by),
        (signals.INFERENCE_USAGE_CACHE_WRITE, usage.cache_write, None),
        (signals.INFERENCE_USAGE_REASONING, usage.reasoning, None),
    ):
        if tokens is not None:
            for modality, part in _by_modality(tokens, parts or {}).items():
                yield name, part, modality


def _by_modality(tokens: int, parts: Mapping[str, int]) -> dict[str, int]:
    """Return the parts of a count and its rest; parts that are more than the whole are left out."""
    rest = tokens - sum(parts.values())
    if rest < 0 or not parts:
        return {signals.UNKNOWN_MODALITY: tokens}
    return {**parts, signals.UNKNOWN_MODALITY: rest} if rest else dict(parts)
