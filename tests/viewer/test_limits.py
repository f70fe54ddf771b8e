from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tokenstream import signals
from otel_tokenstream.viewer.limits import MAX_FIELDS, MAX_ROWS, MalformedError, TooLargeError, check_protobuf
from tests.viewer.viewer_client import JSON, PROTOBUF, post, streams

if TYPE_CHECKING:
    from otel_tokenstream.viewer.server import Viewer

MANY = 6 * 2**20
TRACES = "/v1/traces"


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf with a length."""
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def within(*numbers: int, content: bytes) -> bytes:
    for number in reversed(numbers):
        content = field(number, content)
    return content


IDS = field(1, bytes(15) + b"\1") + field(2, bytes(7) + b"\1")
SWELLING = {
    "events": (TRACES, within(1, 2, 2, content=IDS + b"\x5a\0" * MANY)),
    "attributes": (TRACES, within(1, 2, 2, content=IDS + b"\x4a\0" * MANY)),
    "links": (TRACES, within(1, 2, 2, content=IDS + b"\x6a\0" * MANY)),
    "spans": (TRACES, within(1, 2, content=b"\x12\0" * MANY)),
    "scopes": (TRACES, within(1, content=b"\x12\0" * MANY)),
    "resources": (TRACES, b"\x0a\0" * MANY),
    "values": (TRACES, within(1, 2, 2, 9, 2, 5, content=b"\x0a\0" * MANY)),
    "numbers": (TRACES, within(1, 2, 2, content=b"\x30\1" * MANY)),
    "in a group": (TRACES, within(1, 2, 2, content=b"\xa3\x06" + b"\x5a\0" * MANY + b"\xa4\x06")),
    "records": ("/v1/logs", within(1, 2, content=b"\x12\0" * MANY)),
    "points": ("/v1/metrics", within(1, 2, 2, 5, content=b"\x0a\0" * MANY)),
    "exemplars": ("/v1/metrics", within(1, 2, 2, 9, 1, content=b"\x42\0" * MANY)),
    "JSON": (TRACES, b'{"resourceSpans":[' + b"{}," * (MANY // 2) + b"{}]}"),
    "JSON numbers": ("/v1/metrics", b'{"resourceMetrics":[],"x":[' + b"1," * MANY + b"1]}"),
    "JSON arrays": (TRACES, b'{"x":[' + b"[]," * (MANY // 2) + b"[]]}"),
}


def growth(which: str = "VmHWM") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


@pytest.mark.parametrize("what", SWELLING)
def test_a_small_request_for_millions_of_objects_is_refused_before_they_are_made(viewer: Viewer, what: str) -> None:
    """For good: its sender must not try it again. Memory grows by the request's bytes, not by its objects."""
    path, body = SWELLING[what]
    headers = JSON if what.startswith("JSON") else PROTOBUF
    zipped = gzip.compress(body)
    assert len(zipped) < 30_000
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark
    before = growth("VmRSS")
    answer = post(viewer, path, zipped, {**headers, "Content-Encoding": "gzip"})
    assert (answer.status, b"smaller batches" in answer.body) == (413, True)
    assert growth() - before < 6 * len(body)


def test_over_grpc_it_is_the_senders_fault(viewer: Viewer) -> None:
    """INVALID_ARGUMENT: RESOURCE_EXHAUSTED would be tried again."""
    with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as refusal:
            export(SWELLING["events"][1], timeout=60, compression=grpc.Compression.Gzip)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_more_rows_than_are_taken_at_once_are_refused(viewer: Viewer) -> None:
    """Where the fields are few enough, rows are counted: each costs a write."""
    for path, body in (
        ("/v1/logs", within(1, 2, content=b"\x12\0" * (MAX_ROWS + 1))),
        (TRACES, within(1, 2, 2, content=IDS + b"\x5a\0" * (MAX_ROWS + 1))),
        (TRACES, within(1, 2, 2, content=IDS + b"\x6a\0" * (MAX_ROWS + 1))),
        ("/v1/metrics", within(1, 2, 2, 5, content=b"\x0a\0" * (MAX_ROWS + 1))),
    ):
        assert post(viewer, path, body).status == 413
    assert streams(viewer) == []


def full_request(spans: int) -> bytes:
    """Spans with as much as ours have at default settings, and the events of the full budget."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add().scope_spans.add()
    for number in range(1, spans + 1):
        span = group.spans.add(trace_id=bytes(15) + b"\1", span_id=number.to_bytes(8, "big"), name="chat m")
        for name in list(signals.SPAN_ATTRIBUTES)[:40]:
            span.attributes.add(key=name).value.int_value = 1000
        span.attributes.add(key=signals.OUTCOME).value.string_value = "completed"
        for _ in range(35):
            event = span.events.add(name=signals.TOKEN_EVENT, time_unix_nano=10**18)
            for name in list(signals.EVENT_ATTRIBUTES)[:7]:
                event.attributes.add(key=name).value.int_value = 123_456
    return request.SerializeToString()


def test_a_full_batch_of_the_sdk_is_taken(viewer: Viewer) -> None:
    """The limits leave room for 512 spans as large as ours become."""
    assert post(viewer, TRACES, full_request(512)).body == b""
    assert len(streams(viewer)) == 512


def test_a_histogram_of_too_many_buckets_is_rejected_alone(viewer: Viewer) -> None:
    """A few packed bytes can be millions of buckets; the other points of the request are kept."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="h").histogram.data_points.add(bucket_counts=[1] * 5000, explicit_bounds=[1.0] * 4999)
    metrics.add(name="e").exponential_histogram.data_points.add().positive.bucket_counts.extend([1] * 5000)
    metrics.add(name="g").gauge.data_points.add(as_int=1)
    answer = post(viewer, "/v1/metrics", request.SerializeToString())
    assert (answer.status, answer.body[1]) == (200, len(answer.body) - 2)
    with viewer._store.reading() as connection:  # type: ignore[union-attr]
        assert [row[0] for row in connection.execute("SELECT name FROM points")] == ["g"]


@pytest.mark.parametrize("more", [0, 1])
def test_fields_are_counted_to_the_last(more: int) -> None:
    """Of a message in messages, of any wire type; a cut one is malformed and not read to its end."""
    numbers, fixed64, fixed32 = b"\x30\x80\x01", b"\x39" + bytes(8), b"\x85\x01" + bytes(4)
    third = (MAX_FIELDS - 3) // 3
    rest = MAX_FIELDS - 3 - 3 * third + more
    body = within(1, 2, 2, content=(numbers + fixed64 + fixed32) * third + numbers * rest)
    if more:
        with pytest.raises(TooLargeError):
            check_protobuf(body, ExportTraceServiceRequest)
    else:
        check_protobuf(body, ExportTraceServiceRequest)
    with pytest.raises(MalformedError):
        check_protobuf(body[:-1], ExportTraceServiceRequest)


def test_long_texts_are_not_many_fields(viewer: Viewer) -> None:
    """A request of few large values is taken up to the limit of bytes, whatever letters are in it."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value = "x\0" * (7 * 2**20)
    assert post(viewer, "/v1/logs", request.SerializeToString()).body == b""
    text = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "{,[" * 100_000}}]}]}]})
    assert post(viewer, "/v1/logs", text.encode(), JSON).status == 200
