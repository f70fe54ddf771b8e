"""Queries of one service: from the alert to the cause."""

from __future__ import annotations

from grafana.builder.names import label, metric
from grafana.builder.promql import CALLS, MODEL, RATE, SERVICE, a_minute, increase, now, quantile, rate
from grafana.builder.queries.objectives import (
    OF_MODELS,
    allowed_share,
    budget_left,
    burn,
    in_time,
    late_share,
    strictest,
)
from grafana.builder.queries.terms import (
    ACTIVE,
    CHUNK_GAP,
    DURATION,
    ERROR,
    FAILED,
    FIELD,
    FIELD_FIRST,
    FIRST_ANSWER,
    FIRST_CHUNK,
    FIRST_TOKEN,
    GAP,
    GIVEN_UP,
    NO_TOKEN,
    NO_USAGE,
    OUTCOME,
    OUTPUT_RATE,
    PER_TOKEN,
    PHASE,
    STALL,
    STALLED,
    STREAMS,
    TYPE,
    USAGE,
    WAIT,
    Query,
    heatmap,
    percentiles,
)
from otel_tokenstream import signals

_AGENT = label(signals.AGENT_NAME)
_MODALITY = label(signals.TOKEN_MODALITY)
_NO_AGENT = "no agent was invoked"
_OLD_NAMES = "no counts under the new names of the convention"
_NOTHING_STALLED = "no stream stalled"

SERVICE_PAGE: dict[str, tuple[Query, ...]] = {
    "active_now": (Query(f"sum(last_over_time({ACTIVE}{{{CALLS}}}[3m]))", "active", shape="now"),),
    "stalled_now": (Query(now(STALLED, PHASE), f"{{{{{PHASE}}}}}", shape="now"),),
    "streams_now": (Query(a_minute(STREAMS, over="5m"), "streams", shape="now"),),
    "first_token_now": (Query(quantile(0.95, FIRST_TOKEN).replace(RATE, "5m"), "p95", shape="now"),),
    "burn_now": (
        Query(burn("first_token"), "first tokens", shape="now"),
        Query(burn("wait"), "waits", shape="now"),
    ),
    "in_time_range": (Query(in_time("first_token", "$__range"), "in time", shape="now"),),
    "budget_range": (
        Query(budget_left("first_token", "$__range"), "first tokens", shape="now"),
        Query(budget_left("wait", "$__range"), "waits", shape="now"),
    ),
    "failed_range": (
        Query(f"{increase(STREAMS, FAILED, over='$__range')} / {increase(STREAMS, over='$__range')}", shape="now"),
    ),
    "models": tuple(
        Query(text, shape="table")
        for text in (
            a_minute(STREAMS, by=MODEL, over="5m"),
            quantile(0.95, FIRST_TOKEN, by=MODEL).replace(RATE, "5m"),
            f"max by ({MODEL}) (tokenstream:first_token_objective:seconds{{{OF_MODELS}}})",
            late_share("first_token", MODEL),
            burn("first_token", MODEL),
            quantile(0.95, WAIT, by=MODEL).replace(RATE, "5m"),
            burn("wait", MODEL),
            f"{rate(STREAMS, FAILED, MODEL, '5m')} / {rate(STREAMS, by=MODEL, over='5m')}",
            now(STALLED, MODEL),
        )
    ),
    "first_token_models": (
        Query(quantile(0.95, FIRST_TOKEN, by=MODEL), f"{{{{{MODEL}}}}}", exemplars=True),
        Query(strictest("first_token"), "objective"),
    ),
    "late": (
        Query(late_share("first_token", MODEL), f"{{{{{MODEL}}}}}"),
        Query(allowed_share("first_token"), "allowed"),
    ),
    "longest": (
        Query(quantile(0.95, WAIT), "longest wait", exemplars=True),
        Query(quantile(0.95, GAP), "longest gap"),
    ),
    "long_waits": (
        Query(late_share("wait", MODEL), f"{{{{{MODEL}}}}}"),
        Query(allowed_share("wait"), "allowed"),
    ),
    "open": (
        Query(f"sum(last_over_time({ACTIVE}{{{CALLS}}}[3m]))", "open"),
        Query(now(STALLED, MODEL), f"stalled {{{{{MODEL}}}}}"),
    ),
    "stalls": (Query(a_minute(f"{STALL}_count", by=MODEL), f"{{{{{MODEL}}}}}", quiet=_NOTHING_STALLED),),
    "errors": (
        Query(
            " or ".join(a_minute(f"{name}_count", f'{CALLS},{ERROR}!=""', f"{MODEL}, {ERROR}") for name in DURATION),
            f"{{{{{MODEL}}}}}: {{{{{ERROR}}}}}",
            quiet="no call failed",
        ),
    ),
    "outcomes": (Query(a_minute(STREAMS, by=OUTCOME), f"{{{{{OUTCOME}}}}}"),),
    "no_first_token": (Query(a_minute(STREAMS, NO_TOKEN, OUTCOME), f"{{{{{OUTCOME}}}}}"),),
    "given_up": (Query(f"{rate(STREAMS, GIVEN_UP)} / {rate(STREAMS)}", "given up"),),
    "first_token": percentiles(FIRST_TOKEN),
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
    "stall_duration": (
        Query(quantile(0.5, STALL), "p50", quiet=_NOTHING_STALLED),
        Query(quantile(0.95, STALL), "p95", exemplars=True, quiet=_NOTHING_STALLED),
    ),
    "output_rate": (
        Query(quantile(0.05, OUTPUT_RATE), "slowest 5 %", quiet=NO_USAGE),
        Query(quantile(0.5, OUTPUT_RATE), "median", quiet=NO_USAGE),
    ),
    "per_token": percentiles(PER_TOKEN, quiet=NO_USAGE),
    "duration": percentiles(*DURATION),
    "tokens_per_call": tuple(
        Query(
            quantile(0.95, USAGE, where=f'{CALLS},{TYPE}="{kind}"') + " or " + quantile(0.95, metric(successor)),
            kind,
            quiet=NO_USAGE,
        )
        for kind, successor in (
            ("input", signals.INFERENCE_INPUT_TOKENS),
            ("output", signals.INFERENCE_OUTPUT_TOKENS),
        )
    ),
    "tokens_by_modality": tuple(
        Query(a_minute(metric(name), by=_MODALITY), f"{kind}: {{{{{_MODALITY}}}}}", quiet=_OLD_NAMES)
        for kind, name in (
            ("input", signals.INFERENCE_USAGE_INPUT),
            ("output", signals.INFERENCE_USAGE_OUTPUT),
            ("read from the cache", signals.INFERENCE_USAGE_CACHE_READ),
            ("written to the cache", signals.INFERENCE_USAGE_CACHE_WRITE),
            ("reasoning", signals.INFERENCE_USAGE_REASONING),
        )
    ),
    "agent_duration": (
        Query(
            quantile(0.95, metric(signals.INVOKE_AGENT_DURATION), where=SERVICE, by=_AGENT),
            f"{{{{{_AGENT}}}}}",
            quiet=_NO_AGENT,
        ),
    ),
    "agent_calls": tuple(
        Query(quantile(0.95, metric(name), where=SERVICE, by=_AGENT), f"{{{{{_AGENT}}}}}: {kind}", quiet=_NO_AGENT)
        for kind, name in (
            ("model calls", signals.INVOKE_AGENT_INFERENCE_CALLS),
            ("tools", signals.INVOKE_AGENT_TOOL_CALLS),
        )
    ),
    "rate": (Query(a_minute(STREAMS, by=MODEL), f"{{{{{MODEL}}}}}"),),
}
