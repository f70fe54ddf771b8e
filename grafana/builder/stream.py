"""One stream: every token of one trace, with what stock Grafana has."""

from __future__ import annotations

from typing import Any

from grafana.builder.looks import stream_columns
from grafana.builder.panels import UIDS, Panel, Row, dashboard
from grafana.builder.queries import STREAM
from grafana.builder.variables import SERVICE, STEP, TRACE

_POINTS = {"custom": {"drawStyle": "points", "pointSize": 5, "showPoints": "always"}, "min": 0}
# The trace's frame has one row a span, whose events are an array of objects {timestamp, fields}. Events
# carry offset, gap and index first and in this order, so that a position finds them.
_EVENTS = (
    {"id": "filterFieldsByName", "options": {"include": {"names": ["logs"]}}},
    {"id": "extractFields", "options": {"source": "logs", "format": "json", "replace": True}},
    {"id": "transpose", "options": {"firstFieldName": "event"}},
    {
        "id": "extractFields",
        "options": {
            "source": "Value",
            "format": "json",
            "replace": True,
            "jsonPaths": [
                {"path": "fields[0].value", "alias": "offset"},
                {"path": "fields[1].value", "alias": "gap"},
                {"path": "fields[2].value", "alias": "index"},
            ],
        },
    },
    {
        "id": "convertFieldType",
        "options": {
            "conversions": [{"targetField": name, "destinationType": "number"} for name in ("offset", "gap", "index")]
        },
    },
)

ROWS = (
    Row(
        "The trace",
        (
            Panel(
                "Summary",
                STREAM["summary"],
                "Each generation of the trace. Opening, all waits and the consumer's time make up the duration; "
                "time in the consumer makes gaps that are no waits.",
                "table",
                width=24,
                height=5,
                overrides=stream_columns(links=False),
            ),
            Panel(
                "Spans and their events",
                STREAM["trace"],
                "A span's events are under its name.",
                "traces",
                width=24,
                height=14,
            ),
        ),
    ),
    Row(
        "From the span's events",
        (
            Panel(
                "Gap at each event",
                STREAM["trace"],
                "Each token event by its offset since the call and the gap before it, in microseconds. For a trace "
                "with one generation span.",
                "xychart",
                unit="µs",
                width=24,
                options={
                    "mapping": "manual",
                    "series": [
                        {
                            "x": {"matcher": {"id": "byName", "options": "offset"}},
                            "y": {"matcher": {"id": "byName", "options": "gap"}},
                        }
                    ],
                },
                look={"custom": {"show": "points+lines", "pointSize": {"fixed": 6}}},
                transformations=_EVENTS,
            ),
        ),
    ),
    Row(
        "From the log records (OTEL_TOKENSTREAM_EVENTS=log or both)",
        (
            Panel(
                "Gaps and waits",
                STREAM["gaps"],
                "Where the wait is short, the consumer made the gap. Of a merged event: its longest gap, and all its "
                "waits together.",
                unit="µs",
                width=12,
                look=_POINTS,
            ),
            Panel("Characters a second", STREAM["pace"], "The pace of the text.", width=12),
            Panel("Events", STREAM["events"], "In the order in which they came.", "logs", width=24, height=12),
        ),
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["stream"],
        "One stream",
        "Choose a trace: by a link from the other dashboards, from an exemplar, or by its id.",
        (SERVICE, TRACE, STEP),
        ROWS,
    )
