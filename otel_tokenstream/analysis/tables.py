"""The report's tables, as rows of text: for the terminal and for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.measures import MEASURES
from otel_tokenstream.analysis.units import ABSENT, shown, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.analysis.comparison import Comparison, Difference
    from otel_tokenstream.analysis.groups import Group
    from otel_tokenstream.analysis.report import Report
    from otel_tokenstream.analysis.statistics import Interval


@dataclass(frozen=True)
class Table:
    """The first ``names`` columns are words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    names: int = 1
    note: str = ""


_TIMES = (
    *("duration_ms", "opening_ms", "first_token_ms", "first_answer_token_ms", "output_rate"),
    *("wait_max_ms", "wait_total_ms", "consumer_total_ms", "stall_total_ms"),
)
STATISTICS = {"p50": ", median", "p95": ", p95", "share": ""}
_ERRORS_NAMED = 3
_RARE = "p95 needs 20 values, p99 needs 100; a dash is what was not measured."


def tables_of(report: Report) -> list[Table]:
    of_fields = "field" in report.by
    made = [
        _counts(report),
        *(() if of_fields else (_usage(report),)),
        _in_time(report),
        _times(report),
        _gaps(report),
        _over(report),
    ]
    return [*([_compared(report.comparison)] if report.comparison else []), *(table for table in made if table.rows)]


def _keys(report: Report) -> tuple[str, ...]:
    return tuple(report.by)


def _key(group: Group) -> tuple[str, ...]:
    return tuple(ABSENT if value is None else value for value in group.key.values())


def _counts(report: Report) -> Table:
    kinds = list(report.total.outcomes)
    rows = [
        (
            *_key(group),
            str(group.streams),
            *(str(group.outcomes.get(kind, 0)) for kind in kinds),
            shown(group.failed_share, "1"),
            str(group.stalls) if group.stall_known else ABSENT,
            str(group.stalled_streams) if group.stall_known else ABSENT,
            _errors(group),
        )
        for group in report.groups
    ]
    columns = (*_keys(report), "streams", *kinds, "failed share", "stalls", "streams that stalled", "errors")
    return Table("Streams and outcomes", columns, rows, len(report.by))


def _errors(group: Group) -> str:
    named = [f"{name} {count}" for name, count in list(group.errors.items())[:_ERRORS_NAMED]]
    left_out = sum(list(group.errors.values())[_ERRORS_NAMED:])
    return ", ".join([*named, *([f"others {left_out}"] if left_out else [])]) or ABSENT


def _usage(report: Report) -> Table:
    rows = []
    for group in report.groups:
        tokens_in, tokens_out = group.measures["input_tokens"], group.measures["output_tokens"]
        cost, attempts = group.measures["cost_usd"], group.measures["attempts"]
        rows.append(
            (
                *_key(group),
                f"{tokens_out.count} of {group.streams}" if tokens_out else ABSENT,
                shown(tokens_in.total if tokens_in else None, "{token}"),
                shown(tokens_out.total if tokens_out else None, "{token}"),
                shown(tokens_out.p50 if tokens_out else None, "{token}"),
                shown(cost.total if cost else None, "USD"),
                shown(attempts.total if attempts else None, "{attempt}"),
            )
        )
    columns = (
        *_keys(report),
        "usage told by",
        "input tokens",
        "output tokens",
        "output tokens p50",
        "cost",
        "attempts",
    )
    return Table("Tokens, cost, attempts", columns, rows, len(report.by), "Tokens are those the provider reported.")


def _in_time(report: Report) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            each.service or ABSENT,
            each.model or ABSENT,
            f"{shown(each.share, '1')} within {shown(each.within_ms, 'ms')}",
            "yes" if each.met else "no",
            str(each.judged),
            str(each.late),
            shown(each.share_in_time, "1"),
        )
        for each in report.in_time
    ]
    columns = ("service", "model", "objective", "met", "streams", "late", "in time")
    note = "Streams that failed before any token are late; those that their reader left before are not counted."
    return Table("First tokens against their objectives", columns, rows, 4, note)


def _times(report: Report) -> Table:
    rows = []
    for name in _TIMES:
        for group in report.groups:
            values = group.measures[name]
            if values is not None:
                numbers = (values.p50, values.p95, values.p99, values.max)
                unit = MEASURES[name].unit
                rows.append(
                    (MEASURES[name].title, *_key(group), str(values.count), *(shown(each, unit) for each in numbers))
                )
    columns = ("measure", *_keys(report), "of", "p50", "p95", "p99", "max")
    return Table("Times and speeds", columns, rows, len(report.by) + 1, _RARE)


def _gaps(report: Report) -> Table:
    rows = []
    for group in report.groups:
        gaps = group.gaps
        if gaps is not None:
            about = "" if gaps.known_share == 1 else "≈ "
            numbers = [about + shown(each, "ms") if each is not None else ABSENT for each in (gaps.p50, gaps.p95)]
            known = shown(gaps.known_share, "1")
            rows.append((*_key(group), str(gaps.count), known, *numbers, shown(gaps.p99, "ms"), shown(gaps.max, "ms")))
    columns = (*_keys(report), "gaps", "known one by one", "p50", "p95", "p99", "max")
    note = "≈ is estimated from the percentiles of those streams whose single gaps are not all known."
    return Table("Gaps between chunks", columns, rows, len(report.by), note)


def _over(report: Report) -> Table:
    over = report.over_time
    rows = []
    for bucket in over.buckets:
        first, rate, tokens = (bucket.measures[name] for name in ("first_token_ms", "output_rate", "output_tokens"))
        rows.append(
            (
                *_key(bucket),
                *((shown((bucket.end_ns - bucket.start_ns) / 1e6, "ms"),) if over.step_s is None else ()),
                str(bucket.streams),
                shown(bucket.failed_share, "1"),
                str(bucket.stalls),
                shown(first.p50 if first else None, "ms"),
                shown(first.p95 if first else None, "ms"),
                shown(rate.p50 if rate else None, "{token}/s"),
                shown(tokens.total if tokens else None, "{token}"),
            )
        )
    columns = (
        *(over.buckets[0].key if over.buckets else ()),
        *(("length",) if over.step_s is None else ()),
        *("streams", "failed share", "stalls", "first token p50", "p95", "tokens/s p50", "output tokens"),
    )
    title = "Sessions" if over.step_s is None else f"Over time, by {over.step} (UTC)"
    return Table(title, columns, rows, len(over.buckets[0].key) if over.buckets else 1)


def _compared(comparison: Comparison) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            f"{each.title}{STATISTICS[each.statistic]}",
            verdict(each),
            shown(each.a, each.unit),
            shown(each.b, each.unit),
            f"{signed(each.difference, each.unit)}{_between(each.difference_interval, each)}",
            ABSENT if each.ratio is None else f"{each.ratio:.2f}{_ratio_between(each.ratio_interval)}",
            f"{each.count_a}, {each.count_b}",
        )
        for each in comparison.differences
    ]
    a, b = comparison.names
    note = (
        f"a is {a} ({comparison.a.streams} streams), b is {b} ({comparison.b.streams} streams). In brackets: the "
        f"interval at {comparison.level:.0%}. A side is called better only at {comparison.level_of_verdicts:.1%}, "
        f"which allows for {len(comparison.differences)} differences being looked at."
    )
    return Table("Comparison", ("", "shown", "a", "b", "b - a", "b / a", "measured"), rows, 2, note)


def verdict(each: Difference) -> str:
    if each.better == "too few":
        return f"too few: {each.needed} each needed"
    return {"a": "a is better", "b": "b is better", "differs": "they differ"}.get(each.better, "no difference shown")


def _between(interval: Interval | None, each: Difference) -> str:
    if interval is None:
        return ""
    return f" ({signed(interval.low, each.unit)} to {signed(interval.high, each.unit)})"


def _ratio_between(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval.low:.2f} to {interval.high:.2f})"


def overview(report: Report) -> Sequence[str]:
    """Return the subject of the report, in sentences without a full stop."""
    lines = [f"{report.total.streams} streams from {report.start} to {report.end}", *report.sources]
    if report.where:
        lines.append(f"where {' and '.join(report.where)}")
    return lines
