"""Streams as an instrumented application sends them, through the real SDK and its exporters.

The times are made up and set explicitly, so that a test knows every number it should find.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_tokenstream.viewer.server import Viewer


@dataclass(frozen=True)
class Chunk:
    """One token event: a chunk, or ``count`` merged ones beginning at ``index``."""

    index: int
    offset_us: int
    gap_us: int
    wait_us: int
    chars: int = 4
    count: int = 1
    kind: str = ""
    field: str = ""
    text: str = ""

    def attributes(self) -> dict[str, Any]:
        """In the order in which they are sent; the last ones only when they say something."""
        always = {
            signals.AT_OFFSET_US: self.offset_us,
            signals.AT_GAP_US: self.gap_us,
            signals.AT_INDEX: self.index,
            signals.AT_WAIT_US: self.wait_us,
            signals.AT_CHARS: self.chars,
        }
        optional = {
            signals.AT_COUNT: self.count if self.count > 1 else None,
            signals.AT_KIND: self.kind,
            signals.AT_FIELD: self.field,
            signals.AT_TEXT: self.text,
        }
        return always | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True)
class Stream:
    chunks: Sequence[Chunk]
    operation: str = "chat"
    provider: str = "openai"
    model: str = "gpt-4o-mini"
    outcome: str = "completed"
    error_type: str = ""
    duration_us: int = 0
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def total_us(self) -> int:
        return self.duration_us or self.chunks[-1].offset_us + 2_000


def paced(
    count: int,
    *,
    first_us: int = 400_000,
    gap_us: int = 30_000,
    consumer_us: int = 0,
    stall_at: int = -1,
    stall_us: int = 2_500_000,
    fields: Sequence[str] = (),
    reasoning: int = 0,
    words: Sequence[str] = (),
    seed: int = 1,
) -> list[Chunk]:
    """Chunks at a provider's uneven pace; ``fields`` share them evenly, the first ``reasoning`` are reasoning."""
    rng = random.Random(seed)
    chunks: list[Chunk] = []
    offset = first_us
    for index in range(count):
        gap = 0 if index == 0 else int(gap_us * rng.lognormvariate(0, 0.45)) + consumer_us
        if index == stall_at:
            gap = stall_us
        if index:
            offset += gap
        text = words[index % len(words)] if words else ""
        chunks.append(
            Chunk(
                index,
                offset,
                gap,
                max(gap - consumer_us, 40) if index else first_us - 3_000,
                chars=len(text) or rng.randint(2, 8),
                kind="reasoning" if index < reasoning else "",
                field=fields[index * len(fields) // count] if fields else "",
                text=text,
            )
        )
    return chunks


def merged(chunks: Sequence[Chunk], budget: int = 32) -> list[Chunk]:
    """Neighbours folded together until at most ``budget`` events are left."""
    stride = 1
    while -(-len(chunks) // stride) > budget:
        stride *= 2
    groups = [chunks[start : start + stride] for start in range(0, len(chunks), stride)]
    return [
        replace(
            group[0],
            gap_us=max(chunk.gap_us for chunk in group),
            wait_us=sum(chunk.wait_us for chunk in group),
            chars=sum(chunk.chars for chunk in group),
            count=len(group),
            text="".join(chunk.text for chunk in group),
        )
        for group in groups
    ]


def events_of(stream: Stream) -> list[tuple[str, dict[str, Any]]]:
    """The events of the whole stream in their order."""
    chunks = stream.chunks if len(stream.chunks) <= 32 else merged(stream.chunks)
    events: list[tuple[str, dict[str, Any]]] = []
    for name, kinds in (
        (signals.FIRST_TOKEN_EVENT, {"", "reasoning"}),
        (signals.FIRST_ANSWER_TOKEN_EVENT, {""}),
    ):
        first = next((chunk for chunk in stream.chunks if chunk.kind in kinds), None)
        if first:
            events.append((name, _position(first)))
    events += [(signals.TOKEN_EVENT, chunk.attributes()) for chunk in chunks]
    events += [
        (signals.STALL_EVENT, {**_position(chunk), signals.AT_WAIT_US: chunk.wait_us}) for chunk in _stalls(stream)
    ]
    return sorted(events, key=lambda event: event[1][signals.AT_OFFSET_US])


def _position(chunk: Chunk) -> dict[str, Any]:
    return {
        signals.AT_OFFSET_US: chunk.offset_us,
        signals.AT_GAP_US: chunk.gap_us,
        signals.AT_INDEX: chunk.index,
    }


def _stalls(stream: Stream) -> list[Chunk]:
    return [chunk for chunk in stream.chunks[1:] if chunk.wait_us >= 2_000_000]


def call_of(stream: Stream) -> dict[str, Any]:
    return {
        signals.OPERATION_NAME: stream.operation,
        signals.PROVIDER_NAME: stream.provider,
        signals.REQUEST_MODEL: stream.model,
    }


def summary_of(stream: Stream) -> dict[str, Any]:
    """The attributes a generation span ends with."""
    chunks = stream.chunks
    gaps = sorted(chunk.gap_us for chunk in chunks[1:]) or [0]
    waits = sum(chunk.wait_us for chunk in chunks)
    opening_us = chunks[0].offset_us - chunks[0].wait_us
    answer = next((chunk.offset_us for chunk in chunks if not chunk.kind), None)
    span_us = max(chunks[-1].offset_us - chunks[0].offset_us, 1)
    merged_chunks = 0 if len(chunks) <= 32 else sum(chunk.count for chunk in merged(chunks) if chunk.count > 1)
    values: dict[str, Any] = {
        **call_of(stream),
        signals.REQUEST_STREAM: True,
        signals.OUTCOME: stream.outcome,
        signals.CHUNKS: len(chunks),
        signals.TIME_TO_FIRST_CHUNK: chunks[0].offset_us / 1e6,
        signals.TIME_TO_FIRST_TOKEN_MS: chunks[0].offset_us // 1000,
        signals.GAP_P50_MS: gaps[len(gaps) // 2] // 1000,
        signals.GAP_P95_MS: gaps[int(len(gaps) * 0.95)] // 1000,
        signals.GAP_MAX_MS: gaps[-1] // 1000,
        signals.WAIT_TOTAL_MS: waits // 1000,
        signals.WAIT_MAX_MS: max((chunk.wait_us for chunk in chunks[1:]), default=0) // 1000,
        signals.OPENING_MS: opening_us // 1000,
        signals.CONSUMER_TOTAL_MS: (stream.total_us - opening_us - waits) // 1000,
        signals.STALL_COUNT: len(_stalls(stream)),
        signals.STALL_TOTAL_MS: sum(chunk.wait_us for chunk in _stalls(stream)) // 1000,
        signals.USAGE_INPUT_TOKENS: 128,
        signals.USAGE_OUTPUT_TOKENS: len(chunks),
        signals.OUTPUT_RATE: (len(chunks) - 1) * 1e6 / span_us,
        **dict(stream.extra),
    }
    if answer is not None:
        values[signals.TIME_TO_FIRST_ANSWER_TOKEN_MS] = answer // 1000
    if merged_chunks:
        values[signals.EVENT_MERGED] = merged_chunks
        step = max(1, len(chunks) // 256)
        values[signals.OFFSETS_US] = [chunk.offset_us for chunk in chunks[::step]][:256]
    if stream.error_type:
        values[signals.ERROR_TYPE] = stream.error_type
    return values


class Application:
    """An instrumented application that exports at once, so that a test need not wait."""

    def __init__(self, viewer: Viewer, service: str = "checkout", protocol: str = "http") -> None:
        exporters = _http_exporters(viewer) if protocol == "http" else _grpc_exporters(viewer)
        resource = Resource.create({"service.name": service})
        self.traces = TracerProvider(resource=resource)
        self.traces.add_span_processor(SimpleSpanProcessor(exporters[0]))
        self._reader = PeriodicExportingMetricReader(exporters[1], export_interval_millis=3_600_000)
        self.metrics = MeterProvider([self._reader], resource=resource)
        self.logs = LoggerProvider(resource=resource)
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(exporters[2]))
        self.tracer = self.traces.get_tracer(signals.SCOPE)
        self.meter = self.metrics.get_meter(signals.SCOPE)
        self.logger = self.logs.get_logger(signals.SCOPE)

    def stream(self, stream: Stream, start_ns: int = 0, *, events: bool = True) -> trace.SpanContext:
        """Sends the finished stream's span, under the current one."""
        start_ns = start_ns or time.time_ns() - stream.total_us * 1000
        span = self.tracer.start_span(
            f"{stream.operation} {stream.model}",
            kind=SpanKind.CLIENT,
            attributes=call_of(stream),
            start_time=start_ns,
        )
        if events:
            for name, attributes in events_of(stream):
                span.add_event(name, attributes, start_ns + attributes[signals.AT_OFFSET_US] * 1000)
        span.set_attributes(summary_of(stream))
        if stream.error_type:
            span.set_status(Status(StatusCode.ERROR))
        span.end(start_ns + stream.total_us * 1000)
        return span.get_span_context()

    @contextmanager
    def around(
        self, name: str, start_ns: int, end_ns: int, *, links: Sequence[trace.Link] = (), **attributes: Any
    ) -> Iterator[None]:
        """A span around what is sent in the block."""
        span = self.tracer.start_span(name, start_time=start_ns, attributes=attributes, links=links)
        with trace.use_span(span):
            yield
        span.end(end_ns)

    def log_events(
        self, stream: Stream, context: trace.SpanContext, start_ns: int, events: Sequence[tuple[str, dict[str, Any]]]
    ) -> None:
        """Sends events of the stream as log records, which come while it runs."""
        under = trace.set_span_in_context(trace.NonRecordingSpan(context))
        for name, attributes in events:
            self.logger.emit(
                LogRecord(
                    timestamp=start_ns + attributes[signals.AT_OFFSET_US] * 1000,
                    context=under,
                    event_name=name,
                    attributes={**attributes, **call_of(stream)},
                )
            )

    def log_ordinary(self, message: str) -> None:
        """Sends a record under the current span as an application's own logging does."""
        self.logger.emit(LogRecord(timestamp=time.time_ns(), body=message, severity_text="INFO"))

    def gauges(self, active: int, stalled: int) -> None:
        for name, value in ((signals.STREAM_ACTIVE, active), (signals.STREAM_STALLED, stalled)):
            self.meter.create_gauge(name, "{stream}").set(value, {signals.REQUEST_MODEL: "gpt-4o-mini"})
        self.metrics.force_flush()

    def close(self) -> None:
        for provider in (self.traces, self.metrics, self.logs):
            provider.shutdown()


def new_context() -> trace.SpanContext:
    """Ids of a span that has not been sent."""
    return trace.SpanContext(random.getrandbits(128), random.getrandbits(64), False, trace.TraceFlags(1))


def ids(context: trace.SpanContext) -> tuple[str, str]:
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def _http_exporters(viewer: Viewer) -> tuple[Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return (
        OTLPSpanExporter(f"{viewer.url}/v1/traces", compression=Compression.Gzip),
        OTLPMetricExporter(f"{viewer.url}/v1/metrics", compression=Compression.Deflate),
        OTLPLogExporter(f"{viewer.url}/v1/logs"),
    )


def _grpc_exporters(viewer: Viewer) -> tuple[Any, Any, Any]:
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    endpoint = f"127.0.0.1:{viewer.grpc_port}"
    return (
        OTLPSpanExporter(endpoint, insecure=True, compression=Compression.Gzip),
        OTLPMetricExporter(endpoint, insecure=True),
        OTLPLogExporter(endpoint, insecure=True),
    )
