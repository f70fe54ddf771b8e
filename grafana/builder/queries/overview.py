"""Queries of the overview: all services at once, mostly of this moment."""

from __future__ import annotations

from grafana.builder.promql import CALLS, MODEL, PROVIDER, RATE, SERVICE, a_minute, increase, now, quantile, rate
from grafana.builder.queries.objectives import burn, late_share
from grafana.builder.queries.terms import (
    ACTIVE,
    COLLECTOR_UP,
    COST,
    FAILED,
    FIRST_TOKEN,
    NO_USAGE,
    OUTCOME,
    OUTPUT_RATE,
    STALLED,
    STREAMS,
    TOKENS,
    TYPE,
    WAIT,
    Query,
)

BY_SERVICE = "service_name"
_FAILED_OF_SERVICE = f'{SERVICE},{OUTCOME}="failed"'
_EACH = f"{MODEL}, {PROVIDER}"
# A service's pages come by service, so the table has one row for each.
_SERVICES = (
    a_minute(STREAMS, SERVICE, BY_SERVICE, over="5m"),
    quantile(0.95, FIRST_TOKEN, where=SERVICE, by=BY_SERVICE).replace(RATE, "5m"),
    late_share("first_token", BY_SERVICE),
    burn("first_token", BY_SERVICE),
    burn("wait", BY_SERVICE),
    f"{rate(STREAMS, _FAILED_OF_SERVICE, BY_SERVICE, '5m')} / {rate(STREAMS, SERVICE, BY_SERVICE, '5m')}",
    now(STALLED, BY_SERVICE, SERVICE),
    now(ACTIVE, BY_SERVICE, SERVICE),
)
_AGO = "offset 1w"


def _before(text: str) -> str:
    """Return the same a week before."""
    return text.replace(f"[{RATE}]", f"[{RATE}] {_AGO}")


_TRAFFIC = a_minute(STREAMS)
_LATEST = quantile(0.95, FIRST_TOKEN)

OVERVIEW: dict[str, tuple[Query, ...]] = {
    "firing": (
        Query(
            f"sort_desc(max by (severity, alertname, service_name, {MODEL}, part) (label_join("
            '(time() - ALERTS_FOR_STATE{severity=~"page|ticket"})'
            ' and ignoring (alertstate) ALERTS{alertstate="firing",severity=~"page|ticket"},'
            ' "part", "", "exporter", "receiver", "reason", "rule_group")))',
            shape="table",
            quiet="No alert is firing",
        ),
    ),
    "backends": (
        Query("min by (service_name) (up)", "{{service_name}}", shape="now"),
        Query(COLLECTOR_UP, "collector", shape="now"),
    ),
    "fullest_queue": (
        Query(
            "max(otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
            "fullest queue",
            shape="now",
        ),
    ),
    "services": tuple(Query(text, shape="table") for text in _SERVICES),
    "errors": (Query(a_minute(STREAMS, FAILED, MODEL), f"{{{{{MODEL}}}}}", quiet="no stream failed"),),
    "traffic": (
        Query(_TRAFFIC, "now"),
        Query(_before(_TRAFFIC), "a week before", quiet="nothing was stored a week ago"),
    ),
    "first_token": (
        Query(_LATEST, "now"),
        Query(_before(_LATEST), "a week before", quiet="nothing was stored a week ago"),
    ),
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
    "tokens": (Query(rate(TOKENS, by=TYPE), f"{{{{{TYPE}}}}}", quiet=NO_USAGE),),
    "cost": (Query(f"{rate(COST, by=MODEL)} * 3600", f"{{{{{MODEL}}}}}", quiet="no model with a known price"),),
    "cost_range": (Query(increase(COST, over="$__range"), "USD", shape="now", quiet="no model with a known price"),),
}
