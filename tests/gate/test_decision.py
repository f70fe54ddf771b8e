from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.analysis.stream import Field
from otel_tokenstream.gate.decision import decide
from tests.gate.made_streams import configured, stream, streams

if TYPE_CHECKING:
    from otel_tokenstream.gate.decision import Check

REGRESSION = {"first_token_p50": "10 %", "first_token_p95": "10 %"}


def drawn(seed: int, count: int, scale: float = 1.0) -> list[float]:
    """First tokens as providers give them: log-normal around 300 ms."""
    chance = random.Random(seed)
    return [scale * chance.lognormvariate(5.7, 0.1) for _ in range(count)]


def only(checks: tuple[Check, ...]) -> Check:
    (check,) = checks
    return check


# --- Budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_tokens", "verdict"),
    [
        ([100.0] * 100, "pass"),
        ([100.0] * 70 + [900.0] * 30, "fail"),
        ([100.0] * 95 + [900.0] * 5, "inconclusive"),
        ([900.0] * 10, "inconclusive"),
        ([100.0] * 58, "inconclusive"),
    ],
)
def test_a_percentile_is_judged_by_how_many_values_exceed_the_limit(first_tokens: list[float], verdict: str) -> None:
    """The 95th percentile has no bound below 59 values, however good or bad they are."""
    check = only(decide(configured(first_token_p95="500 ms"), streams(first_tokens)).checks)

    assert check.verdict == verdict
    assert check.evidence is not None
    assert check.evidence.fewest == 59


@pytest.mark.parametrize(
    ("failed", "count", "verdict"),
    [(0, 400, "pass"), (30, 400, "fail"), (8, 400, "inconclusive"), (0, 10, "inconclusive")],
)
def test_a_share_is_judged_exactly(failed: int, count: int, verdict: str) -> None:
    """No normal approximation: shares near 0 are where it is wrong."""
    found = [stream(n, outcome="failed" if n < failed else "completed") for n in range(count)]

    assert only(decide(configured(failed_share="2 %"), found).checks).verdict == verdict


def test_a_good_stream_meets_all_limits_together() -> None:
    """Two streams that each miss another limit are two bad ones; one that its caller left is not counted."""
    slow, late = stream(1, duration_ms=30_000.0), stream(2, first_token_ms=3_000.0)
    left = [stream(number, outcome="closed") for number in range(50)]
    limits = {"at_least": "90 %", "first_token": "1 s", "duration": "20 s"}
    check = only(decide(configured(goodput=limits), [slow, late, *left, *(stream(n) for n in range(3, 201))]).checks)

    assert check.evidence is not None
    assert (check.bound, check.evidence.value) == (pytest.approx(0.9), pytest.approx(198 / 200))
    assert check.evidence.interval is not None
    assert check.evidence.interval.low < 198 / 200 < check.evidence.interval.high
    assert (check.verdict, check.left_out) == ("pass", 50)


def test_a_selection_by_field_judges_that_field() -> None:
    """Its first content, not the stream's; streams without the field are in no check of it."""
    late = Field("answer", 900.0, 1_500.0, 40, None)
    found = [*streams([100.0] * 100, fields=(late,)), *streams([100.0] * 100)]
    check = only(decide(configured(where={"field": "answer"}, first_token_p95="500 ms"), found).checks)

    assert check.evidence is not None
    assert (check.verdict, check.evidence.value, check.evidence.count) == ("fail", 900.0, 100)


def test_streams_without_a_measurement_are_counted_as_left_out() -> None:
    """A percentile of first tokens says nothing about streams that gave none; the reader must see how many."""
    found = streams([100.0] * 100) + [stream(n, first_token_ms=None, outcome="failed") for n in range(100, 130)]
    check = only(decide(configured(first_token_p95="500 ms"), found).checks)

    assert (check.verdict, check.left_out) == ("pass", 30)


def test_a_selection_that_finds_nothing_is_inconclusive() -> None:
    """A misspelt service must not pass."""
    check = only(decide(configured(failed_share="1 %", where={"service": "shpo"}), streams([1.0] * 100)).checks)

    assert (check.verdict, check.evidence) == ("inconclusive", None)


# --- Regressions ---------------------------------------------------------------------------------


def test_a_regression_of_a_fifth_is_caught_and_an_unchanged_build_passes() -> None:
    """Over 50 drawn builds each: at least 48 of the slower ones fail, at most one of the unchanged ones does."""
    configuration = configured("regression", **REGRESSION)
    verdicts: dict[str, list[str]] = {"slower": [], "unchanged": []}
    for seed in range(50):
        baseline = streams(drawn(seed, 200))
        for build, scale in (("slower", 1.2), ("unchanged", 1.0)):
            candidate = streams(drawn(1_000 + seed, 200, scale))
            verdicts[build].append(decide(configuration, candidate, baseline).verdict)

    assert verdicts["slower"].count("fail") >= 48
    assert verdicts["unchanged"].count("fail") <= 1


@pytest.mark.parametrize("scale", [1.0, 1.2, 3.0])
def test_ten_streams_are_inconclusive(scale: float) -> None:
    """Whatever they look like; and the reason says how many it takes."""
    decision = decide(configured("regression", **REGRESSION), streams(drawn(1, 10, scale)), streams(drawn(2, 10)))

    assert decision.verdict == "inconclusive"
    assert "are needed" in decision.checks[0].reason


def test_shares_are_compared_in_points() -> None:
    """Two points more failures than before are over a limit of one, where the sample shows it."""
    before = [stream(n, outcome="failed" if n < 10 else "completed") for n in range(2_000)]
    now = [stream(n, outcome="failed" if n < 80 else "completed") for n in range(2_000)]
    check = only(decide(configured("regression", failed_share="1 %"), now, before).checks)

    assert (check.verdict, check.unit) == ("fail", "points")
    assert check.evidence is not None
    assert check.evidence.value == pytest.approx(0.035)
    assert only(decide(configured("regression", failed_share="1 %"), before, before).checks).verdict == "pass"


def test_the_same_recording_gives_the_same_decision() -> None:
    """Resampling is seeded."""
    configuration, before, now = (
        configured("regression", **REGRESSION),
        streams(drawn(1, 80)),
        streams(drawn(2, 80, 1.1)),
    )

    assert decide(configuration, now, before) == decide(configuration, now, before)


def test_a_failure_must_stand_out_of_all_checks() -> None:
    """Twenty limits at the edge are not twenty chances to fail by luck: Holm's correction."""
    limits: dict[str, Any] = {f"{name}_p50": "10 %" for name in ("first_token", "longest_wait", "duration")}
    alone = decide(
        configured("regression", first_token_p50="10 %"), streams(drawn(3, 100, 1.14)), streams(drawn(4, 100))
    )
    among = decide(configured("regression", **limits), streams(drawn(3, 100, 1.14)), streams(drawn(4, 100)))
    first = next(check for check in among.checks if check.key == "first_token_p50")

    assert alone.checks[0].evidence == first.evidence or alone.checks[0].evidence is not None
    assert {"fail": 0, "inconclusive": 1, "pass": 2}[first.verdict] >= {"fail": 0, "inconclusive": 1, "pass": 2}[
        alone.checks[0].verdict
    ]


def test_ten_thousand_streams_are_decided_without_drawing_them() -> None:
    """The bootstrap's cost does not grow with the sample: the draws are of order statistics."""
    configuration = configured("regression", **REGRESSION)
    small, large = streams(drawn(5, 1_000)), streams(drawn(5, 10_000))

    def took(sample):
        began = time.process_time()
        decide(configuration, sample, sample)
        return time.process_time() - began

    assert min(took(large) for _ in range(2)) < 10 * min(took(small) for _ in range(3))


def test_a_difference_of_shares_near_the_limit_is_inconclusive() -> None:
    """Neither shown to be over the limit nor shown to be within it."""
    before = [stream(n, outcome="failed" if n < 10 else "completed") for n in range(400)]
    now = [stream(n, outcome="failed" if n < 14 else "completed") for n in range(400)]
    check = only(decide(configured("regression", failed_share="1 %"), now, before).checks)

    assert check.verdict == "inconclusive"
