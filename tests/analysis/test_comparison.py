from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.comparison import Difference, compared
from tests.analysis.made import gaps, stream

if TYPE_CHECKING:
    from otel_tokenstream.analysis.stream import Stream


def streams(count: int, seed: int, factor: float = 1.0, fail: float = 0.02) -> list[Stream]:
    """Measured in every way, with times that lie apart as those of real streams do."""
    chance = random.Random(seed)

    def one() -> Stream:
        first = chance.lognormvariate(6, 0.5) * factor
        gap = chance.lognormvariate(3, 0.4)
        return stream(
            outcome="failed" if chance.random() < fail else "completed",
            first_token_ms=first,
            first_answer_token_ms=first,
            duration_ms=first + 40 * gap,
            output_rate=1000 / gap,
            output_tokens=chance.randint(20, 60),
            gap_p95_ms=round(2 * gap),
            wait_max_ms=round(4 * gap),
            stall_count=int(chance.random() < 0.05),
            cost_usd=chance.random() / 100,
        )

    return [one() for _ in range(count)]


def by_name(a: list[Stream], b: list[Stream]) -> dict[tuple[str, str], Difference]:
    return {(each.measure, each.statistic): each for each in compared(("a", "b"), a, b).differences}


def test_equal_distributions_have_no_winner() -> None:
    """Twelve figures are looked at, and still at most one comparison in twenty names a side by chance."""
    named = 0
    for seed in range(20):
        found = by_name(streams(150, 2 * seed), streams(150, 2 * seed + 1)).values()
        assert len(found) == 12
        named += any(each.better not in {"none shown", "too few"} for each in found)
    assert named <= 3  # 20 times 5 % are 1; more than 3 have a probability of 2 %


def test_a_difference_has_a_winner_and_an_interval_that_holds_it() -> None:
    """First tokens 30 % faster are found in nearly every sample of 150; the interval holds the true ratio."""
    won = held = 0
    for seed in range(8):
        found = by_name(streams(150, 1000 + 2 * seed), streams(150, 1001 + 2 * seed, factor=0.7))
        median = found["first_token_ms", "p50"]
        assert median.ratio_interval is not None
        won += median.better == "b"
        held += median.ratio_interval.low <= 0.7 <= median.ratio_interval.high
    assert won >= 7
    assert held >= 6


def test_the_same_recording_gives_the_same_comparison() -> None:
    """Nothing of it depends on the run."""
    a, b = streams(50, 1), streams(50, 2)
    assert compared(("a", "b"), a, b) == compared(("a", "b"), a, b)


def test_a_small_sample_names_nobody_however_large_the_difference() -> None:
    """It says instead how many streams would do."""
    found = by_name(streams(8, 1), streams(8, 2, factor=0.01))
    median = found["first_token_ms", "p50"]
    assert (median.better, median.needed, median.count_a) == ("too few", 20, 8)
    assert median.difference_interval is None
    assert median.difference < 0
    assert found["failed", "share"].better == "too few"


def test_the_tail_takes_more_streams_than_the_median() -> None:
    """With 40 streams the medians are told apart, the 95th percentiles are not."""
    found = by_name(streams(40, 1), streams(40, 2, factor=0.2))
    assert found["first_token_ms", "p50"].better == "b"
    tail = found["first_token_ms", "p95"]
    assert (tail.better, tail.difference_interval) == ("too few", None)
    assert tail.needed > 100


def test_more_failures_are_worse_and_more_speed_is_better() -> None:
    """Each figure has its own direction; of the length of answers neither is better."""
    slow: dict[str, Any] = {"output_rate": 20.0, "output_tokens": 40}
    a = [stream(**slow | {"output_rate": 20 + index / 10}) for index in range(60)]
    b = [
        stream(output_rate=40 + index / 10, output_tokens=80, outcome="failed" if index < 30 else "completed")
        for index in range(60)
    ]
    found = by_name(a, b)
    assert found["output_rate", "p50"].better == "b"
    assert found["failed", "share"].better == "a"
    assert found["failed", "share"].difference == 0.5
    assert found["output_tokens", "p50"].better == "differs"


def test_measures_missing_on_one_side_are_left_out() -> None:
    """Plain calls against streamed ones are compared by duration and failures; they have no first token."""
    plain = [stream(streamed=False, duration_ms=900.0 + index) for index in range(30)]
    streamed = [stream(first_token_ms=100.0, duration_ms=500.0 + index, gaps_us=gaps(1, 2)) for index in range(30)]
    found = by_name(plain, streamed)
    assert {measure for measure, _ in found} == {"duration_ms", "failed"}
    assert found["duration_ms", "p50"].better == "b"
