"""Two sets of streams beside each other: differences, ratios, and whether chance alone would explain them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from otel_tokenstream.analysis.groups import FAILED, Group, group_of
from otel_tokenstream.analysis.measures import MEASURES, values_of
from otel_tokenstream.analysis.statistics import (
    FEWEST,
    Interval,
    middle,
    needed_for_quantile,
    quantile,
    resampled_quantiles,
    share_difference,
    share_ratio,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.analysis.stream import Stream

LEVEL = 0.95
_DRAWS = 5000
_SEED = 20_250_101  # the same recording gives the same report

Better = Literal["lower", "higher", "neither"]
Verdict = Literal["a", "b", "differs", "none shown", "too few"]

_QUANTILES: tuple[tuple[str, str, Better], ...] = (
    ("first_token_ms", "p50", "lower"),
    ("first_token_ms", "p95", "lower"),
    ("first_answer_token_ms", "p50", "lower"),
    ("duration_ms", "p50", "lower"),
    ("duration_ms", "p95", "lower"),
    ("output_rate", "p50", "higher"),
    ("gap_p95_ms", "p50", "lower"),
    ("wait_max_ms", "p95", "lower"),
    ("output_tokens", "p50", "neither"),
    ("cost_usd", "p50", "lower"),
)
_SHARES: dict[str, tuple[str, Callable[[Stream], bool | None]]] = {
    "failed": ("failed", lambda stream: stream.outcome == FAILED),
    "stalled": ("stalled", lambda stream: None if stream.stall_count is None else stream.stall_count > 0),
}


@dataclass(frozen=True)
class Difference:
    """How b stands to a: ``difference`` is b - a, ``ratio`` b / a, each with its interval at 95 %.

    Intervals are None where the sample cannot give them. ``better`` names the side that is shown to be better, or
    says that they differ where neither direction is better; that takes ``needed`` values each.
    """

    measure: str
    title: str
    statistic: str
    """p50, p95 or share."""
    unit: str
    a: float
    b: float
    count_a: int
    count_b: int
    needed: int
    difference: float
    difference_interval: Interval | None
    ratio: float | None
    ratio_interval: Interval | None
    better: Verdict


@dataclass(frozen=True)
class Comparison:
    """Two sets of streams and what differs between them.

    ``level`` is that of the intervals. A side is named better only if the interval at ``level_of_verdicts``, which
    allows for there being many differences, leaves out 0.
    """

    names: tuple[str, str]
    a: Group
    b: Group
    level: float
    level_of_verdicts: float
    differences: list[Difference]


def compared(names: tuple[str, str], a: list[Stream], b: list[Stream]) -> Comparison:
    """Both of at least one stream. What was not measured on both sides is left out."""
    samples = [
        (measure, statistic, better, sorted(values_of(MEASURES[measure], a)), sorted(values_of(MEASURES[measure], b)))
        for measure, statistic, better in _QUANTILES
    ]
    samples = [each for each in samples if each[3] and each[4]]
    counts = [(name, title, _hits(of, a), _hits(of, b)) for name, (title, of) in _SHARES.items()]
    counts = [each for each in counts if each[2][1] and each[3][1]]
    verdict_level = 1 - (1 - LEVEL) / max(1, len(samples) + len(counts))
    chance = random.Random(_SEED)  # noqa: S311 - for a simulation
    return Comparison(
        names,
        group_of({}, a),
        group_of({}, b),
        LEVEL,
        verdict_level,
        [_of_quantiles(*each, verdict_level, chance) for each in samples]
        + [_of_shares(*each, verdict_level) for each in counts],
    )


def _hits(of: Callable[[Stream], bool | None], streams: list[Stream]) -> tuple[int, int]:
    """Of how many streams it is true, and of how many it is known."""
    known = [answer for stream in streams if (answer := of(stream)) is not None]
    return sum(known), len(known)


def _of_quantiles(
    measure: str,
    statistic: str,
    better: Better,
    a: list[float],
    b: list[float],
    level: float,
    chance: random.Random,
) -> Difference:
    share = int(statistic[1:]) / 100
    of_a, of_b = quantile(a, share), quantile(b, share)
    needed = needed_for_quantile(share, level)
    smaller = min(len(a), len(b))
    interval = ratio_interval = None
    verdict: Verdict = "too few"
    if smaller >= needed_for_quantile(share, LEVEL):
        pairs = list(
            zip(
                resampled_quantiles(a, share, _DRAWS, chance),
                resampled_quantiles(b, share, _DRAWS, chance),
                strict=True,
            )
        )
        differences = [y - x for x, y in pairs]
        interval = middle(differences, LEVEL)
        if all(x > 0 for x, _ in pairs):
            ratio_interval = middle([y / x for x, y in pairs], LEVEL)
        if smaller >= needed:
            verdict = _verdict(middle(differences, level), better)
    return Difference(
        measure,
        MEASURES[measure].title,
        statistic,
        MEASURES[measure].unit,
        of_a,
        of_b,
        len(a),
        len(b),
        needed,
        of_b - of_a,
        interval,
        of_b / of_a if of_a else None,
        ratio_interval,
        verdict,
    )


def _of_shares(name: str, title: str, a: tuple[int, int], b: tuple[int, int], level: float) -> Difference:
    of_a, of_b = a[0] / a[1], b[0] / b[1]
    enough = min(a[1], b[1]) >= FEWEST
    return Difference(
        name,
        title,
        "share",
        "1",
        of_a,
        of_b,
        a[1],
        b[1],
        FEWEST,
        of_b - of_a,
        share_difference(a, b, LEVEL),
        of_b / of_a if of_a else None,
        share_ratio(a, b, LEVEL),
        _verdict(share_difference(a, b, level), "lower") if enough else "too few",
    )


def _verdict(interval: Interval, better: Better) -> Verdict:
    if interval.low <= 0 <= interval.high:
        return "none shown"
    if better == "neither":
        return "differs"
    return "b" if (interval.high < 0) == (better == "lower") else "a"
