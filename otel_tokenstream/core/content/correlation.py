"""Correlation of calls: values given once, recorded on every span, event and live token of the call tree.

It travels in the OpenTelemetry context, so it follows tasks and the threads that context
follows, under a key of its own and not as baggage: baggage is sent along with every HTTP
request, to the model's provider too.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from opentelemetry import baggage
from opentelemetry.context import attach, create_key, get_value, set_value
from opentelemetry.trace import SpanContext

from otel_tokenstream import signals
from otel_tokenstream.core.content.redaction import sanitize_attributes
from otel_tokenstream.core.runtime.context import detach_safely
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context

    from otel_tokenstream.core.content.redaction import RedactionHook

    F = TypeVar("F", bound=Callable[..., Any])

LONGEST_VALUE = 256

# By the names ``correlate`` takes.
_ATTRIBUTES = {
    "conversation_id": signals.CONVERSATION_ID,
    "user_id": signals.USER_ID,
    "request_id": signals.REQUEST_ID,
    "operation": signals.OPERATION,
}
_NAMES = {attribute: name for name, attribute in _ATTRIBUTES.items()}
_KEY = create_key("otel_tokenstream_correlation")
_CONTINUED_KEY = create_key("otel_tokenstream_continued")
_NOTHING: dict[str, str] = {}


def correlation(baggage_keys: Iterable[str] = ()) -> Mapping[str, str]:
    """Return what holds here, by name; what ``correlate`` was given comes before baggage."""
    given: Any = get_value(_KEY) or _NOTHING
    found = {}
    for key in baggage_keys:
        value = baggage.get_baggage(key)
        measured = key in signals.SPAN_ATTRIBUTES and key not in _NAMES  # not for a caller of the program to say
        if isinstance(value, str) and value and not measured:
            found[_NAMES.get(key, key)] = _fitted(value)
    return {**found, **given} if found else given


def attributes(values: Mapping[str, str], hook: RedactionHook | None) -> dict[str, str]:
    """Return a correlation as attributes of a span or log record, redacted. Never of a metric."""
    return sanitize_attributes({_ATTRIBUTES.get(name, name): value for name, value in values.items()}, hook)


def also(context: Context, values: Mapping[str, str]) -> Context:
    """Return a context in which these values hold too, by the names ``correlate`` takes, where none is given."""
    held: Any = get_value(_KEY, context) or _NOTHING
    return set_value(_KEY, {**{name: _fitted(value) for name, value in values.items()}, **held}, context)


def continued() -> SpanContext | None:
    """Return the span whose answer the model calls made here go on with, by ``correlate(continues=...)``."""
    known: Any = get_value(_CONTINUED_KEY)
    found: SpanContext | None = known
    return found


class _Entered(NamedTuple):
    """The state that a ``with`` statement restores, kept for each task: several may share one ``correlate``."""

    by: correlate
    context: Context
    token: Token[Context]
    outer: _Entered | None


_entered: ContextVar[_Entered | None] = ContextVar("otel_tokenstream_correlate", default=None)


class correlate:  # noqa: N801  # used as a verb, like the context managers of contextlib
    """Say who the model calls and steps inside are for; as a context manager or as a decorator.

        with correlate(conversation_id="c-17", user_id="u-4"):
            answer = program(question=question)

    ``continues`` is the span of an answer that broke off or was interrupted, as a live event's
    ``span_context`` has it: the spans of model calls inside are linked to it.

    Inner values win over outer ones. Values are cut to 256 characters. In a generator use the
    decorator, ``correlate(request_id=...)(stream_answer)(question)``: a ``with`` statement around
    a ``yield`` also holds in whoever reads the generator, between its reads.

    Raises:
        TypeError: a value is not a string, or what is continued no span context.

    """

    __slots__ = ("_continues", "_values")

    def __init__(
        self,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        request_id: str | None = None,
        operation: str | None = None,
        continues: SpanContext | None = None,
    ) -> None:
        given = {
            "conversation_id": conversation_id,
            "user_id": user_id,
            "request_id": request_id,
            "operation": operation,
        }
        for name, value in given.items():
            if value is not None and not isinstance(value, str):
                message = f"correlate({name}=...) takes a string, not {type(value).__name__}"
                raise TypeError(message)
        if not (continues is None or isinstance(continues, SpanContext)):
            message = (
                f"correlate(continues=...) takes a span context, as the span_context of a live event is, "
                f"not {type(continues).__name__}"
            )
            raise TypeError(message)
        self._continues = continues
        self._values = {name: _fitted(value) for name, value in given.items() if value}

    def __enter__(self) -> None:
        held: Any = get_value(_KEY) or _NOTHING
        context = set_value(_KEY, {**held, **self._values})
        if self._continues is not None:
            context = set_value(_CONTINUED_KEY, self._continues, context)
        _entered.set(_Entered(self, context, attach(context), _entered.get()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entered = _entered.get()
        # A generator that is dropped unwinds in whatever context it is dropped in.
        if entered is not None and entered.by is self:
            _entered.set(entered.outer)
            detach_safely(entered.context, entered.token, kind)

    def __call__(self, function: F) -> F:
        """Hold during each call of a function, coroutine or generator function, and in no other code."""
        held: Any
        if isasyncgenfunction(function):
            held = self._around_async_generator(function)
        elif isgeneratorfunction(function):
            held = self._around_generator(function)
        elif iscoroutinefunction(function):
            held = self._around_coroutine(function)
        else:
            held = self._around_function(function)
        wrapper: Any = wraps(function)(held)
        found: F = wrapper
        return found

    def _around_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return call

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return call

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def generate(*args: Any, **kwargs: Any) -> Generator[Any, None, Any]:
            stream = function(*args, **kwargs)
            step = partial(next, stream)
            try:
                while True:
                    with self:
                        try:
                            item = step()
                        except StopIteration as end:
                            return end.value
                    try:
                        step = partial(stream.send, (yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001  # the function's to deal with
                        step = partial(stream.throw, error)
            finally:
                with self:
                    stream.close()

        return generate

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def generate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            stream = function(*args, **kwargs)
            step = partial(anext, stream)
            try:
                while True:
                    with self:
                        try:
                            item = await step()
                        except StopAsyncIteration:
                            return
                    try:
                        step = partial(stream.asend, (yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001  # as above
                        step = partial(stream.athrow, error)
            finally:
                with self:
                    await stream.aclose()

        return generate


def _fitted(value: str) -> str:
    return repaired(value[:LONGEST_VALUE])
