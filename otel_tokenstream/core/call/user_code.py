"""Calls of the program's own functions: redaction hooks, subscribers, sinks.

What they call is neither measured nor told. A redaction hook that asks a model would be called
for its own question, and so on without end.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from opentelemetry.context import Context, attach, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, suppress_instrumentation

from otel_tokenstream.core.call.nesting import current_call, forget_current_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

R = TypeVar("R")


def _keys() -> dict[str, object]:
    attach(Context())
    with suppress_instrumentation():
        return dict(get_current())


_SUPPRESSED = copy_context().run(_keys)


def suppress() -> None:
    """Suppress instrumentation in this context, a thread's or a task's of its own."""
    attach(Context({**get_current(), **_SUPPRESSED}))
    forget_current_call()


def call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function with instrumentation suppressed.

    It runs in a copy of the context, so that nothing is left behind wherever a signal handler interrupts.
    """
    if not is_instrumentation_enabled() and current_call() is None:
        return function(*args, **kwargs)
    context = copy_context()
    context.run(suppress)
    return context.run(function, *args, **kwargs)
