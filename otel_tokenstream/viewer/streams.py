"""The API's answer about each stream. Times in nanoseconds are strings: JavaScript's numbers do not hold them."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import LARGEST, integer, number, text
from otel_tokenstream.viewer.in_progress import running
from otel_tokenstream.viewer.progress import Progress, shortened
from otel_tokenstream.viewer.stream_table import MEASURED, NAMED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from otel_tokenstream.viewer.otlp import Attributes

_logger = logging.getLogger(__name__)

Json = dict[str, Any]

IN_PROGRESS = "in_progress"
SILENT_NS = 600 * 10**9
"""A stream without a span and without news for so long is no longer called in progress: its span was never sent."""

FRESH_NS = 120 * 10**9
"""A gauge's last value older than this belongs to a process that ended."""

_MOST_METRICS = 200

_Made = TypeVar("_Made")


def made_of(rows: Iterable[sqlite3.Row], make: Callable[[sqlite3.Row], _Made]) -> Iterator[_Made]:
    """Leaves out a row that cannot be read, and logs it: it must not take the others' page with it."""
    for row in rows:
        try:
            made = make(row)
        except Exception:  # noqa: PERF203  # one row, not all of them
            _logger.exception("a row of the database cannot be read and is left out")
        else:
            yield made


def metrics(connection: sqlite3.Connection, now_ns: int) -> Json:
    query = "SELECT DISTINCT name FROM points ORDER BY name LIMIT ?"
    names = [row[0] for row in connection.execute(query, (_MOST_METRICS,))]
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
    rows = connection.execute(query, (name, now_ns - FRESH_NS))
    values = (number({name: value}, name) for value in made_of(rows, lambda row: loads(row[0], None)))
    numbers = [value for value in values if value is not None]
    return int(min(sum(numbers), LARGEST)) if numbers else None


def stream_of(row: sqlite3.Row, now_ns: int) -> Json:
    """Of a row of the table of streams; what is known only of an ended stream is None while it runs."""
    ended = row["outcome"] is not None
    progress = Progress.parse(row["progress"])
    silent_ns = now_ns - row["received_ns"]
    in_progress = not ended and silent_ns < SILENT_NS
    measured = {name: row[name] for name in MEASURED} if ended else so_far(progress)
    return {
        "trace_id": row["trace_id"],
        "span_id": row["span_id"],
        "start_unix_ns": str(row["start_ns"]),
        **{name: row[name] for name in NAMED},
        **measured,
        **(running(progress, silent_ns) if in_progress else {}),
        "fields": json.loads(row["fields"]),
        IN_PROGRESS: in_progress,
    }


def described(start_ns: int, end_ns: int, attributes: Attributes) -> Json:
    """Columns of an ended stream, out of its span."""
    return {
        **call_of(attributes),
        "outcome": shortened(str(attributes[signals.OUTCOME])),
        "error_type": error_type_of(attributes),
        "finish_reason": _name(attributes, signals.FINISH_REASONS),
        "conversation": _name(attributes, signals.CONVERSATION_ID),
        "duration_ms": max(0, end_ns - start_ns) / 1e6,
        "chunks": integer(attributes, signals.CHUNKS),
        "time_to_first_token_ms": integer(attributes, signals.TIME_TO_FIRST_TOKEN_MS),
        "time_to_first_answer_token_ms": integer(attributes, signals.TIME_TO_FIRST_ANSWER_TOKEN_MS),
        "gap_p50_ms": integer(attributes, signals.GAP_P50_MS),
        "gap_p95_ms": integer(attributes, signals.GAP_P95_MS),
        "gap_max_ms": integer(attributes, signals.GAP_MAX_MS),
        "opening_ms": integer(attributes, signals.OPENING_MS),
        "wait_total_ms": integer(attributes, signals.WAIT_TOTAL_MS),
        "wait_max_ms": integer(attributes, signals.WAIT_MAX_MS),
        "consumer_total_ms": integer(attributes, signals.CONSUMER_TOTAL_MS),
        "stall_count": integer(attributes, signals.STALL_COUNT),
        "stall_total_ms": integer(attributes, signals.STALL_TOTAL_MS),
        "output_rate": number(attributes, signals.OUTPUT_RATE),
        "output_tokens": integer(attributes, signals.USAGE_OUTPUT_TOKENS),
        "input_tokens": integer(attributes, signals.USAGE_INPUT_TOKENS),
        "cost_usd": number(attributes, signals.COST_USD),
    }


def call_of(attributes: Attributes) -> Json:
    """Operation, provider and model; empty where the attribute is missing."""
    return {
        "operation": shortened(str(attributes.get(signals.OPERATION_NAME, ""))),
        "provider": shortened(str(attributes.get(signals.PROVIDER_NAME, ""))),
        "model": shortened(str(attributes.get(signals.REQUEST_MODEL, ""))),
    }


def _name(attributes: Attributes, attribute: str) -> str | None:
    name = text(attributes, attribute)
    return None if name is None else shortened(name)


def error_type_of(attributes: Attributes) -> str | None:
    return _name(attributes, signals.ERROR_TYPE)


def so_far(progress: Progress) -> Json:
    """The same keys; what only the span tells is None."""
    return {
        **_UNKNOWN,
        "duration_ms": progress.last_us / 1e3,
        "chunks": progress.chunks,
        "time_to_first_token_ms": _ms(progress.first_token_us),
        "time_to_first_answer_token_ms": _ms(progress.first_answer_token_us),
        "gap_max_ms": _ms(progress.gap_max_us),
        "opening_ms": _ms(progress.opened_us),
        "wait_max_ms": _ms(progress.wait_max_us),
        "stall_count": len(progress.stalls),
        "stall_total_ms": _ms(min(sum(progress.stalls.values()), LARGEST)),
    }


_UNKNOWN = dict.fromkeys(MEASURED)


def _ms(microseconds: int | None) -> int | None:
    return None if microseconds is None else round(microseconds / 1000)


def loads(text: str | None, default: Any) -> Any:
    return default if text is None else json.loads(text)
