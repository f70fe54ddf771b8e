from __future__ import annotations

import random

import pytest

from otel_tokenstream.analysis.gaps import gaps_of
from otel_tokenstream.analysis.statistics import quantile
from tests.analysis.made import gaps, stream


def test_gaps_known_one_by_one_are_pooled() -> None:
    """Every gap counts once, whichever stream it is of."""
    found = gaps_of([stream(gaps_us=gaps(*range(1, 100))), stream(gaps_us=gaps(1000))])
    assert found is not None
    assert (found.count, found.known_share, found.max) == (100, 1.0, 1000)
    assert found.p50 == pytest.approx(50.5)
    assert found.p99 == pytest.approx(99 + 901 * 0.01)


def test_streams_without_gaps_have_none() -> None:
    """A plain call, and a stream of one chunk, were not measured: nothing is said instead of zero."""
    assert gaps_of([stream(), stream(chunks=1, gaps_us=gaps())]) is None


def test_hidden_gaps_are_estimated_from_the_streams_own_percentiles() -> None:
    """Within a tenth for the median and a fifth for the 95th percentile of what pooling them all would give."""
    chance = random.Random(5)
    pooled: list[float] = []
    recorded = []
    for _ in range(30):
        pace, chunks = chance.lognormvariate(3, 0.3), chance.randint(50, 800)
        real = sorted(pace * chance.lognormvariate(0, 0.5) for _ in range(chunks - 1))
        pooled += real
        recorded.append(
            stream(
                chunks=chunks,
                gap_p50_ms=round(quantile(real, 0.5)),
                gap_p95_ms=round(quantile(real, 0.95)),
                gap_max_ms=round(real[-1]),
            )
        )
    pooled.sort()
    found = gaps_of(recorded)
    assert found is not None
    assert (found.count, found.known_share) == (len(pooled), 0.0)
    assert found.p50 == pytest.approx(quantile(pooled, 0.5), rel=0.1)
    assert found.p95 == pytest.approx(quantile(pooled, 0.95), rel=0.2)
    assert found.p99 is None, "an estimate of so rare a gap would be a guess"
    assert found.max == round(pooled[-1])


def test_one_stream_is_estimated_at_its_own_percentiles() -> None:
    """Also where they are zero or all the same, as those of very fast models are."""
    for p50, p95, longest in ((20, 50, 900), (0, 0, 3), (7, 7, 7)):
        found = gaps_of([stream(chunks=1000, gap_p50_ms=p50, gap_p95_ms=p95, gap_max_ms=longest)])
        assert found is not None
        assert (found.p50, found.p95, found.max) == (pytest.approx(p50), pytest.approx(p95), longest)


def test_known_and_hidden_gaps_count_by_their_number() -> None:
    """Nine known gaps of 1 ms beside one hidden stream of 991 gaps weigh next to nothing."""
    hidden = stream(chunks=992, gap_p50_ms=40, gap_p95_ms=60, gap_max_ms=80)
    found = gaps_of([stream(gaps_us=gaps(*[1] * 9)), hidden])
    assert found is not None
    assert found.count == 1000
    assert found.known_share == 0.009
    assert found.p50 == pytest.approx(40, abs=1)
