"""How strongly a sample speaks against a limit, and for it.

The stream is the unit: the gaps of one stream depend on each other, so they are never resampled. Each function
returns an ``Evidence`` with two one-sided p-values: ``against`` is small where the limit is exceeded beyond chance,
``for_it`` where it is kept beyond chance. Neither is small where the sample cannot tell.

Sources: exact binomial (sign) test of a quantile; Newcombe (1998), interval for a difference of shares; percentile
bootstrap for a ratio of quantiles, of which ``docs/gate.md`` has the coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.statistics import (
    Interval,
    middle,
    quantile,
    resampled_quantiles,
    share_difference,
    wilson,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

FEWEST = 20
"""Below so many streams a sample says nothing, whatever its values are."""
MOST = 1_000_000
"""More streams than this to decide is as good as never."""
_DRAWS = 4_000


@dataclass(frozen=True)
class Evidence:
    """``value`` with its two-sided ``interval``, in the unit of the limit.

    ``fewest`` is the number of streams, on each side, without which there is no verdict; ``to_decide`` is how many
    would probably be enough, None where the value is too close to the limit.
    """

    value: float
    interval: Interval | None
    against: float
    for_it: float
    count: int
    fewest: int
    to_decide: int | None


def of_quantile(ordered: Sequence[float], share: float, bound: float, level: float) -> Evidence:
    """Judge whether a quantile is at most ``bound``: then at most ``1 - share`` of all values lie above it."""
    count = len(ordered)
    above = sum(1 for value in ordered if value > bound)
    return Evidence(
        quantile(ordered, share),
        _order_statistics(ordered, share, level),
        1 - _binomial_below(above - 1, count, 1 - share),
        _binomial_below(above, count, 1 - share),
        count,
        fewest_for_quantile(share, level),
        _to_decide(count, above / count, 1 - share, level, fewest_for_quantile(share, level)),
    )


def of_share(hits: int, count: int, bound: float, level: float) -> Evidence:
    """Judge whether a share is at most ``bound``."""
    return Evidence(
        hits / count,
        wilson(hits, count, level),
        1 - _binomial_below(hits - 1, count, bound),
        _binomial_below(hits, count, bound),
        count,
        FEWEST,
        _to_decide(count, hits / count, bound, level, FEWEST),
    )


def of_quantile_ratio(
    baseline: Sequence[float], candidate: Sequence[float], share: float, bound: float, level: float, chance: Random
) -> Evidence:
    """Judge whether a quantile is at most ``bound`` more than the baseline's, as a share of that."""
    before, now = quantile(baseline, share), quantile(candidate, share)
    count = min(len(baseline), len(candidate))
    fewest = fewest_for_quantile(share, level)
    if before <= 0:
        return Evidence(math.inf if now > 0 else 0.0, None, 1.0, 1.0, count, fewest, None)
    pairs = zip(
        resampled_quantiles(baseline, share, _DRAWS, chance),
        resampled_quantiles(candidate, share, _DRAWS, chance),
        strict=True,
    )
    ratios = [after / first - 1 for first, after in pairs if first > 0]
    value = now / before - 1
    interval = middle(ratios, level)
    return Evidence(
        value,
        interval,
        (1 + sum(1 for ratio in ratios if ratio <= bound)) / (1 + len(ratios)),
        (1 + sum(1 for ratio in ratios if ratio > bound)) / (1 + len(ratios)),
        count,
        fewest,
        _scaled(count, (interval.high - interval.low) / 2, abs(value - bound), fewest),
    )


def of_share_difference(baseline: tuple[int, int], candidate: tuple[int, int], bound: float, level: float) -> Evidence:
    """Judge whether a share is at most ``bound`` points more than the baseline's; each is (hits, count)."""
    value = candidate[0] / candidate[1] - baseline[0] / baseline[1]
    count = min(baseline[1], candidate[1])
    interval = share_difference(baseline, candidate, level)
    return Evidence(
        value,
        interval,
        _smallest_error(lambda each: share_difference(baseline, candidate, each).low > bound),
        _smallest_error(lambda each: share_difference(baseline, candidate, each).high <= bound),
        count,
        FEWEST,
        _scaled(count, (interval.high - interval.low) / 2, abs(value - bound), FEWEST),
    )


def fewest_for_quantile(share: float, level: float) -> int:
    """Return the values without which a one-sided bound of the quantile by order statistics does not exist."""
    one_side = max(share, 1 - share)
    return max(FEWEST, math.ceil(math.log(1 - level) / math.log(one_side)))


def _order_statistics(ordered: Sequence[float], share: float, level: float) -> Interval | None:
    """Return the two values between which the quantile lies, None where the sample has no such two."""
    count, tail = len(ordered), (1 - level) / 2
    low = high = None
    below = 0.0
    for rank in range(count + 1):  # the chance that exactly so many values lie below the quantile
        before = below
        below += _binomial(rank, count, share)
        if before <= tail < below and rank > 0:
            low = ordered[rank - 1]
        if high is None and below >= 1 - tail and rank < count:
            high = ordered[rank]
            break
    return Interval(low, high) if low is not None and high is not None else None


def _binomial(hits: int, count: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(hits == count * share)
    logarithm = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(logarithm + hits * math.log(share) + (count - hits) * math.log1p(-share))


def _binomial_below(hits: int, count: int, share: float) -> float:
    """Return the chance of at most ``hits``."""
    return min(1.0, math.fsum(_binomial(each, count, share) for each in range(hits + 1)))


def _smallest_error(holds: Callable[[float], bool]) -> float:
    """Return the one-sided error at which an interval begins to exclude the bound, 1 where it never does.

    ``holds`` takes the interval's two-sided level; the smaller the error, the wider the interval.
    """
    fails_at, holds_at = 1e-6, 0.5 - 1e-6
    if holds(1 - 2 * fails_at):
        return fails_at
    if not holds(1 - 2 * holds_at):
        return 1.0
    for _ in range(30):
        error = (fails_at + holds_at) / 2
        if holds(1 - 2 * error):
            holds_at = error
        else:
            fails_at = error
    return holds_at


def _to_decide(count: int, share: float, bound: float, level: float, fewest: int) -> int | None:
    spread = NormalDist().inv_cdf(level) * math.sqrt(max(bound * (1 - bound), share * (1 - share)))
    distance = abs(share - bound)
    return _capped((spread / distance) ** 2, fewest, count) if distance else None


def _scaled(count: int, half_width: float, distance: float, fewest: int) -> int | None:
    """An interval shrinks with the root of the sample."""
    return _capped(count * (half_width / distance) ** 2, fewest, count) if distance else None


def _capped(streams: float, fewest: int, count: int) -> int | None:
    needed = max(math.ceil(streams), fewest)
    return None if needed > MOST else max(needed, count + 1)
