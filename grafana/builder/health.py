"""Plugin health: whether what the other dashboards show is complete."""

from __future__ import annotations

from typing import Any

from grafana.builder.looks import BARS, PER_MINUTE, dashed, up_or_down
from grafana.builder.panels import UIDS, Panel, Row, dashboard
from grafana.builder.queries import HEALTH
from grafana.builder.variables import EVERY, SERVICE

ROWS = (
    Row(
        "From the application to the back ends",
        (
            up_or_down(HEALTH["up"], width=6, height=8),
            Panel(
                "Queues of the Collector",
                HEALTH["queue"],
                "Share in use of each exporter's queue: it fills while its back end is away.",
                unit="percentunit",
                width=9,
                look={"max": 1},
                overrides=dashed("full", "red"),
            ),
            Panel("Sent", HEALTH["sent"], "Items a second, to the back ends: none where one is away.", width=9),
            Panel(
                "Spans lost, by place and reason",
                HEALTH["lost_spans"],
                "A minute, in order of the way: full queue, failed and refused export in the application, refused, not "
                "queued and not sent in the Collector, discarded in Tempo (trace_too_large: more than 5 MB). Refused "
                "exports are batches, the rest are spans.",
                unit=PER_MINUTE,
                width=12,
                look=BARS,
            ),
            Panel(
                "Metric points and log records lost",
                HEALTH["lost_others"],
                "A minute, in order of the way: refused, not queued and not sent in the Collector, discarded in Loki. "
                "What Loki discards as rate_limited the Collector sends again: it comes late and is not lost.",
                unit=PER_MINUTE,
                width=12,
                look=BARS,
            ),
        ),
    ),
    Row(
        "Instrumentation",
        (
            Panel("Since the last metrics", HEALTH["age"], "Age of each service's newest gauge.", unit="s"),
            Panel(
                "Span queue of the SDK",
                HEALTH["sdk_queue"],
                "Spans that wait for their export; those that find it full are dropped. Needs "
                "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true. Where the SDK does not tell its capacity, its default "
                "of 2,048 is drawn.",
                overrides=dashed("full", "red"),
            ),
            Panel(
                "Faults kept from the application",
                HEALTH["faults"],
                "A minute. Each is logged once; report it.",
                unit=PER_MINUTE,
                look=BARS,
            ),
            Panel(
                "Entries of a library not seen",
                HEALTH["seams"],
                "Calls through them have no spans and no metrics: the library's version is not known.",
            ),
            Panel(
                "Live events dropped",
                HEALTH["live"],
                "A minute, by whoever was too slow for them, failed at them, or gave up sending them. Spans and "
                "metrics are complete all the same.",
                unit=PER_MINUTE,
                look=BARS,
            ),
            Panel(
                "Chunks in merged events",
                HEALTH["merged"],
                "A minute. Not lost: long streams share events to stay within the budget of a span.",
                unit=PER_MINUTE,
                look=BARS,
            ),
        ),
        collapsed=True,
    ),
    Row(
        "Collector, Tempo and Prometheus",
        (
            Panel("Accepted", HEALTH["accepted"], "Items a second, from applications."),
            Panel(
                "Memory", HEALTH["memory"], "Resident; the limiter refuses at 80 % of what it may have.", unit="bytes"
            ),
            Panel("Running", HEALTH["uptime"], "Since each Collector's start.", unit="s"),
            Panel("Spans received by Tempo", HEALTH["tempo"], "A second."),
            Panel("Tail sampling", HEALTH["sampled"], "Traces a second by decision."),
            Panel(
                "Traces without a decision",
                HEALTH["undecided"],
                "At num_traces (20,000 as shipped) the oldest are dropped: raise it, or add gateways.",
            ),
            Panel(
                "Attributes truncated by Tempo",
                HEALTH["truncated"],
                "A minute; strings above 2,048 bytes.",
                unit=PER_MINUTE,
                look=BARS,
            ),
            Panel(
                "Rules that fail",
                HEALTH["rules"],
                "A minute. Alerts of such a group may not fire.",
                unit=PER_MINUTE,
                look=BARS,
            ),
        ),
        collapsed=True,
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["health"],
        "Plugin health",
        "Whether telemetry is lost between the application and here.",
        (SERVICE, EVERY),
        ROWS,
    )
