"""Percentiles, and how sure one can be of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

FEWEST = 20
"""Below so many values nothing is said about a difference, whatever the numbers are."""


@dataclass(frozen=True)
class Percentiles:
    """Of ``count`` measured values.

    A percentile beyond which less than one value would lie is None: the 95th of fewer than 20 values, the 99th of
    fewer than 100, says nothing that the largest does not say.
    """

    count: int
    total: float
    mean: float
    min: float
    p50: float
    p95: float | None
    p99: float | None
    max: float


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """None for no values."""
    ordered = sorted(values)
    count = len(ordered)
    if not ordered:
        return None
    total = math.fsum(ordered)
    return Percentiles(
        count,
        total,
        total / count,
        ordered[0],
        quantile(ordered, 0.5),
        quantile(ordered, 0.95) if count >= 20 else None,
        quantile(ordered, 0.99) if count >= 100 else None,
        ordered[-1],
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Between neighbouring values in a straight line, as NumPy and spreadsheets do."""
    at = (len(ordered) - 1) * share
    below = int(at)
    part = at - below
    return ordered[below] if not part else ordered[below] * (1 - part) + ordered[below + 1] * part


def resampled_quantiles(ordered: Sequence[float], share: float, draws: int, chance: Random) -> list[float]:
    """Return ``quantile`` of ``draws`` bootstrap samples of ``ordered``, without drawing the samples.

    The k-th smallest of n draws with replacement is the value at n·u, where u is the k-th smallest of
    n uniform numbers: a number of the Beta distribution (k, n + 1 - k).
    """
    count = len(ordered)
    at = (count - 1) * share
    below = int(at)
    part = at - below
    above = count - below - 1  # draws that are larger
    found = []
    for _ in range(draws):
        u = chance.betavariate(below + 1, count - below)
        value = ordered[min(int(count * u), count - 1)]
        if part:
            u += (1 - u) * (1 - chance.random() ** (1 / above))  # the next larger one, given this one
            value += (ordered[min(int(count * u), count - 1)] - value) * part
        found.append(value)
    return found


def middle(draws: Sequence[float], level: float) -> Interval:
    """The interval that holds the middle ``level`` of the draws."""
    ordered = sorted(draws)
    tail = (1 - level) / 2
    return Interval(quantile(ordered, tail), quantile(ordered, 1 - tail))


def needed_for_quantile(share: float, level: float) -> int:
    """Values without which no interval of this level for the quantile can have two ends.

    Fewer than so many may well lie all on one side of the true quantile.
    """
    one_side = max(share, 1 - share)
    return max(FEWEST, math.ceil(math.log((1 - level) / 2) / math.log(one_side)))


def wilson(hits: int, count: int, level: float) -> Interval:
    """For a share: sound for few values and for shares near 0 and 1."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def share_difference(one: tuple[int, int], other: tuple[int, int], level: float) -> Interval:
    """Newcombe's interval for the other share minus the one; each is (hits, count)."""
    (hits_a, count_a), (hits_b, count_b) = one, other
    a, b = hits_a / count_a, hits_b / count_b
    of_a, of_b = wilson(hits_a, count_a, level), wilson(hits_b, count_b, level)
    return Interval(
        b - a - math.hypot(b - of_b.low, of_a.high - a),
        b - a + math.hypot(of_b.high - b, a - of_a.low),
    )


def share_ratio(one: tuple[int, int], other: tuple[int, int], level: float) -> Interval | None:
    """Katz's interval for the other share over the one; None where a share is 0."""
    (hits_a, count_a), (hits_b, count_b) = one, other
    if not hits_a or not hits_b:
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    spread = math.exp(z * math.sqrt(1 / hits_a - 1 / count_a + 1 / hits_b - 1 / count_b))
    ratio = (hits_b / count_b) / (hits_a / count_a)
    return Interval(ratio / spread, ratio * spread)
