"""How panels look: bars, dashed lines, columns of tables, links of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grafana.builder.panels import KEEP, UIDS, Panel, thresholds
from grafana.builder.promql import MODEL
from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.builder.queries import Query

PER_MINUTE = "suffix:/min"
TIMES = "suffix:x"
STACKED = {"custom": {"fillOpacity": 40, "lineWidth": 1, "stacking": {"mode": "normal"}}, "min": 0}
BARS = {"custom": {"drawStyle": "bars", "fillOpacity": 70, "lineWidth": 0, "stacking": {"mode": "normal"}}, "min": 0}
# Late streams over those that may be late: above 1 the objective is missed, above 5 somebody is paged.
BY_TIMES = ((None, "green"), (1, "orange"), (5, "red"))


def by_name(name: str, **properties: Any) -> dict[str, Any]:
    """Return an override; ``custom_width`` stands for ``custom.width``."""
    return _override("byName", name, properties)


def by_regex(pattern: str, **properties: Any) -> dict[str, Any]:
    """Return an override for all fields whose shown name matches."""
    return _override("byRegexp", pattern, properties)


def _override(matcher: str, options: str, properties: dict[str, Any]) -> dict[str, Any]:
    found = [{"id": key.replace("custom_", "custom."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": found}


def column(
    name: str,
    title: str,
    unit: str = "short",
    *,
    width: int = 0,
    decimals: int | None = None,
    steps: Sequence[tuple[float | None, str]] = (),
    colours: dict[str, str] | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the override for a table's column. ``steps`` and ``colours`` colour its text."""
    properties: dict[str, Any] = {"displayName": title, "unit": unit}
    if unit == "string":
        properties["noValue"] = "-"  # the panel's own text is for the whole table
    if width:
        properties["custom_width"] = width
    if decimals is not None:
        properties["decimals"] = decimals
    if links:
        properties["links"] = [{"title": text, "url": url} for text, url in links]
    if steps:
        properties |= thresholds(*steps)
    if colours:
        options = {value: {"color": colour, "index": index} for index, (value, colour) in enumerate(colours.items())}
        properties["mappings"] = [{"type": "value", "options": options}]
    if steps or colours:
        properties["custom_cellOptions"] = {"type": "color-text"}
    return by_name(name, **properties)


def dashed(name: str, colour: str = "text") -> tuple[dict[str, Any], ...]:
    """Return the overrides for a line to compare with: an objective, another time."""
    return (
        by_name(
            name,
            color={"mode": "fixed", "fixedColor": colour},
            custom_lineStyle={"fill": "dash", "dash": [8, 8]},
            custom_fillOpacity=0,
            custom_lineWidth=1,
        ),
    )


def up_or_down(queries: Sequence[Query], **size: int) -> Panel:
    """Return the tiles of the back ends."""
    states = {"0": {"text": "down", "index": 0}, "1": {"text": "up", "index": 1}}
    return Panel(
        "Back ends",
        queries,
        "Whether they answer Prometheus, and whether the Collector has reported in the last 3 minutes.",
        "stat",
        "none",
        look={**thresholds((None, "red"), (1, "green")), "mappings": [{"type": "value", "options": states}]},
        options={"colorMode": "background", "textMode": "value_and_name"},
        **size,
    )


# Of Grafana's table of spans: the id of the trace is in a hidden column.
_TO_STREAM = f"/d/{UIDS['stream']}?var-trace=${{__data.fields.traceIdHidden}}&{KEEP}"
# Of a cell with a model.
TO_COMPARISON = (
    f"/d/{UIDS['compare']}?${{__url_time_range}}&${{service:queryparam}}&var-by={MODEL}&var-a=${{__value.raw}}"
)
# Tempo also gives what a query's conditions name.
_HIDDEN = ("traceName", "spanID", "name", "traceIdHidden", "service.name", signals.PROVIDER_NAME)
_NAMED = (
    ("traceService", "Service", "string"),
    (signals.REQUEST_MODEL, "Model", "string"),
    (signals.OUTCOME, "Outcome", "string"),
    (signals.TIME_TO_FIRST_TOKEN_MS, "First token", "ms"),
    (signals.GAP_MAX_MS, "Longest gap", "ms"),
    (signals.GAP_P95_MS, "Gap p95", "ms"),
    (signals.WAIT_MAX_MS, "Longest wait", "ms"),
    (signals.OPENING_MS, "Opening", "ms"),
    (signals.WAIT_TOTAL_MS, "All waits", "ms"),
    (signals.CONSUMER_TOTAL_MS, "Consumer", "ms"),
    (signals.STALL_COUNT, "Stalls", "none"),
    (signals.CHUNKS, "Chunks", "none"),
    (signals.EVENT_MERGED, "Merged", "none"),
    (signals.OUTPUT_RATE, "Tokens/s", "short"),
    (signals.USAGE_OUTPUT_TOKENS, "Output tokens", "none"),
)


def stream_columns(*, links: bool) -> tuple[dict[str, Any], ...]:
    """Return the overrides for a table of streams; ``links`` lets a row lead to all its tokens."""
    start: dict[str, Any] = {"displayName": "Start", "custom_width": 170}
    if links:
        start["links"] = [{"title": "Every token", "url": _TO_STREAM}]
    return (
        by_name("time", **start),
        by_name("duration", displayName="Duration", unit="ns"),
        *(by_name(name, custom_hideFrom={"viz": True}) for name in _HIDDEN),
        *(column(name, shown, unit) for name, shown, unit in _NAMED),
    )


def trace_table(title: str, queries: Sequence[Query], brief: str) -> Panel:
    """Return a table of streams whose rows lead to all their tokens."""
    return Panel(title, queries, brief, "table", width=12, overrides=stream_columns(links=True))
