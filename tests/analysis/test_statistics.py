from __future__ import annotations

import math
import random
import statistics

import pytest

from otel_tokenstream.analysis.statistics import (
    middle,
    needed_for_quantile,
    percentiles,
    quantile,
    resampled_quantiles,
    share_difference,
    share_ratio,
    wilson,
)


@pytest.mark.parametrize("count", [2, 3, 20, 21, 100, 1001])
def test_a_quantile_is_that_of_the_standard_library(count: int) -> None:
    """Inclusive, in a straight line between neighbours."""
    values = sorted(random.Random(count).lognormvariate(0, 1) for _ in range(count))
    expected = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (5, 50, 95, 99):
        assert quantile(values, percent / 100) == pytest.approx(expected[percent - 1])


def test_a_percentile_that_was_not_measured_is_absent() -> None:
    """The 95th takes 20 values and the 99th 100; no value at all gives nothing at all."""
    assert percentiles([]) is None
    one, few, some = (percentiles(range(count)) for count in (1, 19, 99))
    assert one is not None
    assert (one.count, one.p50, one.max, one.p95) == (1, 0, 0, None)
    assert few is not None
    assert few.p95 is None
    assert some is not None
    assert (some.p95, some.p99) == (pytest.approx(93.1), None)
    hundred = percentiles(range(100))
    assert hundred is not None
    assert hundred.p99 == pytest.approx(98.01)
    assert (hundred.total, hundred.mean) == (4950, 49.5)


@pytest.mark.parametrize(("count", "share"), [(20, 0.5), (41, 0.5), (150, 0.95)])
def test_drawn_quantiles_are_those_of_real_bootstrap_samples(count: int, share: float) -> None:
    """Drawing an order statistic from its distribution replaces drawing, sorting and looking it up."""
    chance = random.Random(7)
    values = sorted(chance.lognormvariate(0, 1) for _ in range(count))
    drawn = sorted(resampled_quantiles(values, share, 8000, chance))
    sampled = sorted(quantile(sorted(chance.choices(values, k=count)), share) for _ in range(8000))
    spread = statistics.stdev(sampled)
    for part in (0.025, 0.25, 0.5, 0.75, 0.975):
        assert quantile(drawn, part) == pytest.approx(quantile(sampled, part), abs=spread / 6)


@pytest.mark.parametrize(
    ("share", "count", "true"), [(0.5, 20, 1.0), (0.5, 100, 1.0), (0.95, 130, math.exp(1.6448536))]
)
def test_the_interval_holds_the_true_quantile_as_often_as_it_says(share: float, count: int, true: float) -> None:
    """Of 600 samples of a known skewed distribution at least 91 % and not all: the level is 95 %."""
    chance = random.Random(11)
    held = 0
    for _ in range(600):
        values = sorted(chance.lognormvariate(0, 1) for _ in range(count))
        interval = middle(resampled_quantiles(values, share, 400, chance), 0.95)
        held += interval.low <= true <= interval.high
    assert 0.91 <= held / 600 < 1


def test_a_sample_must_be_able_to_hold_the_interval() -> None:
    """Below this size all values lie below the 95th percentile too often for the interval to have an upper end."""
    assert needed_for_quantile(0.95, 0.95) == 72
    assert 0.95**72 <= 0.025 < 0.95**71
    assert needed_for_quantile(0.5, 0.95) == 20, "a floor, however easy the quantile"


def test_intervals_of_shares_are_the_published_ones() -> None:
    """Wilson's for 0 of 10 and Newcombe's example of 56/70 against 48/80 (Stat. Med. 17, 1998, method 10)."""
    of_none = wilson(0, 10, 0.95)
    assert (of_none.low, of_none.high) == (pytest.approx(0), pytest.approx(0.2775, abs=1e-4))
    difference = share_difference((48, 80), (56, 70), 0.95)
    assert (difference.low, difference.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert share_ratio((0, 10), (3, 10), 0.95) is None
    ratio = share_ratio((20, 100), (40, 100), 0.95)
    assert ratio is not None
    assert ratio.low < 2 < ratio.high
