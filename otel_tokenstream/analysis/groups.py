"""Streams of one kind together: counts, percentiles of every measure, and curves to draw."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.gaps import Gaps, gaps_of
from otel_tokenstream.analysis.measures import MEASURES, values_of
from otel_tokenstream.analysis.selection import divided, value
from otel_tokenstream.analysis.statistics import Percentiles, percentiles, quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_tokenstream.analysis.stream import Stream

FAILED = "failed"
_DRAWN = ("first_token_ms", "output_rate", "gap_p95_ms", "duration_ms")
_POINTS = 100
MOST_GROUPS = 100
_MOST_NAMES = 20
_MOST_OUTCOMES = 8
_OTHERS = "(others)"
_OUTCOMES = frozenset(("completed", FAILED, "cancelled", "closed", "abandoned"))


@dataclass(frozen=True)
class Group:
    """Streams with one ``key``.

    ``measures`` has None for what was measured of no stream; ``stall_known`` counts the streams that could be told
    from stalled ones: those with a first token.
    """

    key: Mapping[str, str | None]
    streams: int
    start_ns: int
    end_ns: int
    outcomes: Mapping[str, int]
    errors: Mapping[str, int]
    failed_share: float
    stalls: int
    stalled_streams: int
    stall_known: int
    gaps: Gaps | None
    measures: Mapping[str, Percentiles | None]
    curves: Mapping[str, Sequence[float]]
    """Of some measures the 0th, 1st … 100th percentile, or all values where there are fewer."""

    @property
    def name(self) -> str:
        return _name(self.key.values())


def _name(key: Iterable[str | None]) -> str:
    return ", ".join("(none)" if part is None else part for part in key) or "all"


def grouped(streams: Sequence[Stream], names: Sequence[str]) -> list[Group]:
    """By the values of ``names``, the largest group first; beyond the bound the smallest are one group, the last."""
    found: defaultdict[tuple[str | None, ...], list[Stream]] = defaultdict(list)
    for stream in divided(streams, names):
        found[tuple(value(stream, name) for name in names)].append(stream)
    largest = sorted(found, key=lambda key: (-len(found[key]), _name(key)))
    kept, rest = largest[:MOST_GROUPS], largest[MOST_GROUPS:]
    groups = [group_of(dict(zip(names, key, strict=True)), found[key]) for key in kept]
    if rest:
        others = [stream for key in rest for stream in found[key]]
        groups.append(group_of(dict.fromkeys(names, f"({len(rest):,} others)"), others))
    return groups


def with_few_outcomes(streams: list[Stream]) -> list[Stream]:
    """An outcome is a column of tables and charts: beside our own only the most frequent keep their names."""
    foreign = Counter(stream.outcome for stream in streams if stream.outcome not in _OUTCOMES)
    if len(foreign) <= _MOST_OUTCOMES:
        return streams
    named = {*_OUTCOMES, *(name for name, _ in foreign.most_common(_MOST_OUTCOMES))}
    return [stream if stream.outcome in named else replace(stream, outcome=_OTHERS) for stream in streams]


def group_of(key: Mapping[str, str | None], streams: list[Stream]) -> Group:
    """Of at least one stream."""
    outcomes = Counter(stream.outcome for stream in streams)
    measured = {name: sorted(values_of(measure, streams)) for name, measure in MEASURES.items()}
    told = [stream.stall_count for stream in streams if stream.stall_count is not None]
    return Group(
        key=key,
        streams=len(streams),
        start_ns=min(stream.start_ns for stream in streams),
        end_ns=max(stream.end_ns for stream in streams),
        outcomes=dict(outcomes.most_common()),
        errors=_named(Counter(stream.error_type for stream in streams if stream.error_type)),
        failed_share=outcomes[FAILED] / len(streams),
        stalls=sum(told),
        stalled_streams=sum(1 for count in told if count),
        stall_known=len(told),
        gaps=gaps_of(streams),
        measures={name: percentiles(values) for name, values in measured.items()},
        curves={name: _curve(measured[name]) for name in _DRAWN if measured[name]},
    )


def _named(counts: Counter[str]) -> dict[str, int]:
    """The most frequent, and the rest together."""
    named = dict(counts.most_common(_MOST_NAMES))
    rest = counts.total() - sum(named.values())
    return {**named, f"({len(counts) - len(named):,} others)": rest} if rest else named


def _curve(ordered: Sequence[float]) -> list[float]:
    if len(ordered) <= _POINTS:
        return list(ordered)
    return [quantile(ordered, step / _POINTS) for step in range(_POINTS + 1)]
