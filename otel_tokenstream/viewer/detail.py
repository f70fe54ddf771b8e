"""The API's answer about one stream: its events, its attributes and the trace around it."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import integer, text
from otel_tokenstream.viewer.folding import folded
from otel_tokenstream.viewer.progress import STREAM_EVENTS
from otel_tokenstream.viewer.stalls import whole_stalls
from otel_tokenstream.viewer.streams import Json, error_type_of, loads, made_of, stream_of

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.otlp import Attributes

_SPANS_OF_A_TRACE = 2000
_RECORDS_OF_A_TRACE = 200
_EVENTS_OF_A_STREAM = 5000
_RECORDS_OF_A_STREAM = 20_000
_LINKS_OF_A_SPAN = 128
_EXACT_IN_JAVASCRIPT = 2**53


_WITH_SPAN = """
    SELECT streams.*, spans.name, spans.attributes, spans.events, spans.resource,
           spans.status, spans.status_message
    FROM streams LEFT JOIN spans USING (trace_id, span_id)
    WHERE streams.trace_id = ? AND streams.span_id = ?
"""


def detail(connection: sqlite3.Connection, trace_id: str, span_id: str, now_ns: int) -> Json | None:
    row = connection.execute(_WITH_SPAN, (trace_id, span_id)).fetchone()
    if row is None:
        return None
    attributes = loads(row["attributes"], {})
    events, source = _events(connection, row)
    return {
        "stream": stream_of(row, now_ns),
        "name": row["name"] or f"{row['operation']} {row['model']}",
        "attributes": _exact(attributes),
        "descriptions": _descriptions(attributes),
        "resource": _exact(loads(row["resource"], {})),
        "status": row["status"],
        "status_message": row["status_message"],
        "events": folded(events, _EVENTS_OF_A_STREAM),
        "events_source": source,
        "offsets_us": _integers(attributes.get(signals.OFFSETS_US)),
        "trace": _trace(connection, trace_id),
        "records": _records(connection, trace_id),
    }


def _events(connection: sqlite3.Connection, row: sqlite3.Row) -> tuple[list[Json], str]:
    """From the span or from the log, whichever tells more: an application may send one, the other or both."""
    on_span = [_event(event) for event in loads(row["events"], [])]
    logged: dict[tuple[Any, ...], Json] = {}
    newest = connection.execute(
        "SELECT name, time_ns, attributes FROM records WHERE trace_id = ? AND span_id = ?"
        " ORDER BY time_ns DESC, rowid DESC LIMIT ?",
        (row["trace_id"], row["span_id"], _RECORDS_OF_A_STREAM),
    )
    records = [each for each in newest if each["name"] in STREAM_EVENTS]
    for event in made_of(reversed(records), _logged):
        # An exporter that tries again sends the same record twice.
        logged[tuple(event.get(part) for part in _IDENTITY)] = event
    in_log = list(logged.values())
    if row["attributes"] is not None and _told(in_log) <= _told(on_span):
        return on_span, "span"
    others = [event for event in on_span if event["name"] not in STREAM_EVENTS]
    told = whole_stalls(in_log, [event for event in on_span if event["name"] == signals.STALL_EVENT])
    return sorted(told + others, key=lambda event: int(event["time_unix_ns"])), "log"


def _logged(record: sqlite3.Row) -> Json:
    return _event({**record, "attributes": json.loads(record["attributes"])})


_IDENTITY = ("name", "offset_us", "index", "number", "kind", "field")


def _told(events: list[Json]) -> tuple[int, int]:
    """Chunks the token events cover, and how finely."""
    tokens = [event for event in events if event["name"] == signals.TOKEN_EVENT]
    return sum(event.get("count", 1) for event in tokens), len(tokens)


_SHORT = {name: name.removeprefix("tokenstream.").replace(".", "_") for name in signals.EVENT_ATTRIBUTES}
_INTEGERS = {name for name, attribute in signals.EVENT_ATTRIBUTES.items() if attribute.type == "int"}


def _event(event: Json) -> Json:
    """Our attributes by short names, each of its type or left out; all others under ``attributes``."""
    attributes: Attributes = event["attributes"]
    result: Json = {
        "name": event["name"],
        "type": event["name"].removeprefix("tokenstream."),
        "time_unix_ns": str(event["time_ns"]),
    }
    others: Attributes = {}
    for name, value in attributes.items():
        if name not in _SHORT:
            others[name] = value
        elif name in _INTEGERS:
            number = integer(attributes, name)
            if number is not None:
                result[_SHORT[name]] = number
        elif isinstance(value, str):
            result[_SHORT[name]] = value
    return {**result, "attributes": _exact(others)}


def _trace(connection: sqlite3.Connection, trace_id: str) -> list[Json]:
    rows = connection.execute(
        "SELECT * FROM spans WHERE trace_id = ? ORDER BY start_ns, end_ns DESC LIMIT ?", (trace_id, _SPANS_OF_A_TRACE)
    )
    return list(made_of(rows, lambda row: _trace_span(row, json.loads(row["attributes"]))))


def span(connection: sqlite3.Connection, trace_id: str, span_id: str) -> Json | None:
    """Any span by its ids, with its links and the events an application added; None if it did not come."""
    row = connection.execute("SELECT * FROM spans WHERE trace_id = ? AND span_id = ?", (trace_id, span_id)).fetchone()
    if row is None:
        return None
    return {
        **_trace_span(row, json.loads(row["attributes"])),
        "status_message": row["status_message"],
        "attributes": _exact(json.loads(row["attributes"])),
        "resource": _exact(loads(row["resource"], {})),
        "events": [_event(event) for event in loads(row["events"], [])][:_EVENTS_OF_A_STREAM],
        "links": [_link(connection, link) for link in loads(row["links"], [])[:_LINKS_OF_A_SPAN]],
    }


def _link(connection: sqlite3.Connection, link: Json) -> Json:
    ids = (link["trace_id"], link["span_id"])
    known = connection.execute("SELECT 1 FROM streams WHERE trace_id = ? AND span_id = ?", ids).fetchone()
    return {**link, "attributes": _exact(link["attributes"]), "is_generation": known is not None}


def _trace_span(row: sqlite3.Row, attributes: Attributes) -> Json:
    return {
        "span_id": row["span_id"],
        "parent_id": row["parent_id"],
        "name": row["name"],
        "service": row["service"],
        "kind": row["kind"],
        "start": str(row["start_ns"]),
        "end": str(row["end_ns"]),
        "status": row["status"],
        "first_token_ms": integer(attributes, signals.TIME_TO_FIRST_TOKEN_MS),
        "is_generation": signals.OUTCOME in attributes,
        "outcome": text(attributes, signals.OUTCOME),
        "error_type": error_type_of(attributes),
    }


def _records(connection: sqlite3.Connection, trace_id: str) -> list[Json]:
    """Ordinary log records of the trace."""
    rows = connection.execute(
        "SELECT * FROM records WHERE trace_id = ? ORDER BY time_ns LIMIT ?", (trace_id, _RECORDS_OF_A_TRACE * 10)
    )
    ordinary = (row for row in rows if row["name"] not in STREAM_EVENTS)
    return list(islice(made_of(ordinary, _record), _RECORDS_OF_A_TRACE))


def _record(row: sqlite3.Row) -> Json:
    return {
        "time_unix_ns": str(row["time_ns"]),
        "span_id": row["span_id"],
        "name": row["name"],
        "severity": row["severity"],
        "body": _exact(json.loads(row["body"])),
        "attributes": _exact(json.loads(row["attributes"])),
    }


def _descriptions(attributes: Attributes) -> dict[str, Json]:
    return {
        name: {"unit": known.unit, "brief": known.brief}
        for name in attributes
        if (known := signals.SPAN_ATTRIBUTES.get(name))
    }


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, int) and abs(value) > _EXACT_IN_JAVASCRIPT:
        return str(value)
    return value


def _integers(value: Any) -> list[int]:
    """Return the values that are offsets."""
    if not isinstance(value, list):
        return []
    found = (integer({"": item}, "") for item in value)
    return [item for item in found if item is not None]
