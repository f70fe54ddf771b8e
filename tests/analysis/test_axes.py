from __future__ import annotations

import pytest

from otel_tokenstream.analysis.svg import Axis, linear, logarithmic
from otel_tokenstream.analysis.units import tick_text


@pytest.mark.parametrize("longest", [40, 900, 8_000, 59_000, 61_000, 100_000, 333_000, 2_500_000, 30_000_000])
@pytest.mark.parametrize("kind", ["linear", "log", "wide log"])
def test_ticks_of_times_are_round(longest: float, kind: str) -> None:
    """A hundred seconds are no 1.66667 min."""
    made: dict[str, Axis] = {
        "linear": linear(longest),
        "log": logarithmic([longest / 20, longest]),
        "wide log": logarithmic([longest / 5_000, longest]),
    }
    texts = [tick_text(tick, "ms") for tick in made[kind].ticks("ms")]
    assert len(texts) >= 2
    assert len(set(texts)) == len(texts)
    assert all(len(text.split()[0].replace(".", "").strip("0")) <= 2 for text in texts), texts
