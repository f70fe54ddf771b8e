"""What the API says of every stream. Times in nanoseconds are strings: JavaScript's numbers do not hold them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import integer, number
from otel_tokenstream.viewer.progress import Progress

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.otlp import Attributes

Json = dict[str, Any]

IN_PROGRESS = "in_progress"
SILENT_NS = 600 * 10**9
"""A stream without a span and without news for so long is no longer called in progress: its span was never sent."""

FRESH_NS = 120 * 10**9
"""A gauge's last value older than this belongs to a process that ended."""

WITH_SPANS = """
    SELECT streams.*, spans.end_ns, spans.name, spans.attributes, spans.events, spans.resource,
           spans.status, spans.status_message
    FROM streams LEFT JOIN spans USING (trace_id, span_id)
"""


def newest(connection: sqlite3.Connection, filters: dict[str, str], limit: int, now_ns: int) -> list[Json]:
    """``filters`` may hold service, model and outcome; a stream without a span yet has the outcome in_progress."""
    conditions = ["1"]
    values: list[str | int] = []
    for column in ("service", "model"):
        if column in filters:
            conditions.append(f"streams.{column} = ?")
            values.append(filters[column])
    if filters.get("outcome") == IN_PROGRESS:
        conditions.append("outcome IS NULL AND streams.received_ns > ?")
        values.append(now_ns - SILENT_NS)
    elif "outcome" in filters:
        conditions.append("outcome = ?")
        values.append(filters["outcome"])
    query = f"{WITH_SPANS} WHERE {' AND '.join(conditions)} ORDER BY streams.start_ns DESC LIMIT ?"
    return [stream_of(row, now_ns) for row in connection.execute(query, (*values, limit))]


def choices(connection: sqlite3.Connection) -> Json:
    """What there is to filter by."""
    return {
        f"{column}s": [
            row[0]
            for row in connection.execute(f"SELECT DISTINCT {column} FROM streams ORDER BY 1")  # noqa: S608  # a constant
            if row[0]
        ]
        for column in ("service", "model", "outcome")
    }


def metrics(connection: sqlite3.Connection, now_ns: int) -> Json:
    names = [row[0] for row in connection.execute("SELECT DISTINCT name FROM points ORDER BY name")]
    return {
        "metrics": names,
        "now": {
            "active": _gauge_sum(connection, signals.STREAM_ACTIVE, now_ns),
            "stalled": _gauge_sum(connection, signals.STREAM_STALLED, now_ns),
        },
    }


def _gauge_sum(connection: sqlite3.Connection, name: str, now_ns: int) -> int | None:
    """Over all series with a fresh value; None if there is none."""
    query = "SELECT value FROM points WHERE name = ? AND received_ns > ?"
    values = [loads(row[0], None) for row in connection.execute(query, (name, now_ns - FRESH_NS))]
    numbers = [value for value in values if isinstance(value, (int, float))]
    return int(sum(numbers)) if numbers else None


def stream_of(row: sqlite3.Row, now_ns: int) -> Json:
    attributes = loads(row["attributes"], {})
    ended = row["end_ns"] is not None
    in_progress = row["outcome"] is None and now_ns - row["received_ns"] < SILENT_NS
    return {
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "service": row["service"],
        "operation": row["operation"],
        "provider": row["provider"],
        "model": row["model"],
        "start_unix_ns": str(row["start_ns"]),
        "outcome": row["outcome"],
        **(_measured(row, attributes) if ended else _so_far(Progress.parse(row["progress"]))),
        "fields": json.loads(row["fields"]),
        IN_PROGRESS: in_progress,
    }


def _measured(row: sqlite3.Row, attributes: Attributes) -> Json:
    return {
        "duration_ms": max(0, row["end_ns"] - row["start_ns"]) / 1e6,
        "chunks": integer(attributes, signals.CHUNKS),
        "time_to_first_token_ms": integer(attributes, signals.TIME_TO_FIRST_TOKEN_MS),
        "time_to_first_answer_token_ms": integer(attributes, signals.TIME_TO_FIRST_ANSWER_TOKEN_MS),
        "gap_p50_ms": integer(attributes, signals.GAP_P50_MS),
        "gap_p95_ms": integer(attributes, signals.GAP_P95_MS),
        "gap_max_ms": integer(attributes, signals.GAP_MAX_MS),
        "wait_total_ms": integer(attributes, signals.WAIT_TOTAL_MS),
        "wait_max_ms": integer(attributes, signals.WAIT_MAX_MS),
        "consumer_total_ms": integer(attributes, signals.CONSUMER_TOTAL_MS),
        "stall_count": integer(attributes, signals.STALL_COUNT),
        "stall_total_ms": integer(attributes, signals.STALL_TOTAL_MS),
        "output_rate": number(attributes, signals.OUTPUT_RATE),
        "output_tokens": integer(attributes, signals.USAGE_OUTPUT_TOKENS),
        "input_tokens": integer(attributes, signals.USAGE_INPUT_TOKENS),
        "error_type": attributes.get(signals.ERROR_TYPE),
    }


def _so_far(progress: Progress) -> Json:
    """The same keys; what only the span tells is None."""
    return {
        "duration_ms": progress.last_us / 1e3,
        "chunks": progress.chunks,
        "time_to_first_token_ms": _ms(progress.first_token_us),
        "time_to_first_answer_token_ms": _ms(progress.first_answer_token_us),
        "gap_p50_ms": None,
        "gap_p95_ms": None,
        "gap_max_ms": _ms(progress.gap_max_us),
        "wait_total_ms": None,
        "wait_max_ms": _ms(progress.wait_max_us),
        "consumer_total_ms": None,
        "stall_count": len(progress.stalls),
        "stall_total_ms": _ms(sum(progress.stalls.values())),
        "output_rate": None,
        "output_tokens": None,
        "input_tokens": None,
        "error_type": None,
    }


def _ms(microseconds: int | None) -> int | None:
    return None if microseconds is None else round(microseconds / 1000)


def loads(text: str | None, default: Any) -> Any:
    return default if text is None else json.loads(text)
