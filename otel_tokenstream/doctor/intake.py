"""A receiver of OTLP/HTTP on this machine that keeps what a run of doctor looks at."""

from __future__ import annotations

import gzip
import threading
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LARGEST = 64 * 1024**2  # bytes of a request


@dataclass(frozen=True)
class ReceivedSpan:
    """Times are ns since 1970."""

    scope: str
    name: str
    trace_id: bytes
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]


@dataclass
class Received:
    """``points`` are the newest value of each time series: process, metric, attributes."""

    spans: list[ReceivedSpan] = field(default_factory=list)
    points: dict[tuple[str, str, frozenset[tuple[str, Any]]], float] = field(default_factory=dict)
    log_records: int = 0
    unreadable: int = 0

    def total(self, metric: str, having: str = "") -> float:
        """Return the sum of a metric over all processes, of the series that have an attribute if one is given."""
        return sum(
            value
            for (_, name, attributes), value in self.points.items()
            if name == metric and (not having or having in dict(attributes))
        )

    @property
    def metrics(self) -> set[str]:
        return {name for _, name, _ in self.points}


@contextmanager
def receiving() -> Iterator[tuple[str, Received]]:
    """Serve on a free port of 127.0.0.1 while the block lasts, and yield its address and what comes.

    Raises:
        ModuleNotFoundError: opentelemetry-proto is not installed.

    """
    reading = _readers()
    received, lock = Received(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), _LARGEST))
            reader = reading.get(self.path)
            try:
                content = _unpacked(body, self.headers.get("Content-Encoding", ""))
                with lock:
                    if reader is not None:
                        reader(content, received)
            except Exception:  # noqa: BLE001  # whatever somebody sends is counted
                received.unreadable += 1
            self.send_response(404 if reader is None else 200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def _readers() -> dict[str, Any]:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # noqa: PLC0415
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    def traces(content: bytes, received: Received) -> None:
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            for scope in resource.scope_spans:
                received.spans += [
                    ReceivedSpan(
                        scope.scope.name,
                        span.name,
                        span.trace_id,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        _attributes(span.attributes),
                    )
                    for span in scope.spans
                ]

    def metrics(content: bytes, received: Received) -> None:
        for resource in ExportMetricsServiceRequest.FromString(content).resource_metrics:
            process = str(_attributes(resource.resource.attributes).get("service.instance.id", ""))
            for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                for point in getattr(metric, metric.WhichOneof("data") or "gauge").data_points:
                    key = process, metric.name, frozenset(_attributes(point.attributes).items())
                    received.points[key] = _value(point)

    def logs(content: bytes, received: Received) -> None:
        for resource in ExportLogsServiceRequest.FromString(content).resource_logs:
            received.log_records += sum(len(scope.log_records) for scope in resource.scope_logs)

    return {"/v1/traces": traces, "/v1/metrics": metrics, "/v1/logs": logs}


def _attributes(pairs: Any) -> dict[str, Any]:
    """Return the scalar ones."""
    kinds = ("string_value", "bool_value", "int_value", "double_value")
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in pairs
        if pair.value.WhichOneof("value") in kinds
    }


def _value(point: Any) -> float:
    """Return a number's value, or how many values a histogram has."""
    if hasattr(point, "as_int"):
        return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
    return float(point.count)
