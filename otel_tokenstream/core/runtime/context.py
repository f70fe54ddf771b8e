"""Attach and detach contexts, tolerating a detach in another context than the attach."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import Token
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import context as api
from opentelemetry.context import attach, create_key, get_current, get_value, set_value

from otel_tokenstream.core.runtime.guard import pass_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import ContextVar

    from opentelemetry.context import Context

T = TypeVar("T")

_OUTER_KEY = create_key("otel_tokenstream_outer")


def detach(token: Any) -> None:
    """Make current again what was so before.

    OpenTelemetry's own function would take what a signal handler raises meanwhile for a failure, and only log it.
    """
    try:
        token.var.reset(token)
    except (AttributeError, LookupError, RuntimeError, ValueError) as error:  # of another kind, or context
        pass_on(error)
        api.detach(token)


def within_current(context: Context) -> Context:
    """Return the context with word of the one that is current now."""
    return set_value(_OUTER_KEY, get_current(), context)


def outer_of(context: Context) -> Any:
    """Return the context that was current where ``within_current`` was called for this one; None where it was not."""
    return get_value(_OUTER_KEY, context)


def detach_interrupted(context: Context, token: Any) -> None:
    """Make current again what was so before ``context``, wherever attaching or detaching was interrupted."""
    current = get_current()
    if token is None:
        outer = outer_of(context)
        if current is context and outer is not None:
            attach(outer)
        return
    before = getattr(token, "old_value", Token.MISSING)
    if current is context or (before is not Token.MISSING and current is not before):
        reset(token.var, token)


def detach_safely(context: Context, token: Any, error: type[BaseException] | None) -> None:
    """Make current again what was so before ``context``; ``error`` is what ended its time.

    A generator or coroutine that is dropped unwinds in whatever context it is dropped in: there
    is nothing of ours to restore there, and OpenTelemetry logs an error if it is tried.
    """
    if error is None or not issubclass(error, GeneratorExit) or get_current() is context:
        detach(token)


def reset(variable: ContextVar[T], token: Token[T]) -> None:
    """Reset a context variable, unless it was reset before or we are in another context by now.

    A context manager that a signal handler's exception interrupted may reset it at any time later.
    """
    with suppress(LookupError, RuntimeError, ValueError):
        variable.reset(token)


@contextmanager
def set_contextvar(variable: ContextVar[Any], value: T) -> Iterator[T]:
    """Set a context variable for the block."""
    token = variable.set(value)
    try:
        yield value
    finally:
        reset(variable, token)
