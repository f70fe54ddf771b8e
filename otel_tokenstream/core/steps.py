"""A span around a piece of a program that is no model call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core.current import leave
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.redaction import fit_attributes, fit_to_leave
from otel_tokenstream.core.text import repaired

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import Span, Tracer


class Step:
    """A current span around a piece of a program; an error leaves its class on it and nothing else."""

    __slots__ = ("_attached", "_attributes", "_context", "_kind", "_name", "_span", "_tracer")

    def __init__(
        self,
        tracer: Tracer | None,
        name: str,
        attributes: Mapping[str, Any] | None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._kind = kind
        self._span: Span | None = None

    def __enter__(self) -> Span:
        self._start()
        return self._span or trace.INVALID_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(kind)

    @guarded
    def _start(self) -> None:
        if self._tracer is not None and is_instrumentation_enabled():
            # A name that cannot be encoded costs the whole batch.
            name, attributes = fit_to_leave(self._name, None), fit_attributes(self._attributes or {}, None)
            self._span = self._tracer.start_span(name, kind=self._kind, attributes=attributes)
            self._context = trace.set_span_in_context(self._span)
            self._attached = attach(self._context)

    @guarded
    def _end(self, kind: type[BaseException] | None) -> None:
        if self._span is None:
            return
        leave(self._context, self._attached, kind)
        if kind is not None and issubclass(kind, Exception):
            self._span.set_attribute(signals.ERROR_TYPE, repaired(kind.__qualname__))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
