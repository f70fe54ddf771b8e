"""Queries that compare two models, providers, versions of a service or output fields."""

from __future__ import annotations

from dataclasses import replace

from grafana.builder.promql import RATE, SERVICE, increase, quantile
from grafana.builder.queries.terms import (
    FIELD_FIRST,
    FIRST_TOKEN,
    NO_USAGE,
    OUTCOME,
    OUTPUT_RATE,
    STALL,
    STREAMS,
    WAIT,
    Query,
)

_A, _B = f'{SERVICE},$by="$a"', f'{SERVICE},$by="$b"'
_SIDES = (("A: $a", _A), ("B: $b", _B))


def _both(template: str, what: str = "") -> tuple[Query, ...]:
    """Return one query for each side; ``SIDE`` in the template is the side's selector."""
    return tuple(Query(template.replace("SIDE", where), f"{title} {what}".strip()) for title, where in _SIDES)


def _ratio(template: str, title: str = "A / B") -> Query:
    """Return A over B, where both have streams enough for the comparison to mean something."""
    a, b = (f"({template.replace('SIDE', where)})" for _, where in _SIDES)
    enough = " ".join(f"and on () ({_SAMPLES.replace('SIDE', where)} >= $least)" for _, where in _SIDES)
    return Query(f"({a} / on () {b}) {enough}", title)


# Only the histogram by field has the field as a label.
_SAMPLES = (
    f"(sum(increase({FIRST_TOKEN}_count{{SIDE}}[$__range])) or sum(increase({FIELD_FIRST}_count{{SIDE}}[$__range])))"
)
_P95 = quantile(0.95, FIRST_TOKEN, FIELD_FIRST, where="SIDE")
_SIDE_FAILED = f'SIDE,{OUTCOME}="failed"'
# The last bucket holds everything, and its bound is no number to sort by.
_BOUNDED = 'le!="+Inf"'
_NOT_BY_FIELD = "compared by output field, which only the first token knows"

COMPARE: dict[str, tuple[Query, ...]] = {
    "samples": tuple(replace(query, shape="now") for query in _both(_SAMPLES)),
    "ratios": (
        _ratio(_P95.replace(RATE, "$__range"), "first token p95"),
        replace(
            _ratio(quantile(0.5, OUTPUT_RATE, where="SIDE").replace(RATE, "$__range"), "output rate"),
            quiet=_NOT_BY_FIELD,
        ),
    ),
    "first_token": (
        *_both(quantile(0.5, FIRST_TOKEN, FIELD_FIRST, where="SIDE"), "p50"),
        *_both(_P95, "p95"),
    ),
    "first_token_ratio": (_ratio(_P95),),
    "distribution": tuple(
        replace(query, shape="table")
        for query in _both(
            f"(sum by (le) (increase({FIRST_TOKEN}_bucket{{SIDE,{_BOUNDED}}}[$__range]))"
            f" or sum by (le) (increase({FIELD_FIRST}_bucket{{SIDE,{_BOUNDED}}}[$__range])))"
            f" / on () group_left () {_SAMPLES}"
        )
    ),
    "wait": _both(quantile(0.95, WAIT, where="SIDE")),
    "output_rate": tuple(replace(query, quiet=NO_USAGE) for query in _both(quantile(0.5, OUTPUT_RATE, where="SIDE"))),
    "failed": _both(f"{increase(STREAMS, _SIDE_FAILED)} / {increase(STREAMS, 'SIDE')}"),
    "stalls": _both(f"({increase(f'{STALL}_count', 'SIDE')} or vector(0)) / {increase(STREAMS, 'SIDE')}"),
}
