"""Rows into tables."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import integer, text
from otel_tokenstream.viewer import stream_table
from otel_tokenstream.viewer.otlp import Rows
from otel_tokenstream.viewer.progress import STREAM_EVENTS, Progress, fields_of, shortened
from otel_tokenstream.viewer.streams import call_of, described, so_far

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.viewer.otlp import Point, Record, Span

_ROW_BYTES = 400  # ids, times and indexes of a row, roughly

_OF_THE_DATABASE = (sqlite3.OperationalError, sqlite3.InternalError)
"""Full, locked, gone: what may go better later, whatever the rows are."""


def is_of_the_database(error: Exception) -> bool:
    """Return whether the same rows may be stored later; if not, they never can be."""
    # A damaged file raises DatabaseError itself, and the classes below it tell of the rows.
    return isinstance(error, _OF_THE_DATABASE) or type(error) is sqlite3.DatabaseError


def insert_singly(connection: sqlite3.Connection, rows: Rows, now_ns: int) -> tuple[int, Counter[str]]:
    """As ``insert``, but a row that cannot be stored costs itself alone; also returns the reasons and how many."""
    size = 0
    rejected: Counter[str] = Counter()
    for row in _single(rows):
        connection.execute("SAVEPOINT one")
        try:
            size += insert(connection, row, now_ns)
        except Exception as error:
            connection.execute("ROLLBACK TO one")
            if is_of_the_database(error):
                raise
            rejected[f"cannot be stored: {type(error).__name__}"] += 1
        connection.execute("RELEASE one")
    return size, rejected


def _single(rows: Rows) -> Iterator[Rows]:
    for span in rows.spans:
        yield Rows(spans=[span])
    for record in rows.records:
        yield Rows(records=[record])
    for point in rows.points:
        yield Rows(points=[point])


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
        size += _advance_stream(connection, records, now_ns)
    for point in rows.points:
        size += _insert_point(connection, point, now_ns)
    return size


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _insert_span(connection: sqlite3.Connection, span: Span, now_ns: int) -> int:
    texts = (_json(span.attributes), _json(span.events), _json(span.resource))
    links = _json(span.links)
    connection.execute(
        "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(span.trace_id, span.span_id, span.parent_id, span.service, span.name, span.kind),
            *(span.start_ns, span.end_ns, span.status, span.status_message),
            *texts,
            now_ns,
            links,
        ),
    )
    size = _ROW_BYTES + sum(map(len, (*texts, links)))
    if text(span.attributes, signals.OUTCOME) is not None:
        size += _insert_stream(connection, span, now_ns)
    return size


def _insert_stream(connection: sqlite3.Connection, span: Span, now_ns: int) -> int:
    old = connection.execute(
        "SELECT fields, progress FROM streams WHERE trace_id = ? AND span_id = ?", (span.trace_id, span.span_id)
    ).fetchone()
    fields = fields_of([event["attributes"] for event in span.events], json.loads(old["fields"]) if old else None)
    words = stream_table.words_of(span.name, span.attributes, span.resource)
    id_ = stream_table.put(
        connection,
        {
            **described(span.start_ns, span.end_ns, span.attributes),
            "trace_id": span.trace_id,
            "span_id": span.span_id,
            "service": shortened(span.service),
            "start_ns": span.start_ns,
            "fields": _json(fields),
            "progress": old["progress"] if old else None,
            "received_ns": now_ns,
        },
    )
    stream_table.put_words(connection, id_, words)
    return _ROW_BYTES + len(words)


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


def _advance_stream(connection: sqlite3.Connection, records: list[Record], now_ns: int) -> int:
    first = records[0]
    key = (first.trace_id, first.span_id)
    old = connection.execute("SELECT * FROM streams WHERE trace_id = ? AND span_id = ?", key).fetchone()
    progress = Progress.parse(old["progress"] if old else None)
    for record in records:
        progress.add(record.name, record.attributes)
    fields = fields_of([record.attributes for record in records], json.loads(old["fields"]) if old else None)
    told = {"fields": _json(fields), "progress": progress.dump(), "received_ns": now_ns}
    if old:
        ended = old["outcome"] is not None
        stream_table.put(connection, {**dict(old), **({} if ended else so_far(progress)), **told})
        return 0
    start_ns = max(0, first.time_ns - (integer(first.attributes, signals.AT_OFFSET_US) or 0) * 1000)
    call = call_of(first.attributes)
    stream_table.put(
        connection,
        {
            **so_far(progress),
            **call,
            **told,
            "trace_id": first.trace_id,
            "span_id": first.span_id,
            "service": shortened(first.service),
            "start_ns": start_ns,
        },
    )
    return _ROW_BYTES


def _insert_point(connection: sqlite3.Connection, point: Point, now_ns: int) -> int:
    attributes, resource = _json(point.attributes), _json(point.resource)
    series = hashlib.sha256(f"{resource}\0{point.name}\0{attributes}".encode()).hexdigest()
    value = _json(point.value)
    connection.execute(
        "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(series, point.service, point.name, point.unit, point.kind, point.time_ns),
            *(attributes, resource, value, now_ns),
        ),
    )
    return _ROW_BYTES + len(attributes) + len(resource) + len(value)
