"""Streams overview: is it well now, and if not, where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grafana.builder.panels import KEEP, UIDS, Panel, Row, dashboard, thresholds
from grafana.builder.promql import MODEL
from grafana.builder.queries import OVERVIEW, TRACES
from grafana.builder.variables import CALLS, OBJECTIVES
from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

_STACKED = {"custom": {"fillOpacity": 40, "lineWidth": 1, "stacking": {"mode": "normal"}}, "min": 0}
_BARS = {"custom": {"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal"}}, "min": 0}
_GOOD_ABOVE = thresholds((None, "red"), (0.9, "orange"), (0.95, "green"))
_BAD_ABOVE = thresholds((None, "green"), (0.01, "orange"), (0.05, "red"))
_TRACE_TABLE: Sequence[dict[str, Any]] = (
    {
        "matcher": {"id": "byName", "options": "Trace ID"},
        "properties": [
            {
                "id": "links",
                "value": [
                    {
                        "title": "Every token of this stream",
                        "url": f"/d/{UIDS['stream']}?var-trace=${{__value.raw}}&{KEEP}",
                    }
                ],
            }
        ],
    },
)


def _stat(title: str, name: str, brief: str, unit: str = "short", **look: Any) -> Panel:
    return Panel(title, OVERVIEW[name], brief, "stat", unit, width=3, height=4, look=look)


def _column(name: str, title: str, unit: str = "short", *, link: bool = False) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [{"id": "displayName", "value": title}, {"id": "unit", "value": unit}]
    if link:
        properties.append(
            {
                "id": "links",
                "value": [
                    {
                        "title": "Only this model",
                        "url": f"/d/{UIDS['overview']}?${{__url_time_range}}&${{service:queryparam}}"
                        "&var-model=${__value.raw}",
                    },
                    {
                        "title": "Compare with another",
                        "url": f"/d/{UIDS['compare']}?${{__url_time_range}}&${{service:queryparam}}"
                        f"&var-by={MODEL}&var-a=${{__value.raw}}",
                    },
                ],
            }
        )
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


_MODELS = Panel(
    "Models",
    OVERVIEW["models"],
    "Each model over the chosen time. A model's name leads to its own view and to a comparison.",
    "table",
    width=24,
    overrides=(
        _column(MODEL, "Model", link=True),
        _column("gen_ai_provider_name", "Provider"),
        _column("Value #A", "Streams", "none"),
        _column("Value #B", "First token p50", "s"),
        _column("Value #C", "First token p95", "s"),
        _column("Value #D", "Longest wait p95", "s"),
        _column("Value #E", "Median tokens/s", "short"),
        _column("Value #F", "Failed", "percentunit"),
        _column("Value #G", "Output tokens", "short"),
    ),
    transformations=(
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
    ),
)


def _traces(title: str, name: str, brief: str) -> Panel:
    return Panel(title, TRACES[name], brief, "table", width=12, overrides=_TRACE_TABLE)


ROWS = (
    Row(
        "Now",
        (
            _stat("Active streams", "active_now", "Streams open now."),
            _stat(
                "Stalled now",
                "stalled_now",
                "Streams whose pending read is silent for longer than the stall threshold.",
                **thresholds((None, "green"), (1, "red")),
            ),
            _stat("Streams a second", "streams_now", "Streams that ended, over 5 minutes.", "reqps"),
            _stat("First token p95", "first_token_now", "Call to first generated content, over 5 minutes.", "s"),
            _stat(
                "First token in time",
                "in_time_range",
                "Share of streams with their first token within the objective, over the chosen time. Streams that "
                "failed before any token count as late.",
                "percentunit",
                **_GOOD_ABOVE,
            ),
            _stat(
                "Error budget left",
                "budget_range",
                "What is left of the share that may be late, over the chosen time; below zero the objective is missed.",
                "percentunit",
                **thresholds((None, "red"), (0, "orange"), (0.25, "green")),
            ),
            _stat("Failed", "failed_range", "Share of streams that failed.", "percentunit", **_BAD_ABOVE),
            _stat("Cost", "cost_range", "Over the chosen time, as the library prices it.", "currencyUSD"),
        ),
    ),
    Row(
        "First token",
        (
            Panel("First token", OVERVIEW["first_token"], "Call to first generated content.", unit="s"),
            Panel("First token p95 by model", OVERVIEW["first_token_models"], "Who starts late.", unit="s"),
            Panel(
                "First token, distribution",
                OVERVIEW["first_token_heatmap"],
                "Two bands mean two kinds of answers, for example with and without a prompt cache.",
                "heatmap",
            ),
            Panel(
                "First chunk, token and answer token p95",
                OVERVIEW["first_chunk"],
                "A long way from the first token to the first answer token is reasoning.",
                unit="s",
            ),
            Panel("First content by output field p95", OVERVIEW["fields"], "Fields of DSPy programs.", unit="s"),
            Panel(
                "Ended without a first token",
                OVERVIEW["no_first_token"],
                "They are in no first-token percentile.",
                look=_BARS,
            ),
        ),
    ),
    Row(
        "Pace",
        (
            Panel(
                "Gaps between chunks",
                OVERVIEW["gaps"],
                "Arrival to arrival. A slow consumer makes gaps too: only waits accuse the provider.",
                unit="s",
            ),
            Panel("Gaps, distribution", OVERVIEW["gap_heatmap"], "One record a gap.", "heatmap"),
            Panel(
                "Longest wait and gap of a stream p95",
                OVERVIEW["longest"],
                "Where the gap is long and the wait is not, the consumer was slow.",
                unit="s",
            ),
            Panel("Output rate of a stream", OVERVIEW["output_rate"], "Reported tokens a second.", unit="short"),
            Panel("Time per output token", OVERVIEW["per_token"], "After the first token.", unit="s"),
            Panel("Duration of calls", OVERVIEW["duration"], "Call to the end of the answer.", unit="s"),
        ),
    ),
    Row(
        "Objectives",
        (
            Panel(
                "Attainment",
                OVERVIEW["attainment"],
                "Share of streams within the objectives chosen above.",
                unit="percentunit",
                width=12,
                look={"max": 1},
            ),
            Panel(
                "Error budget left",
                OVERVIEW["budgets"],
                "Over the chosen time, as it was at each moment.",
                unit="percentunit",
                width=12,
                look={"min": None},
            ),
        ),
    ),
    Row(
        "Stalls, outcomes and errors",
        (
            Panel("Open and stalled", OVERVIEW["open"], "Seen each time metrics are exported: every 15 s is advised."),
            Panel("Stalls", OVERVIEW["stalls"], "One for each read above the stall threshold.", look=_BARS),
            Panel("Length of stalls", OVERVIEW["stall_duration"], "Of stalls that ended.", unit="s"),
            Panel("Streams by model", OVERVIEW["rate"], "Streams that ended.", unit="reqps", look=_STACKED),
            Panel("Outcomes", OVERVIEW["outcomes"], "How streams ended.", look=_BARS),
            Panel("Errors by class", OVERVIEW["errors"], "Calls that failed.", unit="reqps", look=_BARS),
            Panel(
                "Given up by the caller",
                OVERVIEW["given_up"],
                "Cancelled, closed early or dropped; rises when readers lose patience.",
                unit="percentunit",
            ),
        ),
    ),
    Row(
        "Usage and cost",
        (
            Panel("Tokens a second", OVERVIEW["tokens"], "Reported by providers; cached and reasoning are parts."),
            Panel("Tokens of a call p95", OVERVIEW["tokens_per_call"], "Input and output."),
            Panel("Cost an hour", OVERVIEW["cost"], "At the present pace.", unit="currencyUSD", look=_STACKED),
        ),
    ),
    Row("Models", (_MODELS,)),
    Row(
        "Streams to look at",
        (
            _traces("Late first token", "slow", "First token after more than 2.5 s."),
            _traces("Stalled", "stalled", "At least one stall."),
            _traces("Not completed", "not_completed", "Failed, cancelled, closed or abandoned."),
            _traces("Most recent", "recent", "All of them."),
        ),
    ),
)


def build() -> dict[str, Any]:
    return dashboard(
        UIDS["overview"],
        "Streams overview",
        f"How streams of language models behave: {len(signals.METRICS)} metrics and the streams behind them.",
        (*CALLS, *OBJECTIVES),
        ROWS,
    )
