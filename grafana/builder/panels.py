"""Panels, rows and dashboards in Grafana's classic JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from grafana.builder.names import metric, metrics_in
from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from grafana.builder.queries import Query

WIDTH = 24
# Each variable chooses among the data sources of its type; the provisioned one has the same uid.
DATASOURCES = {"promql": "prometheus", "traceql": "tempo", "logql": "loki"}
UIDS = {
    "overview": "tokenstream-overview",
    "service": "tokenstream-service",
    "compare": "tokenstream-compare",
    "stream": "tokenstream-stream",
    "health": "tokenstream-health",
}
KEEP = "${__url_time_range}&${service:queryparam}"


def datasource(kind: str) -> dict[str, str]:
    return {"type": kind, "uid": f"${{{kind}}}"}


@dataclass(frozen=True)
class Panel:
    """One panel, ``width`` of 24 columns wide. ``unit`` is Grafana's name of a unit."""

    title: str
    queries: Sequence[Query]
    brief: str
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    look: dict[str, Any] = field(default_factory=dict)
    overrides: Sequence[dict[str, Any]] = ()
    options: dict[str, Any] = field(default_factory=dict)
    transformations: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


def dashboard(
    uid: str, title: str, brief: str, variables: Sequence[dict[str, Any]], rows: Sequence[Row]
) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": title,
        "description": brief,
        "tags": ["otel-tokenstream"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "templating": {"list": [*_datasource_variables(), *variables]},
        "annotations": {"list": [_alerts(), _deployments()]},
        "links": [
            {
                "type": "dashboards",
                "title": "otel-tokenstream",
                "tags": ["otel-tokenstream"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
            }
        ],
        "panels": list(_laid_out(rows)),
    }


def _laid_out(rows: Sequence[Row]) -> Iterable[dict[str, Any]]:
    numbers, y = count(1), 0
    for row in rows:
        head: dict[str, Any] = {
            "id": next(numbers),
            "type": "row",
            "title": row.title,
            "collapsed": row.collapsed,
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            "panels": [],
        }
        y += 1
        inside, x, height = [], 0, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            position = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            inside.append({"id": next(numbers), "gridPos": position, **_panel(panel)})
            x, height = x + panel.width, max(height, panel.height)
        if row.collapsed:
            # The next row follows at once; opened, it is moved down.
            y = head["gridPos"]["y"] + 1
            yield {**head, "panels": inside}
        else:
            y += height
            yield head
            yield from inside


def _panel(panel: Panel) -> dict[str, Any]:
    kinds = {DATASOURCES[query.language] for query in panel.queries}
    source = datasource(kinds.pop()) if len(kinds) == 1 else {"type": "datasource", "uid": "-- Mixed --"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": _description(panel),
        "datasource": source,
        "targets": [_target(query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": {
                name: value
                for name, value in {
                    "unit": panel.unit,
                    "noValue": panel.queries[0].quiet if all(query.quiet for query in panel.queries) else None,
                    **_look(panel),
                }.items()
                if value is not None
            },
            "overrides": list(panel.overrides),
        },
        "options": {**_options(panel.kind), **panel.options},
        "transformations": list(panel.transformations),
    }


def _look(panel: Panel) -> dict[str, Any]:
    usual = _defaults(panel)
    custom = {**usual.get("custom", {}), **panel.look.get("custom", {})}
    return {**usual, **panel.look, **({"custom": custom} if custom else {})}


def _description(panel: Panel) -> str:
    text = " ".join(query.text for query in panel.queries)
    used = [f"`{name}` (`{metric(name)}`)" for name in metrics_in(text)]
    named = [f"`{name}`" for name in {**signals.SPAN_ATTRIBUTES, **signals.EVENTS} if name in text and not used]
    sources = [*used, *named]
    return f"{panel.brief}\n\n{'From ' + ', '.join(sources) + '.' if sources else ''}".strip()


def _target(query: Query, name: str) -> dict[str, Any]:
    target: dict[str, Any] = {"refId": name, "datasource": datasource(DATASOURCES[query.language])}
    if query.language == "traceql":
        table = {} if query.shape == "trace" else {"tableType": "spans", "limit": 50, "spss": 3}
        return {**target, "queryType": "traceql", "query": query.text, **table}
    if query.language == "logql":
        kind = (
            {"queryType": "range", "maxLines": 5000}
            if query.shape == "logs"
            else {"queryType": "range", "step": "$step"}
        )
        return {**target, "expr": query.text, "legendFormat": query.legend, **kind}
    instant = query.shape in ("now", "table")
    return {
        **target,
        "expr": query.text,
        "legendFormat": query.legend or "__auto",
        # The shortest step, and a quarter of the rate's window, whatever the data source says.
        "interval": "$every",
        "instant": instant,
        "range": not instant,
        "exemplar": query.exemplars,
        "format": {"heatmap": "heatmap", "table": "table"}.get(query.shape, "time_series"),
    }


# Nothing but zeros would be drawn on an axis up to 100, of per cents up to 10,000 %.
_LEAST_AXIS = {"percentunit": 0.1, "suffix:/min": 1}


def _defaults(panel: Panel) -> dict[str, Any]:
    kind = panel.kind
    # Without thresholds Grafana adds its own: red from 80 on.
    if kind in ("stat", "table"):
        return {**thresholds((None, "text")), **({"color": {"mode": "thresholds"}} if kind == "stat" else {})}
    if kind != "timeseries":
        return {}
    return {
        "custom": {
            "fillOpacity": 0,
            "lineWidth": 2,
            "showPoints": "auto",
            "spanNulls": 180_000,
            **({"axisSoftMax": _LEAST_AXIS[panel.unit]} if panel.unit in _LEAST_AXIS else {}),
        },
        "min": 0,
        **thresholds((None, "green")),
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    if kind == "heatmap":
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
            "yAxis": {"unit": "s"},
            "cellGap": 1,
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "tooltip": {"mode": "single", "yHistogram": True},
        }
    if kind == "table":
        return {"cellHeight": "sm", "showHeader": True}
    if kind == "logs":
        return {"showTime": True, "wrapLogMessage": False, "enableLogDetails": True, "sortOrder": "Ascending"}
    return {}


def thresholds(*steps: tuple[float | None, str]) -> dict[str, Any]:
    """Return thresholds from (value from which on, colour); the first value is None."""
    return {"thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}}


def _datasource_variables() -> list[dict[str, Any]]:
    return [
        {
            "name": kind,
            "label": kind.capitalize(),
            "type": "datasource",
            "query": kind,
            "current": {"text": kind.capitalize(), "value": kind},
            "refresh": 1,
            "multi": False,
            "includeAll": False,
        }
        for kind in DATASOURCES.values()
    ]


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": datasource("prometheus"),
        "enable": True,
        "iconColor": "red",
        "expr": "max by (alertname, service_name)"
        ' (ALERTS{alertstate="firing",severity="page",service_name=~"$service|"})',
        "titleFormat": "{{alertname}} {{service_name}}",
        "step": "60s",
    }


def _deployments() -> dict[str, Any]:
    """Return an annotation where a service that was there before comes with a version it did not have."""
    selected = f'{metric(signals.STREAM_ACTIVE)}{{service_name=~"$service"}}'
    versions = f"count by (service_name, service_version) (last_over_time({selected}"
    new = f"{versions}[5m])) unless {versions}[1h] offset 5m))"
    known = f"count by (service_name) (last_over_time({selected}[1h] offset 5m))"
    return {
        "name": "Deployments",
        "datasource": datasource("prometheus"),
        "enable": True,
        "iconColor": "blue",
        "expr": f"{new} and on (service_name) {known}",
        "titleFormat": "{{service_name}} {{service_version}}",
        "step": "60s",
    }
