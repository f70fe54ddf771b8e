from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "live_outlets.py"


def _run(*options: str) -> None:
    command = [sys.executable, str(PROGRAM), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1_100)
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_losses_in_ten_seconds_without_a_broker_are_counted_exactly() -> None:
    """With a queue that is long enough nothing, with a short one as many events as the counters say."""
    _run()


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_thousand_streams_of_two_hundred_tokens_are_rebuilt_exactly() -> None:
    """Through both brokers at once, as fast as the streams can be read."""
    _run("--load")
