"""Invocations of agents: how long each took, and how many models and tools it called.

Source: metrics ``gen_ai.invoke_agent.*`` of the GenAI semantic conventions.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import create_key, get_value, set_value

from otel_tokenstream import signals
from otel_tokenstream.core.emit.internal_span import Step
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from otel_tokenstream.core.emit.instruments import Instruments

INVOKE_AGENT = "invoke_agent"
INVOKE_WORKFLOW = "invoke_workflow"

_KEY = create_key("otel_tokenstream_agent")


class Calls:
    """Calls of one invocation so far; agents that it calls count their own."""

    __slots__ = ("models", "tools")

    def __init__(self) -> None:
        self.models = 0
        self.tools = 0


def current_calls() -> Calls | None:
    """Return the counts of the innermost invocation, None outside of any."""
    return calls_in(None)


def calls_in(context: Context | None) -> Calls | None:
    """Return the same for a context, by default the current one."""
    found: Calls | None = get_value(_KEY, context)  # type: ignore[assignment]  # the context holds any object
    return found


class AgentStep(Step):
    """The span of an invocation, whose metrics are recorded when it ends."""

    __slots__ = ("_calls", "_instruments", "_labels", "_started")

    def __init__(
        self, tracer: Tracer | None, instruments: Instruments, operation: str, name: str, attributes: Mapping[str, Any]
    ) -> None:
        named = {**attributes, signals.OPERATION_NAME: operation, signals.AGENT_NAME: name}
        super().__init__(tracer, f"{operation} {name}", named)
        self._instruments = instruments
        self._labels = {signals.OPERATION_NAME: operation, signals.AGENT_NAME: name}
        self._calls = Calls()
        self._started = time.perf_counter_ns()

    def _context_of(self, span: Span, above: Context | None) -> Context:
        return set_value(_KEY, self._calls, trace.set_span_in_context(span, above))

    @guarded
    def _end(self, kind: type[BaseException] | None) -> None:
        super()._end(kind)
        if self._span is None:
            return
        instruments, calls = self._instruments, self._calls
        labels = {**self._labels, signals.AGENT_NAME: instruments.agent(self._labels[signals.AGENT_NAME])}
        instruments.record(signals.INVOKE_AGENT_INFERENCE_CALLS, calls.models, labels, self._context)
        instruments.record(signals.INVOKE_AGENT_TOOL_CALLS, calls.tools, labels, self._context)
        if kind is not None and issubclass(kind, Exception):
            labels[signals.ERROR_TYPE] = instruments.error(repaired(kind.__qualname__))
        seconds = (time.perf_counter_ns() - self._started) / 1e9
        instruments.record(signals.INVOKE_AGENT_DURATION, seconds, labels, self._context)
