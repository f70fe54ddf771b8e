"""One service: from an alert to the model, and from the model to the streams."""

from __future__ import annotations

from typing import Any

from grafana.builder.looks import BARS, BY_TIMES, PER_MINUTE, TIMES, TO_COMPARISON, column, dashed, trace_table
from grafana.builder.panels import UIDS, Panel, Row, dashboard, thresholds
from grafana.builder.promql import MODEL
from grafana.builder.queries import SERVICE_PAGE, TRACES
from grafana.builder.variables import CALLS, EVERY

_SERVICE = f"/d/{UIDS['service']}?${{__url_time_range}}&${{service:queryparam}}"


def _stat(title: str, name: str, brief: str, unit: str = "short", **look: Any) -> Panel:
    return Panel(title, SERVICE_PAGE[name], brief, "stat", unit, width=3, height=4, look=look)


_MODELS = Panel(
    "Which model",
    SERVICE_PAGE["models"],
    "Over the last 5 minutes, each against its own objective. Burn: late streams over those that may be late.",
    "table",
    width=24,
    height=7,
    overrides=(
        column(
            MODEL,
            "Model",
            "string",
            links=(
                ("Only this model", f"{_SERVICE}&var-model=${{__value.raw}}"),
                (
                    "Compare with another",
                    TO_COMPARISON,
                ),
            ),
        ),
        column("Value #A", "Streams/min", decimals=1),
        column("Value #B", "First token p95", "s"),
        column("Value #C", "Objective", "s"),
        column("Value #D", "First token late", "percentunit", decimals=1),
        column("Value #E", "First token burn", TIMES, decimals=1, steps=BY_TIMES),
        column("Value #F", "Longest wait p95", "s"),
        column("Value #G", "Wait burn", TIMES, decimals=1, steps=BY_TIMES),
        column(
            "Value #H", "Failed", "percentunit", decimals=1, steps=((None, "text"), (0.01, "orange"), (0.05, "red"))
        ),
        column("Value #I", "Stalled now", "none", steps=((None, "text"), (1, "orange"), (5, "red"))),
    ),
    transformations=(
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
    ),
    options={"sortBy": [{"displayName": "First token burn", "desc": True}]},
)

ROWS = (
    Row(
        "Now",
        (
            _stat("Open streams", "active_now", "Streams open now."),
            _stat(
                "Stalled now",
                "stalled_now",
                "Streams whose pending read is silent for longer than the stall threshold: before their first token, "
                "or among tokens.",
                **thresholds((None, "green"), (1, "orange"), (5, "red")),
            ),
            _stat("Streams a minute", "streams_now", "Streams that ended, over 5 minutes.", decimals=1),
            _stat("First token p95", "first_token_now", "Call to first generated content, over 5 minutes.", "s"),
            _stat(
                "Burn rate",
                "burn_now",
                "Late streams over those that may be late, over 5 minutes. Above 1 the objective is missed.",
                TIMES,
                decimals=1,
                **thresholds(*BY_TIMES),
            ),
            _stat(
                "First token in time",
                "in_time_range",
                "Share of streams within the objective of their model, over the chosen time. Streams that failed "
                "before any token count as late.",
                "percentunit",
                decimals=1,
            ),
            _stat(
                "Budget left",
                "budget_range",
                "Of the streams that may be late, over the chosen time; below zero the objective is missed.",
                "percentunit",
                decimals=0,
                **thresholds((None, "red"), (0, "orange"), (0.25, "green")),
            ),
            _stat(
                "Failed",
                "failed_range",
                "Share of streams that failed, over the chosen time.",
                "percentunit",
                decimals=1,
                **thresholds((None, "green"), (0.01, "orange"), (0.05, "red")),
            ),
            _MODELS,
            Panel(
                "First token p95 by model",
                SERVICE_PAGE["first_token_models"],
                "Who starts late. The objective is the shortest of the models chosen.",
                unit="s",
                overrides=dashed("objective", "red"),
            ),
            Panel(
                "Longest wait and gap of a stream p95",
                SERVICE_PAGE["longest"],
                "A wait is the provider's. Where the gap is long and the wait is short, the consumer was slow.",
                unit="s",
            ),
            Panel("Errors by model and class", SERVICE_PAGE["errors"], "Calls a minute.", unit=PER_MINUTE, look=BARS),
        ),
    ),
    Row(
        "Stalls and outcomes",
        (
            Panel("Open and stalled", SERVICE_PAGE["open"], "As seen each time metrics are exported."),
            Panel(
                "Stalls by model",
                SERVICE_PAGE["stalls"],
                "A minute; one for each read above the stall threshold.",
                unit=PER_MINUTE,
                look=BARS,
            ),
            Panel("Outcomes", SERVICE_PAGE["outcomes"], "How streams ended, a minute.", unit=PER_MINUTE, look=BARS),
            Panel(
                "First token late, by model",
                SERVICE_PAGE["late"],
                "Share of streams after the objective of their model.",
                unit="percentunit",
                overrides=dashed("allowed", "red"),
            ),
            Panel(
                "Long waits, by model",
                SERVICE_PAGE["long_waits"],
                "Share of streams that waited for the provider for longer than the objective of their model.",
                unit="percentunit",
                overrides=dashed("allowed", "red"),
            ),
            Panel(
                "Given up by the caller",
                SERVICE_PAGE["given_up"],
                "Cancelled, closed early or dropped; rises when readers lose patience.",
                unit="percentunit",
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
            trace_table("Stalled", TRACES["stalled"], "At least one stall."),
            trace_table("Not completed", TRACES["not_completed"], "Failed, cancelled, closed or abandoned."),
            trace_table("Most recent", TRACES["recent"], "All of them."),
        ),
        collapsed=True,
    ),
    Row(
        "First token",
        (
            Panel("First token", SERVICE_PAGE["first_token"], "Call to first generated content.", unit="s"),
            Panel(
                "First token, distribution",
                SERVICE_PAGE["first_token_heatmap"],
                "Streams a minute. Two bands mean two kinds of answers, for example with and without a prompt cache.",
                "heatmap",
            ),
            Panel(
                "First chunk, token and answer token p95",
                SERVICE_PAGE["first_chunk"],
                "A long way from the first token to the first answer token is reasoning.",
                unit="s",
            ),
            Panel("First content by output field p95", SERVICE_PAGE["fields"], "Fields of DSPy programs.", unit="s"),
            Panel(
                "Ended without a first token",
                SERVICE_PAGE["no_first_token"],
                "A minute. They are in no first-token percentile.",
                unit=PER_MINUTE,
                look=BARS,
            ),
            Panel(
                "Streams by model", SERVICE_PAGE["rate"], "Streams that ended, a minute.", unit=PER_MINUTE, look=BARS
            ),
        ),
        collapsed=True,
    ),
    Row(
        "Pace",
        (
            Panel(
                "Gaps between chunks",
                SERVICE_PAGE["gaps"],
                "Arrival to arrival. A slow consumer makes gaps too: only waits accuse the provider.",
                unit="s",
            ),
            Panel("Gaps, distribution", SERVICE_PAGE["gap_heatmap"], "Gaps a minute.", "heatmap"),
            Panel("Length of stalls", SERVICE_PAGE["stall_duration"], "Of stalls that ended.", unit="s"),
            Panel("Output rate of a stream", SERVICE_PAGE["output_rate"], "Reported tokens a second.", unit="short"),
            Panel("Time per output token", SERVICE_PAGE["per_token"], "After the first token.", unit="s"),
            Panel("Duration of calls", SERVICE_PAGE["duration"], "Call to the end of the answer.", unit="s"),
            Panel("Tokens of a call p95", SERVICE_PAGE["tokens_per_call"], "Input and output."),
            Panel(
                "Tokens by modality",
                SERVICE_PAGE["tokens_by_modality"],
                "A minute. Text, image or audio where the provider tells them apart, else unknown.",
            ),
            Panel("Duration of agents p95", SERVICE_PAGE["agent_duration"], "One invocation, by agent.", unit="s"),
            Panel(
                "Calls of agents p95",
                SERVICE_PAGE["agent_calls"],
                "Model calls and tools of one invocation; those of agents that it calls are theirs.",
            ),
        ),
        collapsed=True,
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["service"],
        "Service",
        "One service's streams: which model, what of it, and the streams themselves.",
        (*CALLS, EVERY),
        ROWS,
    )
