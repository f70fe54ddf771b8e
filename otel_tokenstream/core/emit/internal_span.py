"""A span around a piece of a program that is no model call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core.content.redaction import sanitize, sanitize_attributes
from otel_tokenstream.core.runtime.context import detach_safely
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.context import Context
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
        self._attached: Any = None

    def __enter__(self) -> Span:
        self._start()
        return self._span or trace.INVALID_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(kind)

    def begin_within(self, above: Context) -> Context:
        """Start the span below a context's and make nothing current; return the context that has the span.

        ``end_apart`` ends it.
        """
        self._open(above)
        return above if self._span is None else self._context

    def tell(self, name: str, value: str) -> None:
        if self._span is not None:
            self._span.set_attribute(name, value)

    def end_apart(self, kind: type[BaseException] | None) -> None:
        """End the span of ``begin_within`` with the class of an error, if there was one."""
        self._end(kind)

    @guarded
    def _start(self) -> None:
        self._open(None)
        if self._span is not None:
            self._attached = attach(self._context)

    @guarded
    def _open(self, above: Context | None) -> None:
        if self._tracer is not None and is_instrumentation_enabled():
            # A name that cannot be encoded costs the whole batch.
            name, attributes = sanitize(self._name, None), sanitize_attributes(self._attributes or {}, None)
            self._span = self._tracer.start_span(name, above, kind=self._kind, attributes=attributes)
            self._context = self._context_of(self._span, above)

    def _context_of(self, span: Span, above: Context | None) -> Context:
        return trace.set_span_in_context(span, above)

    @guarded
    def _end(self, kind: type[BaseException] | None) -> None:
        if self._span is None:
            return
        if self._attached is not None:
            detach_safely(self._context, self._attached, kind)
        if kind is not None and issubclass(kind, Exception):
            self._span.set_attribute(signals.ERROR_TYPE, repaired(kind.__qualname__))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
