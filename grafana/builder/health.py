"""Plugin health: whether what the other dashboards show is complete."""

from __future__ import annotations

from typing import Any

from grafana.builder.panels import UIDS, Panel, Row, dashboard
from grafana.builder.queries import HEALTH
from grafana.builder.variables import CALLS

_BARS = {"custom": {"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal"}}, "min": 0}

ROWS = (
    Row(
        "Losses",
        (
            Panel(
                "Spans lost, by place and reason",
                HEALTH["lost_spans"],
                "In order of the way: full queue, failed and refused export in the application, refused, not queued "
                "and not sent in the Collector, discarded in Tempo (trace_too_large: more than 5 MB). Refused exports "
                "are batches, the rest are spans.",
                width=12,
                look=_BARS,
            ),
            Panel(
                "Metric points and log records lost",
                HEALTH["lost_others"],
                "In order of the way: refused, not queued and not sent in the Collector, discarded in Loki. What Loki "
                "discards as rate_limited the Collector sends again: it comes late and is not lost.",
                width=12,
                look=_BARS,
            ),
        ),
    ),
    Row(
        "Instrumentation",
        (
            Panel("Since the last metrics", HEALTH["age"], "Age of each service's newest gauge.", unit="s"),
            Panel("Faults kept from the application", HEALTH["faults"], "Each is logged once; report it.", look=_BARS),
            Panel(
                "Live events dropped",
                HEALTH["live"],
                "By whoever was too slow for them, failed at them, or gave up sending them. Spans and metrics are "
                "complete all the same.",
                look=_BARS,
            ),
            Panel(
                "Chunks in merged events",
                HEALTH["merged"],
                "Not lost: long streams share events to stay within the budget of a span.",
                look=_BARS,
            ),
            Panel(
                "Span queue of the SDK",
                HEALTH["sdk_queue"],
                "Needs OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true. At 100 % spans are dropped.",
                unit="percentunit",
            ),
        ),
    ),
    Row(
        "Collector",
        (
            Panel("Accepted", HEALTH["accepted"], "A second, from applications.", unit="cps"),
            Panel("Sent", HEALTH["sent"], "A second, to the back ends.", unit="cps"),
            Panel("Queues", HEALTH["queue"], "Share in use of each exporter's queue.", unit="percentunit"),
            Panel(
                "Memory", HEALTH["memory"], "Resident; the limiter refuses at 80 % of what it may have.", unit="bytes"
            ),
            Panel("Tail sampling", HEALTH["sampled"], "Traces a second by decision.", unit="cps"),
            Panel(
                "Traces without a decision",
                HEALTH["undecided"],
                "At num_traces (20,000 as shipped) the oldest are dropped: raise it, or add gateways.",
            ),
        ),
    ),
    Row(
        "Back ends",
        (
            Panel("Spans received by Tempo", HEALTH["tempo"], "A second.", unit="cps"),
            Panel("Attributes truncated by Tempo", HEALTH["truncated"], "Strings above 2,048 bytes.", look=_BARS),
            Panel("Scraped", HEALTH["up"], "1 while a back end answers.", look={"max": 1}),
        ),
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["health"], "Plugin health", "Whether telemetry is lost between the application and here.", CALLS, ROWS
    )
