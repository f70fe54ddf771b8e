"""Every query of the dashboards, by name. Metric and label names come from the signals.

``$service``, ``$provider`` and ``$model`` are variables of every dashboard; ``$__rate_interval``
and ``$__range`` are Grafana's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from grafana.builder.names import label, metric
from grafana.builder.promql import CALLS, MODEL, PROVIDER, RATE, SERVICE, increase, now, quantile, rate
from otel_tokenstream import signals

Language = Literal["promql", "traceql", "logql"]
Shape = Literal["series", "heatmap", "table", "now", "logs", "trace"]


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


def heatmap(*names: str, where: str = CALLS) -> Query:
    text = " or ".join(
        f"sum by (le) (increase({name}_bucket{{{where}}}[{RATE}])) or sum(increase({name}{{{where}}}[{RATE}]))"
        for name in names
    )
    return Query(text, "{{le}}", shape="heatmap")


def percentiles(*names: str, where: str = CALLS) -> tuple[Query, ...]:
    return tuple(
        Query(quantile(share, *names, where=where), title, exemplars=share == 0.95)
        for share, title in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def in_time(over: str) -> str:
    """Return the share of streams whose first token came in time; failed ones that never gave any were late.

    The histogram knows nothing of streams without a first token: without them it hides the worst.
    """
    good = increase(f"{FIRST_TOKEN}_bucket", f'{CALLS},le="$first_token_slo"', over=over)
    late = increase(STREAMS, f'{FAILED},{SEEN}="false"', over=over)
    return f"{good} / ({increase(f'{FIRST_TOKEN}_count', over=over)} + {late})"


def evenly(over: str) -> str:
    """Return the share of streams that never had to wait longer than the objective."""
    good = increase(f"{WAIT}_bucket", f'{CALLS},le="$wait_slo"', over=over)
    return f"{good} / {increase(f'{WAIT}_count', over=over)}"


def budget(share: str) -> str:
    return f"1 - (1 - {share}) / (1 - $slo_target)"


_EACH = f"{MODEL}, {PROVIDER}"

OVERVIEW: dict[str, tuple[Query, ...]] = {
    "active_now": (Query(f"sum(last_over_time({ACTIVE}{{{CALLS}}}[2m]))", "active", shape="now"),),
    "stalled_now": (Query(f"sum(last_over_time({STALLED}{{{CALLS}}}[2m]))", "stalled", shape="now"),),
    "streams_now": (Query(rate(STREAMS, over="5m"), "streams", shape="now"),),
    "first_token_now": (Query(quantile(0.95, FIRST_TOKEN).replace(RATE, "5m"), "p95", shape="now"),),
    "in_time_range": (Query(in_time("$__range"), "in time", shape="now"),),
    "budget_range": (Query(budget(in_time("$__range")), "budget left", shape="now"),),
    "failed_range": (
        Query(f"{increase(STREAMS, FAILED, over='$__range')} / {increase(STREAMS, over='$__range')}", shape="now"),
    ),
    "cost_range": (Query(increase(COST, over="$__range"), "USD", shape="now", quiet="no model with a known price"),),
    "rate": (Query(rate(STREAMS, by=MODEL), f"{{{{{MODEL}}}}}"),),
    "open": (
        Query(now(ACTIVE, MODEL), f"active {{{{{MODEL}}}}}"),
        Query(now(STALLED, PHASE), f"stalled: {{{{{PHASE}}}}}"),
    ),
    "first_token": percentiles(FIRST_TOKEN),
    "first_token_models": (Query(quantile(0.95, FIRST_TOKEN, by=MODEL), f"{{{{{MODEL}}}}}"),),
    "first_token_heatmap": (heatmap(FIRST_TOKEN),),
    "first_chunk": (
        Query(quantile(0.95, *FIRST_CHUNK), "first chunk"),
        Query(quantile(0.95, FIRST_TOKEN), "first token"),
        Query(quantile(0.95, FIRST_ANSWER), "first answer token"),
    ),
    "fields": (
        Query(quantile(0.95, FIELD_FIRST, by=FIELD), f"{{{{{FIELD}}}}}", quiet="no DSPy program with output fields"),
    ),
    "gaps": percentiles(*CHUNK_GAP),
    "gap_heatmap": (heatmap(*CHUNK_GAP),),
    "longest": (
        Query(quantile(0.95, WAIT), "longest wait p95", exemplars=True),
        Query(quantile(0.95, GAP), "longest gap p95"),
    ),
    "output_rate": (
        Query(quantile(0.05, OUTPUT_RATE), "slowest 5 %"),
        Query(quantile(0.5, OUTPUT_RATE), "median"),
    ),
    "per_token": percentiles(PER_TOKEN),
    "tokens": (Query(rate(TOKENS, by=TYPE), f"{{{{{TYPE}}}}}"),),
    "attainment": (
        Query(in_time(RATE), "first token in time"),
        Query(evenly(RATE), "waits in time"),
        Query("vector($slo_target)", "objective"),
    ),
    "budgets": (
        Query(budget(in_time("$__range")), "first token"),
        Query(budget(evenly("$__range")), "waits"),
    ),
    "stalls": (Query(increase(f"{STALL}_count", by=MODEL), f"{{{{{MODEL}}}}}", quiet="no stream stalled"),),
    "stall_duration": (
        Query(quantile(0.5, STALL), "p50", quiet="no stream stalled"),
        Query(quantile(0.95, STALL), "p95", exemplars=True, quiet="no stream stalled"),
    ),
    "outcomes": (Query(increase(STREAMS, by=OUTCOME), f"{{{{{OUTCOME}}}}}"),),
    "errors": (
        Query(
            " or ".join(rate(f"{name}_count", f'{CALLS},{ERROR}!=""', by=ERROR) for name in DURATION),
            f"{{{{{ERROR}}}}}",
            quiet="no call failed",
        ),
    ),
    "no_first_token": (Query(increase(STREAMS, NO_TOKEN, by=OUTCOME), f"{{{{{OUTCOME}}}}}"),),
    "duration": percentiles(*DURATION),
    "tokens_per_call": tuple(
        Query(
            quantile(0.95, USAGE, where=f'{CALLS},{TYPE}="{kind}"') + " or " + quantile(0.95, metric(successor)), kind
        )
        for kind, successor in (
            ("input", signals.INFERENCE_INPUT_TOKENS),
            ("output", signals.INFERENCE_OUTPUT_TOKENS),
        )
    ),
    "cost": (Query(f"{rate(COST, by=MODEL)} * 3600", f"{{{{{MODEL}}}}}", quiet="no model with a known price"),),
    "models": tuple(
        Query(text.replace(RATE, "$__range"), shape="table")
        for text in (
            increase(STREAMS, by=_EACH),
            quantile(0.5, FIRST_TOKEN, by=_EACH),
            quantile(0.95, FIRST_TOKEN, by=_EACH),
            quantile(0.95, WAIT, by=_EACH),
            quantile(0.5, OUTPUT_RATE, by=_EACH),
            increase(STREAMS, FAILED, by=_EACH) + " / " + increase(STREAMS, by=_EACH),
            increase(TOKENS, f'{CALLS},{TYPE}="output"', by=_EACH),
        )
    ),
    "given_up": (Query(f"{increase(STREAMS, GIVEN_UP)} / {increase(STREAMS)}", "given up"),),
}

_OURS = f'span.{signals.OUTCOME} != nil && resource.service.name =~ "$service"'
_SHOWN = ", ".join(
    f"span.{name}"
    for name in (
        signals.REQUEST_MODEL,
        signals.OUTCOME,
        signals.TIME_TO_FIRST_TOKEN_MS,
        signals.GAP_MAX_MS,
        signals.WAIT_MAX_MS,
        signals.STALL_COUNT,
        signals.CHUNKS,
    )
)

TRACES: dict[str, tuple[Query, ...]] = {
    "slow": (
        Query(f"{{ {_OURS} && span.{signals.TIME_TO_FIRST_TOKEN_MS} > 2500 }} | select({_SHOWN})", language="traceql"),
    ),
    "stalled": (Query(f"{{ {_OURS} && span.{signals.STALL_COUNT} > 0 }} | select({_SHOWN})", language="traceql"),),
    "not_completed": (
        Query(f'{{ {_OURS} && span.{signals.OUTCOME} != "completed" }} | select({_SHOWN})', language="traceql"),
    ),
    "recent": (Query(f"{{ {_OURS} }} | select({_SHOWN})", language="traceql"),),
}

_LOGS = f"{{{SERVICE}}} | trace_id=`$trace`"

STREAM: dict[str, tuple[Query, ...]] = {
    "trace": (Query("$trace", language="traceql", shape="trace"),),
    "summary": (
        Query(
            f'{{ trace:id = "$trace" && span.{signals.OUTCOME} != nil }} | select({_SHOWN}, '
            f"span.{signals.GAP_P95_MS}, span.{signals.CONSUMER_TOTAL_MS}, span.{signals.OUTPUT_RATE}, "
            f"span.{signals.USAGE_OUTPUT_TOKENS}, span.{signals.EVENT_MERGED}, span.{signals.OFFSETS_US})",
            language="traceql",
        ),
    ),
    "gaps": tuple(
        Query(
            f"max by ({FIELD}) (max_over_time({_LOGS} | event_name=`{signals.TOKEN_EVENT}`"
            f" | unwrap {label(attribute)} [100ms]))",
            f"{title} {{{{{FIELD}}}}}",
            language="logql",
        )
        for attribute, title in ((signals.AT_GAP_US, "gap"), (signals.AT_WAIT_US, "wait"))
    ),
    "pace": (
        Query(
            f"sum by ({FIELD}) (sum_over_time({_LOGS} | event_name=`{signals.TOKEN_EVENT}`"
            f" | unwrap {label(signals.AT_CHARS)} [1s]))",
            f"characters {{{{{FIELD}}}}}",
            language="logql",
        ),
    ),
    "events": (Query(_LOGS, language="logql", shape="logs"),),
}

_A, _B = f'{SERVICE},$by="$a"', f'{SERVICE},$by="$b"'
_SIDES = (("A: $a", _A), ("B: $b", _B))


def _both(template: str) -> tuple[Query, ...]:
    """Return one query for each side; ``SIDE`` in the template is the side's selector."""
    return tuple(Query(template.replace("SIDE", where), title) for title, where in _SIDES)


def _ratio(template: str) -> Query:
    """Return A over B, where both have streams enough for the comparison to mean something."""
    a, b = (f"({template.replace('SIDE', where)})" for _, where in _SIDES)
    enough = " ".join(f"and on () ({_SAMPLES.replace('SIDE', where)} >= $least)" for _, where in _SIDES)
    return Query(f"({a} / on () {b}) {enough}", "A / B")


# Only the histogram by field has the field as a label.
_SAMPLES = (
    f"(sum(increase({FIRST_TOKEN}_count{{SIDE}}[$__range])) or sum(increase({FIELD_FIRST}_count{{SIDE}}[$__range])))"
)
_P95 = quantile(0.95, FIRST_TOKEN, FIELD_FIRST, where="SIDE")
_SIDE_FAILED = f'SIDE,{OUTCOME}="failed"'
_NOT_BY_FIELD = "compared by output field, which only the first token knows"

COMPARE: dict[str, tuple[Query, ...]] = {
    "samples": tuple(replace(query, shape="now") for query in _both(_SAMPLES)),
    "ratios": (
        _ratio(_P95.replace(RATE, "$__range")),
        replace(_ratio(quantile(0.5, OUTPUT_RATE, where="SIDE").replace(RATE, "$__range")), quiet=_NOT_BY_FIELD),
    ),
    "first_token": (
        *_both(quantile(0.5, FIRST_TOKEN, FIELD_FIRST, where="SIDE")),
        *_both(_P95),
    ),
    "first_token_ratio": (_ratio(_P95),),
    "distribution": tuple(
        replace(query, shape="table")
        for query in _both(
            f"(sum by (le) (increase({FIRST_TOKEN}_bucket{{SIDE}}[$__range]))"
            f" or sum by (le) (increase({FIELD_FIRST}_bucket{{SIDE}}[$__range]))) / on () group_left () {_SAMPLES}"
        )
    ),
    "wait": _both(quantile(0.95, WAIT, where="SIDE")),
    "output_rate": _both(quantile(0.5, OUTPUT_RATE, where="SIDE")),
    "failed": _both(f"{increase(STREAMS, _SIDE_FAILED)} / {increase(STREAMS, 'SIDE')}"),
    "stalls": _both(f"({increase(f'{STALL}_count', 'SIDE')} or vector(0)) / {increase(STREAMS, 'SIDE')}"),
}

_NO_LOSS = "nothing was lost there"
_NO_SAMPLING = "the local stack keeps everything"
_FAILED_IN_SDK = f'{SERVICE},error_type!=""'


def _loss(name: str, what: str, by: str, where: str = "") -> Query:
    return Query(increase(name, where, by=by), f"{what}: {{{{{by}}}}}", quiet=_NO_LOSS)


_IN_COLLECTOR = (
    ("receiver_refused", "refused", "transport"),
    ("exporter_enqueue_failed", "not queued", "exporter"),
    ("exporter_send_failed", "not sent", "exporter"),
)


def _lost_in_collector(*kinds: str) -> tuple[Query, ...]:
    return tuple(
        _loss(f"otelcol_{place}_{kind}_total", f"{kind.replace('_', ' ')} {what}", by)
        for place, what, by in _IN_COLLECTOR
        for kind in kinds
    )


HEALTH: dict[str, tuple[Query, ...]] = {
    "lost_spans": (
        _loss("otel_sdk_processor_span_processed_total", "not taken by the SDK", "error_type", _FAILED_IN_SDK),
        _loss("otel_sdk_exporter_span_exported_total", "not exported by the SDK", "error_type", _FAILED_IN_SDK),
        # The SDK counts spans that were refused by a status of HTTP as exported; the durations tell of them.
        _loss(
            "otel_sdk_exporter_operation_duration_seconds_count",
            "exports refused, HTTP",
            "http_response_status_code",
            f'{SERVICE},otel_component_type=~".*_span_exporter",http_response_status_code=~"[45].*"',
        ),
        *_lost_in_collector("spans"),
        _loss("tempo_discarded_spans_total", "discarded by Tempo", "reason"),
    ),
    "lost_others": (
        *_lost_in_collector("metric_points", "log_records"),
        _loss("loki_discarded_samples_total", "discarded by Loki", "reason"),
    ),
    "live": (
        Query(
            increase(metric(signals.LIVE_DROPPED), SERVICE, by=label(signals.LIVE_SINK)),
            f"{{{{{label(signals.LIVE_SINK)}}}}}",
            quiet="nobody looks on, or everybody keeps up",
        ),
    ),
    "faults": (Query(increase(metric(signals.FAULTS), SERVICE, by=ERROR), f"{{{{{ERROR}}}}}", quiet="no fault yet"),),
    "merged": (Query(increase(metric(signals.EVENTS_MERGED), SERVICE, by="service_name"), "{{service_name}}"),),
    "age": (Query(f"time() - max by (service_name) (timestamp({ACTIVE}{{{SERVICE}}}))", "{{service_name}}"),),
    "sdk_queue": (
        Query(
            f"max by (service_name) (otel_sdk_processor_span_queue_size{{{SERVICE}}}"
            f" / otel_sdk_processor_span_queue_capacity{{{SERVICE}}})",
            "{{service_name}}",
        ),
    ),
    "accepted": (
        Query(rate("otelcol_receiver_accepted_spans_total", ""), "spans"),
        Query(rate("otelcol_receiver_accepted_metric_points_total", ""), "metric points"),
        Query(rate("otelcol_receiver_accepted_log_records_total", ""), "log records"),
    ),
    "sent": (
        Query(rate("otelcol_exporter_sent_spans_total", "", by="exporter"), "{{exporter}} spans"),
        Query(rate("otelcol_exporter_sent_metric_points_total", "", by="exporter"), "{{exporter}} metric points"),
        Query(rate("otelcol_exporter_sent_log_records_total", "", by="exporter"), "{{exporter}} log records"),
    ),
    "queue": (
        Query(
            "max by (exporter, data_type) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
            "{{exporter}} {{data_type}}",
        ),
    ),
    "memory": (Query("max by (service_instance_id) (otelcol_process_memory_rss_bytes)", "{{service_instance_id}}"),),
    "sampled": (
        Query(
            rate("otelcol_processor_tail_sampling_global_count_traces_sampled_total", "", by="decision"),
            "{{decision}}",
            quiet=_NO_SAMPLING,
        ),
    ),
    # Not the counter of traces dropped too early: under span-ingest it counts those kept at once.
    "undecided": (
        Query(
            "max by (service_instance_id) (otelcol_processor_tail_sampling_sampling_traces_on_memory)",
            "{{service_instance_id}}",
            quiet=_NO_SAMPLING,
        ),
    ),
    "tempo": (Query(rate("tempo_distributor_spans_received_total", ""), "spans"),),
    "truncated": (
        Query(increase("tempo_distributor_attributes_truncated_total", "", by="scope"), "{{scope}}", quiet=_NO_LOSS),
    ),
    "up": (Query("min by (service_name) (up)", "{{service_name}}"),),
}

PAGES = {"overview": OVERVIEW, "traces": TRACES, "stream": STREAM, "compare": COMPARE, "health": HEALTH}
