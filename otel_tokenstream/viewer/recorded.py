"""One stream as a recording: OTLP in JSON, which reports, gates and other tools read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.viewer.streams import Json, loads, made_of

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.otlp import Attributes

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES = {"ok": 1, "error": 2}
_RECORDS = 100_000


def recording(connection: sqlite3.Connection, trace_id: str, span_id: str) -> Json | None:
    """The span and the log records of one stream; None if there is no such stream."""
    ids = (trace_id, span_id)
    stream = connection.execute("SELECT 1 FROM streams WHERE trace_id = ? AND span_id = ?", ids).fetchone()
    if stream is None:
        return None
    spans = connection.execute("SELECT * FROM spans WHERE trace_id = ? AND span_id = ?", ids)
    records = connection.execute(
        "SELECT * FROM records WHERE trace_id = ? AND span_id = ? ORDER BY time_ns LIMIT ?", (*ids, _RECORDS)
    )
    return {
        "resourceSpans": list(made_of(spans, _span)),
        "resourceLogs": list(made_of(records, _record)),
    }


def _span(row: sqlite3.Row) -> Json:
    span = {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        "parentSpanId": row["parent_id"],
        "name": row["name"],
        "kind": _KINDS.get(row["kind"], 0),
        "startTimeUnixNano": str(row["start_ns"]),
        "endTimeUnixNano": str(row["end_ns"]),
        "attributes": _pairs(json.loads(row["attributes"])),
        "events": [
            {"name": event["name"], "timeUnixNano": str(event["time_ns"]), "attributes": _pairs(event["attributes"])}
            for event in loads(row["events"], [])
        ],
        "links": [
            {"traceId": link["trace_id"], "spanId": link["span_id"], "attributes": _pairs(link["attributes"])}
            for link in loads(row["links"], [])
        ],
        "status": {"code": _STATUSES.get(row["status"], 0), "message": row["status_message"]},
    }
    return {
        "resource": {"attributes": _pairs(json.loads(row["resource"]))},
        "scopeSpans": [{"scope": {"name": signals.SCOPE}, "spans": [span]}],
    }


def _record(row: sqlite3.Row) -> Json:
    record = {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        "eventName": row["name"],
        "timeUnixNano": str(row["time_ns"]),
        "severityText": row["severity"],
        "body": _value(json.loads(row["body"])),
        "attributes": _pairs(json.loads(row["attributes"])),
    }
    return {
        "resource": {"attributes": _pairs({"service.name": row["service"]})},
        "scopeLogs": [{"scope": {"name": signals.SCOPE}, "logRecords": [record]}],
    }


def _pairs(attributes: Attributes) -> list[Json]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: Any) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _pairs(value)}}
    return {} if value is None else {"stringValue": str(value)}
