"""What queries are made of: names of metrics and labels, selectors, and the query itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana.builder.names import label, metric
from grafana.builder.promql import CALLS, RATE, quantile
from otel_tokenstream import signals

Language = Literal["promql", "traceql", "logql"]
Shape = Literal["series", "heatmap", "table", "now", "logs", "trace"]

NO_USAGE = "no provider reported tokens"


@dataclass(frozen=True)
class Query:
    """One query. ``legend`` may name labels; ``shape`` is the form its panel needs the answer in.

    ``quiet`` says why a healthy system may answer nothing, empty for a query that always has an answer.
    """

    text: str
    legend: str = ""
    language: Language = "promql"
    shape: Shape = "series"
    exemplars: bool = False
    quiet: str = ""


OUTCOME = label(signals.OUTCOME)
SEEN = label(signals.FIRST_TOKEN_SEEN)
PHASE = label(signals.PHASE)
TYPE = label(signals.TOKEN_TYPE)
FIELD = label(signals.AT_FIELD)
ERROR = label(signals.ERROR_TYPE)

FAILED = f'{CALLS},{OUTCOME}="failed"'
GIVEN_UP = f'{CALLS},{OUTCOME}=~"abandoned|cancelled|closed"'
NO_TOKEN = f'{CALLS},{SEEN}="false"'

STREAMS = metric(signals.STREAMS)
FIRST_TOKEN = metric(signals.TIME_TO_FIRST_TOKEN)
FIRST_ANSWER = metric(signals.TIME_TO_FIRST_ANSWER_TOKEN)
FIELD_FIRST = metric(signals.FIELD_TIME_TO_FIRST_TOKEN)
PER_TOKEN = metric(signals.TIME_PER_OUTPUT_TOKEN)
OUTPUT_RATE = metric(signals.OUTPUT_RATE_METRIC)
WAIT = metric(signals.WAIT_MAX)
GAP = metric(signals.GAP_MAX)
STALL = metric(signals.STALL_DURATION)
TOKENS = metric(signals.TOKENS)
COST = metric(signals.COST)
ACTIVE = metric(signals.STREAM_ACTIVE)
STALLED = metric(signals.STREAM_STALLED)
# The convention's metrics under either of their names; the first that has data answers.
DURATION = (metric(signals.OPERATION_DURATION), metric(signals.INFERENCE_DURATION))
FIRST_CHUNK = (metric(signals.OPERATION_TIME_TO_FIRST_CHUNK), metric(signals.INFERENCE_TIME_TO_FIRST_CHUNK))
CHUNK_GAP = (metric(signals.OPERATION_TIME_PER_OUTPUT_CHUNK), metric(signals.INFERENCE_TIME_PER_OUTPUT_CHUNK))
USAGE = metric(signals.TOKEN_USAGE)
# The Collector pushes its own metrics: there is no target whose scrape could fail.
COLLECTOR_UP = "(count(last_over_time(otelcol_process_memory_rss_bytes[3m])) > bool 0) or vector(0)"


def heatmap(*names: str, where: str = CALLS) -> Query:
    text = " or ".join(
        f"60 * sum by (le) (rate({name}_bucket{{{where}}}[{RATE}])) or 60 * sum(rate({name}{{{where}}}[{RATE}]))"
        for name in names
    )
    return Query(text, "{{le}}", shape="heatmap")


def percentiles(*names: str, where: str = CALLS, quiet: str = "") -> tuple[Query, ...]:
    return tuple(
        Query(quantile(share, *names, where=where), title, exemplars=share == 0.95, quiet=quiet)
        for share, title in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )
