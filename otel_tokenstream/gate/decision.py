"""From a configuration and streams to verdicts."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from otel_tokenstream.analysis.selection import divided
from otel_tokenstream.analysis.statistics import Interval
from otel_tokenstream.gate import evidence
from otel_tokenstream.gate.metrics import MEASURES, SHARES, Goodput, count_of, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.analysis.selection import Condition
    from otel_tokenstream.analysis.stream import Stream
    from otel_tokenstream.gate.configuration import Configuration, Limit, Table
    from otel_tokenstream.gate.evidence import Evidence
    from otel_tokenstream.gate.objectives import Covered

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Check:
    """One limit with its evidence; ``evidence`` is None where no stream could be judged.

    ``unit`` is "ms" or "share" for a budget, "relative" or "points" for a regression. ``bound`` is the most that is
    allowed, of goodput the least.
    """

    table: str
    key: str
    unit: Literal["ms", "share", "relative", "points"]
    bound: float
    evidence: Evidence | None
    verdict: Verdict
    reason: str
    left_out: int
    """Streams that the check could not use, because what it judges was not measured of them."""


@dataclass(frozen=True)
class Decision:
    """``verdict`` is fail if any check fails, else inconclusive if any is, else pass."""

    verdict: Verdict
    checks: tuple[Check, ...]
    level: float
    seed: int
    candidate_streams: int
    baseline_streams: int | None


def decide(
    configuration: Configuration, candidate: Sequence[Stream], baseline: Sequence[Stream] | None = None
) -> Decision:
    """Judge ``candidate``, against ``baseline`` where the configuration has regressions.

    A failure must stand out of all checks together (Holm, 1979); a pass claims every one of them, which needs no
    correction.
    """
    chance = random.Random(configuration.seed)  # noqa: S311  # for a simulation
    judged = [
        (table, limit, *_evidence(table, limit, candidate, baseline or (), configuration.level, chance))
        for table in configuration.tables
        if not table.may_find_none or _selected(candidate, table.where)
        for limit in table.limits
    ]
    errors = _holm([of.against if of is not None and of.count >= of.fewest else 1.0 for _, _, of, _ in judged])
    checks = tuple(
        _check(table, limit, of, left_out, error, configuration.level)
        for (table, limit, of, left_out), error in zip(judged, errors, strict=True)
    )
    verdicts = {check.verdict for check in checks}
    verdict: Verdict = "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
    counted = None if baseline is None else len(baseline)
    return Decision(verdict, checks, configuration.level, configuration.seed, len(candidate), counted)


def _evidence(
    table: Table,
    limit: Limit,
    candidate: Sequence[Stream],
    baseline: Sequence[Stream],
    level: float,
    chance: random.Random,
) -> tuple[Evidence | None, int]:
    """Return the evidence, and how many of the candidate's streams could not be used."""
    now = _selected(candidate, table.where)
    before = _selected(baseline, table.where)
    if limit.quantile is not None:
        measure = MEASURES[limit.metric]
        values = values_of(measure, now)
        left_out = len(now) - len(values)
        if table.kind == "budget":
            found = evidence.of_quantile(values, limit.quantile, limit.bound, level) if values else None
            return found, left_out
        old = values_of(measure, before)
        if not values or not old:
            return None, left_out
        return evidence.of_quantile_ratio(old, values, limit.quantile, limit.bound, level, chance), left_out
    of = limit.goodput.is_missed if limit.goodput is not None else SHARES[limit.metric].of
    hits, count = count_of(of, now)
    if table.kind == "budget":
        return (evidence.of_share(hits, count, limit.bound, level) if count else None), len(now) - count
    earlier = count_of(of, before)
    if not count or not earlier[1]:
        return None, len(now) - count
    return evidence.of_share_difference(earlier, (hits, count), limit.bound, level), len(now) - count


def _selected(streams: Sequence[Stream], where: Condition | Covered | None) -> list[Stream]:
    if where is None:
        return list(streams)
    return [stream for stream in divided(streams, where.names) if where.holds(stream)]


def _holm(errors: Sequence[float]) -> list[float]:
    """Return the errors adjusted for there being several, in their order."""
    adjusted = [1.0] * len(errors)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(errors)), key=errors.__getitem__)):
        largest = max(largest, min(1.0, errors[index] * (len(errors) - rank)))
        adjusted[index] = largest
    return adjusted


def _check(table: Table, limit: Limit, of: Evidence | None, left_out: int, error: float, level: float) -> Check:
    verdict, reason = _verdict(of, error, level)
    if table.kind == "budget":
        unit: Literal["ms", "share", "relative", "points"] = "ms" if limit.quantile is not None else "share"
    else:
        unit = "relative" if limit.quantile is not None else "points"
    bound = limit.bound
    if isinstance(limit.goodput, Goodput):  # judged by the streams that miss it, told by those that meet it
        bound, of = limit.goodput.at_least, None if of is None else _of_the_others(of)
    return Check(table.name, limit.key, unit, bound, of, verdict, reason, left_out)


def _of_the_others(of: Evidence) -> Evidence:
    """Return the evidence about a share as that about the streams that are not in it."""
    interval = None if of.interval is None else Interval(1 - of.interval.high, 1 - of.interval.low)
    return replace(of, value=1 - of.value, interval=interval)


def _verdict(of: Evidence | None, error: float, level: float) -> tuple[Verdict, str]:
    if of is None:
        return "inconclusive", "no stream could be judged; see that the selection finds some on each side"
    if of.count < of.fewest:
        return "inconclusive", f"{of.count} streams are too few: {of.fewest} are needed for any verdict"
    if error < 1 - level:
        return "fail", "over the limit beyond chance"
    if of.for_it < 1 - level:
        return "pass", "within the limit beyond chance"
    if of.to_decide is None:
        return "inconclusive", "too close to the limit for any number of streams"
    return "inconclusive", f"about {of.to_decide} streams would decide"
