"""TraceQL and LogQL: tables of streams, and one stream with every token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.builder.names import label
from grafana.builder.promql import SERVICE
from grafana.builder.queries.terms import FIELD, Query
from grafana.objectives import shipped
from otel_tokenstream import signals

if TYPE_CHECKING:
    from otel_tokenstream.analysis.objectives import Objective

_MODEL = f"span.{signals.REQUEST_MODEL}"
# Grafana escapes values for a regular expression, and only a string in backticks may hold the backslashes.
_OURS = (
    f"span.{signals.OUTCOME} != nil && resource.service.name =~ `${{service:regex}}`"
    f" && span.{signals.PROVIDER_NAME} =~ `${{provider:regex}}` && {_MODEL} =~ `${{model:regex}}`"
)
SHOWN = ", ".join(
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


def _late() -> str:
    """Return the condition for first tokens after their objective: that of the first entry that covers the stream."""
    cases: list[str] = []
    before: list[str] = []
    for each in shipped().ordered:
        late = f"span.{signals.TIME_TO_FIRST_TOKEN_MS} > {1000 * each.first_token.seconds:.0f}"
        covered = [f"{name} =~ `{pattern}`" for name, pattern in _patterns(each)]
        cases.append(f"({' && '.join([*covered, *before, late])})")
        before.append(f"({' || '.join(f'{name} !~ `{pattern}`' for name, pattern in _patterns(each))})")
    return f"({' || '.join(cases)})"


def _patterns(objective: Objective) -> list[tuple[str, str]]:
    parts = (("resource.service.name", objective.services), (_MODEL, objective.models))
    return [(name, "|".join(_expression(each) for each in patterns)) for name, patterns in parts if patterns]


def _expression(pattern: str) -> str:
    """Return a pattern with * and ? as an expression without backslashes."""
    written = {"*": ".*", "?": "."}
    return "".join(written.get(each, each if each.isalnum() or each in "-_/: " else f"[{each}]") for each in pattern)


def _found(condition: str) -> tuple[Query, ...]:
    return (Query(f"{{ {_OURS}{condition} }} | select({SHOWN})", language="traceql"),)


TRACES: dict[str, tuple[Query, ...]] = {
    "late": _found(f" && {_late()}"),
    "stalled": _found(f" && span.{signals.STALL_COUNT} > 0"),
    "not_completed": _found(f' && span.{signals.OUTCOME} != "completed"'),
    "recent": _found(""),
}

# Tempo's search gives ids without the zeros they begin with.
# Without the second condition an empty id would find every record that belongs to no trace.
_LOGS = f"{{{SERVICE}}} | trace_id=~`0*$trace` | trace_id!=``"
_TOKENS = f"{_LOGS} | event_name=`{signals.TOKEN_EVENT}`"

STREAM: dict[str, tuple[Query, ...]] = {
    "trace": (Query("$trace", language="traceql", shape="trace"),),
    "summary": (
        Query(
            f'{{ trace:id = "$trace" && span.{signals.OUTCOME} != nil }} | select({SHOWN}, '
            f"span.{signals.GAP_P95_MS}, span.{signals.OPENING_MS}, span.{signals.WAIT_TOTAL_MS}, "
            f"span.{signals.CONSUMER_TOTAL_MS}, span.{signals.OUTPUT_RATE}, "
            f"span.{signals.USAGE_OUTPUT_TOKENS}, span.{signals.EVENT_MERGED})",
            language="traceql",
        ),
    ),
    "gaps": tuple(
        Query(
            f"max by ({FIELD}) (max_over_time({_TOKENS} | unwrap {label(attribute)} [$step]))",
            f"{title} {{{{{FIELD}}}}}",
            language="logql",
        )
        for attribute, title in ((signals.AT_GAP_US, "gap"), (signals.AT_WAIT_US, "wait"))
    ),
    "pace": (
        Query(
            f"sum by ({FIELD}) (sum_over_time({_TOKENS} | unwrap {label(signals.AT_CHARS)} [1s]))",
            f"characters {{{{{FIELD}}}}}",
            language="logql",
        ),
    ),
    "events": (Query(_LOGS, language="logql", shape="logs"),),
}
