"""A program's own steps, as spans and as live events."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Span

from otel_tokenstream import signals
from otel_tokenstream.core.content.correlation import attributes as labels_of
from otel_tokenstream.core.content.correlation import correlate, correlation
from otel_tokenstream.core.content.redaction import sanitize, sanitize_attributes
from otel_tokenstream.core.emit import observers
from otel_tokenstream.core.emit.internal_span import Step
from otel_tokenstream.core.emit.telemetry import active
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.core.runtime.sanitize import repaired
from otel_tokenstream.core.runtime.version import __version__
from otel_tokenstream.live.events import StepEnd, StepNote, StepStart, about
from otel_tokenstream.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import SpanContext, Status, StatusCode, Tracer
    from opentelemetry.util import types

    from otel_tokenstream.core.content.redaction import RedactionHook
    from otel_tokenstream.core.emit.observers import Origin


class step:  # noqa: N801  # used as a verb, like the context managers of contextlib
    """A span around a piece of the program, whose start, events and end are live events too.

        with step("retrieval", k=3) as span:
            passages = search(question)
            span.add_event("found", {"passages": len(passages)})

    Model calls and steps inside are below it, and carry ``operation`` if it is given. An error
    leaves its class on the span and nothing else. The name and the attributes given here go
    through the redaction hook, as do those of its live events; what the program writes to the
    span itself is OpenTelemetry's, and stays as it is.
    """

    __slots__ = ("_attributes", "_correlate", "_name", "_notes", "_step")

    def __init__(self, name: str, /, *, operation: str | None = None, **attributes: Any) -> None:
        self._name = name
        self._attributes = attributes
        self._correlate = correlate(operation=operation)

    def __enter__(self) -> Span:
        self._correlate.__enter__()
        telemetry = active()
        settings = telemetry.settings if telemetry is not None else _settings()
        correlated = correlation(settings.baggage_keys)
        labels = labels_of(correlated, settings.redact)
        name, shown = sanitize(self._name, settings.redact), sanitize_attributes(self._attributes, settings.redact)
        above = trace.get_current_span()
        tracer = telemetry.tracer if telemetry is not None else guarded(_tracer)()
        self._step = Step(tracer, name, {**shown, **labels})
        span = self._step.__enter__()
        self._notes: _Notes | None = None
        if is_instrumentation_enabled() and observers.present():
            origin = guarded(observers.origin_of)(span, above, correlated, settings.redact, step=self._name)
            self._notes = _Notes(origin, name, settings.redact) if origin is not None else None
        if self._notes is None:
            return span
        self._notes.start(shown)
        return _NotedSpan(span, self._notes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._notes is not None:
            self._notes.end(kind)
        self._step.__exit__(kind, error, traceback)
        self._correlate.__exit__(kind, error, traceback)


class _Notes:
    """The live events of one step."""

    __slots__ = ("_about", "_began", "_name", "_origin", "_redact")

    def __init__(self, origin: Origin, name: str, redact: RedactionHook | None) -> None:
        self._origin = origin
        self._name = name
        self._redact = redact
        self._began = time.perf_counter_ns()
        self._about = about(origin)

    @guarded
    def start(self, attributes: Mapping[str, Any]) -> None:
        event = StepStart(**self._about, at_ns=time.time_ns(), name=self._name, attributes=attributes)
        observers.tell(self._origin, event)

    @guarded
    def event(self, name: str, attributes: Mapping[str, Any], at_ns: int | None) -> None:
        name, attributes = sanitize(name, self._redact), sanitize_attributes(attributes, self._redact)
        note = StepNote(**self._about, at_ns=at_ns or time.time_ns(), name=name, attributes=attributes)
        observers.tell(self._origin, note)

    @guarded
    def end(self, kind: type[BaseException] | None) -> None:
        event = StepEnd(
            **self._about,
            at_ns=time.time_ns(),
            name=self._name,
            duration_us=(time.perf_counter_ns() - self._began) // 1_000,
            error_type=repaired(kind.__qualname__) if kind is not None and issubclass(kind, Exception) else None,
        )
        observers.tell(self._origin, event)


class _NotedSpan(Span):
    """A step's span as the program gets it: what it adds as an event is told to live observers too.

    The span that is current in the step is OpenTelemetry's own.
    """

    def __init__(self, span: Span, notes: _Notes) -> None:
        self._span = span
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        self._span.add_event(name, attributes, timestamp)
        self._notes.event(name, attributes or {}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        self._span.end(end_time)

    def get_span_context(self) -> SpanContext:
        return self._span.get_span_context()

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        self._span.set_attributes(attributes)

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        self._span.set_attribute(key, value)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        self._span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._span.update_name(name)

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._span.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self._span.record_exception(exception, attributes, timestamp, escaped)


@cache
def _tracer() -> Tracer:
    return trace.get_tracer(signals.SCOPE, __version__, schema_url=signals.SCHEMA_URL)


@cache
def _settings() -> Settings:
    return Settings.load(lenient=True)
