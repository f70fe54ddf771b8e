"""Leaving what was made current for a while, also by those who end elsewhere than they began."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import detach, get_current

if TYPE_CHECKING:
    from contextvars import ContextVar, Token

    from opentelemetry.context import Context

T = TypeVar("T")


def leave(context: Context, token: Any, error: type[BaseException] | None) -> None:
    """Make current again what was so before ``context``; ``error`` is what ended its time.

    A generator or coroutine that is dropped unwinds in whatever context it is dropped in: there
    is nothing of ours to restore there, and OpenTelemetry logs an error if it is tried.
    """
    if error is None or not issubclass(error, GeneratorExit) or get_current() is context:
        detach(token)


def reset(variable: ContextVar[T], token: Token[T]) -> None:
    """Reset a context variable, unless we are in another context by now."""
    with suppress(ValueError):
        variable.reset(token)
