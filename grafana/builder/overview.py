"""Streams overview: is it well now, and if not, whose page to open."""

from __future__ import annotations

from typing import Any

from grafana.builder.looks import (
    BARS,
    BY_TIMES,
    PER_MINUTE,
    STACKED,
    TIMES,
    TO_COMPARISON,
    column,
    dashed,
    trace_table,
    up_or_down,
)
from grafana.builder.panels import UIDS, Panel, Row, dashboard, thresholds
from grafana.builder.promql import MODEL
from grafana.builder.queries import OVERVIEW, TRACES
from grafana.builder.variables import CALLS, EVERY
from otel_tokenstream import signals

_TO_SERVICE = f"/d/{UIDS['service']}?${{__url_time_range}}"
_FIRING = Panel(
    "Firing alerts",
    OVERVIEW["firing"],
    "Those that page or ticket, as Prometheus evaluates them. An alert's name opens the page of its service and model.",
    "table",
    width=13,
    height=7,
    options={"sortBy": [{"displayName": "Severity", "desc": False}]},
    overrides=(
        column("severity", "Severity", "string", width=85, colours={"page": "red", "ticket": "orange"}),
        column(
            "alertname",
            "Alert",
            "string",
            width=220,
            links=(
                (
                    "The service, from the time of the alert",
                    f"{_TO_SERVICE}&var-service=${{__data.fields.Service}}&var-model=${{__data.fields.Model}}",
                ),
                ("Plugin health", f"/d/{UIDS['health']}?${{__url_time_range}}"),
            ),
        ),
        column("service_name", "Service", "string", width=130),
        column(MODEL, "Model", "string", width=130),
        column("part", "Part of the stack", "string", width=170),
        column("Value", "For", "s", width=90, decimals=0),
    ),
    transformations=(
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {"severity": 0, "alertname": 1, "service_name": 2, MODEL: 3, "part": 4, "Value": 5},
                "renameByName": {},
            },
        },
    ),
)
_SERVICES = Panel(
    "Services",
    OVERVIEW["services"],
    "Over the last 5 minutes. Burn: late streams over those that may be late, so that above 1 the objective is "
    "missed. Objectives by service and model stand in `grafana/objectives.yaml`. A service's name opens its page.",
    "table",
    width=24,
    height=7,
    overrides=(
        column(
            "service_name",
            "Service",
            "string",
            links=(("This service", f"{_TO_SERVICE}&var-service=${{__value.raw}}"),),
        ),
        column("Value #A", "Streams/min", decimals=1),
        column("Value #B", "First token p95", "s"),
        column("Value #C", "First token late", "percentunit", decimals=1),
        column("Value #D", "First token burn", TIMES, decimals=1, steps=BY_TIMES),
        column("Value #E", "Wait burn", TIMES, decimals=1, steps=BY_TIMES),
        column(
            "Value #F", "Failed", "percentunit", decimals=1, steps=((None, "text"), (0.01, "orange"), (0.05, "red"))
        ),
        column("Value #G", "Stalled now", "none", steps=((None, "text"), (1, "orange"), (5, "red"))),
        column("Value #H", "Open now", "none"),
    ),
    transformations=(
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
    ),
    options={"sortBy": [{"displayName": "First token burn", "desc": True}]},
)
_MODELS = Panel(
    "Models",
    OVERVIEW["models"],
    "Each model over the chosen time. A model's name leads to its own view and to a comparison.",
    "table",
    width=24,
    overrides=(
        column(
            MODEL,
            "Model",
            "string",
            links=(
                (
                    "Only this model",
                    f"{_TO_SERVICE}&${{service:queryparam}}&var-model=${{__value.raw}}",
                ),
                (
                    "Compare with another",
                    TO_COMPARISON,
                ),
            ),
        ),
        column("gen_ai_provider_name", "Provider", "string"),
        column("Value #A", "Streams", "none", decimals=0),
        column("Value #B", "First token p50", "s"),
        column("Value #C", "First token p95", "s"),
        column("Value #D", "Longest wait p95", "s"),
        column("Value #E", "Median tokens/s", decimals=0),
        column("Value #F", "Failed", "percentunit", decimals=1),
        column("Value #G", "Output tokens"),
    ),
    transformations=(
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
    ),
)

ROWS = (
    Row(
        "Now",
        (
            _FIRING,
            up_or_down(OVERVIEW["backends"], width=8, height=7),
            Panel(
                "Fullest queue",
                OVERVIEW["fullest_queue"],
                "Of the Collector's exporters. It fills while a back end is away; full, the newest telemetry is lost. "
                "*Plugin health* says which.",
                "stat",
                "percentunit",
                width=3,
                height=7,
                look={**thresholds((None, "green"), (0.5, "orange"), (0.9, "red")), "decimals": 0},
                options={"textMode": "value"},
            ),
            _SERVICES,
            Panel(
                "Failed streams by model",
                OVERVIEW["errors"],
                "Streams a minute that failed.",
                unit=PER_MINUTE,
                look=BARS,
                height=7,
            ),
            Panel(
                "First token p95",
                OVERVIEW["first_token"],
                "Of everything chosen above, and the same a week before.",
                unit="s",
                height=7,
                overrides=dashed("a week before"),
            ),
            Panel(
                "Streams a minute",
                OVERVIEW["traffic"],
                "Of everything chosen above, and the same a week before.",
                unit=PER_MINUTE,
                height=7,
                overrides=dashed("a week before"),
            ),
        ),
    ),
    Row("Models", (_MODELS,), collapsed=True),
    Row(
        "Usage and cost",
        (
            Panel("Tokens a second", OVERVIEW["tokens"], "Reported by providers; cached and reasoning are parts."),
            Panel("Cost an hour", OVERVIEW["cost"], "At the present pace.", unit="currencyUSD", look=STACKED),
            Panel(
                "Cost",
                OVERVIEW["cost_range"],
                "Over the chosen time, as the library prices it.",
                "stat",
                "currencyUSD",
            ),
        ),
        collapsed=True,
    ),
    Row(
        "Streams to look at",
        (
            trace_table(
                "Late first token", TRACES["late"], "First token after the objective of its service and model."
            ),
            trace_table("Most recent", TRACES["recent"], "All of them."),
        ),
        collapsed=True,
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["overview"],
        "Streams overview",
        f"How streams of language models behave: {len(signals.METRICS)} metrics and the streams behind them.",
        (*CALLS, EVERY),
        ROWS,
    )
