"""Rows into tables."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import integer
from otel_tokenstream.viewer.progress import STREAM_EVENTS, Progress, fields_of

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.otlp import Attributes, Point, Record, Rows, Span

_ROW_BYTES = 200  # ids, times and indexes of a row, roughly


def insert(connection: sqlite3.Connection, rows: Rows, now_ns: int) -> int:
    """Within the caller's transaction; returns about how many bytes it added."""
    size = 0
    for span in rows.spans:
        size += _insert_span(connection, span, now_ns)
    live: dict[tuple[str, str], list[Record]] = {}
    for record in rows.records:
        size += _insert_record(connection, record, now_ns)
        if record.name in STREAM_EVENTS and record.trace_id and record.span_id:
            live.setdefault((record.trace_id, record.span_id), []).append(record)
    for records in live.values():
        _advance_stream(connection, records, now_ns)
    for point in rows.points:
        size += _insert_point(connection, point, now_ns)
    return size


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _insert_span(connection: sqlite3.Connection, span: Span, now_ns: int) -> int:
    texts = (_json(span.attributes), _json(span.events), _json(span.resource))
    connection.execute(
        "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(span.trace_id, span.span_id, span.parent_id, span.service, span.name, span.kind),
            *(span.start_ns, span.end_ns, span.status, span.status_message),
            *texts,
            now_ns,
        ),
    )
    if signals.OUTCOME in span.attributes:
        _insert_stream(connection, span, now_ns)
    return _ROW_BYTES + sum(map(len, texts))


def _insert_stream(connection: sqlite3.Connection, span: Span, now_ns: int) -> None:
    old = connection.execute(
        "SELECT fields, progress FROM streams WHERE trace_id = ? AND span_id = ?", (span.trace_id, span.span_id)
    ).fetchone()
    fields = fields_of([event["attributes"] for event in span.events], json.loads(old["fields"]) if old else None)
    connection.execute(
        "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(span.trace_id, span.span_id, span.service, *_call(span.attributes), span.start_ns),
            str(span.attributes[signals.OUTCOME]),
            _json(fields),
            old["progress"] if old else None,
            now_ns,
        ),
    )


def _insert_record(connection: sqlite3.Connection, record: Record, now_ns: int) -> int:
    texts = (_json(record.body), _json(record.attributes))
    connection.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(record.trace_id, record.span_id, record.service, record.name, record.time_ns, record.severity),
            *texts,
            now_ns,
        ),
    )
    return _ROW_BYTES + sum(map(len, texts))


def _advance_stream(connection: sqlite3.Connection, records: list[Record], now_ns: int) -> None:
    first = records[0]
    key = (first.trace_id, first.span_id)
    old = connection.execute(
        "SELECT fields, progress, start_ns, outcome FROM streams WHERE trace_id = ? AND span_id = ?", key
    ).fetchone()
    progress = Progress.parse(old["progress"] if old else None)
    for record in records:
        progress.add(record.name, record.attributes)
    fields = fields_of([record.attributes for record in records], json.loads(old["fields"]) if old else None)
    if old:
        connection.execute(
            "UPDATE streams SET fields = ?, progress = ?, received_ns = ? WHERE trace_id = ? AND span_id = ?",
            (_json(fields), progress.dump(), now_ns, *key),
        )
        return
    start_ns = first.time_ns - (integer(first.attributes, signals.AT_OFFSET_US) or 0) * 1000
    connection.execute(
        "INSERT INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)",
        (*key, first.service, *_call(first.attributes), start_ns, _json(fields), progress.dump(), now_ns),
    )


def _call(attributes: Attributes) -> tuple[str, str, str]:
    """Operation, provider and model; empty where the attribute is missing."""
    names = (signals.OPERATION_NAME, signals.PROVIDER_NAME, signals.REQUEST_MODEL)
    operation, provider, model = (str(attributes.get(name, "")) for name in names)
    return operation, provider, model


def _insert_point(connection: sqlite3.Connection, point: Point, now_ns: int) -> int:
    attributes, resource = _json(point.attributes), _json(point.resource)
    series = hashlib.sha256(f"{resource}\0{point.name}\0{attributes}".encode()).hexdigest()
    connection.execute(
        "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(series, point.service, point.name, point.unit, point.kind, point.time_ns),
            *(attributes, resource, _json(point.value), now_ns),
        ),
    )
    return _ROW_BYTES + len(attributes) + len(resource)
