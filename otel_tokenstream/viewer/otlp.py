"""OTLP requests, protobuf or JSON, to the rows the store keeps."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import LARGEST
from otel_tokenstream.viewer.limits import (
    MAX_BUCKETS,
    MAX_ROWS,
    MalformedError,
    TooLargeError,
    check_json,
    check_protobuf,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.message import Message
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1 import trace_pb2

Attributes = dict[str, Any]

MAX_REQUEST_BYTES = 16 * 2**20
MAX_NS = 2**63 - 1  # OTLP's times are unsigned, SQLite's integers are not


@dataclass(frozen=True)
class Span:
    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    attributes: Attributes
    events: list[dict[str, Any]]
    """Each ``{"name", "time_ns", "attributes"}``, in the order sent."""
    resource: Attributes
    links: list[dict[str, Any]] = field(default_factory=list)
    """Each ``{"trace_id", "span_id", "attributes"}``, in the order sent."""


@dataclass(frozen=True)
class Record:
    """One log record; ``name`` is its event name, empty for an ordinary one, as are ids it lacks."""

    trace_id: str
    span_id: str
    service: str
    name: str
    time_ns: int
    severity: str
    body: Any
    attributes: Attributes


@dataclass(frozen=True)
class Point:
    """The newest value of one metric series: a number, or a histogram's or summary's fields."""

    service: str
    name: str
    unit: str
    kind: str
    time_ns: int
    attributes: Attributes
    resource: Attributes
    value: Any


@dataclass
class Rows:
    """``rejected`` counts what can never be stored, by reason; ``size`` is the request's in bytes."""

    spans: list[Span] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    size: int = 0
    _room: int = MAX_ROWS

    def take(self, count: int = 1) -> None:
        """Raises TooLargeError, before the rows are made."""
        self._room -= count
        if self._room < 0:
            raise TooLargeError(MAX_ROWS, "spans, events, links, log records and data points")


@dataclass(frozen=True)
class Signal:
    """One of OTLP's services: where it listens, its messages, and how a request becomes rows."""

    path: str
    service: str
    request: type[Message]
    response: type[Message]
    rejected_field: str
    rows: Callable[[Any], Rows]

    def decode(self, body: bytes, *, as_json: bool = False) -> Rows:
        """Raises MalformedError, TooLargeError."""
        try:
            if as_json:
                check_json(body)
                tree = json.loads(body)
                _ids_to_base64(tree)
                message = json_format.ParseDict(tree, self.request(), ignore_unknown_fields=True)
            else:
                check_protobuf(body, self.request)
                message = self.request.FromString(body)
            rows = self.rows(message)
        except (MalformedError, TooLargeError):
            raise
        except Exception as error:  # every fault of a message is its sender's, and trying again would not mend it
            what = "JSON" if as_json else "protobuf"
            text = f"not an OTLP {self.request.DESCRIPTOR.name} in {what}: {error}"[:500]
            # A lone surrogate of the request can be sent in no answer.
            raise MalformedError(text.encode("ascii", "backslashreplace").decode()) from error
        rows.size = len(body)
        return rows

    def answer(self, rejected: Counter[str]) -> Message:
        """The service's response; empty when all was taken, as the protocol wants it."""
        response: Any = self.response()  # its fields differ by service
        if rejected:
            setattr(response.partial_success, self.rejected_field, sum(rejected.values()))
            response.partial_success.error_message = "; ".join(rejected)
        message: Message = response
        return message


def _ids_to_base64(node: Any) -> None:
    # OTLP's JSON departs from protobuf's own mapping in one thing: ids are hex, not base64.
    if isinstance(node, list):
        for item in node:
            _ids_to_base64(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in {"traceId", "spanId", "parentSpanId"} and isinstance(value, str):
                node[key] = base64.b64encode(bytes.fromhex(value)).decode()
            else:
                _ids_to_base64(value)


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return _finite(value.double_value)
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case _:
            return None


_NOT_FINITE = {"nan", "inf", "-inf"}


def _finite(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)  # JSON has no word for NaN and the infinities


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _resource(resource: Resource) -> tuple[Attributes, str]:
    attributes = _attributes(resource.attributes)
    return attributes, str(attributes.get("service.name", "unknown_service"))


def _is_id(value: bytes, length: int) -> bool:
    return len(value) == length and any(value)


_BAD_ID = "trace_id must have 16 bytes, span_id 8, not all zero"
_BAD_OFFSET = f"{signals.AT_OFFSET_US} must be from 0 to {LARGEST}"
_BAD_BUCKETS = f"a histogram may have {MAX_BUCKETS} buckets"


def _trace_rows(request: trace_service_pb2.ExportTraceServiceRequest) -> Rows:
    rows = Rows()
    for group in request.resource_spans:
        resource, service = _resource(group.resource)
        for scope in group.scope_spans:
            for span in scope.spans:
                if not (_is_id(span.trace_id, 16) and _is_id(span.span_id, 8)):
                    rows.rejected[_BAD_ID] += 1
                    continue
                rows.take(1 + len(span.events) + len(span.links))
                rows.spans.append(_span(span, resource, service))
    return rows


def _span(span: trace_pb2.Span, resource: Attributes, service: str) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        kind={1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}.get(span.kind, "unspecified"),
        start_ns=min(span.start_time_unix_nano, MAX_NS),
        end_ns=min(span.end_time_unix_nano, MAX_NS),
        status={1: "ok", 2: "error"}.get(span.status.code, "unset"),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=[
            {
                "name": event.name,
                "time_ns": min(event.time_unix_nano, MAX_NS),
                "attributes": _attributes(event.attributes),
            }
            for event in span.events
        ],
        resource=resource,
        links=[
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ],
    )


def _log_rows(request: logs_service_pb2.ExportLogsServiceRequest) -> Rows:
    rows = Rows()
    for group in request.resource_logs:
        _, service = _resource(group.resource)
        for scope in group.scope_logs:
            rows.take(len(scope.log_records))
            for each in scope.log_records:
                record = _record(each, service)
                if _has_place(record):
                    rows.records.append(record)
                else:
                    rows.rejected[_BAD_OFFSET] += 1
    return rows


def _has_place(record: Record) -> bool:
    """False for an event of a stream whose offset is a number, but none that an offset can be."""
    offset = record.attributes.get(signals.AT_OFFSET_US)
    if record.name not in signals.EVENTS or isinstance(offset, bool):
        return True
    if isinstance(offset, str):  # infinities and NaN
        return offset not in _NOT_FINITE
    return not isinstance(offset, (int, float)) or 0 <= offset <= LARGEST


def _record(record: LogRecord, service: str) -> Record:
    attributes = _attributes(record.attributes)
    return Record(
        trace_id=record.trace_id.hex() if _is_id(record.trace_id, 16) else "",
        span_id=record.span_id.hex() if _is_id(record.span_id, 8) else "",
        service=service,
        # Before the field existed, and behind some pipelines, the name travels as an attribute.
        name=record.event_name or str(attributes.get("event.name", "")),
        time_ns=min(record.time_unix_nano or record.observed_time_unix_nano, MAX_NS),
        severity=record.severity_text,
        body=_plain(record.body),
        attributes=attributes,
    )


def _metric_rows(request: metrics_service_pb2.ExportMetricsServiceRequest) -> Rows:
    rows = Rows()
    for group in request.resource_metrics:
        resource, service = _resource(group.resource)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data") or "empty"
                rows.points.extend(
                    Point(service, metric.name, metric.unit, kind, time_ns, attributes, resource, value)
                    for time_ns, attributes, value in _points(metric, kind, rows)
                )
    return rows


def _points(metric: Metric, kind: str, rows: Rows) -> Iterator[tuple[int, Attributes, Any]]:
    points = getattr(metric, kind).data_points if kind != "empty" else ()
    rows.take(len(points))
    for point in points:
        if point.flags & 1:  # "no recorded value": the series ended
            continue
        if _buckets(point, kind) > MAX_BUCKETS:
            rows.rejected[_BAD_BUCKETS] += 1
            continue
        time_ns = min(point.time_unix_nano, MAX_NS)
        if kind in {"gauge", "sum"}:
            which = point.WhichOneof("value")
            yield time_ns, _attributes(point.attributes), _finite(getattr(point, which)) if which else None
        else:
            attributes = _attributes(point.attributes)
            for name in ("attributes", "time_unix_nano", "start_time_unix_nano", "exemplars"):
                if name in point.DESCRIPTOR.fields_by_name:
                    point.ClearField(name)
            yield time_ns, attributes, json_format.MessageToDict(point, preserving_proto_field_name=True)


def _buckets(point: Any, kind: str) -> int:
    if kind == "histogram":
        return max(len(point.bucket_counts), len(point.explicit_bounds))
    if kind == "exponential_histogram":
        return len(point.positive.bucket_counts) + len(point.negative.bucket_counts)
    return len(point.quantile_values) if kind == "summary" else 0


TRACES = Signal(
    "/v1/traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    trace_service_pb2.ExportTraceServiceRequest,
    trace_service_pb2.ExportTraceServiceResponse,
    "rejected_spans",
    _trace_rows,
)
METRICS = Signal(
    "/v1/metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    metrics_service_pb2.ExportMetricsServiceRequest,
    metrics_service_pb2.ExportMetricsServiceResponse,
    "rejected_data_points",
    _metric_rows,
)
LOGS = Signal(
    "/v1/logs",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    logs_service_pb2.ExportLogsServiceRequest,
    logs_service_pb2.ExportLogsServiceResponse,
    "rejected_log_records",
    _log_rows,
)
SIGNALS = (TRACES, METRICS, LOGS)
