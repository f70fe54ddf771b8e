"""One model call, one span: a call that a library makes to answer a call belongs to the outer one."""

from __future__ import annotations

import sys
import weakref
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import attach, get_value, set_value
from opentelemetry.trace import get_current_span

from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.call.stream_proxy import outcome_of
from otel_tokenstream.core.runtime.context import detach_interrupted, detach_safely, reset, within_current
from otel_tokenstream.core.runtime.guard import guarded, is_of_signal_handler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otel_tokenstream.core.call.model_call import ModelCall

_owner: ContextVar[CallScope | ReadScope | None] = ContextVar("otel_tokenstream_owner", default=None)

# By this key the instrumentations built on opentelemetry-util-genai find that a call has its
# inference span already. They look for an object of their own class, so it is used where that
# package has been imported, and not depended on.
_GENAI_KEY = "opentelemetry.genai.client.inference.context"
_GENAI_MODULE = "opentelemetry.util.genai.invocation"

_OUR_KEY = "otel_tokenstream_inference"
_READ_KEY = "otel_tokenstream_read"
_SPAN_KEY = "otel_tokenstream_span"


def owner() -> CallScope | ReadScope | None:
    """Return what calls made in this context belong to, if anything."""
    return _owner.get()


def current_call() -> ModelCall | None:
    """Return the call that the library is making right now, if any."""
    owning = _owner.get()
    # Tasks that the creating call left behind have copied its context and outlive it.
    return owning.call if owning is not None and owning.active and not owning.call.ended else None


def forget_current_call() -> None:
    """Let calls made in this context, a thread's or a task's of its own, have no owner."""
    _owner.set(None)


@contextmanager
def no_current_call() -> Iterator[None]:
    """Let calls made inside have no owner: whatever makes them is no part of the one that is being made."""
    token = _owner.set(None)
    try:
        yield
    finally:
        reset(_owner, token)


def reading(call: ModelCall) -> Context:
    """Return the call's context, which is current during each read, with word of whose reads and span they are."""
    context = set_value(_SPAN_KEY, get_current_span(call.context), within_current(call.context))
    return set_value(_READ_KEY, weakref.ref(call), context)


def is_ours(span: Span) -> bool:
    """Return whether this is the span of the call whose context we are in, or that the context was copied from."""
    return get_value(_SPAN_KEY) is span


def call_being_read() -> ModelCall | None:
    """Return the call whose stream is being read right now, if any: its library makes a call in mid-stream."""
    known: Any = get_value(_READ_KEY)
    call: ModelCall | None = known and known()
    return call if call is not None and call.read_started and not call.ended else None


@contextmanager
def outside_read() -> Iterator[None]:
    """Let what is done inside be no part of the read that is under way, if there is one."""
    if call_being_read() is None:
        yield
        return
    context = set_value(_READ_KEY, None)
    token, error = attach(context), None
    try:
        yield
    except BaseException as raised:
        error = type(raised)
        raise
    finally:
        detach_safely(context, token, error)


def owned_elsewhere() -> bool:
    """Return whether another GenAI instrumentation has a span for this call already."""
    known = get_value(_GENAI_KEY)
    return known is not None and known is not get_value(_OUR_KEY)


def mark(context: Context) -> Context:
    """Tell other GenAI instrumentations that the span in this context is the call's."""
    inference = getattr(sys.modules.get(_GENAI_MODULE), "InferenceData", None)
    if inference is None:
        return context
    data = inference()
    return set_value(_OUR_KEY, data, set_value(_GENAI_KEY, data, context))


class CallScope:
    """Around the creating call only: its span is current and calls made inside belong to it.

    Where ``owns`` is False the span is current, and calls made inside are calls of their own.
    """

    __slots__ = ("_attached", "_owns", "_set", "active", "call")

    def __init__(self, call: ModelCall, *, owns: bool = True) -> None:
        self.call = call
        self._owns = owns
        self.active = True
        self._attached: Any = None
        self._set: Token[CallScope | ReadScope | None] | None = None

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.active = False
        self._end(kind)

    @guarded
    def _begin(self) -> None:
        if self._owns:
            self._set = _owner.set(self)
        self._attached = attach(self.call.context)

    @guarded
    def _end(self, kind: type[BaseException] | None) -> None:
        detach_safely(self.call.context, self._attached, kind)
        if self._set is not None:
            reset(_owner, self._set)


class ReadScope:
    """During one read of a stream that makes requests itself: calls made until ``leave`` belong to its call."""

    __slots__ = ("_token", "active", "call")

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        self.active = True
        self._token = _owner.set(self)

    def leave(self) -> None:
        self.active = False
        reset(_owner, self._token)


def begun(since: int) -> ModelCall | None:
    """Return the call that this thread has begun last, if it was after ``since``."""
    return cast("ModelCall | None", in_flight.newest(since))


def aborted(call: ModelCall, error: BaseException) -> None:
    """End a call that failed before its result was handed over, wherever a signal handler may have interrupted it."""
    call.end(outcome_of(error), error)
    if is_of_signal_handler(error) or not isinstance(error, (Exception, GeneratorExit)):
        detach_interrupted(call.context, None)
