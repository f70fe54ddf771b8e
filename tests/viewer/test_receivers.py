from __future__ import annotations

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_tokenstream import signals
from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES
from tests.viewer.scenes import Application, Stream, events_of, ids, new_context, paced, summary_of
from tests.viewer.viewer_client import JSON, PROTOBUF, ask, detail, get, post, streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.viewer.server import Viewer

PATHS = ["/v1/traces", "/v1/metrics", "/v1/logs"]
START_NS = 1_800_000_000_123_456_789
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def sent(name: str, attributes: dict[str, Any], start_ns: int) -> dict[str, Any]:
    """An event as the API should show it."""
    short = {key.removeprefix("tokenstream."): value for key, value in attributes.items()}
    time_ns = start_ns + attributes[signals.AT_OFFSET_US] * 1000
    return {
        **short,
        "name": name,
        "type": name.removeprefix("tokenstream."),
        "time_unix_ns": str(time_ns),
        "attributes": {},
    }


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("chunks", [20, 2000])
def test_a_span_is_shown_as_it_was_sent(
    viewer: Viewer, application: Callable[..., Application], protocol: str, chunks: int
) -> None:
    """Attributes, events, offsets and times come out of either protocol unchanged."""
    stream = Stream(paced(chunks, fields=["reasoning", "answer"], stall_at=7))
    context = application("shop", protocol).stream(stream, START_NS)
    found = detail(viewer, ids(context))
    summary = summary_of(stream)
    assert found["attributes"] == summary
    assert found["offsets_us"] == summary.get(signals.OFFSETS_US, [])
    assert found["events"] == [sent(name, attributes, START_NS) for name, attributes in events_of(stream)]
    assert found["resource"]["service.name"] == "shop"
    listed = streams(viewer)[0]
    assert listed["start_unix_ns"] == str(START_NS)
    assert listed["duration_ms"] == stream.total_us / 1000
    assert listed["fields"] == ["reasoning", "answer"]
    assert (listed["service"], listed["operation"], listed["provider"], listed["model"]) == (
        "shop",
        stream.operation,
        stream.provider,
        stream.model,
    )
    for key, name in {
        "chunks": signals.CHUNKS,
        "outcome": signals.OUTCOME,
        "time_to_first_token_ms": signals.TIME_TO_FIRST_TOKEN_MS,
        "time_to_first_answer_token_ms": signals.TIME_TO_FIRST_ANSWER_TOKEN_MS,
        "gap_p50_ms": signals.GAP_P50_MS,
        "gap_p95_ms": signals.GAP_P95_MS,
        "gap_max_ms": signals.GAP_MAX_MS,
        "opening_ms": signals.OPENING_MS,
        "wait_total_ms": signals.WAIT_TOTAL_MS,
        "wait_max_ms": signals.WAIT_MAX_MS,
        "consumer_total_ms": signals.CONSUMER_TOTAL_MS,
        "stall_count": signals.STALL_COUNT,
        "stall_total_ms": signals.STALL_TOTAL_MS,
        "output_rate": signals.OUTPUT_RATE,
        "output_tokens": signals.USAGE_OUTPUT_TOKENS,
        "input_tokens": signals.USAGE_INPUT_TOKENS,
    }.items():
        assert listed[key] == summary[name], key


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_metrics_and_log_records_arrive(viewer: Viewer, application: Callable[..., Application], protocol: str) -> None:
    """Gauges become now-figures, token events from the log a stream in progress."""
    app = application("shop", protocol)
    app.gauges(active=3, stalled=1)
    stream, context = Stream(paced(12)), new_context()
    app.log_events(stream, context, START_NS, events_of(stream))
    shown = get(viewer, "/api/metrics")
    assert shown["metrics"] == [signals.STREAM_ACTIVE, signals.STREAM_STALLED]
    assert shown["now"] == {"active": 3, "stalled": 1}
    found = detail(viewer, ids(context))
    assert found["stream"]["in_progress"] is True
    assert found["events_source"] == "log"
    told = [{key: value for key, value in event.items() if key != "attributes"} for event in found["events"]]
    assert told == [
        {key: value for key, value in sent(name, attributes, START_NS).items() if key != "attributes"}
        for name, attributes in events_of(stream)
    ]


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


RESOURCE = {"attributes": [attribute("service.name", stringValue="by-hand")]}
JSON_SPAN = {
    "traceId": TRACE_ID.upper(),
    "spanId": SPAN_ID,
    "parentSpanId": "",
    "name": "chat m",
    "kind": 3,
    "startTimeUnixNano": str(START_NS),
    "endTimeUnixNano": str(START_NS + 10**9),
    "attributes": [
        attribute(signals.OUTCOME, stringValue="failed"),
        attribute(signals.CHUNKS, intValue="7"),
        attribute(signals.OUTPUT_RATE, doubleValue=12.5),
        attribute(signals.OFFSETS_US, arrayValue={"values": [{"intValue": "5"}, {"intValue": 6}]}),
        attribute("huge", intValue=str(2**62)),
        attribute("flag", boolValue=True),
        attribute("bytes", bytesValue="AQI="),
        attribute("map", kvlistValue={"values": [attribute("inner", doubleValue="NaN")]}),
    ],
    "events": [
        {
            "name": signals.TOKEN_EVENT,
            "timeUnixNano": str(START_NS + 5000),
            "attributes": [attribute(signals.AT_OFFSET_US, intValue="5")],
        }
    ],
    "status": {"code": 2, "message": "gone"},
    "aFieldOfTheFuture": {"ignored": True},
}


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf with a length."""
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def trace_json(span: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_json_is_taken_with_hex_ids_and_numbers_in_strings(viewer: Viewer, encoding: str) -> None:
    """OTLP's JSON, which is not quite protobuf's, plain and compressed; the answer is JSON too."""
    compress = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    answer = post(viewer, "/v1/traces", compress(trace_json(JSON_SPAN)), {**JSON, "Content-Encoding": encoding})
    assert (answer.status, answer.headers.get_content_type(), answer.json()) == (200, "application/json", {})
    found = detail(viewer, (TRACE_ID, SPAN_ID))
    assert found["stream"]["chunks"] == 7
    assert found["stream"]["service"] == "by-hand"
    assert found["offsets_us"] == [5, 6]
    assert found["attributes"]["huge"] == str(2**62), "a JavaScript number would not hold it"
    assert found["attributes"]["flag"] is True
    assert found["attributes"]["bytes"] == "AQI="
    assert found["attributes"]["map"] == {"inner": "nan"}
    assert (found["status"], found["status_message"]) == ("error", "gone")
    assert found["events"][0]["offset_us"] == 5


def test_json_metrics_and_logs_are_taken(viewer: Viewer) -> None:
    """Numbers, histograms and records in JSON; an event name sent as an attribute counts."""
    point = {"timeUnixNano": str(START_NS), "asInt": "4"}
    histogram = {
        "timeUnixNano": str(START_NS),
        "count": "2",
        "sum": 3,
        "bucketCounts": ["1", "1"],
        "explicitBounds": [1],
    }
    metrics = [
        {"name": signals.STREAM_ACTIVE, "gauge": {"dataPoints": [point]}},
        {"name": signals.TIME_TO_FIRST_TOKEN, "histogram": {"dataPoints": [histogram], "aggregationTemporality": 2}},
        {"name": "nothing"},
    ]
    body = {"resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": [{"metrics": metrics}]}]}
    assert post(viewer, "/v1/metrics", json.dumps(body).encode(), JSON).status == 200
    shown = get(viewer, "/api/metrics")
    assert shown == {
        "metrics": [signals.STREAM_ACTIVE, signals.TIME_TO_FIRST_TOKEN],
        "now": {"active": 4, "stalled": None},
    }
    record = {
        "timeUnixNano": str(START_NS),
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "attributes": [
            attribute("event.name", stringValue=signals.TOKEN_EVENT),
            attribute(signals.AT_OFFSET_US, intValue=9),
            attribute(signals.REQUEST_MODEL, stringValue="m"),
        ],
    }
    body = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [record]}]}]}
    assert post(viewer, "/v1/logs", json.dumps(body).encode(), JSON).status == 200
    assert [stream["model"] for stream in streams(viewer, "outcome=in_progress")] == ["m"]


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_request_is_answered_in_its_own_encoding(viewer: Viewer, path: str) -> None:
    """An empty message is valid; full success is an empty answer."""
    answer = post(viewer, path, b"")
    assert (answer.status, answer.headers.get_content_type(), answer.body) == (200, "application/x-protobuf", b"")
    answer = post(viewer, path, b"{}", JSON)
    assert (answer.status, answer.headers.get_content_type(), answer.body) == (200, "application/json", b"{}")


MALFORMED = {
    "not protobuf": (b"\xff\xff\xff\xff", PROTOBUF),
    "not JSON": (b"{", JSON),
    "no object": (b"[1, 2]", JSON),
    "null": (b"null", JSON),
    "not UTF-8": (b'{"a": "\xff"}', JSON),
    "not gzip": (b"plain", {**PROTOBUF, "Content-Encoding": "gzip"}),
    "cut gzip": (gzip.compress(b"x" * 1000)[:-9], {**PROTOBUF, "Content-Encoding": "gzip"}),
    "deep JSON": (b"[" * 100_000 + b"]" * 100_000, JSON),
    "bad id": (trace_json({**JSON_SPAN, "traceId": "xyz"}), JSON),
    "bad type": (trace_json({**JSON_SPAN, "name": {}}), JSON),
    "bad number": (trace_json({**JSON_SPAN, "startTimeUnixNano": "-1"}), JSON),
    "lone surrogate": (b'{"resourceSpans": [{"schemaUrl": "\\ud800"}]}', JSON),
    "lone surrogate in a name": (b'{"\\ud800": 1}', JSON),
    "lone surrogate in an inner name": (b'{"resourceSpans": [{"\\udfff": [{}]}]}', JSON),
    "lone surrogate in an attribute's key": (
        trace_json({**JSON_SPAN, "attributes": [{"key": "\ud800", "value": {"intValue": 1}}]}),
        JSON,
    ),
    "lone surrogate in an attribute's value": (
        trace_json({**JSON_SPAN, "attributes": [{"key": "k", "value": {"stringValue": "a\udc00"}}]}),
        JSON,
    ),
    "lone surrogate in an id": (trace_json({**JSON_SPAN, "traceId": "\ud800"}), JSON),
    "infinite integer": (trace_json({**JSON_SPAN, "kind": float("inf")}), JSON),
    "integer too large": (trace_json({**JSON_SPAN, "attributes": [attribute("k", intValue=str(2**63))]}), JSON),
    "bytes behind gzip": (gzip.compress(b"") + b"more", {**PROTOBUF, "Content-Encoding": "gzip"}),
    "zlib behind gzip": (gzip.compress(b"") + zlib.compress(b""), {**PROTOBUF, "Content-Encoding": "gzip"}),
    "bytes behind zlib": (zlib.compress(b"") + b"\0", {**PROTOBUF, "Content-Encoding": "deflate"}),
    "cut second member": (gzip.compress(b"") + gzip.compress(b"x")[:-4], {**PROTOBUF, "Content-Encoding": "gzip"}),
    "members without end": (gzip.compress(b"") * 10_000, {**PROTOBUF, "Content-Encoding": "gzip"}),
    "length beyond the end": (b"\x0a\xff\xff\xff\x07" + bytes(3 * 2**20), PROTOBUF),
    "cut at the end of a large one": (field(2, bytes(1000)) * 3000 + b"\x0a", PROTOBUF),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_request_is_refused_with_a_status(viewer: Viewer, what: str) -> None:
    """400, a google.rpc.Status that says what is wrong, and the viewer goes on."""
    body, headers = MALFORMED[what]
    answer = post(viewer, "/v1/traces", body, headers)
    assert answer.status == 400
    assert answer.headers.get_content_type() == headers["Content-Type"]
    if headers["Content-Type"] == "application/json":
        message = answer.json()["message"]
    else:
        message = ExportTracePartialSuccess.FromString(answer.body).error_message  # text in field 2, as in Status
    assert message
    assert post(viewer, "/v1/traces", trace_json(JSON_SPAN), JSON).status == 200


def test_all_members_of_gzip_are_read(viewer: Viewer) -> None:
    """A body that was compressed in parts is one body."""
    body = trace_json(JSON_SPAN)
    parts = b"".join(gzip.compress(part) for part in (body[:100], b"", body[100:]))
    assert post(viewer, "/v1/traces", parts, {**JSON, "Content-Encoding": "gzip"}).json() == {}
    assert len(streams(viewer)) == 1


NO_OFFSETS = {
    "largest integer": {"intValue": str(2**63 - 1)},
    "smallest integer": {"intValue": str(-(2**63))},
    "negative": {"intValue": "-1"},
    "2**62": {"intValue": str(2**62)},
    "2**63": {"doubleValue": 2.0**63},
    "-2**63": {"doubleValue": -(2.0**63)},
    "1e300": {"doubleValue": 1e300},
    "largest double": {"doubleValue": 1.7976931348623157e308},
    "infinite": {"doubleValue": "Infinity"},
    "nan": {"doubleValue": "NaN"},
}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("what", NO_OFFSETS)
def test_a_record_that_has_no_place_is_rejected_alone(viewer: Viewer, what: str, protocol: str) -> None:
    """A success with a count: its sender must not send it again, and the others of the request are kept."""

    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number, offset in enumerate(({"intValue": "5"}, NO_OFFSETS[what], {"intValue": str(2**50)}), 1):
        attributes = [attribute(signals.AT_OFFSET_US, **offset)]
        of_record = {"timeUnixNano": str(START_NS), "eventName": signals.TOKEN_EVENT, "attributes": attributes}
        json_format.ParseDict(of_record, records.add())
        records[-1].trace_id, records[-1].span_id = bytes.fromhex(TRACE_ID), number.to_bytes(8, "big")
    body = request.SerializeToString()
    if protocol == "http":
        told = post(viewer, "/v1/logs", body)
        assert told.status == 200
        answer = told.body
    else:
        with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
            answer = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")(body, timeout=60)
    success = ExportLogsServiceResponse.FromString(answer).partial_success
    assert (success.rejected_log_records, signals.AT_OFFSET_US in success.error_message) == (1, True)
    assert sorted(stream["span_id"] for stream in streams(viewer)) == [f"{1:016x}", f"{3:016x}"]


ODD_NUMBERS: list[dict[str, Any]] = [
    {"doubleValue": 1.7976931348623157e308},
    {"doubleValue": -1.7976931348623157e308},
    {"doubleValue": 1e300},
    {"doubleValue": 5e-324},
    {"doubleValue": 2.0**63},
    {"doubleValue": "NaN"},
    {"doubleValue": "Infinity"},
    {"doubleValue": "-Infinity"},
    {"intValue": str(2**63 - 1)},
    {"intValue": str(-(2**63))},
    {"intValue": "-1"},
    {"boolValue": True},
    {"stringValue": "7"},
    {"stringValue": "1e999"},
    {"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 1e308}]}},
    {"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 1e308}}]}},
    {},
]


def odd_span(number: int, value: dict[str, Any]) -> dict[str, Any]:
    """One with the value in every attribute that should be a number, of the span and of its events."""
    of_events = [{"key": name, "value": value} for name in signals.EVENT_ATTRIBUTES]
    of_span = [{"key": name, "value": value} for name in signals.SPAN_ATTRIBUTES if name != signals.REQUEST_MODEL]
    events = [{"name": name, "timeUnixNano": str(START_NS), "attributes": of_events} for name in sorted(signals.EVENTS)]
    return {**JSON_SPAN, "spanId": f"{number:016x}", "attributes": of_span, "events": events}


def odd_record(number: int, place: int, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """One whose offset alone is as it should be."""
    others = [{"key": name, "value": value} for name in signals.EVENT_ATTRIBUTES if name != signals.AT_OFFSET_US]
    return {
        "traceId": TRACE_ID,
        "spanId": f"{number:016x}",
        "timeUnixNano": str(START_NS),
        "eventName": name,
        "attributes": [attribute(signals.AT_OFFSET_US, intValue=str(place)), *others],
    }


def test_no_number_takes_a_page_down(viewer: Viewer) -> None:
    """Whatever stands where a number is due, on spans, span events, log records and metrics."""
    names = sorted(signals.EVENTS)
    odd = list(enumerate(ODD_NUMBERS * 22, 1))
    spans = [odd_span(number, value) for number, value in odd]
    records = [
        odd_record(number + 10_000, place, name, value)
        for number, value in odd[: len(ODD_NUMBERS)]
        for place, name in enumerate(names * 2)
    ]
    points = [
        {
            "timeUnixNano": str(START_NS),
            "attributes": [attribute("n", intValue=number)],
            "asDouble": value["doubleValue"],
        }
        for number, value in odd
        if "doubleValue" in value
    ]
    metrics = [{"name": name, "gauge": {"dataPoints": points}} for name in (signals.STREAM_ACTIVE, "other")]
    for path, body in (
        ("/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}),
        ("/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}),
        ("/v1/metrics", {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}),
    ):
        answer = post(viewer, path, json.dumps(body).encode(), JSON)
        assert (answer.status, answer.json()) == (200, {})
    shown: list[Any] = [streams(viewer), get(viewer, "/api/metrics")]
    assert len(shown[0]) == 22 * sum(bool(value) for value in ODD_NUMBERS) + len(ODD_NUMBERS)
    for number in [number for number, value in odd[: len(ODD_NUMBERS)] if value]:
        shown += [detail(viewer, (TRACE_ID, f"{each:016x}")) for each in (number, number + 10_000)]
    for query in ("by=model,field", "compare=outcome%3Dtrue&compare=outcome%3D7"):
        shown.append(get(viewer, f"/api/report?{query}"))
        assert ask(viewer, f"/report?{query}").status == 200
    json.dumps(shown, allow_nan=False)


def test_malformed_grpc_requests_are_the_senders_fault(viewer: Viewer) -> None:
    """INVALID_ARGUMENT, which an exporter does not try again, for each service."""
    with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
        for service in ("trace.v1.TraceService", "metrics.v1.MetricsService", "logs.v1.LogsService"):
            export = channel.unary_unary(f"/opentelemetry.proto.collector.{service}/Export")
            with pytest.raises(grpc.RpcError) as refusal:
                export(b"\xff\xff\xff\xff", timeout=60)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert export(b"", timeout=60) == b""


def test_spans_with_invalid_ids_are_rejected_alone(viewer: Viewer) -> None:
    """The valid span of the request is kept and the answer counts the others."""
    spans = [JSON_SPAN, {**JSON_SPAN, "traceId": "00" * 16}, {**JSON_SPAN, "spanId": "0102"}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    answer = post(viewer, "/v1/traces", body, JSON)
    assert answer.status == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
    assert len(streams(viewer)) == 1


def test_times_beyond_the_databases_integers_are_kept(viewer: Viewer) -> None:
    """OTLP's times are unsigned; the largest must not make a request fail."""
    assert post(viewer, "/v1/traces", trace_json({**JSON_SPAN, "endTimeUnixNano": str(2**64 - 1)}), JSON).status == 200
    assert streams(viewer)[0]["duration_ms"] > 0


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_content_types_are_refused(viewer: Viewer, content_type: str) -> None:
    """Those are what a page can send across origins without asking first."""
    answer = post(viewer, "/v1/traces", trace_json(JSON_SPAN), {"Content-Type": content_type} if content_type else {})
    assert answer.status == 415
    assert streams(viewer) == []


def test_other_content_encodings_are_refused(viewer: Viewer) -> None:
    """The refusal names what is taken."""
    answer = post(viewer, "/v1/traces", b"", {**JSON, "Content-Encoding": "br"})
    assert (answer.status, "gzip" in answer.json()["message"]) == (415, True)


def zip_bomb(megabytes: int) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(stream.compress(bytes(2**20)) for _ in range(megabytes)) + stream.flush()


def resident_bytes(which: str) -> int:
    """VmRSS now, or VmHWM: the most since the mark was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def test_requests_above_the_limit_are_refused(viewer: Viewer) -> None:
    """Sent plain, or swelling when decompressed; the rest of a bomb is never unpacked."""
    assert post(viewer, "/v1/traces", bytes(MAX_REQUEST_BYTES + 1)).status == 413
    bomb = zip_bomb(300)
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark
    before = resident_bytes("VmRSS")
    answer = post(viewer, "/v1/traces", bomb, {**PROTOBUF, "Content-Encoding": "gzip"})
    assert answer.status == 413
    assert resident_bytes("VmHWM") - before < 100 * 2**20


def test_grpc_requests_above_the_limit_are_refused(viewer: Viewer) -> None:
    """RESOURCE_EXHAUSTED, compressed or not."""
    with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as refusal:
                export(bytes(MAX_REQUEST_BYTES + 1), timeout=60, compression=compression)
            assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_many_writers_at_once_lose_nothing(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Both receivers feed one writer; every acknowledged span is there."""
    applications = [application(f"worker-{number}", ("http", "grpc")[number % 2]) for number in range(6)]
    stream = Stream(paced(4))

    def send(app: Application) -> list[tuple[str, str]]:
        return [ids(app.stream(stream)) for _ in range(25)]

    with ThreadPoolExecutor(len(applications)) as pool:
        exported = {pair for pairs in pool.map(send, applications) for pair in pairs}
    assert {(found["trace_id"], found["span_id"]) for found in streams(viewer)} == exported
    assert len(exported) == 150


def test_an_acknowledged_request_is_in_the_database(viewer: Viewer) -> None:
    """The answer comes after the commit: what was acknowledged can be read at once."""
    request = ExportTraceServiceRequest()
    for number in range(1, 101):
        span = request.resource_spans.add().scope_spans.add().spans.add()
        span.trace_id, span.span_id = bytes(15) + b"\1", number.to_bytes(8, "big")
        span.attributes.add(key=signals.OUTCOME).value.string_value = "completed"
    answer = post(viewer, "/v1/traces", request.SerializeToString())
    assert not ExportTraceServiceResponse.FromString(answer.body).HasField("partial_success")
    assert len(streams(viewer)) == 100
