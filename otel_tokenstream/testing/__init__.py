"""A program's streams for its own tests: the pytest fixture ``tokenstream``.

    def test_answer(tokenstream):
        answer("Why is the sky blue?")
        (generation,) = tokenstream.generations
        assert generation.outcome == "completed"

Settings are given with a mark, and failures of what a test expects show the stream's timeline:

    @pytest.mark.tokenstream(stall_threshold=0.5)
    def test_stream(tokenstream):
        answer("Why is the sky blue?")
        tokenstream.assert_outcome("completed")
        tokenstream.assert_first_token_within(2.0)
        tokenstream.assert_no_stall()

The fixture stands as soon as this package is installed beside pytest. It needs the SDK:
``pip install opentelemetry-sdk``.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import (
    AnthropicInstrumentor,
    DSPyInstrumentor,
    LangChainInstrumentor,
    LionAGIInstrumentor,
    LionprideInstrumentor,
    LiteLLMInstrumentor,
    OpenAIInstrumentor,
    signals,
)
from otel_tokenstream.testing import asserts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

_INSTRUMENTORS = {
    "litellm": LiteLLMInstrumentor,
    "dspy": DSPyInstrumentor,
    "langchain_core": LangChainInstrumentor,
    "openai": OpenAIInstrumentor,
    "anthropic": AnthropicInstrumentor,
    "lionagi": LionAGIInstrumentor,
    "lionpride": LionprideInstrumentor,
}


@dataclass(frozen=True)
class Event:
    """One event of a span or one log record; ``at`` is wall-clock time in ns."""

    name: str
    at: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Generation:
    """One model call, as its span tells it."""

    span: ReadableSpan
    parent: ReadableSpan | None
    """The span it was made under, if that one has ended too."""

    @property
    def name(self) -> str:
        return str(self.span.name)

    @property
    def outcome(self) -> str:
        return str(self.attributes[signals.OUTCOME])

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        return dict(self.span.attributes or {})

    @cached_property
    def events(self) -> list[Event]:
        return [Event(event.name, event.timestamp, dict(event.attributes or {})) for event in self.span.events]

    @property
    def tokens(self) -> list[Event]:
        """Events of chunks, without milestones and stalls."""
        return [event for event in self.events if event.name == signals.TOKEN_EVENT]

    @property
    def text(self) -> str:
        """Captured content of the events, in order."""
        return "".join(event.attributes.get(signals.AT_TEXT, "") for event in self.tokens)

    @property
    def fields(self) -> dict[str, str]:
        """Captured content of each output field; events that fields share belong to none."""
        found: defaultdict[str, str] = defaultdict(str)
        for event in self.tokens:
            if signals.AT_FIELD in event.attributes:
                found[event.attributes[signals.AT_FIELD]] += event.attributes.get(signals.AT_TEXT, "")
        return dict(found)

    @property
    def timeline(self) -> str:
        """What came and when, a line each."""
        return asserts.timeline(self)

    def assert_no_stall(self, *, longer_than: float | None = None) -> None:
        """Fail where a read after the first token was blocked for the stall threshold, or for so many seconds."""
        __tracebackhide__ = True
        asserts.no_stall(self, longer_than)

    def assert_first_token_within(self, seconds: float) -> None:
        """Fail where the first token came later after the call, or never."""
        __tracebackhide__ = True
        asserts.first_token_within(self, seconds)

    def assert_outcome(self, outcome: str, error_type: str | None = None) -> None:
        """Fail where the call ended otherwise; ``error_type`` is the class name of an error."""
        __tracebackhide__ = True
        asserts.outcome(self, outcome, error_type)


class Capture:
    """Everything that was emitted so far. Each look at a property is a new look."""

    def __init__(
        self,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        logger_provider: LoggerProvider,
        exported: tuple[InMemorySpanExporter, InMemoryMetricReader, InMemoryLogRecordExporter],
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.logger_provider = logger_provider
        self._spans, self._metrics, self._logs = exported

    @property
    def spans(self) -> list[ReadableSpan]:
        """Ended spans in the order of their ends, the program's own among them if it uses ``tracer_provider``."""
        return list(self._spans.get_finished_spans())

    @property
    def generations(self) -> list[Generation]:
        """Ended model calls in the order of their ends."""
        spans = self.spans
        by_id = {span.context.span_id: span for span in spans if span.context is not None}
        return [
            Generation(span, by_id.get(span.parent.span_id) if span.parent is not None else None)
            for span in spans
            if signals.OUTCOME in (span.attributes or {})
        ]

    @property
    def metrics(self) -> dict[str, list[Any]]:
        """Data points of the SDK by metric name, collected now, cumulative."""
        data = self._metrics.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def logs(self) -> list[Event]:
        """Log records in the order in which they were emitted."""
        records = (each.log_record for each in self._logs.get_finished_logs())
        return [
            Event(record.event_name or "", record.timestamp or 0, dict(record.attributes or {})) for record in records
        ]

    def assert_no_stall(self, *, longer_than: float | None = None) -> None:
        """Expect it of every call; see ``Generation``. Fail where no call has ended."""
        __tracebackhide__ = True
        for generation in self._ended():
            generation.assert_no_stall(longer_than=longer_than)

    def assert_first_token_within(self, seconds: float) -> None:
        """Expect it of every streamed call; see ``Generation``. Fail where none has ended."""
        __tracebackhide__ = True
        for generation in self._ended(streamed=True):
            generation.assert_first_token_within(seconds)

    def assert_outcome(self, outcome: str, error_type: str | None = None) -> None:
        """Expect it of every call; see ``Generation``. Fail where no call has ended."""
        __tracebackhide__ = True
        for generation in self._ended():
            generation.assert_outcome(outcome, error_type)

    def _ended(self, *, streamed: bool = False) -> list[Generation]:
        __tracebackhide__ = True
        found = [each for each in self.generations if not streamed or each.attributes.get(signals.REQUEST_STREAM)]
        if not found:
            calls = "streamed call" if streamed else "model call"
            message = f"no {calls} has ended: nothing of litellm, DSPy or LangChain was called, or it runs still"
            raise AssertionError(message)
        return found

    def clear(self) -> None:
        """Forget spans and logs; metrics go on counting."""
        self._spans.clear()
        self._logs.clear()


@contextmanager
def capture(**settings: Any) -> Iterator[Capture]:
    """Instrument every library that is installed, while the ``with`` block lasts.

    Takes every setting by name; see ``otel_tokenstream.settings``.

    Raises:
        SettingError: a setting is unknown or its value is not allowed.
        RuntimeError: a library is instrumented already, so that nothing would arrive here.

    """
    # The SDK is loaded only by those who capture: pytest loads this module in every run.
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415
    from opentelemetry.sdk._logs.export import (  # noqa: PLC0415
        InMemoryLogRecordExporter,
        SimpleLogRecordProcessor,
    )
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    logs: InMemoryLogRecordExporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # untyped
    tracer_provider, logger_provider = TracerProvider(), LoggerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    logger_provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    captured = Capture(tracer_provider, MeterProvider([reader]), logger_provider, (spans, reader, logs))
    instrumentors = [make() for library, make in _INSTRUMENTORS.items() if find_spec(library) is not None]
    for instrumentor in instrumentors:
        if instrumentor.is_instrumented_by_opentelemetry:
            name = type(instrumentor).__name__
            message = f"the library is instrumented already: call {name}().uninstrument() before the test"
            raise RuntimeError(message)
    try:
        for instrumentor in instrumentors:
            instrumentor.instrument(
                tracer_provider=tracer_provider,
                meter_provider=captured.meter_provider,
                logger_provider=logger_provider,
                **settings,
            )
        yield captured
    finally:
        for instrumentor in instrumentors:
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()
        for provider in (tracer_provider, captured.meter_provider, logger_provider):
            provider.shutdown()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "tokenstream(**settings): settings of otel-tokenstream for its fixture of that name"
    )


@pytest.fixture
def tokenstream(request: pytest.FixtureRequest) -> Iterator[Capture]:
    """The signals of the test's model calls, with their content, which stays in the test's memory.

    Settings come from ``pytest.mark.tokenstream``; of several marks the nearest one's value counts.
    """
    settings: dict[str, Any] = {"capture_content": "SPAN_AND_EVENT"}
    for mark in reversed(list(request.node.iter_markers("tokenstream"))):
        settings |= mark.kwargs
    with capture(**settings) as captured:
        yield captured
