"""First tokens of recorded streams against their objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.analysis.in_time import InTime, in_time
from otel_tokenstream.analysis.objectives import DEFAULTS, load
from tests.analysis.made import stream

if TYPE_CHECKING:
    from pathlib import Path


def test_streams_are_judged_by_the_objective_of_their_service_and_model(tmp_path: Path) -> None:
    """The first entry that covers them; the same first token is late for one model and in time for another."""
    path = tmp_path / "objectives.yaml"
    path.write_text(
        """
defaults: {first_token: {within: 1}}
overrides:
  - {model: "slow*", first_token: {within: 5, share: 0.5}}
  - {service: batch, first_token: {within: 30, share: 0.9}}
"""
    )
    times = (400, 1000, 4000, 6000)
    streams = [
        *(stream(service="shop", model="quick", first_token_ms=time) for time in times[:3]),
        *(stream(service="shop", model="slow-1", first_token_ms=time) for time in times),
        *(stream(service="batch", model="quick", first_token_ms=time) for time in times),
        *(stream(service=None, model=None, first_token_ms=time) for time in times[:1]),
    ]
    assert in_time(streams, load(path)) == [
        InTime("shop", "slow-1", 5000, 0.5, judged=4, late=1, share_in_time=0.75, met=True),
        InTime("batch", "quick", 30_000, 0.9, judged=4, late=0, share_in_time=1, met=True),
        InTime("shop", "quick", 1000, 0.95, judged=3, late=1, share_in_time=pytest.approx(2 / 3), met=False),
        InTime(None, None, 1000, 0.95, judged=1, late=0, share_in_time=1, met=True),
    ]


def test_failed_before_any_token_is_late_and_left_before_any_is_not_counted() -> None:
    streams = [
        stream(first_token_ms=300),
        stream(outcome="failed"),
        stream(outcome="cancelled"),
        stream(outcome="failed", first_token_ms=300),
    ]
    (found,) = in_time(streams, DEFAULTS)
    assert (found.judged, found.late) == (3, 1)


def test_an_objective_is_met_by_just_its_share() -> None:
    """19 of 20 are 95 %."""
    streams = [stream(first_token_ms=300 if number else 3000) for number in range(20)]
    (found,) = in_time(streams, DEFAULTS)
    assert found.met
    (found,) = in_time([*streams, stream(first_token_ms=3000)], DEFAULTS)
    assert not found.met
