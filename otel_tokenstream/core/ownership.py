"""One generation, one span: a call that a library makes to answer a call belongs to the outer one."""

from __future__ import annotations

import sys
import weakref
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, get_value, set_value
from opentelemetry.trace import get_current_span

from otel_tokenstream.core.current import leave, reset
from otel_tokenstream.core.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otel_tokenstream.core.generation import Generation

_owner: ContextVar[Owning | None] = ContextVar("otel_tokenstream_owner", default=None)

# By this key the instrumentations built on opentelemetry-util-genai find that a call has its
# inference span already. They look for an object of their own class, so it is used where that
# package has been imported, and not depended on.
_GENAI_KEY = "opentelemetry.genai.client.inference.context"
_GENAI_MODULE = "opentelemetry.util.genai.invocation"

_OUR_KEY = "otel_tokenstream_inference"
_READ_KEY = "otel_tokenstream_read"
_SPAN_KEY = "otel_tokenstream_span"


def owner() -> Generation | None:
    """Return the generation within whose creating call we are, if any."""
    owning = _owner.get()
    # Tasks that the creating call left behind have copied its context and outlive it.
    return owning.call if owning is not None and owning.active else None


@contextmanager
def disowned() -> Iterator[None]:
    """Let calls made inside have no owner: whatever makes them is no part of the one that is being made."""
    token = _owner.set(None)
    try:
        yield
    finally:
        reset(_owner, token)


def reading(call: Generation) -> Context:
    """Return the call's context, which is current during each read, with word of whose reads and span they are."""
    context = set_value(_SPAN_KEY, get_current_span(call.context), call.context)
    return set_value(_READ_KEY, weakref.ref(call), context)


def is_ours(span: Span) -> bool:
    """Whether this is the span of the call whose context we are in, or that the context was copied from."""
    return get_value(_SPAN_KEY) is span


def read_now() -> Generation | None:
    """Return the generation within whose read we are, if any: its library makes a call in mid-stream."""
    known: Any = get_value(_READ_KEY)
    call: Generation | None = known and known()
    return call if call is not None and call.asked and not call.ended else None


def owned_elsewhere() -> bool:
    """Whether another GenAI instrumentation has a span for this call already."""
    known = get_value(_GENAI_KEY)
    return known is not None and known is not get_value(_OUR_KEY)


def mark(context: Context) -> Context:
    """Tell other GenAI instrumentations that the span in this context is the call's."""
    inference = getattr(sys.modules.get(_GENAI_MODULE), "InferenceData", None)
    if inference is None:
        return context
    data = inference()
    return set_value(_OUR_KEY, data, set_value(_GENAI_KEY, data, context))


class Owning:
    """Around the creating call only: its span is current and calls made inside belong to it."""

    __slots__ = ("_attached", "_set", "active", "call")

    def __init__(self, call: Generation) -> None:
        self.call = call
        self.active = True

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.active = False
        self._end(kind)

    @guarded
    def _begin(self) -> None:
        self._set: Token[Owning | None] = _owner.set(self)
        self._attached: Any = attach(self.call.context)

    @guarded
    def _end(self, kind: type[BaseException] | None) -> None:
        leave(self.call.context, self._attached, kind)
        reset(_owner, self._set)
