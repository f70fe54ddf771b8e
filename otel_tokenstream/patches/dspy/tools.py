"""Tools: a span around each call, by the conventions. What a tool was given and gave is content."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.content.attributes import value_attribute
from otel_tokenstream.core.content.redaction import redacted, sanitize
from otel_tokenstream.core.emit.agents import current_calls
from otel_tokenstream.core.runtime.context import set_contextvar
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.dspy import optimizers
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from opentelemetry.trace import Span

    from otel_tokenstream.core.emit.internal_span import Step
    from otel_tokenstream.core.emit.telemetry import Telemetry

_MODULE = "dspy.adapters.types.tool"

# The Tool that a ToolCall runs: the span is there already, so the Tool makes none; tools called inside do.
_called: ContextVar[object] = ContextVar("otel_tokenstream_tool", default=None)


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for attribute, wrap, since in (
        ("Tool.__call__", _call, ()),
        ("Tool.acall", _acall, ()),
        ("ToolCalls.ToolCall.execute", _execute, (3, 4)),
    ):
        entry = PublicEntry(f"dspy.{attribute.removesuffix('.__call__')}", since)
        yield Patch(_MODULE, attribute, partial(wrap, telemetry), optional=True, entries=(entry,))


def _call(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        if optimizers.suppressed():
            return original.__get__(self)(*args, **kwargs)
        if _called.get() is self:
            with set_contextvar(_called, None):
                return original.__get__(self)(*args, **kwargs)
        with _step(telemetry, self, kwargs) as span:
            result = original.__get__(self)(*args, **kwargs)
            _write_result(telemetry, span, result)
            return result

    return __call__


def _acall(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        if optimizers.suppressed():
            return await original.__get__(self)(*args, **kwargs)
        if _called.get() is self:
            with set_contextvar(_called, None):
                return await original.__get__(self)(*args, **kwargs)
        with _step(telemetry, self, kwargs) as span:
            result = await original.__get__(self)(*args, **kwargs)
            _write_result(telemetry, span, result)
            return result

    return acall


def _execute(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def execute(self: Any, functions: Any = None) -> Any:
        if functions is None:  # DSPy looks among its caller's names, and that is this function
            functions = _named(inspect.currentframe(), self.name)
        if optimizers.suppressed():
            return original.__get__(self)(functions)
        found = functions.get(self.name) if isinstance(functions, dict) else None
        with _step(telemetry, self, self.args) as span:
            with set_contextvar(_called, getattr(found, "__self__", found)):
                result = original.__get__(self)(functions)
            _write_result(telemetry, span, result)
            return result

    return execute


def _named(frame: FrameType | None, name: str) -> dict[str, Any]:
    """Return what the caller of a frame's function has under a name."""
    caller = frame and frame.f_back
    return {name: caller.f_locals.get(name) or caller.f_globals.get(name)} if caller else {}


def _step(telemetry: Telemetry, tool: Any, arguments: object) -> Step:
    # The model may have written it, as it may the call's id.
    calls = current_calls() if telemetry.settings.new_names else None
    if calls is not None:
        calls.tools += 1
    name = redacted(telemetry.settings.redact, str(getattr(tool, "name", None) or "tool"))
    return telemetry.step(f"execute_tool {name}", _about(telemetry, name, tool, arguments))


@guarded
def _about(telemetry: Telemetry, name: str, tool: Any, arguments: object) -> dict[str, Any]:
    about: dict[str, Any] = {
        signals.OPERATION_NAME: "execute_tool",
        signals.TOOL_NAME: name,
        signals.TOOL_TYPE: "function",
        signals.TOOL_CALL_ID: sanitize(getattr(tool, "id", None), telemetry.settings.redact),
    }
    if telemetry.settings.content_on_spans:
        about[signals.TOOL_CALL_ARGUMENTS] = value_attribute(arguments, telemetry.settings)
    return {key: value for key, value in about.items() if value is not None}


@guarded
def _write_result(telemetry: Telemetry, span: Span, result: object) -> None:
    if telemetry.settings.content_on_spans and span.is_recording():
        shown = value_attribute(result, telemetry.settings)
        if shown is not None:
            span.set_attribute(signals.TOOL_CALL_RESULT, shown)
