"""One generation, one span: a call that a library makes to answer a call belongs to the outer one."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach, get_value, set_value

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context

    from otel_tokenstream.core.generation import Generation

_owner: ContextVar[Generation | None] = ContextVar("otel_tokenstream_owner", default=None)

# By this key the instrumentations built on opentelemetry-util-genai find that a call has its
# inference span already. They look for an object of their own class, so it is used where that
# package has been imported, and not depended on.
_GENAI_KEY = "opentelemetry.genai.client.inference.context"
_GENAI_MODULE = "opentelemetry.util.genai.invocation"


def owner() -> Generation | None:
    """Return the generation within whose creating call we are, if any."""
    return _owner.get()


def owned_elsewhere() -> bool:
    """Whether another GenAI instrumentation has a span for this call already."""
    return get_value(_GENAI_KEY) is not None


def mark(context: Context) -> Context:
    """Tell other GenAI instrumentations that the span in this context is the call's."""
    data = getattr(sys.modules.get(_GENAI_MODULE), "InferenceData", None)
    return context if data is None else set_value(_GENAI_KEY, data(), context)


class Owning:
    """Around the creating call only: its span is current and calls made inside belong to it."""

    __slots__ = ("_attached", "_call", "_set")

    def __init__(self, call: Generation) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._set: Token[Generation | None] = _owner.set(self._call)
        self._attached: Any = attach(self._call.context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A coroutine that is dropped while pending unwinds in whatever context the collector
        # runs in: there is nothing of ours to restore there.
        if kind is None or not issubclass(kind, GeneratorExit):
            detach(self._attached)
            _owner.reset(self._set)
